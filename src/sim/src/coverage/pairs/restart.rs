//! Another run goes on with the facts of one that was killed, or came to its end.

use std::collections::BTreeSet;

use relay_runner_core::Text;

use super::{Books, Feed, Look, Met, States, Which, judge};

/// The pairs that a restart met: `books` are those of the next run, which has taken its first step.
pub(in crate::coverage) fn restarted(before: (&Books, &Look), after: (&Books, &Look)) -> Met {
    let mut feed = Feed::default();
    let event = "runner restarted";
    let (old, new) = (States { look: before.1, books: before.0, step: None }, after);
    let new = States { look: new.1, books: new.0, step: None };
    let messages: BTreeSet<_> = before.1.messages.keys().copied().chain(before.0.some_over()).collect();
    for id in messages.difference(&before.0.gone) {
        feed.message(*id, event);
    }
    for id in &before.0.gone {
        feed.is_unclear("message", Which::Message(*id));
    }
    before.1.claims.keys().for_each(|id| feed.claim(*id, event));
    let commands =
        before.1.commands.iter().filter_map(|order| order.id.clone()).chain(before.0.some_concluded().cloned());
    commands.for_each(|id| feed.named("command", &id, event));
    let approvals = before.1.approvals.keys().chain(before.1.approvals_over.keys());
    approvals.for_each(|id| feed.named("approval", &Text::from(id.as_str()), event));
    // The others begin anew, or go on by facts that are none of their events.
    for machine in ["boot", "link", "credential", "standing", "lifecycle", "prompt", "ending"] {
        feed.is_unclear(machine, Which::One);
    }
    let mut met = Met::default();
    judge(&feed, &old, &new, &mut met);
    met
}
