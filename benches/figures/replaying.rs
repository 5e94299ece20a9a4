//! How fast a journal is run again: from events in memory, and from its text.

use std::time::Instant;

use relay_runner_core::journal::{Composer, Header, KeptBodies, Reader, Replay, SCHEMA, Start};
use relay_runner_sim::{Mood, Run};

pub(crate) fn print(quick: bool) {
    let events: u32 = if quick { 1_000 } else { 300_000 };
    let mut run = Run::new(2, Mood::CALM);
    let header = Header {
        schema: SCHEMA,
        program: String::from("figures"),
        commit: None,
        bodies: KeptBodies::Hash,
        config: run.core.config().clone(),
        at: run.now,
        start: Start::Facts(Box::new(run.core.facts())),
    };
    let mut journal = String::new();
    let mut composer = Composer::begin(&header, &mut journal);
    for n in 1..=events {
        let (at, event) = run.step();
        composer.record(at, &event, &mut journal);
        composer.stepped(&run.fx);
        if n % 4_096 == 0 {
            composer.mark(&run.core, &mut journal);
        }
    }

    let mut reader = Reader::new();
    let lines: Vec<_> = journal.lines().map(|line| reader.read(line).expect("the journal was just written")).collect();
    let begun = Instant::now();
    let mut replay = Replay::new();
    for line in lines {
        replay.take(line).expect("a run replays exactly");
    }
    let memory = f64::from(events) / begun.elapsed().as_secs_f64();

    let begun = Instant::now();
    let mut replay = Replay::new();
    for line in journal.lines() {
        replay.line(line).expect("a run replays exactly");
    }
    let text = f64::from(events) / begun.elapsed().as_secs_f64();
    println!(
        "strict replay: {:.2} million events/s from decoded events, {:.0} thousand/s from the journal's text ({} bytes per event)",
        memory / 1e6,
        text / 1e3,
        journal.len() / events as usize
    );
}
