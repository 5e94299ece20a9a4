//! Every key of the configuration file, with its kind and bounds, its default, and what it means.

use super::config_keys::{
    AGENT_ID, ALLOW, APPROVAL, AUTOMATION, AUTOMATION_RUN, BODIES, BuiltIn, CAPS, CHANNELS, CLAUDE, CLAUDE_CAPS,
    CLAUDE_MODE, CLAUDE_TAGS, CLAUDE_TRANSCRIPT, CODEX, CODEX_CAPS, CODEX_TAGS, CODEX_TRANSCRIPT, COMMAND,
    COMMAND_CAPS, COMMAND_TAGS, CWD, DELIVER, EFFORT, EXPORT_TOKEN, Entry, FAIL_FAST, INFO_FILE, INHERIT, Kind, LABEL,
    LISTEN, LOG, MACHINE, MARK_READ, MODE, MODEL, Must, OFFERS, ON_GIVE_UP, POLICY, PROFILE, PROMPT, RELAY,
    RELAY_CONTEXT, SET, SPAWN_REQUEST, STATE_DIR, TAGS, TOKEN_FILE, WAIT_FOR_USAGE, WORKSPACE_MODE,
};
use super::given::{Key, setting};
use relay_runner_core::config::{Limits, Timing};
use relay_runner_core::time::{HOUR, MINUTE, Millis, SECOND};

/// In the order in which they are printed.
pub(super) const TABLE: [&[Entry]; 5] = [RUN, POLICY_KEYS, TIMING, LIMITS, AROUND];

const fn text(key: Key, kind: Kind, built_in: &'static str, about: &'static str) -> Entry {
    Entry { key, kind, built_in: BuiltIn::Text(built_in), about, is_live: false }
}

const fn none(key: Key, kind: Kind, means: &'static str, example: &'static str, about: &'static str) -> Entry {
    Entry { key, kind, built_in: BuiltIn::None { means, example }, about, is_live: false }
}

const fn switch(key: Key, built_in: bool, about: &'static str) -> Entry {
    Entry { key, kind: Kind::Switch, built_in: BuiltIn::Switch(built_in), about, is_live: false }
}

const fn list(key: Key, kind: Kind, built_in: &'static [&'static str], about: &'static str) -> Entry {
    Entry { key, kind, built_in: BuiltIn::List(built_in), about, is_live: false }
}

const fn live(entry: Entry) -> Entry {
    Entry { is_live: true, ..entry }
}

type Place = fn(&mut Timing) -> &mut Millis;

const fn span_of(key: Key, least: Millis, most: Millis, place: Place, about: &'static str) -> Entry {
    Entry { key, kind: Kind::Span { least, most }, built_in: BuiltIn::Timing(place), about, is_live: true }
}

/// With a least that keeps it from going round without end, and a day at most.
const fn span(path: &'static str, least: Millis, place: Place, about: &'static str) -> Entry {
    span_of(setting(path, "", ""), least, DAY, place, about)
}

const fn flagged(
    path: &'static str,
    flag: &'static str,
    variable: &'static str,
    place: Place,
    about: &'static str,
) -> Entry {
    span_of(setting(path, flag, variable), 0, DAY, place, about)
}

const fn count(path: &'static str, most: u64, place: BuiltIn, about: &'static str) -> Entry {
    Entry { key: setting(path, "", ""), kind: Kind::Count { least: 1, most }, built_in: place, about, is_live: false }
}

const fn size(path: &'static str, place: fn(&mut Limits) -> &mut usize, about: &'static str) -> Entry {
    count(path, MANY, BuiltIn::Size(place), about)
}

const DAY: Millis = 24 * HOUR;
/// No container serves anybody with more.
const MANY: u64 = 1_000_000;

const APPROVALS: &[&str] = &["open", "guarded", "read-only"];
const LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];

const RUN: &[Entry] = &[
    none(
        RELAY,
        Kind::Url,
        "the one on the default port, else one that the run serves itself",
        "\"http://127.0.0.1:4850\"",
        "The relay's URL.",
    ),
    none(
        TOKEN_FILE,
        Kind::Path(Must::BeFile),
        "no token",
        "\"token.txt\"",
        "A file with the relay's token, or the JSON of `relay-runner relay token`. AGENT_RELAY_TOKEN, the token itself, comes before it. The token never stands in here.",
    ),
    none(AGENT_ID, Kind::AgentId, "<provider>-<machine>", "\"a1\"", "Who the agent is on the relay."),
    none(LABEL, Kind::Text, "no label", "\"reviewer\"", "A name that it can be reached by as label:NAME."),
    list(
        TAGS,
        Kind::List,
        &[],
        "Tags. All places add to them, and the run adds its own: the provider's name, `headless`.",
    ),
    list(
        CAPS,
        Kind::List,
        &["chat"],
        "Capabilities. All places add to them; `chat` is only for where none says anything.",
    ),
    none(MACHINE, Kind::Text, "the host's name", "\"box-1\"", "What the relay shows as the machine."),
    none(CWD, Kind::Path(Must::BeFolder), "where the run is started", "\"~/work\"", "Where the provider works."),
    text(
        MODE,
        Kind::Word(&["headless", "interactive"]),
        "headless",
        "headless: without a person, a dead provider is started again; interactive: the run ends with its provider. [--headless, --interactive] [AGENT_RELAY_HEADLESS, AGENT_RELAY_INTERACTIVE]",
    ),
    none(PROMPT, Kind::Text, "none", "\"Say hello.\"", "Said to the provider first, once in the agent's life."),
    text(APPROVAL, Kind::Word(APPROVALS), "open", "What the provider may do by itself: open, guarded or read-only."),
    none(MODEL, Kind::Text, "the provider's own", "\"large\"", "The model's name."),
    none(EFFORT, Kind::Text, "the provider's own", "\"high\"", "The effort."),
    none(
        PROFILE,
        Kind::Text,
        "none",
        "\"reviewer\"",
        "The agent profile: a name among `relay-runner profile list`, or a path.",
    ),
    switch(
        RELAY_CONTEXT,
        true,
        "Whether messages to everybody, to its tags and to its capabilities are for the agent, and whether it is told about the relay.",
    ),
    none(
        STATE_DIR,
        Kind::Path(Must::Nothing),
        "$XDG_STATE_HOME/relay-runner/<agent>",
        "\"/var/lib/a1\"",
        "The agent's own folder: journal, lock, logs.",
    ),
    none(
        INFO_FILE,
        Kind::Path(Must::Nothing),
        "only in the runner folder",
        "\"/run/a1.json\"",
        "A second place for the info file.",
    ),
    text(
        BODIES,
        Kind::Word(&["none", "hash", "full"]),
        "hash",
        "What the journal keeps of the words of messages and commands: none, their hash, or full, in files beside it.",
    ),
    Entry {
        key: FAIL_FAST,
        kind: Kind::SwitchOrSpan,
        built_in: BuiltIn::Switch(false),
        is_live: false,
        about: "End with 69 when the relay cannot be reached at first. A span instead of true counts before timing.fail_fast.",
    },
    live(text(
        LOG,
        Kind::Word(LEVELS),
        "info",
        "How much a run says on standard error: off, error, warn, info, debug or trace. The variable takes filters as well.",
    )),
    none(CHANNELS, Kind::List, "all", "[\"general\"]", "Channels, passed through to the provider."),
    none(WORKSPACE_MODE, Kind::Text, "not said", "\"worktree\"", "Shown on the relay."),
    none(
        POLICY,
        Kind::Text,
        "not said",
        "\"reviews\"",
        "Shown on the relay, and given back with the outcome of commands.",
    ),
    none(SPAWN_REQUEST, Kind::Text, "not said", "\"s-1\"", "Likewise."),
    none(AUTOMATION, Kind::Text, "not said", "\"nightly\"", "Shown on the relay."),
    none(AUTOMATION_RUN, Kind::Text, "not said", "\"nightly-7\"", "Likewise."),
];

const POLICY_KEYS: &[Entry] = &[
    live(text(
        DELIVER,
        Kind::Word(&["queue", "steer", "interrupt"]),
        "queue",
        "A message that comes during a turn waits (queue), is handed over where the provider can (steer), or, when urgent, interrupts it (interrupt).",
    )),
    live(text(
        MARK_READ,
        Kind::Word(&["worked", "taken"]),
        "worked",
        "When a message is marked as read: once its turn has ended, or once the provider has it.",
    )),
    count(
        "delivery.max_claims",
        1_000,
        BuiltIn::Size(|l| &mut l.claims),
        "Claims held at a time; the rest is left to others.",
    ),
    count("delivery.batch", 1_000, BuiltIn::Size(|l| &mut l.batch), "Messages in one prompt."),
    count(
        "delivery.batch_bytes",
        16 << 20,
        BuiltIn::Bytes(|l| &mut l.batch_bytes),
        "Bytes of one prompt, counting what is shown of each message.",
    ),
    count(
        "delivery.tries",
        1_000,
        BuiltIn::Number(|l| &mut l.offer_tries),
        "Failed offers after which a message is set aside.",
    ),
    count(
        "delivery.failed_turns",
        1_000,
        BuiltIn::Number(|l| &mut l.failed_turns),
        "How often a message is offered again after a turn that failed.",
    ),
    live(text(
        ON_GIVE_UP,
        Kind::Word(&["exit", "park"]),
        "exit",
        "A provider that is given up ends the run with 70, or leaves the agent parked until `relay-runner restart`.",
    )),
    live(switch(WAIT_FOR_USAGE, true, "Wait for the end of a usage limit, without counting the exit.")),
    live(count(
        "restart.exits",
        63,
        BuiltIn::Size(|l| &mut l.restart_exits),
        "Exits within the window that are borne.",
    )),
    span(
        "restart.unit",
        0,
        |t| &mut t.restart_unit,
        "The wait before a restart: this times the exits within the window, and at least this.",
    ),
    span("restart.max", 0, |t| &mut t.restart_max, "The longest wait before a restart."),
    span("restart.window", SECOND, |t| &mut t.restart_window, "How long an exit counts."),
    span("restart.stable", 0, |t| &mut t.restart_stable, "A provider that lived this long is never given up."),
    span(
        "restart.usage_limit_max",
        SECOND,
        |t| &mut t.usage_limit_max,
        "A usage limit is waited for this long at a time at most.",
    ),
    span(
        "restart.usage_limit_retry_min",
        SECOND,
        |t| &mut t.usage_limit_retry_min,
        "The first wait for a usage limit whose end is not known, or has passed already; each further one is twice as long.",
    ),
    span("restart.usage_limit_retry_max", SECOND, |t| &mut t.usage_limit_retry_max, "The longest such wait."),
];

const TIMING: &[Entry] = &[
    flagged(
        "timing.drain",
        "--drain-timeout",
        "AGENT_RELAY_DRAIN_TIMEOUT",
        |t| &mut t.drain,
        "How long a running turn may go on after TERM.",
    ),
    flagged(
        "timing.shutdown",
        "--shutdown-timeout",
        "AGENT_RELAY_SHUTDOWN_TIMEOUT",
        |t| &mut t.shutdown,
        "How long stopping the provider may take, from asking to killing.",
    ),
    flagged(
        "timing.approval",
        "--approval-timeout",
        "AGENT_RELAY_APPROVAL_TIMEOUT",
        |t| &mut t.approval,
        "How long a permission request waits for a decision.",
    ),
    span(
        "timing.shutdown_command",
        0,
        |t| &mut t.shutdown_command,
        "The time-out of a shutdown command that names none.",
    ),
    span(
        "timing.shutdown_command_max",
        0,
        |t| &mut t.shutdown_command_max,
        "The longest time-out of a shutdown command.",
    ),
    span(
        "timing.final_reports",
        0,
        |t| &mut t.final_reports,
        "What is left at least for the last reports once the provider is gone.",
    ),
    span("timing.fail_fast", 0, |t| &mut t.fail_fast, "With fail_fast: how long the first registration may take."),
    span(
        "timing.start_without_relay",
        0,
        |t| &mut t.start_without_relay,
        "A headless provider is started without a relay after this.",
    ),
    span("timing.start", 1, |t| &mut t.start_timeout, "A provider that is not up by then is a failed start."),
    span("timing.first_prompt", 0, |t| &mut t.first_prompt, "How long the first prompt may hold up the first offer."),
    span("timing.heartbeat", SECOND, |t| &mut t.heartbeat, "Between two heartbeats, unless the relay says otherwise."),
    span("timing.liveness", SECOND, |t| &mut t.liveness, "Between two rounds of HTTP liveness."),
    span("timing.liveness_deadline", 1, |t| &mut t.liveness_deadline, "The deadline of a liveness call."),
    span("timing.call_deadline", 1, |t| &mut t.call_deadline, "The deadline of claims, renewals and reports."),
    span(
        "timing.shell_deadline",
        1,
        |t| &mut t.shell_deadline,
        "The deadline of what the runner does on this machine: control server, info file.",
    ),
    span(
        "timing.register_deadline",
        1,
        |t| &mut t.register_deadline,
        "How long the relay may take to answer a registration.",
    ),
    span(
        "timing.reconnect_min",
        10,
        |t| &mut t.reconnect_min,
        "The first wait before the bus is connected again; it doubles.",
    ),
    span("timing.reconnect_max", 10, |t| &mut t.reconnect_max, "The longest wait before the bus is connected again."),
    span(
        "timing.link_stable",
        0,
        |t| &mut t.link_stable,
        "A connection that held this long begins with the first wait again.",
    ),
    span("timing.offer_deadline", 1, |t| &mut t.offer_deadline, "Handing a batch to the provider."),
    span(
        "timing.take",
        1,
        |t| &mut t.take_timeout,
        "An offer that is not taken by then is ambiguous, or offered again.",
    ),
    span(
        "timing.ambiguous",
        1,
        |t| &mut t.ambiguous_limit,
        "After this the task of an ambiguous message is reported as blocked.",
    ),
    span(
        "timing.turn_grace",
        0,
        |t| &mut t.turn_grace,
        "How long the turn of a message that was taken may take to begin.",
    ),
    span("timing.turn_probe", SECOND, |t| &mut t.turn_probe, "A turn without a sign of life for this long is probed."),
    span(
        "timing.report_retry_min",
        10,
        |t| &mut t.report_retry_min,
        "The first wait before a report is sent again; it doubles.",
    ),
    span("timing.report_retry_max", 10, |t| &mut t.report_retry_max, "The longest wait before a report is sent again."),
    span(
        "timing.offer_retry_min",
        10,
        |t| &mut t.offer_retry_min,
        "The first wait before a failed offer is made again; it doubles.",
    ),
    span(
        "timing.offer_retry_max",
        10,
        |t| &mut t.offer_retry_max,
        "The longest wait before a failed offer is made again.",
    ),
    span("timing.renew_max", SECOND, |t| &mut t.renew_max, "Between two renewals of a claim at most."),
    span(
        "timing.claim_retry",
        10,
        |t| &mut t.claim_retry,
        "Between two questions for a claim that lapsed, or whose answer did not come.",
    ),
    span(
        "timing.adapter_deadline",
        1,
        |t| &mut t.adapter_deadline,
        "An operation of the provider: compact, clear, inject.",
    ),
    span("timing.attachments", 1, |t| &mut t.attachments, "Fetching the attachments of a message."),
    span(
        "timing.command_memory",
        MINUTE,
        |t| &mut t.command_memory,
        "How long the outcome of a command is remembered.",
    ),
    span("timing.log_repeat", 0, |t| &mut t.log_repeat, "The same trouble is said once in this span."),
    span_of(
        setting("timing.tick", "", ""),
        SECOND,
        15 * SECOND,
        |t| &mut t.tick,
        "The clocks are compared at least this often.",
    ),
];

const LIMITS: &[Entry] = &[
    size("limits.held", |l| &mut l.held, "Messages held; the rest stays unread on the relay."),
    count("limits.fetch", 1_000, BuiltIn::Number(|l| &mut l.fetch), "Messages asked for at a time."),
    size("limits.timeline", |l| &mut l.timeline, "Timeline entries that wait to be published."),
    size("limits.commands", |l| &mut l.commands, "Commands whose outcome is remembered."),
    size("limits.settled", |l| &mut l.settled, "Ids of settled and set-aside messages that are remembered."),
    size("limits.work", |l| &mut l.work, "Items that keep the agent busy."),
    size("limits.reports", |l| &mut l.reports, "Reports that wait for the relay."),
    size("limits.reports_under_way", |l| &mut l.reports_under_way, "Reports that are under way at a time."),
    size("limits.approvals", |l| &mut l.approvals, "Approvals that are open at a time."),
    size("limits.log_keys", |l| &mut l.log_keys, "Troubles of which it is remembered when they were last said."),
];

const AROUND: &[Entry] = &[
    text(
        INHERIT,
        Kind::Word(&["listed", "all"]),
        "listed",
        "Of the runner's own environment: what is listed in docs/configuration.md and in `allow`, or all of it. AGENT_RELAY_* is never inherited.",
    ),
    list(ALLOW, Kind::Names, &[], "Further variables that are passed on."),
    switch(EXPORT_TOKEN, true, "Whether the token stands in the provider's environment as AGENT_RELAY_TOKEN."),
    none(
        SET,
        Kind::Variables,
        "nothing",
        "{ EDITOR = \"vi\" }",
        "Variables that are set, unless the profile turns host globals off. Their values are never shown.",
    ),
    none(
        COMMAND,
        Kind::Command,
        "the command behind --",
        "[\"./agent.sh\", \"--fast\"]",
        "What `run command` starts where nothing stands behind --. A name without a slash is looked for in PATH.",
    ),
    list(COMMAND_TAGS, Kind::List, &[], "Tags that every agent of this provider has besides."),
    list(COMMAND_CAPS, Kind::List, &[], "Capabilities that every agent of this provider has besides."),
    switch(
        LISTEN,
        false,
        "The program listens on the unix socket AGENT_RELAY_COMMAND_SOCKET instead of using its pipes.",
    ),
    text(
        OFFERS,
        Kind::Word(&["stdin", "monitor"]),
        "stdin",
        "Where the program's messages go: to its standard input, or to the `relay-runner monitor` that runs beside it.",
    ),
    text(CODEX, Kind::Text, "codex", "The codex program. A name without a slash is looked for in PATH."),
    list(CODEX_TAGS, Kind::List, &[], "Tags that every agent of this provider has besides."),
    list(CODEX_CAPS, Kind::List, &[], "Capabilities that every agent of this provider has besides."),
    none(
        CODEX_TRANSCRIPT,
        Kind::Path(Must::Nothing),
        "none",
        "\"~/codex.transcript\"",
        "A file in which all that runner and codex say to each other is written down, with the words of messages: for reports of bugs. 64 MiB at most.",
    ),
    text(CLAUDE, Kind::Text, "claude", "The program of Claude Code. A name without a slash is looked for in PATH."),
    text(
        CLAUDE_MODE,
        Kind::Word(&["terminal", "stream"]),
        "terminal",
        "How Claude Code is run headless: in a tmux server of the runner's own, or as `claude -p` on pipes, which needs no tmux.",
    ),
    list(CLAUDE_TAGS, Kind::List, &[], "Tags that every agent of this provider has besides."),
    list(CLAUDE_CAPS, Kind::List, &[], "Capabilities that every agent of this provider has besides."),
    none(
        CLAUDE_TRANSCRIPT,
        Kind::Path(Must::Nothing),
        "none",
        "\"~/claude.transcript\"",
        "A file in which all that runner and Claude Code say to each other is written down, with the words of messages: for reports of bugs. 64 MiB at most.",
    ),
];
