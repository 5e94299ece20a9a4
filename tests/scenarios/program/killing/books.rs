//! The books of the relay and of the agent, held against each other and against what was sent.

use super::load::Sent;
use super::siege::Siege;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

/// One line of the agent's log.
#[derive(Debug, Clone)]
struct Note {
    message: u64,
    attempt: u64,
    what: String,
    pid: u64,
}

#[derive(Debug)]
pub(super) struct Books<'a> {
    siege: &'a Siege,
    notes: Vec<Note>,
}

impl<'a> Books<'a> {
    pub(super) fn of(siege: &'a Siege) -> Self {
        let note = |note: &Value| Note {
            message: note["message"].as_u64().unwrap(),
            attempt: note["attempt"].as_u64().unwrap(),
            what: note["what"].as_str().unwrap().to_owned(),
            pid: note["pid"].as_u64().unwrap(),
        };
        Self { siege, notes: siege.notes().iter().map(note).collect() }
    }

    /// Every message was finished by the agent, and is over for the relay.
    pub(super) fn nothing_is_lost(&self) {
        let finished: BTreeSet<u64> =
            self.notes.iter().filter(|note| note.what == "finished").map(|note| note.message).collect();
        for sent in &self.siege.sent {
            assert!(finished.contains(&sent.message), "never finished: {}", self.history(sent));
            let message = self.siege.world.get(&format!("/messages/{}", sent.message));
            assert_eq!(message["readBy"], serde_json::json!(["a1"]), "not read: {}", self.history(sent));
            assert_eq!(message["claimedBy"], Value::Null, "still claimed: {}", self.history(sent));
            self.stages_are_plausible(sent);
        }
        let sent: BTreeSet<u64> = self.siege.sent.iter().map(|sent| sent.message).collect();
        let strange: Vec<_> = self.notes.iter().filter(|note| !sent.contains(&note.message)).collect();
        assert!(strange.is_empty(), "nobody sent these: {strange:?}");
    }

    fn stages_are_plausible(&self, sent: &Sent) {
        let stages = self.siege.world.stages(sent.message);
        let times = |wanted: &str| stages.iter().filter(|(stage, _)| stage == wanted).count();
        // A stage that waits to be said is overtaken by the next one, so others may be missing.
        assert!(times("settled") <= 1 && times("worked") <= 1, "{}", self.history(sent));
        assert_eq!(times("setAside"), 0, "{}", self.history(sent));
        let attempts: Vec<u64> = stages.iter().map(|(_, attempt)| *attempt).collect();
        assert!(attempts.is_sorted(), "an earlier attempt comes later: {}", self.history(sent));
        let settled_last = stages.last().is_some_and(|(stage, _)| stage == "settled");
        assert!(settled_last || self.siege.relay_died, "{}", self.history(sent));
    }

    /// On the relay, and in what it told others.
    pub(super) fn tasks_ended_once(&self) {
        let mut ends: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        for event in self.events_of_tasks() {
            let status = event["status"].as_str().unwrap();
            if matches!(status, "done" | "failed") {
                ends.entry(event["taskId"].as_u64().unwrap()).or_default().push(status.to_owned());
            }
        }
        for sent in &self.siege.sent {
            if let Some(task) = sent.task {
                assert_eq!(self.siege.world.get(&format!("/tasks/{task}"))["status"], "done", "{}", self.history(sent));
                assert_eq!(ends.remove(&task), Some(vec!["done".to_owned()]), "{}", self.history(sent));
            }
        }
    }

    /// All that the relay ever told about tasks, from its first event on.
    fn events_of_tasks(&self) -> Vec<Value> {
        let newest = self.siege.world.get("/messages/cursor")["eventCursor"].as_u64().unwrap();
        let host = self.siege.world.url().strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(host).unwrap();
        write!(stream, "GET /api/events HTTP/1.1\r\nHost: {host}\r\nLast-Event-ID: 0\r\n\r\n").unwrap();
        let (mut id, mut events) = (0, Vec::new());
        let mut of_task = false;
        // An entry is its id, its name and its data, in this order, and the stream has no end.
        for line in BufReader::new(stream).lines().map(Result::unwrap) {
            if let Some(text) = line.strip_prefix("id: ") {
                id = text.parse().unwrap();
            } else if let Some(name) = line.strip_prefix("event: ") {
                assert_ne!(name, "gap", "the relay has forgotten events");
                of_task = name.starts_with("task.");
            } else if let Some(data) = line.strip_prefix("data: ") {
                if of_task {
                    events.push(serde_json::from_str(data).unwrap());
                }
                if id >= newest {
                    break;
                }
            }
        }
        events
    }

    /// The same process had everything, and had it once.
    pub(super) fn nothing_is_repeated(&self) {
        self.agents_were_at_most(1);
        for sent in &self.siege.sent {
            let begun = self.about(sent.message).filter(|note| note.what == "began").count();
            assert_eq!(begun, 1, "begun more than once: {}", self.history(sent));
        }
    }

    pub(super) fn agents_were_at_most(&self, most: usize) {
        let agents: BTreeSet<u64> = self.notes.iter().map(|note| note.pid).collect();
        assert!(agents.len() <= most, "agents: {agents:?}; {}", self.siege.world.log());
    }

    /// Whoever had a message that somebody may have had before was told so.
    pub(super) fn repeats_are_marked(&self) {
        for sent in &self.siege.sent {
            let attempts: Vec<u64> =
                self.about(sent.message).filter(|note| note.what == "began").map(|note| note.attempt).collect();
            assert!(attempts.is_sorted_by(|one, next| one < next), "a repeat without a mark: {}", self.history(sent));
        }
    }

    fn about(&self, message: u64) -> impl Iterator<Item = &Note> {
        self.notes.iter().filter(move |note| note.message == message)
    }

    /// All that is known of a message.
    fn history(&self, sent: &Sent) -> String {
        let world = &self.siege.world;
        let notes: Vec<_> = self.about(sent.message).collect();
        let message = world.get(&format!("/messages/{}", sent.message));
        let task = sent.task.map(|task| world.get(&format!("/tasks/{task}")));
        let stages = world.stages(sent.message);
        format!("{sent:?}\nagent: {notes:#?}\nrelay: {message}\n{task:?}\n{stages:?}")
    }
}
