//! What is run again in part, relaxed, or with changes is the recorded run, but for what was changed.

use proptest::prelude::*;
use relay_runner_core::Core;
use relay_runner_core::journal::{Changes, Departure, How, Line, Reader, Replay, WhatIf, WhatIfError};

use crate::depth;
use crate::journal::record;

/// The journal, with these changes: the core of the run as it was, that of the changed one, and where they part.
fn changed(journal: &str, changes: &str) -> Result<(Core, Option<Core>, Vec<Departure>), WhatIfError> {
    let mut replay = Replay::new();
    let mut what_if = WhatIf::new(Changes::parse(changes)?, 10_000);
    for text in journal.lines() {
        let line = replay.read(text)?;
        what_if.take(&mut replay, line)?;
    }
    what_if.end(&replay)?;
    let found = what_if.found().to_vec();
    assert_eq!(found.len() as u64, what_if.departures());
    let core = what_if.core().cloned();
    Ok((replay.into_core().expect("it has begun"), core, found))
}

fn event_of(journal: &str, wanted: u64) -> String {
    let mut reader = Reader::new();
    for text in journal.lines() {
        if let Line::Record { number, event, .. } = reader.read(text).expect("it was just written")
            && number == wanted
        {
            return serde_json::to_string(&event).expect("events have a JSON form");
        }
    }
    unreachable!("record {wanted}")
}

proptest! {
    #![proptest_config(depth(96))]

    #[test]
    fn a_change_that_is_none_changes_nothing(seed in any::<u64>(), events in 2_usize..200, place in any::<prop::sample::Index>()) {
        let journal = record(seed, events);
        let number = place.index(events) as u64 + 1;
        let change = format!("{{\"change\":{number},\"event\":{}}}", event_of(&journal, number));
        let (was, is, found) = changed(&journal, &change).expect("it can be changed");
        // Worlds of the simulator wake late now and then; nothing else may happen.
        if found.iter().all(|departure| departure.how != How::Woken) {
            prop_assert_eq!(found, []);
            prop_assert_eq!(Some(was), is);
        }
    }

    #[test]
    fn nothing_departs_before_the_change(seed in any::<u64>(), events in 2_usize..200, place in any::<prop::sample::Index>(), drop in any::<bool>()) {
        let journal = record(seed, events);
        let number = place.index(events) as u64 + 1;
        let changes = if drop {
            format!("{{\"drop\":{number}}}")
        } else {
            format!("{{\"after\":{number},\"event\":{{\"Order\":{{\"Signal\":\"Quit\"}}}}}}")
        };
        let (was, is, found) = changed(&journal, &changes).expect("it can be changed");
        prop_assert!(found.iter().all(|departure| departure.number >= number));
        prop_assert!(is.is_some());
        // The run as it was is not touched by the other.
        let mut alone = Replay::new();
        journal.lines().try_for_each(|line| alone.line(line)).expect("it replays exactly");
        prop_assert_eq!(Some(was), alone.into_core());
    }

    #[test]
    fn a_relaxed_replay_of_a_run_without_a_difference_is_a_strict_one(seed in any::<u64>(), events in 1_usize..200) {
        let journal = record(seed, events);
        let run = |mut replay: Replay| {
            journal.lines().try_for_each(|line| replay.line(line)).expect("it replays exactly");
            (replay.differences(), replay.events(), replay.into_core())
        };
        prop_assert_eq!(run(Replay::new().relaxed(3)), run(Replay::new()));
    }
}
