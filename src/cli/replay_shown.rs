//! What `replay` says of what it found, for people and for programs.

use super::ago::seconds;
use super::failure::Failure;
use super::state_shown::StateShown;
use super::{moment, say};
use relay_runner_core::journal::{Departure, Difference, said};
use relay_runner_core::{Core, Event};
use relay_runner_shell::journal::{Found, Otherwise, Replayed};
use serde_json::{Map, Value, json};

/// At most so many things that are different at the end of two runs are listed.
const DIFFERENT: usize = 40;
/// Of an event in a list.
const EVENT: usize = 160;

/// What was asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) relaxed: bool,
    /// A part of the journal, or a look at one place of it.
    pub(super) place: bool,
    pub(super) state: bool,
}

pub(super) fn json(replayed: &Replayed, asked: Asked) -> Result<(), Failure> {
    let (last, at) = replayed.last.unzip();
    let mut said = json!({
        "replaysExactly": replayed.differences == 0,
        "mode": if replayed.what_if.is_some() { "what-if" } else if asked.relaxed { "relaxed" } else { "strict" },
        "events": replayed.events,
        "runs": replayed.runs,
        "files": replayed.segments,
        "torn": replayed.torn,
        "broken": replayed.broken,
        "run": replayed.run,
        "fromMark": replayed.from,
        "last": last.map(|number| json!({"record": number, "at": at})),
        "stopped": replayed.stopped,
        "differences": {
            "count": replayed.differences,
            "listed": replayed.found.iter().map(difference).collect::<Vec<_>>(),
        },
        "seconds": replayed.elapsed.as_secs_f64(),
        "eventsPerSecond": speed(replayed),
    });
    if asked.state || replayed.what_if.is_some() {
        said["state"] = view(replayed.core.as_ref())?;
    }
    if let Some(otherwise) = &replayed.what_if {
        said["whatIf"] = json!({
            "departures": otherwise.departures,
            "listed": otherwise.found.iter().map(departure).collect::<Vec<_>>(),
            "woken": otherwise.woken,
            "state": view(otherwise.core.as_ref())?,
        });
    }
    say::json(&said)
}

fn difference(found: &Found<Difference>) -> Value {
    let Difference { line, number, at, event, what: _, recorded, today } = &found.what;
    json!({"file": found.file, "line": line, "record": number, "at": at, "event": event, "recorded": recorded, "today": today})
}

fn departure(found: &Found<Departure>) -> Value {
    let Departure { line, number, at, how, event, recorded, instead } = &found.what;
    json!({
        "file": found.file, "line": line, "record": number, "at": at, "how": how.as_str(), "event": event,
        "recorded": recorded, "instead": instead,
    })
}

pub(super) fn words(replayed: &Replayed, asked: Asked) -> Result<(), Failure> {
    for file in &replayed.torn {
        say::line(format_args!(
            "{}: its last line was torn (everything ended while it was written) and is left out",
            file.display()
        ))?;
    }
    for file in &replayed.broken {
        say::line(format_args!(
            "{}: it could not be written to its end, and is left out; name it to run what it has",
            file.display()
        ))?;
    }
    let how = match replayed.differences {
        0 => "replays exactly".to_owned(),
        n => format!("replays with {}", counted(n, "difference")),
    };
    say::line(format_args!(
        "{how}: {} in {}, {} ({} events/s)",
        counted(replayed.events, "event"),
        counted(replayed.runs, "run"),
        counted(replayed.segments, "file"),
        speed(replayed),
    ))?;
    if asked.place || replayed.what_if.is_some() {
        say::line(place(replayed))?;
    }
    differences(replayed)?;
    if let Some(otherwise) = &replayed.what_if {
        departures(replayed, otherwise)?;
    }
    if asked.state {
        let run = replayed.run;
        if let Some(core) = &replayed.core {
            state(core, &format!("run {run} of the journal"))?;
        }
        if let Some(core) = replayed.what_if.as_ref().and_then(|otherwise| otherwise.core.as_ref()) {
            state(core, &format!("run {run} of the journal, with the changes"))?;
        }
    }
    Ok(())
}

fn state(core: &Core, from: &str) -> Result<(), Failure> {
    let now = core.now().wall;
    let runner = format!("{from}, at {}", moment::shown(now));
    StateShown::of(&say::plain(core.view().agent_id), &runner, now).print(&view(Some(core))?)
}

/// Which part of the journal it was.
fn place(replayed: &Replayed) -> String {
    let begin = match replayed.from {
        Some(record) => format!("from the mark behind record {record}"),
        None => "from its beginning".to_owned(),
    };
    let end = match replayed.last {
        Some((number, at)) => {
            let end = if replayed.stopped { "" } else { ", its last" };
            format!("to record {number}{end}: {}, {} s into the run", moment::shown(at.wall), seconds(at.mono))
        }
        None => "without any event".to_owned(),
    };
    format!("run {}, {begin} {end}", replayed.run)
}

fn differences(replayed: &Replayed) -> Result<(), Failure> {
    for Found { file, what } in &replayed.found {
        let text = Difference { event: None, ..what.clone() }.to_string();
        let mut lines = text.lines();
        say::line(format_args!("{}, {}", file.display(), lines.next().unwrap_or_default()))?;
        event(what.event.as_deref())?;
        for line in lines {
            say::line(say::plain(line))?;
        }
    }
    more(replayed.differences, replayed.found.len())
}

fn departures(replayed: &Replayed, otherwise: &Otherwise) -> Result<(), Failure> {
    if replayed.differences > 0 {
        say::line("This program departs from the record by itself; what follows compares two runs of this program.")?;
    }
    let woken = match otherwise.woken {
        0 => String::new(),
        n => format!("; the changed run was woken {}", times(n)),
    };
    let count = counted(otherwise.departures, "departure");
    say::line(format_args!("with the changes: {count} from the run as it was{woken}"))?;
    for Found { file, what } in &otherwise.found {
        let Departure { line, number, at, how, recorded, instead, .. } = what;
        let place = format!("{}, line {line}: record {number}", file.display());
        let how = match how.as_str() {
            "recorded" => String::new(),
            "inserted" | "woken" => format!(", then {}", how.as_str()),
            how => format!(", {how}"),
        };
        say::line(format_args!("{place}{how}, at {} ms", at.mono))?;
        event(what.event.as_deref())?;
        say::line(format_args!("  recorded: {}", say::plain(said(recorded))))?;
        say::line(format_args!("  instead:  {}", say::plain(said(instead))))?;
    }
    more(otherwise.departures, otherwise.found.len())?;
    let mut different = Vec::new();
    // Without a change that lies within what was run, there is only one run.
    let as_it_was = view(replayed.core.as_ref())?;
    let changed = if otherwise.core.is_some() { view(otherwise.core.as_ref())? } else { as_it_was.clone() };
    compare("", &as_it_was, &changed, &mut different);
    if different.is_empty() {
        return say::line("Both end the same.");
    }
    say::line("At the end, as it was, and with the changes:")?;
    for (name, was, is) in different.iter().take(DIFFERENT) {
        say::line(format_args!("  {name}: {} -> {}", say::plain(was), say::plain(is)))?;
    }
    if let Some(rest) = different.len().checked_sub(DIFFERENT).filter(|rest| *rest > 0) {
        say::line(format_args!("  and {rest} more (--json has all of both)"))?;
    }
    Ok(())
}

fn event(event: Option<&Event>) -> Result<(), Failure> {
    let Some(event) = event else { return Ok(()) };
    let text = format!("{event:?}");
    let cut = if text.chars().count() > EVENT { "..." } else { "" };
    let text: String = text.chars().take(EVENT).collect();
    say::line(format_args!("  event:    {}{cut}", say::plain(&text)))
}

fn more(count: u64, listed: usize) -> Result<(), Failure> {
    match count.saturating_sub(listed as u64) {
        0 => Ok(()),
        rest => say::line(format_args!("and {rest} more (--show lists up to 1000)")),
    }
}

/// What two views have different, by the name of each field.
fn compare(name: &str, was: &Value, is: &Value, different: &mut Vec<(String, String, String)>) {
    match (was, is) {
        (Value::Object(was), Value::Object(is)) => {
            let both: Map<String, Value> = was.clone().into_iter().chain(is.clone()).collect();
            for key in both.keys() {
                let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                let of = |map: &Map<String, Value>| map.get(key).cloned().unwrap_or(Value::Null);
                compare(&name, &of(was), &of(is), different);
            }
        }
        (was, is) if was == is => {}
        (was, is) => different.push((name.to_owned(), was.to_string(), is.to_string())),
    }
}

fn view(core: Option<&Core>) -> Result<Value, Failure> {
    serde_json::to_value(core.map(Core::view))
        .map_err(|e| Failure::failed("output", format!("what the runner knew has no JSON form: {e}")))
}

fn counted(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

fn times(n: u64) -> String {
    if n == 1 { "once".to_owned() } else { format!("{n} times") }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a figure for people"
)]
fn speed(replayed: &Replayed) -> u64 {
    (replayed.events as f64 / replayed.elapsed.as_secs_f64().max(1e-6)) as u64
}
