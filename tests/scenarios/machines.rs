//! The machines' tables against the core itself: every state is brought about, every event is fed, and what becomes of
//! it must stand in the table.
//!
//! A table is wrong if the core does otherwise; so is a core. Where a pair has several rows, each is told apart by its
//! condition, and has a story of its own.

use relay_runner_core::machines::{ALL, Machine, Pair, Row, STAYS, Said};
use relay_runner_core::{OpId, OpResult, TimerKey, event::FailureKind};

use crate::story::Story;

mod approval;
mod boot;
mod claim;
mod command;
mod credential;
mod ending;
mod lifecycle;
mod link;
mod message;
mod prompt;
mod shown;

/// How a machine of the core is driven.
struct Driver {
    machine: &'static str,
    /// A story that stands in the case's state, ready for its event under its condition.
    brings: fn(&Case) -> Story,
    feeds: fn(&mut Story, &Case),
    state: fn(&Story) -> String,
    /// What the machine asks for, as parts of canonical text.
    asks: &'static [&'static str],
}

/// One row, or one ignored pair.
struct Case {
    state: &'static str,
    event: &'static str,
    /// The row's condition.
    note: &'static str,
}

const DRIVERS: [&Driver; 11] = [
    &boot::DRIVER,
    &link::DRIVER,
    &credential::CREDENTIAL,
    &credential::STANDING,
    &lifecycle::DRIVER,
    &prompt::DRIVER,
    &message::DRIVER,
    &claim::DRIVER,
    &command::DRIVER,
    &approval::DRIVER,
    &ending::DRIVER,
];

fn driver(machine: &Machine) -> &'static Driver {
    DRIVERS.into_iter().find(|driver| driver.machine == machine.name).expect("every machine has a driver")
}

/// What the core does otherwise than the table says about this pair; nothing when they agree.
fn differs(machine: &Machine, pair: Pair) -> Vec<String> {
    let driver = driver(machine);
    match machine.says(pair.state, pair.event) {
        Said::Nothing => vec![format!("{}: neither handled nor ignored", pair.name())],
        Said::Leads(rows) => rows.into_iter().filter_map(|row| row_differs(driver, pair, row)).collect(),
        Said::Ignored(_) => {
            let case = Case { state: pair.state, event: pair.event, note: "" };
            let (state, asked) = plays(driver, &case);
            let same = state == pair.state && asked.is_empty();
            let difference = || format!("{}: not ignored, but {state}, asking for {asked:?}", pair.name());
            (!same).then(difference).into_iter().collect()
        }
    }
}

fn row_differs(driver: &Driver, pair: Pair, row: &Row) -> Option<String> {
    let case = Case { state: pair.state, event: pair.event, note: row.note };
    let (state, asked) = plays(driver, &case);
    let to = if row.to == STAYS { pair.state } else { row.to };
    // What stays, asks for nothing and has no word about it would be ignored.
    let empty = row.to == STAYS && asked.is_empty() && row.note.is_empty();
    let difference = || format!("{} ({}): {state}, not {to}, asking for {asked:?}", pair.name(), row.note);
    (state != to || empty).then(difference)
}

/// The state that a case leads to, and what the machine asked for.
fn plays(driver: &Driver, case: &Case) -> (String, Vec<String>) {
    let mut story = (driver.brings)(case);
    let state = (driver.state)(&story);
    if state != case.state {
        return (format!("brought to {state}"), Vec::new());
    }
    let before = story.told.len();
    (driver.feeds)(&mut story, case);
    // Another run tells anew.
    let told = story.told.get(before..).unwrap_or(&story.told);
    let asked = told.iter().filter(|text| driver.asks.iter().any(|asks| text.contains(asks)));
    ((driver.state)(&story), asked.cloned().collect())
}

#[test]
fn the_core_does_what_its_tables_say() {
    let mut differences = Vec::new();
    for machine in ALL {
        for pair in machine.pairs() {
            differences.extend(differs(machine, pair));
        }
    }
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

/// Each row, wrong in one way, is found to be wrong.
#[test]
fn a_wrong_table_is_found() {
    for machine in ALL {
        for (at, row) in machine.rows.iter().enumerate() {
            let pairs = || machine.pairs().filter(|p| p.event == row.event && machine.lies_in(p.state, row.from));
            let is_found = |wrong: &Machine| pairs().any(|pair| !differs(wrong, pair).is_empty());
            assert!(is_found(&elsewhere(machine, row)), "{}: {row:?} elsewhere", machine.name);
            assert!(has_another(machine, row) || is_found(&missing(machine, at)), "{}: {row:?} missing", machine.name);
        }
    }
}

/// The row leads to another state.
fn elsewhere(machine: &Machine, row: &Row) -> Machine {
    let to = machine.leaves().map(|state| state.name).find(|name| ![row.to, row.from].contains(name));
    let rows = machine.rows.iter().map(|r| if r == row { Row { to: to.expect("two states"), ..*r } } else { *r });
    Machine { rows: rows.collect::<Vec<_>>().leak(), ..machine.clone() }
}

fn missing(machine: &Machine, at: usize) -> Machine {
    let rows = machine.rows.iter().enumerate().filter(|(n, _)| *n != at).map(|(_, row)| *row);
    Machine { rows: rows.collect::<Vec<_>>().leak(), ..machine.clone() }
}

/// A row that is left out is not missed where the pair has others: what they say is true.
fn has_another(machine: &Machine, row: &Row) -> bool {
    machine.rows.iter().filter(|r| r.from == row.from && r.event == row.event).count() > 1
}

// What the drivers share.

/// Lets time pass until this deadline is due. One that is not armed never comes.
fn due(story: &mut Story, key: TimerKey) {
    let at = story.core.view().deadlines.iter().find(|deadline| deadline.what == key).map(|deadline| deadline.at);
    if let Some(at) = at {
        story.after(at.saturating_sub(story.now.mono));
    }
}

/// The newest operation whose text holds `what`; one that never was, if there is none.
fn operation(story: &Story, what: &str) -> OpId {
    let text = story.told.iter().rev().find(|text| text.contains(what) && text.contains("(o"));
    let number = text.and_then(|text| text.split_once("(o")?.1.split([',', ')']).next()?.parse().ok());
    OpId(number.unwrap_or(u64::MAX))
}

fn answers(story: &mut Story, what: &str, result: OpResult) {
    let op = operation(story, what);
    story.answers(op, result);
}

fn fails(story: &mut Story, what: &str, kind: FailureKind) {
    let op = operation(story, what);
    story.fails(op, kind);
}
