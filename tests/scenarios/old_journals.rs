//! Journals of older programs: what their lines mean today, and that what their runs did not do yet is not done when
//! they are run again.

use relay_runner_core::flags::{Flag, Flags};
use relay_runner_core::journal::{Damage, KeptBodies, Line, Reader, Replay, ReplayError};

/// Written by the last program of schema 1: a run that was killed, and the next one, in which more approvals were asked
/// for than may be open.
const SCHEMA_1: &str = include_str!("recorded/schema-1.jsonl");

fn read(journal: &str) -> Vec<Line> {
    let mut reader = Reader::new();
    journal.lines().map(|line| reader.read(line).expect("a line of a journal")).collect()
}

#[test]
fn a_journal_of_schema_1_has_todays_shape_and_yesterdays_behaviour() {
    let lines = read(SCHEMA_1);
    let mut headers = 0;
    for line in &lines {
        match line {
            Line::Header(header) => {
                headers += 1;
                assert_eq!((header.schema, header.bodies), (1, KeptBodies::Hash));
                assert_eq!(header.config.flags, Flags::none());
            }
            Line::Mark { core, .. } => assert_eq!(core.config().flags, Flags::none()),
            Line::Record { .. } => {}
        }
    }
    assert_eq!(headers, 2);
    let mut replay = Replay::new();
    for line in lines {
        replay.take(line).unwrap();
    }
    assert_eq!(replay.into_core().unwrap().facts().settled.len(), 4);
}

/// Its hashes are of the text that was written.
#[test]
fn whatever_is_changed_in_a_journal_of_schema_1_is_found() {
    for (at, line) in SCHEMA_1.lines().enumerate().step_by(7) {
        let mut reader = Reader::new();
        SCHEMA_1.lines().take(at).for_each(|before| drop(reader.read(before).unwrap()));
        let changed = line.replacen('1', "2", 1);
        assert!(matches!(reader.read(&changed), Err(Damage::Changed { .. })), "{changed}");
        assert!(reader.read(line).is_ok());
    }
}

#[test]
fn with_a_flag_that_its_run_did_not_have_a_journal_shows_where_the_decisions_part() {
    let mut replay = Replay::new();
    let parted = read(SCHEMA_1).into_iter().find_map(|mut line| {
        if let Line::Header(header) = &mut line {
            header.config.flags = Flags::of(&[Flag::DeniesApprovalsBeyondTheLimit]);
        }
        replay.take(line).err()
    });
    let Some(ReplayError::Differs(difference)) = parted else { panic!("{parted:?}") };
    assert!(format!("{:?}", difference.event).contains("p65"), "{difference:?}");
    assert!(difference.today.contains("decide,p65,Deny") && difference.recorded.is_empty(), "{difference:?}");
}

#[test]
fn a_flag_of_a_newer_program_is_refused_as_such() {
    let header = include_str!("recorded/schema-1.jsonl").lines().next().unwrap();
    let newer = header.replacen("\"flags\":[]", "\"flags\":[1,4711]", 1);
    let refused = Reader::new().read(&newer).unwrap_err();
    assert_eq!(refused, Damage::NewerFlag { flag: 4711 });
    assert!(refused.to_string().contains("use that program"));
    // This program knows its own.
    let ours = format!("\"flags\":[{}]", Flag::DeniesApprovalsBeyondTheLimit.number());
    let refused = Reader::new().read(&header.replacen("\"flags\":[]", &ours, 1)).unwrap_err();
    assert!(matches!(refused, Damage::Changed { .. }), "{refused:?}");
}
