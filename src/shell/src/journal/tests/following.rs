//! A journal that is followed while it is written.

use super::*;
use std::io::Write;

/// What a tail has told: runs as 0, events by their numbers.
fn told(tail: &mut Tail) -> Vec<u64> {
    let mut told = Vec::new();
    while let Some(followed) = tail.follow().unwrap() {
        told.push(match followed {
            Followed::Run { .. } => 0,
            Followed::Event { number, .. } => number,
            Followed::Panic { what, .. } => panic!("{what}"),
        });
    }
    told
}

fn all(path: &Path) -> Tail {
    Tail::open(path, Begin::Since(0)).unwrap()
}

#[test]
fn each_event_is_told_once_however_many_segments_and_runs_there_are() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::begin(dir.path(), SMALL);
    let mut tail = all(dir.path());
    let mut heard = told(&mut tail);
    for burst in [1, 40, 0, 3, 90] {
        run.steps(burst);
        heard.extend(told(&mut tail));
    }
    assert!(files(dir.path()).len() > 3, "it went over several segments");
    run.end();
    let mut again = Run::begin(dir.path(), SMALL);
    heard.extend(told(&mut tail));
    again.steps(2);
    heard.extend(told(&mut tail));
    let expected: Vec<u64> = (0..=135).chain(0..=3).collect();
    assert_eq!(heard, expected);
    assert_eq!(told(&mut all(dir.path())), expected, "and the same to whoever comes later");
    assert_eq!(tail.differences(), 0);
    assert_eq!(told(&mut all(&files(dir.path()).pop().unwrap())), [0, 1, 2, 3], "one file alone");
}

#[test]
fn notes_and_changes_are_those_of_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let _run = Run::begin(dir.path(), ROOMY);
    let mut tail = all(dir.path());
    assert!(matches!(tail.follow().unwrap(), Some(Followed::Run { program, .. }) if program == "0.0.0"));
    let Some(Followed::Event { number, at, event, .. }) = tail.follow().unwrap() else { panic!("an event") };
    assert_eq!((number, at, *event), (1, Stamp::new(10, 1_010), Event::Boot));
    assert!(tail.follow().unwrap().is_none());
}

#[test]
fn a_line_is_told_when_it_is_whole_and_a_torn_one_never() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::begin(dir.path(), ROOMY);
    run.steps(3);
    let path = files(dir.path()).remove(0);
    let whole = fs::read_to_string(&path).unwrap();
    let last = whole.trim_end().rfind('\n').unwrap() + 1;
    fs::write(&path, &whole[..last + 20]).unwrap();
    let mut tail = all(dir.path());
    assert_eq!(told(&mut tail), [0, 1, 2, 3]);
    let mut file = fs::File::options().append(true).open(&path).unwrap();
    file.write_all(&whole.as_bytes()[last + 20..whole.len() - 1]).unwrap();
    assert!(told(&mut tail).is_empty(), "its end is missing");
    file.write_all(b"\n").unwrap();
    assert_eq!(told(&mut tail), [4]);
    // The next one is torn by a power cut, and the next run begins behind it.
    file.write_all(b"{\"n\":5,\"at\":[").unwrap();
    let mut again = Run::begin(dir.path(), ROOMY);
    again.steps(1);
    assert_eq!(told(&mut tail), [0, 1, 2]);
}

#[test]
fn a_journal_that_was_moved_aside_is_followed_by_the_one_in_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::begin(dir.path(), SMALL);
    let mut tail = all(dir.path());
    run.steps(60);
    told(&mut tail);
    run.steps(1);
    move_aside(&folder(dir.path())).unwrap();
    assert_eq!(told(&mut tail), [62], "what was written last is still told");
    assert!(told(&mut tail).is_empty(), "nothing takes its place as yet");
    let mut fresh = Run::begin(dir.path(), SMALL);
    fresh.steps(1);
    assert_eq!(told(&mut tail), [0, 1, 2]);
    // A segment that could not be written to its end has another name, and is still read.
    fresh.steps(1);
    let path = files(dir.path()).remove(0);
    fs::rename(&path, path.with_extension(BROKEN)).unwrap();
    assert_eq!(told(&mut tail), [3]);
    assert!(told(&mut tail).is_empty());
    move_aside(&folder(dir.path())).unwrap();
    let _fresh = Run::begin(dir.path(), SMALL);
    assert_eq!(told(&mut tail), [0, 1]);
}

#[test]
fn one_may_begin_late_and_the_oldest_may_be_gone() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::begin(dir.path(), SMALL);
    run.steps(100);
    let mut late = Tail::open(dir.path(), Begin::Since(1_000 + 900)).unwrap();
    let heard = told(&mut late);
    assert!(heard[0] > 1 && heard[0] <= 90 && heard.last() == Some(&101), "{heard:?}");
    let mut last = Tail::open(dir.path(), Begin::Last(1)).unwrap();
    assert!(told(&mut last).len() < heard.len() + 20);
    fs::remove_file(files(dir.path()).remove(0)).unwrap();
    let heard = told(&mut all(dir.path()));
    assert!(heard[0] > 1 && heard.last() == Some(&101), "{heard:?}");
    assert!(Tail::open(&dir.path().join("nothing"), Begin::Since(0)).is_err());
}

#[test]
fn a_changed_line_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut run = Run::begin(dir.path(), ROOMY);
    run.steps(3);
    let path = files(dir.path()).remove(0);
    let text = fs::read_to_string(&path).unwrap().replace("fault 1", "fault 7");
    fs::write(&path, text).unwrap();
    let mut tail = all(dir.path());
    let damage = loop {
        match tail.follow() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it was not found"),
            Err(damage) => break damage,
        }
    };
    assert!(matches!(damage, JournalError::Damaged { line: 4, .. }), "{damage}");
}
