//! A recorded run holds every later version of the core to what it did: a decision that changes is found, and named by
//! the first event that it shows in.

use relay_runner_core::journal::{Composer, Header, KeptBodies, Line, Replay, ReplayError, SCHEMA, Start};
use relay_runner_core::mutant::Mutant;
use relay_runner_core::{Core, Effects};
use relay_runner_sim::{Mood, Run};

/// A run of the right core in a rough world, as a journal; and what a core that is wrong in this way asks for, event by
/// event, when it is fed the same.
fn recorded(seed: u64, events: usize, mutant: Mutant) -> (String, Option<u64>) {
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
    let mut wrong = Core::new(turned(&header, mutant).config, run.core.facts(), run.now);
    let mut fx = Effects::new();
    let mut first = None;
    let mut journal = String::new();
    let mut composer = Composer::begin(&header, &mut journal);
    for _ in 0..events {
        let (at, event) = run.step();
        let number = composer.record(at, &event, &mut journal);
        composer.stepped(&run.fx);
        fx.clear();
        wrong.step(at, event, &mut fx);
        let text = |fx: &Effects| {
            let mut text = String::new();
            fx.canonical(&mut text);
            text
        };
        if first.is_none() && text(&fx) != text(&run.fx) {
            first = Some(number);
        }
    }
    (journal, first)
}

/// The header for a core that is wrong in this way.
fn turned(header: &Header, mutant: Mutant) -> Header {
    let mut header = header.clone();
    header.config.mutant = Some(mutant);
    header
}

/// The journal, run by such a core.
fn run_by(journal: &str, mutant: Option<Mutant>) -> Result<u64, ReplayError> {
    let mut replay = Replay::new();
    for text in journal.lines() {
        let line = match (replay.read(text)?, mutant) {
            (Line::Header(header), Some(mutant)) => Line::Header(Box::new(turned(&header, mutant))),
            (line, _) => line,
        };
        replay.take(line)?;
    }
    Ok(replay.events())
}

#[test]
fn a_changed_decision_fails_a_strict_replay_at_the_first_event_that_it_shows_in() {
    let mut caught = 0;
    for mutant in [
        Mutant::ForgetsTheFence,
        Mutant::MarksReadTooEarly,
        Mutant::RepeatsStatusNumbers,
        Mutant::NeverBacksOff,
        Mutant::EndsATaskWithEachMessage,
        Mutant::OffersToTheDying,
        Mutant::CountsTheLeaseFromArrival,
        Mutant::RepeatsCommands,
    ] {
        for seed in 0..4 {
            let (journal, first) = recorded(seed, 600, mutant);
            assert_eq!(run_by(&journal, None), Ok(600), "seed {seed}");
            let Some(first) = first.filter(|first| *first < 600) else { continue };
            caught += 1;
            let Err(ReplayError::Differs(difference)) = run_by(&journal, Some(mutant)) else {
                panic!("{mutant:?}, seed {seed}: event {first} is followed by other effects, and nothing was said")
            };
            // The header is the first line.
            assert_eq!((difference.number, difference.line), (first, first + 1), "{mutant:?}, seed {seed}");
            let said = ReplayError::Differs(difference.clone()).to_string();
            assert!(said.starts_with(&format!("line {}: event {first} at ", first + 1)), "{said}");
            assert!(said.contains(&difference.recorded) && said.contains(&difference.today), "{said}");
            assert_ne!(difference.recorded, difference.today);
        }
    }
    assert!(caught > 16, "{caught} of 32: most of them show in most runs");
}
