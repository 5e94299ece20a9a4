//! Conversations by hand: what the real program was seen to say, and what it might.

#![expect(clippy::needless_pass_by_value, reason = "values are made where they are handed over")]

use super::*;
use relay_runner_core::event::{ReportStatus, TurnEnd};
use relay_runner_core::ids::Nonce;

const O1: OpId = OpId(1);
const O2: OpId = OpId(2);
const SEED: &str = "5eed5eed-0000-4000-8000-aaaaaaaaaaaa";

/// A session and what became of it so far.
struct Stage {
    session: Session,
    out: Vec<Out>,
}

fn offer(message: u64) -> TakenOffer {
    TakenOffer { message, nonce: Some(Nonce(u32::try_from(message).unwrap())) }
}

fn opening() -> Opening {
    Opening { generation: 2, conversation: "c".to_owned(), seed: SEED.to_owned(), allows_all: false }
}

/// The id of our message of this number.
fn uuid(number: u64) -> String {
    words::uuid(SEED, number)
}

/// What comes out, in a word or two: ids of messages are their numbers.
fn brief(out: &Out) -> String {
    let number =
        |id: &str| id.strip_prefix(&SEED[..24]).map_or(id.to_owned(), |n| n.trim_start_matches('0').to_owned());
    let messages = |offers: &[TakenOffer]| offers.iter().map(|o| o.message.to_string()).collect::<Vec<_>>().join("+");
    match out {
        Out::Say(value) => match value["type"].as_str().unwrap() {
            "control_request" => format!("call {}", value["request"]["subtype"].as_str().unwrap()),
            "control_response" => format!("respond {}", value["response"]["subtype"].as_str().unwrap()),
            _ => format!("write {}", value["message"]["content"].as_str().unwrap()),
        },
        Out::Report(report) => match report {
            ProviderReport::Status(status) => {
                let kind = status.reason.as_deref().map(|kind| format!("{kind} ")).unwrap_or_default();
                let id = number(status.id.as_deref().unwrap());
                let end = match (&status.status, &status.end) {
                    (ReportStatus::Busy, _) => "begins".to_owned(),
                    (_, TurnEnd::Normal) => "ends".to_owned(),
                    (_, TurnEnd::Failed { error }) => format!("fails: {error}"),
                    (_, TurnEnd::Interrupted { by_person: true }) => "interrupted by a person".to_owned(),
                    (_, TurnEnd::Interrupted { by_person: false }) => "interrupted".to_owned(),
                };
                let on = status.still_running.iter().map(|id| format!(", {id} goes on")).collect::<Vec<_>>().concat();
                format!("{kind}{id} {end}{on}")
            }
            ProviderReport::Taken { offers, into_turn: true } => format!("taken {}", messages(offers)),
            ProviderReport::Missed { offers } => format!("missed {}", messages(offers)),
            ProviderReport::SignOfLife => "lives".to_owned(),
            ProviderReport::ApprovalClosed { id } => format!("closed {id}"),
            ProviderReport::Conversation { id } => format!("conversation {id}"),
            ProviderReport::Context(context) => format!("context {}/{}", context.used, context.window),
            ProviderReport::Model { model, effort } => format!("model {model} {}", effort.as_deref().unwrap_or("-")),
            other => format!("{other:?}"),
        },
        Out::Opened { request, input } => {
            format!("opened {} {} {}", request.id, request.tool.as_deref().unwrap(), input.as_deref().unwrap_or("-"))
        }
        Out::Answer(op, OpResult::Failed(failure)) => format!("{} failed: {:?}", op.0, failure.kind),
        Out::Answer(op, OpResult::Ok) => format!("{} ok", op.0),
        Out::Answer(op, result) => format!("{} {result:?}", op.0),
        Out::Quiet => "quiet".to_owned(),
        Out::End { class, detail } => format!("end {class:?}: {detail}"),
        Out::Note { warns, .. } => if *warns { "warns" } else { "notes" }.to_owned(),
    }
}

impl Stage {
    fn new(opening: Opening) -> Self {
        let mut stage = Self { session: Session::new(opening), out: Vec::new() };
        stage.step(In::Started);
        stage
    }

    fn live() -> Self {
        Self::live_with(opening())
    }

    fn live_with(opening: Opening) -> Self {
        let mut stage = Self::new(opening);
        stage.reply(json!({"account": {"apiKeySource": "ANTHROPIC_API_KEY", "tokenSource": "none"}}));
        stage.reply(json!({"applied": {"model": "m", "effort": "low"}}));
        let told = ["call initialize", "call get_settings", "conversation c", "model m low", "Ready"];
        assert_eq!(stage.told(), told);
        stage
    }

    fn step(&mut self, input: In) {
        self.out.extend(self.session.step(input));
    }

    fn hear(&mut self, value: Value) {
        self.step(In::Heard(value));
    }

    fn ask(&mut self, op: OpId, ask: Ask) {
        self.step(In::Asked { op, ask });
    }

    fn offer(&mut self, message: u64) {
        self.ask(O1, Ask::Offer { offers: vec![offer(message)], text: format!("m{message}") });
        assert_eq!(self.told(), [format!("write m{message}"), "1 ok".to_owned()]);
    }

    /// Answers the last call.
    fn reply(&mut self, answer: Value) {
        let calls = |out: &Out| match out {
            Out::Say(value) if value["type"] == "control_request" => Some(value["request_id"].clone()),
            _ => None,
        };
        let id = self.out.iter().rev().find_map(calls).unwrap_or_else(|| panic!("no call: {:?}", self.out));
        let response = json!({"subtype": "success", "request_id": id, "response": answer});
        self.hear(json!({"type": "control_response", "response": response}));
    }

    /// Our message of this number got this far.
    fn is(&mut self, number: u64, state: &str) {
        self.hear(json!({"type": "command_lifecycle", "command_uuid": uuid(number), "state": state}));
    }

    fn system(&mut self, subtype: &str, mut more: Value) {
        more["type"] = "system".into();
        more["subtype"] = subtype.into();
        self.hear(more);
    }

    fn says(&mut self, tokens: u64) {
        let message = json!({"usage": {"input_tokens": tokens, "output_tokens": 1}});
        self.hear(json!({"type": "assistant", "message": message, "parent_tool_use_id": null}));
    }

    fn fails_with(&mut self, class: &str, kind: Value) {
        self.hear(json!({"type": "assistant", "is_api_error_message": true, "error": class, "api_error": kind,
            "message": {"usage": {}}}));
    }

    fn ends(&mut self, more: Value) {
        let mut result = json!({"type": "result", "subtype": "success", "is_error": false, "result": "words",
            "session_id": "c", "modelUsage": {"m": {"contextWindow": 1000}}});
        for (name, value) in more.as_object().unwrap() {
            result[name] = value.clone();
        }
        self.hear(result);
    }

    fn asks(&mut self, request: &str, agent: Value) {
        let asked =
            json!({"subtype": "can_use_tool", "tool_name": "Bash", "input": {"command": "x"}, "agent_id": agent});
        self.hear(json!({"type": "control_request", "request_id": request, "request": asked}));
    }

    /// What came out since the last look, in a word or two each.
    fn told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.out).iter().map(brief).collect()
    }
}

const ABORTED: &str = "aborted_tools";

fn aborted() -> Value {
    json!({"is_error": true, "subtype": "error_during_execution", "terminal_reason": ABORTED})
}

#[test]
fn a_message_is_taken_when_it_starts_and_never_before() {
    let mut stage = Stage::live();
    stage.offer(12);
    stage.is(1, "queued");
    assert_eq!(stage.told(), [""; 0]);
    stage.is(1, "started");
    assert_eq!(stage.told(), ["1 begins", "taken 12"]);
    stage.system("init", json!({"session_id": "c", "model": "m", "uuid": "i"}));
    stage.hear(json!({"type": "user", "isReplay": true, "uuid": uuid(1)}));
    assert_eq!(stage.told(), [""; 0]);
    stage.says(99);
    stage.ends(json!({}));
    assert_eq!(stage.told(), ["lives", "context 100/1000", "1 ends"]);
    stage.is(1, "completed");
    assert_eq!(stage.told(), [""; 0]);
}

#[test]
fn every_hand_over_has_an_id_of_its_own() {
    let mut stage = Stage::live();
    for _ in 0..2 {
        stage.ask(O1, Ask::Offer { offers: vec![offer(12)], text: "m12".to_owned() });
    }
    let ids: Vec<_> =
        stage.out.iter().filter_map(|out| if let Out::Say(v) = out { Some(&v["uuid"]) } else { None }).collect();
    assert_eq!(ids, [&json!(uuid(1)), &json!(uuid(2))]);
}

#[test]
fn what_joins_a_turn_is_taken_into_it() {
    let mut stage = Stage::live();
    stage.offer(1);
    stage.is(1, "started");
    stage.offer_in_turn(2);
    stage.is(2, "started");
    stage.is(2, "completed");
    stage.ends(json!({}));
    stage.is(1, "completed");
    assert_eq!(stage.told(), ["taken 2", "1 ends"]);
}

impl Stage {
    fn offer_in_turn(&mut self, message: u64) {
        self.told();
        self.offer(message);
    }
}

#[test]
fn what_waits_is_a_turn_of_its_own_after_the_end_and_after_an_interrupt() {
    for (end, said) in [(json!({}), "1 ends"), (aborted(), "1 interrupted by a person")] {
        let mut stage = Stage::live();
        stage.offer(1);
        stage.is(1, "started");
        stage.offer_in_turn(2);
        stage.is(2, "queued");
        stage.ends(end);
        stage.is(1, "cancelled");
        stage.is(2, "started");
        assert_eq!(stage.told(), [said, "2 begins", "taken 2"]);
    }
}

#[test]
fn what_is_dropped_before_it_starts_was_missed() {
    for state in ["cancelled", "discarded", "refused", "completed"] {
        let mut stage = Stage::live();
        stage.offer(1);
        stage.is(1, "started");
        stage.offer_in_turn(2);
        stage.is(2, state);
        stage.is(2, state);
        assert_eq!(stage.told(), ["missed 2"], "{state}");
    }
}

#[test]
fn an_interrupt_is_ours_and_cuts_what_is_about_to_begin() {
    let mut stage = Stage::live();
    stage.ask(O2, Ask::Interrupt);
    assert_eq!(stage.told(), ["2 ok"], "nothing runs");
    stage.offer(1);
    stage.ask(O2, Ask::Interrupt);
    assert_eq!(stage.told(), ["2 ok"]);
    stage.is(1, "started");
    assert_eq!(stage.told(), ["1 begins", "call interrupt", "taken 1"]);
    stage.ends(aborted());
    assert_eq!(stage.told(), ["1 interrupted"]);
    stage.is(1, "cancelled");
    stage.offer(2);
    stage.is(2, "started");
    assert_eq!(stage.told(), ["2 begins", "taken 2"], "the next one goes on");
    stage.ask(O2, Ask::Interrupt);
    stage.reply(json!({"still_queued": []}));
    assert_eq!(stage.told(), ["call interrupt", "2 ok"]);
}

#[test]
fn a_failed_turn_has_its_class_and_the_next_is_none_the_worse() {
    let mut stage = Stage::live();
    stage.offer(1);
    stage.is(1, "started");
    stage.told();
    stage.fails_with("server_error", Value::Null);
    stage.ends(json!({"is_error": true, "result": "API Error: 500"}));
    assert_eq!(stage.told(), ["lives", "1 fails: API Error: 500 (server_error)"]);
    stage.offer(2);
    stage.is(2, "started");
    stage.told();
    stage.ends(json!({"is_error": true, "subtype": "error_max_turns", "result": null, "errors": ["too many"]}));
    assert_eq!(stage.told(), ["2 fails: too many"]);
}

#[test]
fn a_usage_limit_and_refused_credentials_end_the_process_and_no_turn() {
    let begun = || {
        let mut stage = Stage::live();
        stage.offer(1);
        stage.is(1, "started");
        stage.hear(json!({"type": "rate_limit_event", "rate_limit_info": {"status": "rejected", "resetsAt": 7}}));
        stage.told();
        stage
    };
    let failed = json!({"is_error": true, "result": "no more"});
    let mut stage = begun();
    stage.fails_with("rate_limit", json!("usage_limit_reached"));
    stage.ends(failed.clone());
    let until = "end UsageLimit { until: Some(7000) }: the usage limit is reached: no more (usage_limit_reached)";
    assert_eq!(stage.told(), ["lives", until]);
    stage.is(1, "cancelled");
    stage.ends(json!({}));
    assert_eq!(stage.told(), [""; 0], "nothing counts any more");

    let mut stage = begun();
    stage.fails_with("authentication_failed", Value::Null);
    stage.ends(failed.clone());
    let told = stage.told();
    assert!(told[1].starts_with("end Refused: claude: no more (authentication_failed); log in with"), "{told:?}");

    // A subagent's failure is none of the turn's.
    let mut stage = begun();
    stage.hear(json!({"type": "assistant", "is_api_error_message": true, "error": "authentication_failed",
        "parent_tool_use_id": "t", "message": {}}));
    stage.ends(failed);
    assert_eq!(stage.told(), ["lives", "1 fails: no more"]);
}

#[test]
fn who_is_not_logged_in_is_refused_before_any_message() {
    for (account, logged_in) in [
        (json!({"tokenSource": "none", "apiProvider": "firstParty"}), false),
        (json!({"tokenSource": "none", "apiKeySource": "none"}), false),
        (json!({"tokenSource": "CLAUDE_CODE_OAUTH_TOKEN"}), true),
        (json!({"tokenSource": "none", "apiKeySource": "apiKeyHelper"}), true),
        (json!({"apiProvider": "bedrock"}), true),
        (Value::Null, true),
    ] {
        let mut stage = Stage::new(opening());
        stage.reply(json!({"account": account}));
        let told = stage.told();
        assert_eq!(told[1] == "call get_settings", logged_in, "{account}: {told:?}");
        assert_eq!(told[1].starts_with("end Refused: claude is not logged in"), !logged_in, "{account}: {told:?}");
    }
}

#[test]
fn where_the_conversation_is_gone_the_next_process_begins_anew() {
    let mut stage = Stage::new(opening());
    stage.ends(json!({"is_error": true, "result": null, "errors": ["No conversation found with session ID: c"]}));
    let told = stage.told();
    assert_eq!(told[..3], ["call initialize".to_owned(), format!("conversation {SEED}"), "warns".to_owned()]);
    assert!(told[3].starts_with("end Crash: claude did not start: No conversation found"), "{told:?}");
}

#[test]
fn permissions_are_opened_decided_and_withdrawn() {
    let mut stage = Stage::live();
    stage.offer(1);
    stage.is(1, "started");
    stage.told();
    stage.asks("r1", Value::Null);
    stage.asks("r2", json!("a subagent"));
    assert_eq!(stage.told(), ["opened g2-0 Bash x", "opened g2-1 Bash x"]);
    let decide = |approval: &str, decision| Ask::Decide { approval: approval.to_owned(), decision, reason: None };
    stage.ask(O2, decide("g2-0", Decision::Approve));
    let Out::Say(said) = &stage.out[0] else { panic!("{:?}", stage.out) };
    let answer = json!({"subtype": "success", "request_id": "r1", "response": {"behavior": "allow"}});
    assert_eq!(said, &json!({"type": "control_response", "response": answer}));
    assert_eq!(stage.told(), ["respond success", "2 ok"]);
    stage.ask(O2, decide("g2-0", Decision::Approve));
    assert_eq!(stage.told(), ["2 failed: NotFound"]);
    for request in ["r2", "unknown"] {
        stage.hear(json!({"type": "control_cancel_request", "request_id": request}));
    }
    assert_eq!(stage.told(), ["closed g2-1"]);

    // One of the turn goes with it; that of a subagent is asked for anew, as it outlives the turn. An abort is ours.
    stage.asks("r3", Value::Null);
    stage.asks("r4", Value::Null);
    stage.asks("r5", json!("a subagent"));
    stage.ask(O2, decide("g2-2", Decision::Abort));
    stage.told();
    stage.ends(aborted());
    assert_eq!(stage.told(), ["closed g2-3", "closed g2-4", "1 interrupted", "opened g2-5 Bash x"]);
    stage.ask(O2, decide("g2-5", Decision::Deny));
    assert_eq!(stage.told(), ["respond success", "2 ok"]);
}

#[test]
fn what_nobody_is_asked_is_answered_at_once() {
    let mut stage = Stage::live_with(Opening { allows_all: true, ..opening() });
    stage.asks("r1", Value::Null);
    assert_eq!(stage.told(), ["respond success"]);
    stage.hear(json!({"type": "control_request", "request_id": "r2", "request": {"subtype": "elicitation"}}));
    assert_eq!(stage.told(), ["warns", "respond error"]);
}

#[test]
fn subagents_are_shown_and_those_in_the_background_outlive_the_turn() {
    let mut stage = Stage::live();
    stage.offer(1);
    stage.is(1, "started");
    stage.told();
    let started = |task: &str, in_background: bool| json!({"task_id": task, "task_type": "local_agent", "subagent_type": "explorer", "is_backgrounded": in_background});
    stage.system("task_started", started("fore", false));
    stage.system("task_started", started("back", true));
    stage.system("task_started", started("moved", false));
    stage.system("task_started", json!({"task_id": "command", "task_type": "local_bash", "is_backgrounded": true}));
    assert_eq!(stage.told(), ["subagent fore begins", "subagent back begins", "subagent moved begins"]);
    stage.system("task_updated", json!({"task_id": "moved", "patch": {"is_backgrounded": true}}));
    stage.system("task_progress", json!({"task_id": "fore"}));
    stage.ends(json!({}));
    assert_eq!(stage.told(), ["lives", "1 ends, back goes on, moved goes on"]);
    stage.system("task_notification", json!({"task_id": "back", "status": "completed"}));
    stage.system("task_updated", json!({"task_id": "back", "patch": {"status": "completed"}}));
    stage.system("background_tasks_changed", json!({"tasks": [{"task_id": "command"}]}));
    assert_eq!(stage.told(), ["subagent back ends", "subagent moved ends"]);
    // A turn that begins by itself, without a message of ours.
    stage.system("init", json!({"session_id": "c", "model": "m", "uuid": "i"}));
    stage.ends(json!({"origin": {"kind": "task-notification"}}));
    assert_eq!(stage.told(), ["i begins", "i ends"]);
}

#[test]
fn commands_wait_for_the_end_of_the_turn_and_are_done_when_they_are() {
    let mut stage = Stage::live();
    stage.offer(1);
    stage.is(1, "started");
    stage.told();
    stage.ask(O1, Ask::Compact);
    stage.ask(O2, Ask::Clear);
    assert_eq!(stage.told(), [""; 0]);
    stage.ends(json!({}));
    assert_eq!(stage.told(), ["1 ends", "write /compact"]);
    stage.is(2, "started");
    stage.system("status", json!({"status": "compacting"}));
    stage.system("status", json!({"status": null, "compact_result": "success"}));
    stage.system("compact_boundary", json!({"compact_metadata": {"post_tokens": 40}}));
    let told = ["2 begins", "compaction compaction begins", "compaction compaction ends", "context 40/1000"];
    assert_eq!(stage.told(), told);
    stage.ends(json!({}));
    assert_eq!(stage.told(), ["1 ok", "2 ends", "write /clear"]);
    stage.is(3, "started");
    stage.hear(json!({"type": "conversation_reset", "new_conversation_id": "another"}));
    stage.ends(json!({"session_id": "d"}));
    let done = "2 Said(\"{\\\"conversation\\\":\\\"d\\\"}\")";
    assert_eq!(stage.told(), ["3 begins", "conversation d", done, "3 ends"]);
}

#[test]
fn a_command_that_did_nothing_has_failed() {
    for (end, last) in [(json!({}), "1 ends"), (aborted(), "1 interrupted by a person")] {
        let mut stage = Stage::live();
        stage.ask(O1, Ask::Compact);
        stage.is(1, "started");
        stage.told();
        stage.ends(end);
        assert_eq!(stage.told(), ["1 failed: Provider", last]);
    }
    let mut stage = Stage::live();
    stage.ask(O1, Ask::Clear);
    stage.is(1, "cancelled");
    assert_eq!(stage.told(), ["write /clear", "1 failed: Provider"]);
}

#[test]
fn what_is_told_is_no_turn() {
    let mut stage = Stage::live();
    stage.ask(O1, Ask::Tell { text: "/clear".to_owned() });
    let Out::Say(said) = &stage.out[0] else { panic!("{:?}", stage.out) };
    assert_eq!((&said["shouldQuery"], &said["message"]["content"]), (&json!(false), &json!("To be known:\n/clear")));
    assert_eq!(stage.told(), ["write To be known:\n/clear", "1 ok"]);
    stage.is(1, "started");
    stage.system("init", json!({"session_id": "c", "model": "m", "uuid": "i"}));
    stage.ends(json!({}));
    stage.is(1, "completed");
    assert_eq!(stage.told(), [""; 0]);
    // In a turn it joins that, or waits for its end.
    stage.offer(1);
    stage.is(2, "started");
    stage.ask(O1, Ask::Tell { text: "x".to_owned() });
    stage.is(3, "started");
    stage.ends(json!({}));
    assert_eq!(stage.told(), ["2 begins", "taken 1", "write x", "1 ok", "2 ends"]);
}

#[test]
fn what_is_tried_again_shows_that_the_turn_lives() {
    let mut stage = Stage::live();
    stage.offer(1);
    stage.is(1, "started");
    stage.told();
    for attempt in 1..=5 {
        stage.system(
            "api_retry",
            json!({"attempt": attempt, "max_retries": 10, "retry_delay_ms": 500, "error": "overloaded"}),
        );
    }
    let told = stage.told();
    assert_eq!(told.iter().filter(|said| *said == "lives").count(), 5);
    assert_eq!(told.iter().filter(|said| *said == "warns").count(), 3, "the first, the second and the fourth");
}

#[test]
fn a_probe_asks_the_program_and_knows_whether_it_works() {
    let mut stage = Stage::live();
    stage.ask(O1, Ask::Probe);
    stage.reply(json!({}));
    assert_eq!(stage.told(), ["call get_session_cost", "1 failed: Provider"]);
    stage.offer(1);
    stage.is(1, "started");
    stage.told();
    stage.ask(O1, Ask::Probe);
    assert!(stage.session.awaits_an_answer());
    stage.reply(json!({}));
    assert_eq!(stage.told(), ["call get_session_cost", "1 ok"]);
}

#[test]
fn a_stop_interrupts_what_runs_and_what_follows_and_is_quiet_then() {
    let mut stage = Stage::live();
    stage.step(In::Stopping);
    stage.step(In::Stopping);
    assert_eq!(stage.told(), ["quiet"]);

    let mut stage = Stage::live();
    stage.offer(1);
    stage.is(1, "started");
    stage.offer_in_turn(2);
    stage.step(In::Stopping);
    assert_eq!(stage.told(), ["call interrupt"]);
    stage.ask(O2, Ask::Probe);
    assert_eq!(stage.told(), ["2 failed: NotReady"]);
    stage.ends(aborted());
    stage.is(2, "started");
    assert_eq!(stage.told(), ["1 interrupted", "2 begins", "call interrupt", "taken 2"]);
    stage.ends(aborted());
    assert_eq!(stage.told(), ["2 interrupted", "quiet"]);
}

#[test]
fn the_end_answers_all_that_was_asked() {
    let mut stage = Stage::live();
    stage.ask(O1, Ask::Compact);
    stage.is(1, "started");
    stage.ask(O2, Ask::Probe);
    stage.ask(OpId(3), Ask::Clear);
    stage.told();
    stage.step(In::Over);
    stage.ask(OpId(4), Ask::Interrupt);
    let told = ["2 failed: Unreachable", "1 failed: Unreachable", "3 failed: NotReady", "4 failed: NotReady"];
    assert_eq!(stage.told(), told);
}

#[test]
fn nothing_is_asked_before_it_is_ready() {
    let mut stage = Stage::new(opening());
    stage.ask(O1, Ask::Prompt { text: "x".to_owned() });
    assert_eq!(stage.told(), ["call initialize", "1 failed: NotReady"]);
    assert_eq!(stage.session.waits_for(), Some("did not answer `initialize`"));
}

#[test]
fn what_cannot_be_read_is_reported_less_and_less_and_changes_nothing() {
    let mut stage = Stage::live();
    stage.offer(1);
    stage.is(1, "started");
    stage.told();
    for n in 0..1_000 {
        match n % 4 {
            0 => stage.step(In::Garbage { bytes: n }),
            1 => stage.hear(json!([n])),
            2 => stage.hear(json!({"type": "something new"})),
            _ => stage
                .hear(json!({"type": "control_response", "response": {"request_id": "rr-999", "subtype": "success"}})),
        }
    }
    let told = stage.told();
    assert!((8..30).contains(&told.len()) && told.iter().all(|said| said.starts_with("Malformed")), "{told:?}");
    stage.ends(json!({}));
    assert_eq!(stage.told(), ["1 ends"]);
}

/// Whatever it says in whatever order, the session goes on.
#[test]
fn ends_and_beginnings_that_do_not_fit_are_survived() {
    let mut stage = Stage::live();
    stage.ends(json!({}));
    stage.ends(json!({"is_error": true}));
    assert_eq!(stage.told(), ["warns"]);
    stage.is(7, "started");
    stage.system("compact_boundary", json!({}));
    stage.system("task_notification", json!({}));
    stage.system("background_tasks_changed", json!({"tasks": 3}));
    stage.says(5);
    assert_eq!(stage.told(), [""; 0]);
    stage.system("init", json!({}));
    stage.system("init", json!({"uuid": "i"}));
    stage.ends(json!({"session_id": "", "modelUsage": []}));
    assert_eq!(stage.told(), ["turn begins", "turn ends"]);
}
