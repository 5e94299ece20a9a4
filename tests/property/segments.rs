//! Journals in segments, journals of which only the end is there, and journals that another program wrote.

use proptest::prelude::*;
use relay_runner_core::journal::{
    Composer, Damage, Header, KeptBodies, Line, Reader, Replay, ReplayError, SCHEMA, Start,
};
use relay_runner_core::{Core, Effects};
use relay_runner_sim::{Mood, Run};

use crate::depth;

fn header(run: &Run, start: Start) -> Header {
    Header {
        schema: SCHEMA,
        program: "test".into(),
        commit: None,
        bodies: KeptBodies::Hash,
        config: run.core.config().clone(),
        at: run.now,
        start,
    }
}

struct Journal {
    /// The text of each segment.
    segments: Vec<String>,
    /// The chain before each segment.
    chains: Vec<u64>,
    /// The core at the end.
    core: Core,
}

/// A journal of so many segments of so many events each. `seals` says what is sealed of the effects of an event.
fn record(seed: u64, segments: usize, events: usize, seals: impl Fn(u64, &Effects) -> Effects) -> Journal {
    let mut run = Run::new(seed, Mood::ROUGH);
    let mut text = String::new();
    let start = Start::Facts(Box::new(run.core.facts()));
    let mut composer = Composer::begin(&header(&run, start), &mut text);
    let mut journal = Journal { segments: Vec::new(), chains: vec![0], core: run.core.clone() };
    for segment in 0..segments {
        if segment > 0 {
            journal.segments.push(std::mem::take(&mut text));
            journal.chains.push(composer.chain());
            composer.header(&header(&run, Start::Continued { chain: composer.chain() }), &mut text);
            composer.mark(&run.core, &mut text);
        }
        for _ in 0..events {
            let (at, event) = run.step();
            let number = composer.record(at, &event, &mut text);
            assert_eq!(number, composer.number());
            composer.stepped(&seals(number, &run.fx));
        }
    }
    composer.mark(&run.core, &mut text);
    journal.segments.push(text);
    journal.core = run.core;
    journal
}

fn as_they_are(_: u64, fx: &Effects) -> Effects {
    fx.clone()
}

fn lines(segments: &[String]) -> impl Iterator<Item = &str> {
    segments.iter().flat_map(|segment| segment.lines())
}

proptest! {
    #![proptest_config(depth(48))]

    #[test]
    fn segments_are_one_journal(seed in any::<u64>(), segments in 1..4_usize, events in 1..40_usize) {
        let journal = record(seed, segments, events, as_they_are);
        let mut replay = Replay::new();
        for line in lines(&journal.segments) {
            replay.line(line).map_err(|e| TestCaseError::fail(e.to_string()))?;
        }
        prop_assert_eq!(replay.events(), (segments * events) as u64);
        prop_assert_eq!(replay.differences(), 0);
        prop_assert_eq!(replay.last().map(|last| last.0), Some((segments * events) as u64));
        prop_assert_eq!(replay.core(), Some(&journal.core));
        prop_assert_eq!(replay.into_core(), Some(journal.core));
    }

    #[test]
    fn the_last_segment_alone_says_how_it_went_on(seed in any::<u64>(), segments in 2..4_usize, events in 1..40_usize) {
        let journal = record(seed, segments, events, as_they_are);
        let last = journal.segments.len() - 1;
        let mut replay = Replay::new();
        for line in journal.segments[last].lines() {
            replay.line(line).map_err(|e| TestCaseError::fail(e.to_string()))?;
        }
        prop_assert_eq!(replay.events(), events as u64);
        prop_assert_eq!(replay.core(), Some(&journal.core));
        // From the mark on as well, where the chain before it is known.
        let from_mark = journal.segments[last].lines().skip(1);
        let mut reader = Reader::new();
        for line in lines(&journal.segments[..last]).chain(journal.segments[last].lines().take(1)) {
            prop_assert!(reader.read(line).is_ok());
        }
        let behind = u64::from_str_radix(&hash_of(journal.segments[last].lines().next().unwrap_or_default()), 16);
        let mut replay = Replay::behind(behind.expect("sixteen digits"), SCHEMA);
        for line in from_mark {
            replay.line(line).map_err(|e| TestCaseError::fail(e.to_string()))?;
        }
        prop_assert_eq!(replay.core(), Some(&journal.core));
    }

    /// Whoever is only interested in the outcome counts the differences and goes on.
    #[test]
    fn another_programs_effects_are_a_difference_and_a_relaxed_replay_goes_on(
        seed in any::<u64>(), events in 3..40_u64, at in any::<prop::sample::Index>(),
    ) {
        let at = at.index(usize::try_from(events).expect("a few")) as u64 + 1;
        let journal = record(seed, 1, usize::try_from(events).expect("a few"), |number, fx| {
            let mut sealed = fx.clone();
            if number == at {
                sealed.effects.push(relay_runner_core::Effect::Connect { conn: u64::MAX });
            }
            sealed
        });
        let mut replay = Replay::new();
        match lines(&journal.segments).try_for_each(|line| replay.line(line)) {
            Err(ReplayError::Differs(difference)) => {
                prop_assert_eq!((difference.line, difference.number), (at + 1, at), "the header is the first line");
                prop_assert!(difference.recorded.contains("connect(c18446744073709551615)"));
                prop_assert!(!difference.today.contains("connect(c18446744073709551615)"));
                let said = ReplayError::Differs(difference).to_string();
                prop_assert!(said.contains(&format!("line {}: event {at} ", at + 1)), "{}", said);
            }
            other => prop_assert!(false, "{:?}", other),
        }
        let mut replay = Replay::new().relaxed(0);
        for line in lines(&journal.segments) {
            replay.line(line).map_err(|e| TestCaseError::fail(e.to_string()))?;
        }
        prop_assert_eq!(replay.differences(), 1);
        prop_assert_eq!(replay.events(), events);
        prop_assert_eq!(replay.core(), Some(&journal.core));
    }
}

fn hash_of(line: &str) -> String {
    line.trim_end_matches("\"}").chars().rev().take(16).collect::<Vec<_>>().into_iter().rev().collect()
}

#[test]
fn what_the_last_event_asks_for_is_there_after_a_replay() {
    let mut run = Run::new(1, Mood::ROUGH);
    let mut text = String::new();
    let start = Start::Facts(Box::new(run.core.facts()));
    let mut composer = Composer::begin(&header(&run, start), &mut text);
    let (at, event) = run.step();
    composer.record(at, &event, &mut text);
    let mut replay = Replay::new();
    text.lines().for_each(|line| replay.line(line).expect("it is as it was written"));
    assert!(!run.fx.effects.is_empty(), "a run begins with something to do");
    assert_eq!(replay.effects(), &run.fx);
    assert_eq!(replay.last(), Some(&(1, at, event)));
}

#[test]
fn a_record_is_read_only_behind_the_one_before_it() {
    let journal = record(7, 1, 5, as_they_are);
    let all: Vec<_> = lines(&journal.segments).collect();
    let chain = u64::from_str_radix(&hash_of(all[1]), 16).expect("sixteen digits");
    // The chain is right, but what came before is not known.
    match Reader::behind(chain, SCHEMA).read(all[2]) {
        Err(damage @ Damage::OutOfOrder { .. }) => {
            assert_eq!(damage.to_string(), "it is out of order: record 2 follows record 0");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_journal_of_a_newer_program_is_named_as_such_and_one_of_this_schema_is_read() {
    let run = Run::new(1, Mood::ROUGH);
    let start = || Start::Facts(Box::new(run.core.facts()));
    let text = |schema| {
        let mut text = String::new();
        Composer::begin(&Header { schema, ..header(&run, start()) }, &mut text);
        text
    };
    let read = |schema| Reader::new().read(text(schema).trim_end());
    assert!(matches!(read(SCHEMA), Ok(Line::Header(_))));
    match read(SCHEMA + 1) {
        Err(damage @ Damage::Newer { .. }) => assert!(damage.to_string().contains("newer program"), "{damage}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(ReplayError::Empty.to_string(), "the journal is empty");
}
