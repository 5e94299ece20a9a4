//! The first prompt, as a table.

use super::{Machine, event, ignored, row, state, when};

pub(super) const MACHINE: Machine = Machine {
    name: "prompt",
    about: "The first prompt: said once in the agent's life, and before any message.",
    initial: "pending",
    states: &[
        state("pending", "there is one, and no provider has had it"),
        state("saying", "it is being handed to the provider; no message is offered meanwhile"),
        state("said", "it was handed over, and the provider has not shown yet that it has it"),
        state("done", "it was said, or it failed, or there is none; remembered across restarts"),
    ],
    events: &[
        event("provider up", "a provider takes messages from now on"),
        event("handed over", "the adapter says so"),
        event("turn begins", "the provider is at work"),
        event("failed", "the adapter could not"),
        event("overdue", "no word of it within 30 s"),
        event("exit", "the provider process is over"),
    ],
    rows: &[
        row("pending", "provider up", "saying"),
        when("saying", "handed over", "no turn has begun since it was asked for", "said"),
        when("saying", "handed over", "a turn began meanwhile, as the provider was quicker than its adapter", "done"),
        row("saying", "failed", "done"),
        row("saying", "overdue", "done"),
        row("saying", "exit", "pending"),
        row("said", "turn begins", "done"),
        row("said", "overdue", "done"),
        row("said", "exit", "pending"),
    ],
    ignored: &[
        ignored(&["pending"], &["handed over", "failed", "overdue"], "nothing was asked for"),
        ignored(&["pending"], &["turn begins"], "the provider is not up yet"),
        ignored(&["pending"], &["exit"], "the next provider hears it"),
        ignored(&["saying"], &["turn begins"], "whose turn that is shows once it was handed over"),
        ignored(&["saying", "said"], &["provider up"], "the same provider says again that it is up"),
        ignored(&["said"], &["handed over", "failed"], "that is known"),
        ignored(
            &["done"],
            &["provider up", "handed over", "turn begins", "failed", "overdue", "exit"],
            "it is said once",
        ),
    ],
};
