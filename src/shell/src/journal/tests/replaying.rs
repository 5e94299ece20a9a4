//! Parts of a journal, run again: from a mark, up to a place, of one run, across files.

use super::*;
use relay_runner_core::effect::Effect;
use relay_runner_core::journal::{Changes, Until};

fn part(path: &Path, plan: ReplayPlan) -> Result<Replayed, JournalError> {
    replay(path, plan, &mut |_| {})
}

fn from_until(from: u64, until: u64) -> ReplayPlan {
    ReplayPlan { from: Some(from), until: Some(Until::Record(until)), ..ReplayPlan::default() }
}

fn until(until: Until) -> ReplayPlan {
    ReplayPlan { until: Some(until), ..ReplayPlan::default() }
}

/// Several marks in a file.
const ROOMIER: Limits = Limits { segment: 20_000, ..SMALL };

impl Run {
    /// A step of which something is recorded that did not happen.
    fn lie(&mut self) {
        self.fx.clear();
        self.fx.effects.push(Effect::Disconnect { conn: 7 });
        self.journal.stepped(&self.fx);
    }
}

#[test]
fn from_any_record_it_begins_at_the_mark_before_and_knows_the_same() {
    // Marks within files, and only at their heads.
    for limits in [SMALL, ROOMIER, Limits { mark_every: 1 << 30, ..ROOMIER }, Limits { segment: 1 << 30, ..SMALL }] {
        let dir = tempfile::tempdir().unwrap();
        let mut run = Run::begin(dir.path(), limits);
        run.steps(150);
        run.end();
        for number in 1..=151 {
            let whole = part(dir.path(), until(Until::Record(number))).unwrap();
            let near = part(dir.path(), from_until(number, number)).unwrap();
            assert_eq!((whole.events, whole.last.unwrap().0, whole.stopped), (number, number, number < 151));
            assert_eq!(near.last, whole.last);
            assert_eq!(near.core, whole.core, "record {number}");
            assert_eq!(near.from.unwrap_or(0) + near.events, number);
            assert!(limits.mark_every > 5 || near.events < 5, "record {number}: {}", near.events);
            let rest = part(dir.path(), ReplayPlan { from: Some(number), ..ReplayPlan::default() }).unwrap();
            assert_eq!(rest.last.unwrap().0, 151);
        }
    }
}

#[test]
fn a_record_that_is_not_there_is_said_with_those_that_are() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::begin(dir.path(), SMALL);
    run.steps(60);
    run.end();
    let said = |plan| part(dir.path(), plan).unwrap_err().to_string();
    for plan in
        [from_until(62, 62), until(Until::Record(62)), ReplayPlan { from: Some(9_999), ..ReplayPlan::default() }]
    {
        assert!(said(plan).contains("its records are 1 to 61"));
    }
    assert!(said(from_until(9, 8)).contains("comes before the first"));
    // The cap has taken the first file away.
    fs::remove_file(&files(dir.path())[0]).unwrap();
    let gone = said(from_until(1, 61));
    assert!(gone.contains("no record 1: ") && gone.contains("went with older files"), "{gone}");
    let first: u64 = gone.split("its records are ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert_eq!(part(dir.path(), until(Until::Record(61))).unwrap().events, 62 - first);
    assert_eq!(part(dir.path(), from_until(first - 1, first)).unwrap().events, 1);
}

#[test]
fn runs_are_counted_and_a_record_belongs_to_the_last_unless_one_is_named() {
    let dir = tempfile::tempdir().unwrap();
    for (wall, steps) in [(1_000, 20), (50_000, 30), (90_000, 2)] {
        let mut run = Run::begin_at(dir.path(), SMALL, wall);
        run.steps(steps);
        run.end();
    }
    let all = part(dir.path(), ReplayPlan::default()).unwrap();
    assert_eq!((all.events, all.runs, all.run), (55, 3, 3));
    let one = |run, plan: ReplayPlan| part(dir.path(), ReplayPlan { run, ..plan });
    let second = one(Some(2), ReplayPlan::default()).unwrap();
    assert_eq!((second.events, second.runs, second.run), (31, 1, 2));
    assert_eq!(one(None, until(Until::Record(3))).unwrap().run, 3);
    assert_eq!(one(Some(1), from_until(17, 18)).unwrap().last.unwrap().0, 18);
    for number in [0, 4, u64::MAX] {
        let said = one(Some(number), ReplayPlan::default()).unwrap_err().to_string();
        assert!(said.contains(&format!("no run {number}")) && said.contains("runs 1 to 3"), "{said}");
    }
    // Steps are 10 ms apart. A time belongs to the run that had begun by then.
    let at = |wall| one(None, until(Until::Wall(wall))).unwrap();
    assert_eq!((at(1_055).run, at(1_055).events, at(1_055).stopped), (1, 5, true));
    assert_eq!((at(49_999).run, at(49_999).events, at(49_999).stopped), (1, 21, false));
    assert_eq!((at(50_050).run, at(50_050).events), (2, 5));
    assert!(matches!(one(None, until(Until::Wall(999))), Err(JournalError::TooEarly { run: 1, begins: 1_000, .. })));
    assert!(matches!(one(Some(3), until(Until::Wall(50_000))), Err(JournalError::TooEarly { run: 3, .. })));
    assert_eq!(one(Some(2), until(Until::Mono(100))).unwrap().events, 10);
}

#[test]
fn a_torn_end_is_left_out_of_a_search_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::begin(dir.path(), Limits { segment: 1 << 30, ..SMALL });
    run.steps(20);
    drop(run);
    let file = &files(dir.path())[0];
    let text = fs::read_to_string(file).unwrap();
    let last = text.trim_end().rfind('\n').unwrap() + 1;
    assert!(text[last..].starts_with("{\"n\":21,"));
    for cut in [last + 3, last + 9, text.len() - 1] {
        fs::write(file, &text[..cut]).unwrap();
        let near = part(dir.path(), from_until(20, 20)).unwrap();
        assert_eq!((near.from, near.events, near.torn.len()), (Some(20), 0, 1));
        assert!(part(dir.path(), from_until(21, 21)).is_err());
    }
    // A mark that is torn is none: what it would have held is run.
    let mark = text.rfind("{\"mark\":20,").unwrap();
    fs::write(file, &text[..mark + 30]).unwrap();
    assert_eq!(part(dir.path(), from_until(20, 20)).unwrap().from, Some(15));
}

#[test]
fn a_file_that_could_not_be_written_to_its_end_is_left_out_and_can_be_run_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    Run::begin(dir.path(), SMALL).end();
    let mut run = Run::begin(dir.path(), ROOMY);
    run.steps(5);
    let last = run.journal.path().to_owned();
    run.journal.give_up("write", &last, &std::io::Error::other("full"));
    let all = replay_path(dir.path()).unwrap();
    let broken = last.with_extension(BROKEN);
    assert_eq!((all.runs, all.events, all.broken), (1, 1, vec![broken.clone()]));
    let alone = replay_path(&broken).unwrap();
    assert_eq!((alone.events, alone.broken.len()), (6, 0));
}

#[test]
fn a_missing_file_in_the_middle_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::begin(dir.path(), SMALL);
    run.steps(200);
    run.end();
    let all = files(dir.path());
    fs::remove_file(&all[1]).unwrap();
    let said = replay_path(dir.path()).unwrap_err().to_string();
    assert!(said.contains("000002.jsonl is missing") && said.contains("000003.jsonl"), "{said}");
    assert!(replay_path(&all[2]).is_ok(), "a file by itself");
}

#[test]
fn a_difference_is_named_by_its_file_and_line_wherever_the_replay_began() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::begin(dir.path(), ROOMIER);
    let mut lies = Vec::new();
    let mut number = 1;
    for _ in 0..12 {
        run.steps(7);
        number += 7;
        // A mark may have been written behind this step already: what is said after it is sealed by the next record.
        run.step(Event::Wake);
        number += 1;
        run.lie();
        let here = (run.journal.path().to_owned(), number);
        lies.push(here);
    }
    run.steps(3);
    drop(run);
    let line_of = |file: &Path, number: u64| {
        let text = fs::read_to_string(file).unwrap();
        let head = format!("{{\"n\":{number},");
        text.lines().position(|line| line.starts_with(&head)).map(|at| at as u64 + 1)
    };
    let relaxed = ReplayPlan { relaxed: true, keep: 100, ..ReplayPlan::default() };
    let found = part(dir.path(), relaxed.clone()).unwrap();
    assert!(found.differences >= 4, "{}", found.differences);
    assert_eq!(found.differences, found.found.len() as u64);
    let near = part(dir.path(), ReplayPlan { from: Some(lies[9].1), ..relaxed.clone() }).unwrap();
    assert!(near.from.is_some_and(|from| from > 40) && near.differences > 0);
    for found in found.found.iter().chain(&near.found) {
        assert_eq!(line_of(&found.file, found.what.number), Some(found.what.line), "{found:?}");
        assert!(lies.iter().any(|(_, number)| *number == found.what.number), "{found:?}");
        assert_eq!((found.what.recorded.as_str(), found.what.today.as_str()), ("disconnect(c7)", ""));
    }
    let few = part(dir.path(), ReplayPlan { keep: 2, ..relaxed }).unwrap();
    assert_eq!((few.differences, few.found.len()), (found.differences, 2));
    // Strictly, the first of them is an error; up to the record before it, nothing is wrong.
    let JournalError::Differs { path, difference, .. } = replay_path(dir.path()).unwrap_err() else { panic!() };
    let first = &found.found[0];
    assert_eq!((&path, difference.line, difference.number), (&first.file, first.what.line, first.what.number));
    let up_to = |number| part(dir.path(), until(Until::Record(number)));
    assert!(up_to(first.what.number - 1).is_ok());
    assert!(up_to(first.what.number).is_err(), "its effects are sealed by the record that is not run any more");
}

#[test]
fn damage_behind_a_mark_is_named_by_its_line_in_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::begin(dir.path(), Limits { segment: 1 << 30, ..SMALL });
    run.steps(40);
    run.end();
    let file = &files(dir.path())[0];
    let whole = fs::read(file).unwrap();
    let text = String::from_utf8(whole.clone()).unwrap();
    let at = text.find("fault 37").unwrap();
    let line = text[..at].lines().count() as u64;
    for wrong in [b'X', 0xff] {
        let mut changed = whole.clone();
        changed[at] = wrong;
        fs::write(file, changed).unwrap();
        let error = part(dir.path(), from_until(37, 41)).unwrap_err();
        let JournalError::Damaged { line: named, .. } = error else { panic!("{error}") };
        assert_eq!(named, line);
        assert!(part(dir.path(), from_until(30, 37)).is_ok(), "what comes before it is sound");
    }
    // Where the search meets what is no line, it says so.
    fs::write(file, text.replace("{\"n\":", "{\"m\":")).unwrap();
    assert!(matches!(part(dir.path(), from_until(37, 41)), Err(JournalError::Damaged { .. })));
}

#[test]
fn a_what_if_begins_at_the_mark_before_its_first_change() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::begin(dir.path(), SMALL);
    run.steps(100);
    run.end();
    let what_if = |text: &str| {
        let plan = ReplayPlan { what_if: Some(Changes::parse(text).unwrap()), keep: 10, ..ReplayPlan::default() };
        part(dir.path(), plan)
    };
    let quit = r#"{"change":73,"event":{"Order":{"Signal":"Quit"}}}"#;
    let changed = what_if(quit).unwrap();
    assert!(
        changed.from.is_some_and(|from| (65..=72).contains(&from)) && changed.differences == 0,
        "{:?}",
        changed.from
    );
    let otherwise = changed.what_if.unwrap();
    let first = &otherwise.found[0].what;
    assert_eq!((first.number, first.how), (73, relay_runner_core::journal::How::Changed));
    let text = fs::read_to_string(&otherwise.found[0].file).unwrap();
    let line = text.lines().nth(usize::try_from(first.line).unwrap() - 1).unwrap();
    assert!(line.starts_with("{\"n\":73,"), "{line}");
    assert!(otherwise.core.unwrap().view().ending.is_some() && changed.core.unwrap().view().ending.is_none());
    // The core of a connection that never was is the same without its report.
    let dropped = what_if("{\"drop\":73}").unwrap();
    assert_eq!(dropped.what_if.unwrap().departures, 0);
    for (wrong, why) in [
        ("{\"drop\":102}", "line 1: record 102 is not among those that are run"),
        ("\n{\"after\":50,\"ms\":11,\"event\":\"Wake\"}", "line 2: 11 ms after record 50 is later than the next one"),
    ] {
        let said = what_if(wrong).unwrap_err().to_string();
        assert!(said.starts_with(why), "{said}");
    }
    let beyond = ReplayPlan { what_if: Some(Changes::parse(quit).unwrap()), ..until(Until::Record(72)) };
    assert!(part(dir.path(), beyond).unwrap_err().to_string().contains("record 73 is not among"));
    let before = ReplayPlan { what_if: Some(Changes::parse(quit).unwrap()), from: Some(90), ..ReplayPlan::default() };
    assert!(part(dir.path(), before).unwrap_err().to_string().contains("record 73 is not among"));
}
