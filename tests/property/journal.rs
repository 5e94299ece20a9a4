//! A journal replays exactly, and whatever is changed in it is found.

use proptest::prelude::*;
use relay_runner_core::DurableFacts;
use relay_runner_core::Effects;
use relay_runner_core::journal::{Composer, Header, KeptBodies, Replay, ReplayError, SCHEMA, Start};
use relay_runner_protocol::Stage;
use relay_runner_sim::{Mood, Run};

use crate::depth;
use std::collections::BTreeSet;

/// The journal of a run of this many events, with a mark now and then.
pub(crate) fn record(seed: u64, events: usize) -> String {
    let mut run = Run::new(seed, Mood::ROUGH);
    let header = Header {
        schema: SCHEMA,
        program: "test".into(),
        commit: None,
        bodies: KeptBodies::Hash,
        config: run.core.config().clone(),
        at: run.now,
        start: Start::Facts(Box::new(run.core.facts())),
    };
    let mut out = String::new();
    let mut composer = Composer::begin(&header, &mut out);
    for n in 1..=events {
        let (at, event) = run.step();
        composer.record(at, &event, &mut out);
        composer.stepped(&run.fx);
        if n % 50 == 0 {
            composer.mark(&run.core, &mut out);
        }
    }
    composer.mark(&run.core, &mut out);
    out
}

fn replay(journal: &str) -> Result<u64, ReplayError> {
    let mut replay = Replay::new();
    journal.lines().try_for_each(|line| replay.line(line))?;
    Ok(replay.events())
}

/// As much of the facts as somebody outside has been told, or acts upon.
fn shown(facts: &DurableFacts) -> BTreeSet<String> {
    let mut shown = BTreeSet::new();
    for (id, fact) in &facts.messages {
        match fact.stage {
            Stage::Taken | Stage::Worked | Stage::Settled | Stage::SetAside | Stage::Ambiguous => {
                shown.insert(format!("message {id} is {:?}", fact.stage));
            }
            Stage::Held | Stage::Claimed | Stage::Offered => {}
        }
        shown.extend(fact.fence.map(|fence| format!("message {id} is claimed, {fence}")));
    }
    shown.extend(facts.settled.iter().map(|id| format!("message {id} is settled")));
    shown.extend(facts.set_aside.keys().map(|id| format!("message {id} is set aside")));
    let outcomes = facts.commands.iter().filter_map(|fact| Some((&fact.id, fact.outcome.as_ref()?)));
    shown.extend(outcomes.map(|(id, outcome)| format!("command {id} has {outcome}")));
    shown
}

proptest! {
    #![proptest_config(depth(256))]

    /// What others have been told is on the disk before they are told (behaviour 17).
    #[test]
    fn whatever_is_shown_to_others_is_forced_to_the_disk_before(seed in any::<u64>(), events in 1_usize..300) {
        let mut run = Run::new(seed, Mood::ROUGH);
        let mut before = shown(&run.core.facts());
        for _ in 0..events {
            let (_, event) = run.step();
            let now = shown(&run.core.facts());
            let new: Vec<_> = now.difference(&before).collect();
            prop_assert!(new.is_empty() || run.fx.sync, "after {:?}: {:?}", event, new);
            before = now;
        }
    }

    #[test]
    fn a_journal_replays_exactly(seed in any::<u64>(), events in 1_usize..300) {
        prop_assert_eq!(replay(&record(seed, events)), Ok(events as u64));
    }

    /// Whatever a run keeps of bodies, it decides the same.
    #[test]
    fn no_decision_depends_on_the_digest_of_a_body(seed in any::<u64>(), events in 1_usize..300) {
        let mut run = Run::new(seed, Mood::ROUGH);
        let mut without = run.core.clone();
        let mut fx = Effects::new();
        for _ in 0..events {
            let (at, mut event) = run.step();
            event.forget_digests();
            fx.clear();
            without.step(at, event, &mut fx);
            prop_assert_eq!(&fx, &run.fx);
        }
        let mut facts = run.core.facts();
        facts.forget_digests();
        prop_assert_eq!(facts, without.facts());
    }

    #[test]
    fn one_changed_byte_is_found_and_its_line_is_named(
        seed in any::<u64>(),
        events in 1_usize..60,
        place in any::<prop::sample::Index>(),
        flip in 1_u8..=255,
    ) {
        let journal = record(seed, events);
        let mut bytes = journal.clone().into_bytes();
        let at = place.index(bytes.len());
        // Another number of lines is another journal.
        if bytes[at] == b'\n' || bytes[at] ^ flip == b'\n' {
            return Ok(());
        }
        bytes[at] ^= flip;
        let line = bytes[..at].split(|b| *b == b'\n').count() as u64;
        // What is not even text cannot be handed to the core; the shell says so with the line as well.
        let Ok(changed) = String::from_utf8(bytes) else { return Ok(()) };
        match replay(&changed) {
            Err(ReplayError::Damaged(named, _)) => prop_assert_eq!(named, line),
            other => prop_assert!(false, "line {} was changed, and: {:?}", line, other),
        }
    }
}
