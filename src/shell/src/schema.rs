//! JSON Schema of what the control server takes and answers, and of the info file: hand-written, and held against real
//! answers by tests.

/// One document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schema {
    pub name: &'static str,
    /// Where it goes for.
    pub about: &'static str,
    /// JSON Schema, draft 2020-12.
    pub text: &'static str,
}

macro_rules! schema {
    ($name:literal, $about:literal) => {
        Schema { name: $name, about: $about, text: include_str!(concat!("control/schema/", $name, ".json")) }
    };
}

/// All of them.
pub const ALL: [Schema; 17] = [
    schema!("report", "POST /status"),
    schema!("report-answer", "what that answers"),
    schema!("permission", "POST /permission"),
    schema!("permission-answer", "what that answers"),
    schema!("hook-answer", "what POST /hook/{event} answers; it takes the hook's own JSON"),
    schema!("obligations", "GET /obligations"),
    schema!("token", "POST /token"),
    schema!("command", "POST /command"),
    schema!("command-answer", "what that answers when the command succeeded"),
    schema!("verbs", "POST /relay/{verb}: what each takes and answers, under $defs"),
    schema!("monitor-ack", "POST /monitor/ack"),
    schema!("state", "GET /state, and `status --json`"),
    schema!("why", "GET /why, and `why --json`"),
    schema!("event", "GET /events, the data of each event"),
    schema!("terminal", "GET /terminal"),
    schema!("info", "the info file, runner.json of the runner folder"),
    schema!("error", "what every path answers that refuses"),
];

/// The one of this name.
pub fn named(name: &str) -> Option<Schema> {
    ALL.into_iter().find(|schema| schema.name == name)
}
