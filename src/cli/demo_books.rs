//! What must hold of the demonstration's story, held against what the relay and the agent wrote down.

use super::books::Books;
use super::demo_story::Story;
use super::failure::Failure;
use super::send;
use relay_runner_protocol::message::Delivery;
use relay_runner_protocol::{Stage, Task, TaskStatus, http};
use serde_json::Value;
use std::path::Path;

/// Something that is claimed, and whether it is so.
pub(crate) type Check = (String, bool);

/// What the story sent to the agent.
pub(crate) struct Sent {
    pub(crate) messages: Vec<send::Sent>,
    pub(crate) task: send::Sent,
    pub(crate) task_id: u64,
}

pub(crate) async fn in_the_books(
    books: &Books,
    sent: &Sent,
    story: &Story<'_>,
    notes: &Path,
) -> Result<Vec<Check>, Failure> {
    let notes = read_notes(notes)?;
    let count_of =
        |message: u64, what: &str| notes.iter().filter(|n| n["message"] == message && n["what"] == what).count();
    let mut checks = Vec::new();
    for message in &sent.messages {
        let id = message.message;
        let stages: Vec<Delivery> = books.get(&http::message_part(id, "delivery")).await?;
        let once = count(&stages, Stage::Worked) == 1 && count(&stages, Stage::Settled) == 1;
        let worked = count_of(id, "began") == 1 && count_of(id, "finished") == 1;
        checks.push((format!("message {id} was worked on exactly once"), once && worked));
    }
    let id = sent.task.message;
    let stages: Vec<Delivery> = books.get(&http::message_part(id, "delivery")).await?;
    let task: Task = books.get(&http::task(sent.task_id)).await?;
    let second = stages.iter().any(|d| d.stage == Stage::Taken && d.attempt == 2);
    checks.push((
        format!("task {} was begun by the first process, and not finished by it", sent.task_id),
        count_of(id, "began") == 2 && story.pids.first().is_some_and(|pid| begun_only(&notes, id, *pid)),
    ));
    checks.push(("it was delivered a second time, and marked so".to_owned(), second && story.marked.contains(&id)));
    let once =
        count(&stages, Stage::Worked) == 1 && count(&stages, Stage::Settled) == 1 && count_of(id, "finished") == 1;
    checks.push(("it is done, exactly once".to_owned(), once && task.status == TaskStatus::Done));
    let generation = story.state["process"]["generation"].as_u64();
    checks.push(("the agent was restarted exactly once".to_owned(), generation == Some(2) && story.pids.len() == 2));
    Ok(checks)
}

fn count(stages: &[Delivery], stage: Stage) -> usize {
    stages.iter().filter(|d| d.stage == stage).count()
}

fn begun_only(notes: &[Value], message: u64, pid: u64) -> bool {
    let of: Vec<&str> = notes
        .iter()
        .filter(|n| n["message"] == message && n["pid"] == pid)
        .filter_map(|n| n["what"].as_str())
        .collect();
    of == ["began", "half done"]
}

/// What the agent noted of its work, oldest first.
pub(crate) fn read_notes(path: &Path) -> Result<Vec<Value>, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| Failure::failed("demo_notes", format!("cannot read the agent's notes {}: {e}", path.display())))?;
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}
