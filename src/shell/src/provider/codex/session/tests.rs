//! Conversations by hand: what the real program was seen to say, and what it might.

#![expect(clippy::needless_pass_by_value, reason = "values are made where they are handed over")]

use super::*;
use relay_runner_core::event::{ReportStatus, TurnEnd};
use relay_runner_core::ids::Nonce;

const O1: OpId = OpId(1);
const O2: OpId = OpId(2);

/// A session and what became of it so far.
struct Stage {
    session: Session,
    out: Vec<Out>,
}

fn offer(message: u64) -> TakenOffer {
    TakenOffer { message, nonce: Some(Nonce(u32::try_from(message).unwrap())) }
}

fn opening() -> Opening {
    Opening {
        generation: 2,
        cwd: "/w".to_owned(),
        model: None,
        effort: Some("low".to_owned()),
        approval: words::Approval::Guarded,
        instructions: Some("You are on a relay.".to_owned()),
        thread: None,
        in_doubt: None,
        skills: Vec::new(),
    }
}

impl Stage {
    fn new(opening: Opening) -> Self {
        Self { session: Session::new(opening), out: Vec::new() }
    }

    /// Live, in thread `t`, with nothing to look at any more.
    fn live() -> Self {
        let mut stage = Self::new(opening());
        stage.greet();
        stage.reply("thread/start", json!({"thread": {"id": "t"}, "model": "m", "reasoningEffort": "low"}));
        assert!(stage.reports().contains(&ProviderReport::Ready));
        stage
    }

    fn greet(&mut self) {
        self.step(In::Connected);
        self.reply("initialize", json!({"userAgent": "x"}));
        self.reply("account/read", json!({"account": null, "requiresOpenaiAuth": false}));
    }

    fn step(&mut self, input: In) {
        self.out.extend(self.session.step(input));
    }

    fn ask(&mut self, op: OpId, ask: Ask) {
        self.step(In::Asked { op, ask });
    }

    fn offer(&mut self, op: OpId, message: u64) {
        self.ask(op, Ask::Offer { offers: vec![offer(message)], text: format!("message {message}") });
    }

    fn hear(&mut self, method: &str, params: Value) {
        self.step(In::Heard(json!({"method": method, "params": params})));
    }

    /// The last call of this method: its id and parameters.
    fn said(&self, method: &str) -> Option<(Value, Value)> {
        let mut said = self.out.iter().rev();
        said.find_map(|out| match out {
            Out::Say(value) if value["method"] == method => Some((value["id"].clone(), value["params"].clone())),
            _ => None,
        })
    }

    fn reply(&mut self, method: &str, result: Value) -> Value {
        let (id, params) = self.said(method).unwrap_or_else(|| panic!("{method} was not called: {:?}", self.out));
        self.step(In::Heard(json!({"id": id, "result": result})));
        params
    }

    fn refuse(&mut self, method: &str, why: &str) {
        let (id, _) = self.said(method).unwrap_or_else(|| panic!("{method} was not called: {:?}", self.out));
        self.step(In::Heard(json!({"id": id, "error": {"code": -32600, "message": why}})));
    }

    fn turn(&mut self, id: &str) {
        self.hear("turn/started", json!({"threadId": "t", "turn": {"id": id, "status": "inProgress"}}));
    }

    fn shows(&mut self, turn: &str, client: &str) {
        let item = json!({"type": "userMessage", "id": "i", "clientId": client});
        self.hear("item/started", json!({"threadId": "t", "turnId": turn, "item": item}));
    }

    fn ends(&mut self, turn: &str, status: &str, error: Value) {
        let turn = json!({"id": turn, "status": status, "error": error});
        self.hear("turn/completed", json!({"threadId": "t", "turn": turn}));
    }

    /// What was reported since the last look.
    fn reports(&mut self) -> Vec<ProviderReport> {
        let out = std::mem::take(&mut self.out);
        out.into_iter().filter_map(|out| if let Out::Report(report) = out { Some(report) } else { None }).collect()
    }

    fn answers(&self) -> Vec<(OpId, &OpResult)> {
        self.out
            .iter()
            .filter_map(|out| if let Out::Answer(op, result) = out { Some((*op, result)) } else { None })
            .collect()
    }

    fn end(&self) -> Option<(&ExitClass, &str)> {
        self.out
            .iter()
            .find_map(|out| if let Out::End { class, detail } = out { Some((class, detail.as_str())) } else { None })
    }

    fn failure(&self, of: OpId) -> Option<FailureKind> {
        self.answers().into_iter().find_map(|(op, result)| match result {
            OpResult::Failed(failure) if op == of => Some(failure.kind),
            _ => None,
        })
    }
}

fn taken(message: u64) -> ProviderReport {
    ProviderReport::Taken { offers: vec![offer(message)], into_turn: true }
}

fn missed(message: u64) -> ProviderReport {
    ProviderReport::Missed { offers: vec![offer(message)] }
}

fn ended(reports: &[ProviderReport]) -> Vec<TurnEnd> {
    let idle = reports.iter().filter_map(|report| match report {
        ProviderReport::Status(status) if status.status == ReportStatus::Idle && status.reason.is_none() => {
            Some(status.end.clone())
        }
        _ => None,
    });
    idle.collect()
}

#[test]
fn a_thread_is_begun_with_what_was_asked_for() {
    let mut stage = Stage::new(opening());
    stage.greet();
    let params = stage.reply("thread/start", json!({"thread": {"id": "t"}, "model": "m", "reasoningEffort": "low"}));
    assert_eq!(
        params,
        json!({
            "cwd": "/w", "approvalPolicy": "on-request", "approvalsReviewer": "user", "sandbox": "workspace-write",
            "developerInstructions": "You are on a relay.", "config": {"model_reasoning_effort": "low"},
        })
    );
    let reports = stage.reports();
    assert_eq!(reports[0], ProviderReport::Conversation { id: "t".into() });
    assert_eq!(reports[1], ProviderReport::Model { model: "m".into(), effort: Some("low".into()) });
    assert_eq!(reports[2], ProviderReport::Ready);
}

#[test]
fn an_answer_is_no_evidence_and_an_item_is() {
    let mut stage = Stage::live();
    stage.offer(O1, 7);
    let params = stage.reply("turn/start", json!({"turn": {"id": "u"}}));
    assert_eq!(stage.answers(), [(O1, &OpResult::Ok)]);
    assert_eq!(stage.reports(), [], "codex has accepted it, and nothing more is known");
    stage.turn("u");
    stage.shows("u", params["clientUserMessageId"].as_str().unwrap());
    let reports = stage.reports();
    assert!(matches!(&reports[0], ProviderReport::Status(report) if report.id.as_deref() == Some("u")));
    assert_eq!(reports[1], taken(7));
    stage.shows("u", &words::client(&[offer(7)]));
    assert_eq!(stage.reports(), [], "taken once");
    stage.ends("u", "completed", Value::Null);
    assert_eq!(ended(&stage.reports()), [TurnEnd::Normal]);
}

#[test]
fn an_item_that_is_quicker_than_its_answer_answers() {
    let mut stage = Stage::live();
    stage.offer(O1, 7);
    stage.turn("u");
    stage.shows("u", &words::client(&[offer(7)]));
    assert_eq!(stage.answers(), [(O1, &OpResult::Ok)]);
    stage.reply("turn/start", json!({"turn": {"id": "u"}}));
    assert_eq!(stage.answers().len(), 1, "and the answer comes to nothing");
}

/// As the real one does: steered during a pending approval, accepted, and then interrupted.
#[test]
fn a_steer_that_no_item_shows_is_missed_at_the_end_of_its_turn() {
    let mut stage = Stage::live();
    stage.turn("u");
    stage.offer(O1, 7);
    let params = stage.reply("turn/steer", json!({"turnId": "u"}));
    assert_eq!(params["expectedTurnId"], "u");
    assert_eq!(stage.answers(), [(O1, &OpResult::Ok)]);
    stage.ask(O2, Ask::Interrupt);
    stage.reply("turn/interrupt", json!({}));
    stage.ends("u", "interrupted", Value::Null);
    let reports = stage.reports();
    assert_eq!(ended(&reports), [TurnEnd::Interrupted { by_person: false }]);
    assert_eq!(reports.last(), Some(&missed(7)), "after the end, when it is ready for another offer");
}

#[test]
fn a_steer_into_a_turn_that_is_over_begins_one() {
    let mut stage = Stage::live();
    stage.turn("u");
    stage.offer(O1, 7);
    stage.ends("u", "completed", Value::Null);
    assert!(!stage.reports().contains(&missed(7)), "codex has not said yet what it makes of it");
    stage.step(In::Heard(json!({"id": 4, "error": {"code": -32600, "message": "no active turn to steer"}})));
    stage.reply("turn/start", json!({"turn": {"id": "v"}}));
    assert_eq!(stage.answers(), [(O1, &OpResult::Ok)]);
}

#[test]
fn a_turn_that_takes_no_steer_is_waited_for() {
    let mut stage = Stage::live();
    stage.turn("u");
    stage.offer(O1, 7);
    stage.refuse("turn/steer", "a compaction cannot be steered");
    assert_eq!(stage.failure(O1), Some(FailureKind::NotReady));
}

#[test]
fn a_person_who_interrupts_is_told_apart() {
    let mut stage = Stage::live();
    stage.turn("u");
    stage.ends("u", "interrupted", Value::Null);
    assert_eq!(ended(&stage.reports()), [TurnEnd::Interrupted { by_person: true }]);
}

#[test]
fn a_compaction_waits_for_the_turn_that_it_would_break_off() {
    let mut stage = Stage::live();
    stage.turn("u");
    stage.ask(O1, Ask::Compact);
    assert_eq!(stage.said("thread/compact/start"), None);
    stage.ends("u", "completed", Value::Null);
    stage.reply("thread/compact/start", json!({}));
    assert_eq!(stage.answers(), [], "accepted is not done");
    stage.turn("v");
    for method in ["item/started", "item/completed"] {
        stage.hear(method, json!({"threadId": "t", "turnId": "v", "item": {"type": "contextCompaction", "id": "c"}}));
    }
    stage.ends("v", "completed", Value::Null);
    assert_eq!(stage.answers(), [(O1, &OpResult::Ok)]);
    let kinds: Vec<_> = stage
        .reports()
        .into_iter()
        .filter_map(|report| match report {
            ProviderReport::Status(report) if report.reason.as_deref() == Some("compaction") => Some(report.status),
            _ => None,
        })
        .collect();
    assert_eq!(kinds, [ReportStatus::Busy, ReportStatus::Idle]);
}

#[test]
fn a_compaction_that_fails_says_so() {
    let mut stage = Stage::live();
    stage.ask(O1, Ask::Compact);
    stage.reply("thread/compact/start", json!({}));
    stage.turn("v");
    stage.ends("v", "failed", json!({"message": "no room"}));
    assert_eq!(stage.failure(O1), Some(FailureKind::Provider));
}

#[test]
fn clearing_begins_another_thread_and_the_old_one_is_no_concern_any_more() {
    let mut stage = Stage::live();
    stage.ask(O1, Ask::Clear);
    stage.reply("thread/start", json!({"thread": {"id": "t2"}, "model": "m"}));
    assert!(matches!(stage.answers()[..], [(O1, OpResult::Said(_))]));
    assert_eq!(stage.said("thread/unsubscribe").unwrap().1, json!({"threadId": "t"}));
    assert!(stage.reports().contains(&ProviderReport::Conversation { id: "t2".into() }));
    stage.turn("u");
    assert_eq!(stage.reports(), [], "a turn of the old thread");
    stage.offer(O2, 7);
    assert_eq!(stage.said("turn/start").unwrap().1["threadId"], "t2");
}

#[test]
fn approvals_are_opened_decided_and_closed() {
    let mut stage = Stage::live();
    stage.turn("u");
    let asks =
        |id: u64| json!({"id": id, "method": "item/commandExecution/requestApproval", "params": {"command": "rm x"}});
    stage.step(In::Heard(asks(0)));
    stage.step(In::Heard(asks(1)));
    stage.step(In::Heard(asks(1)));
    let opened = stage.out.iter().filter(|out| matches!(out, Out::Opened { .. })).count();
    assert_eq!(opened, 2, "one that is asked again is the same");
    stage.ask(O1, Ask::Decide { approval: "g2-0".to_owned(), decision: Decision::Approve });
    assert!(stage.out.contains(&Out::Say(json!({"id": 0, "result": {"decision": "accept"}}))));
    stage.hear("serverRequest/resolved", json!({"threadId": "t", "requestId": 0}));
    stage.hear("serverRequest/resolved", json!({"threadId": "t", "requestId": 1}));
    let closed = ProviderReport::ApprovalClosed { id: "g2-1".into() };
    assert_eq!(stage.reports().iter().filter(|report| **report == closed).count(), 1, "answered at the terminal");
    stage.ask(O2, Ask::Decide { approval: "g2-1".to_owned(), decision: Decision::Deny });
    assert_eq!(stage.failure(O2), Some(FailureKind::NotFound));
}

#[test]
fn the_end_of_a_turn_closes_what_it_asked() {
    let mut stage = Stage::live();
    stage.turn("u");
    stage.step(In::Heard(json!({"id": 0, "method": "item/fileChange/requestApproval", "params": {}})));
    stage.ends("u", "interrupted", Value::Null);
    assert!(stage.reports().contains(&ProviderReport::ApprovalClosed { id: "g2-0".into() }));
}

#[test]
fn aborting_is_our_own_interruption() {
    let mut stage = Stage::live();
    stage.turn("u");
    stage.step(In::Heard(json!({"id": 0, "method": "item/commandExecution/requestApproval", "params": {}})));
    stage.ask(O1, Ask::Decide { approval: "g2-0".to_owned(), decision: Decision::Abort });
    stage.ends("u", "interrupted", Value::Null);
    assert_eq!(ended(&stage.reports()), [TurnEnd::Interrupted { by_person: false }]);
}

#[test]
fn what_is_asked_and_not_known_is_refused_and_noted() {
    let mut stage = Stage::live();
    stage.step(In::Heard(json!({"id": 5, "method": "some/thing/new", "params": {}})));
    let refused = |out: &Out| matches!(out, Out::Say(value) if value["id"] == 5 && value["error"].is_object());
    assert!(stage.out.iter().any(refused));
    assert!(
        stage.out.iter().any(|out| matches!(out, Out::Note { warns: true, text } if text.contains("some/thing/new")))
    );
}

#[test]
fn usage_limits_and_bad_credentials_end_the_process_without_a_failed_turn() {
    let mut stage = Stage::live();
    let used = json!({"primary": {"usedPercent": 100, "resetsAt": 1_900_000_000_u64}, "secondary": null});
    stage.hear("account/rateLimits/updated", json!({"rateLimits": used}));
    stage.turn("u");
    stage.ends("u", "failed", json!({"message": "limit", "codexErrorInfo": "usageLimitExceeded"}));
    let until = Some(1_900_000_000_000);
    assert_eq!(stage.end().map(|(class, _)| class), Some(&ExitClass::UsageLimit { until }));
    assert_eq!(ended(&stage.reports()), []);

    let mut stage = Stage::live();
    stage.turn("u");
    stage.ends("u", "failed", json!({"message": "who?", "codexErrorInfo": "unauthorized"}));
    let (class, why) = stage.end().unwrap();
    assert!(*class == ExitClass::Refused && why.contains("codex login"), "{why}");
}

#[test]
fn whoever_is_not_logged_in_is_told_before_anything_is_offered() {
    let mut stage = Stage::new(opening());
    stage.step(In::Connected);
    stage.reply("initialize", json!({}));
    stage.reply("account/read", json!({"account": null, "requiresOpenaiAuth": true}));
    let (class, why) = stage.end().unwrap();
    assert!(*class == ExitClass::Refused && why.contains("codex login"), "{why}");
}

#[test]
fn a_configuration_that_codex_would_go_on_without_ends_it() {
    let mut stage = Stage::new(opening());
    stage.step(In::Connected);
    let summary = "Invalid configuration; using defaults. /h/config.toml:1:10: unclosed array";
    stage.hear("configWarning", json!({"summary": summary, "details": null}));
    let (class, why) = stage.end().unwrap();
    assert!(*class == ExitClass::Refused && why.contains("/h/config.toml:1:10: unclosed array"), "{why}");
    let mut harmless = Stage::new(opening());
    harmless.hear("configWarning", json!({"summary": "Codex could not find bubblewrap on PATH."}));
    assert_eq!(harmless.end(), None);
}

fn resumed(status: &str, turns: Value) -> Value {
    json!({"thread": {"id": "t", "status": {"type": status}}, "model": "m", "initialTurnsPage": {"data": turns, "nextCursor": null}})
}

fn turn_with(id: &str, status: &str, clients: &[&str]) -> Value {
    let items: Vec<_> =
        clients.iter().map(|client| json!({"type": "userMessage", "id": "i", "clientId": client})).collect();
    json!({"id": id, "status": status, "items": items, "error": null})
}

fn adopting(offers: &[u64]) -> Stage {
    let in_doubt = offers.iter().map(|id| offer(*id)).collect();
    let mut stage = Stage::new(Opening { thread: Some("t".to_owned()), in_doubt: Some(in_doubt), ..opening() });
    stage.greet();
    stage
}

#[test]
fn a_living_process_says_what_became_of_what_it_had() {
    let mut stage = adopting(&[7, 8, 9]);
    // The newest first. Two were one batch.
    let both = words::client(&[offer(7), offer(8)]);
    let turns = json!([
        turn_with("v", "inProgress", &["x"]),
        turn_with("u", "completed", &[&both]),
        turn_with("s", "completed", &[])
    ]);
    let params = stage.reply("thread/resume", resumed("active", turns));
    assert_eq!(params["threadId"], "t");
    let reports = stage.reports();
    let at = |wanted: &ProviderReport| reports.iter().position(|report| report == wanted);
    assert!(at(&taken(7)).is_some() && at(&taken(8)) < at(&ProviderReport::Ready));
    assert_eq!(ended(&reports), [TurnEnd::Normal], "that of their turn, and of no other");
    assert_eq!(at(&missed(9)), None, "the turn that runs may still take it");
    stage.ends("v", "completed", Value::Null);
    assert!(stage.reports().contains(&missed(9)));
}

#[test]
fn a_living_process_that_is_idle_never_got_what_no_turn_shows() {
    let mut stage = adopting(&[7]);
    stage.reply("thread/resume", resumed("idle", json!([turn_with("u", "completed", &["other"])])));
    let reports = stage.reports();
    assert_eq!(ended(&reports), [], "turns of others are no news");
    assert!(reports.contains(&missed(7)));
    assert_eq!(reports.last(), Some(&ProviderReport::Ready));
}

#[test]
fn further_pages_are_read_as_long_as_something_is_looked_for() {
    let mut stage = adopting(&[7]);
    let page = |turns: Value, next: Value| json!({"data": turns, "nextCursor": next});
    let mut first = resumed("idle", json!([turn_with("v", "completed", &[])]));
    first["initialTurnsPage"]["nextCursor"] = json!("more");
    stage.reply("thread/resume", first);
    let seven = words::client(&[offer(7)]);
    let params =
        stage.reply("thread/turns/list", page(json!([turn_with("u", "completed", &[&seven])]), json!("even more")));
    assert_eq!(params["cursor"], "more");
    assert!(stage.reports().contains(&taken(7)));
}

#[test]
fn a_connection_that_breaks_loses_nothing() {
    let mut stage = Stage::live();
    stage.turn("u");
    stage.offer(O1, 7);
    stage.ask(O2, Ask::Probe);
    stage.step(In::Broken);
    assert_eq!(stage.failure(O2), Some(FailureKind::Unreachable));
    assert_eq!(stage.failure(O1), None, "it may have arrived: the next connection tells");
    stage.out.clear();
    stage.greet();
    let seven = words::client(&[offer(7)]);
    let turns = json!([turn_with("u", "completed", &["x", &seven])]);
    stage.reply("thread/resume", resumed("idle", turns));
    assert_eq!(stage.answers(), [(O1, &OpResult::Ok)]);
    let reports = stage.reports();
    assert!(reports.contains(&taken(7)));
    assert_eq!(ended(&reports), [TurnEnd::Normal], "its end was not seen, and is now");
    assert!(!reports.contains(&ProviderReport::Ready), "it was, all the time");
}

#[test]
fn a_connection_that_breaks_during_a_compaction_blocks_nothing() {
    let mut stage = Stage::live();
    stage.ask(O1, Ask::Compact);
    stage.reply("thread/compact/start", json!({}));
    stage.turn("v");
    stage.step(In::Broken);
    assert_eq!(stage.failure(O1), Some(FailureKind::Unreachable));
    stage.out.clear();
    stage.greet();
    stage.reply("thread/resume", resumed("idle", json!([turn_with("v", "completed", &[])])));
    stage.ask(O2, Ask::Clear);
    assert!(stage.said("thread/start").is_some(), "the next one is not held up");
}

#[test]
fn nothing_is_handed_over_while_another_thread_is_begun() {
    let mut stage = Stage::live();
    stage.ask(O1, Ask::Clear);
    stage.offer(O2, 7);
    assert_eq!(stage.failure(O2), Some(FailureKind::NotReady));
}

#[test]
fn a_turn_that_is_being_started_is_interrupted_once_it_runs() {
    let mut stage = Stage::live();
    stage.offer(O1, 7);
    stage.ask(O2, Ask::Interrupt);
    assert_eq!(stage.said("turn/interrupt"), None);
    stage.turn("u");
    assert_eq!(stage.said("turn/interrupt").unwrap().1["turnId"], "u");
    stage.ends("u", "interrupted", Value::Null);
    assert_eq!(ended(&stage.reports()), [TurnEnd::Interrupted { by_person: false }]);
}

#[test]
fn what_a_subagent_asks_is_its_own() {
    let mut stage = Stage::live();
    stage.turn("u");
    let asks = |id: u64| json!({"id": id, "method": "item/fileChange/requestApproval", "params": {"threadId": "sub"}});
    stage.step(In::Heard(asks(0)));
    stage.step(In::Heard(asks(1)));
    stage.hear("serverRequest/resolved", json!({"threadId": "sub", "requestId": 0}));
    assert!(stage.reports().contains(&ProviderReport::ApprovalClosed { id: "g2-0".into() }));
    stage.ask(O1, Ask::Decide { approval: "g2-1".to_owned(), decision: Decision::Abort });
    stage.ends("u", "interrupted", Value::Null);
    assert_eq!(ended(&stage.reports()), [TurnEnd::Interrupted { by_person: true }], "it was not our doing");
    let mut stage = Stage::live();
    stage.turn("u");
    stage.step(In::Heard(asks(0)));
    stage.ends("u", "completed", Value::Null);
    assert!(!stage.reports().contains(&ProviderReport::ApprovalClosed { id: "g2-0".into() }), "it still waits");
}

#[test]
fn who_interrupted_before_we_looked_is_not_known() {
    let mut stage = adopting(&[7]);
    let seven = words::client(&[offer(7)]);
    stage.reply("thread/resume", resumed("idle", json!([turn_with("u", "interrupted", &[&seven])])));
    assert_eq!(ended(&stage.reports()), [TurnEnd::Interrupted { by_person: false }]);
}

#[test]
fn babble_is_reported_less_and_less() {
    let mut stage = Stage::live();
    for _ in 0..10_000 {
        stage.step(In::Garbage { bytes: 5 });
    }
    assert!((8..30).contains(&stage.reports().len()));
}

#[test]
fn a_turn_whose_end_nobody_saw_is_over_all_the_same() {
    let mut stage = Stage::live();
    stage.turn("u");
    stage.step(In::Broken);
    stage.out.clear();
    stage.greet();
    stage.reply("thread/resume", resumed("idle", json!([turn_with("z", "completed", &[])])));
    assert!(matches!(ended(&stage.reports())[..], [TurnEnd::Failed { .. }]));
    stage.turn("v");
    stage.turn("w");
    assert!(matches!(ended(&stage.reports())[..], [TurnEnd::Failed { .. }]), "one runs at a time");
}

#[test]
fn a_thread_that_is_gone_is_begun_anew_and_one_that_is_held_is_waited_for() {
    let mut stage = Stage::new(Opening { thread: Some("t".to_owned()), ..opening() });
    stage.greet();
    stage.refuse("thread/resume", "no rollout found for thread id t");
    stage.reply("thread/start", json!({"thread": {"id": "t2"}, "model": "m"}));
    assert!(stage.reports().contains(&ProviderReport::Conversation { id: "t2".into() }));

    let mut stage = Stage::new(Opening { thread: Some("t".to_owned()), ..opening() });
    stage.greet();
    for _ in 0..LOCKED_MOST {
        stage.refuse("thread/resume", "thread t already has an active writer");
        assert!(stage.out.contains(&Out::Locked(LOCKED_WAIT_MS)) && stage.end().is_none());
        stage.out.clear();
        stage.step(In::Due);
    }
    stage.refuse("thread/resume", "thread t already has an active writer");
    assert!(matches!(stage.end(), Some((ExitClass::Refused, why)) if why.contains("another program")));
}

#[test]
fn stopping_interrupts_the_turn_and_waits_for_its_end() {
    let mut stage = Stage::live();
    stage.turn("u");
    stage.step(In::Stopping);
    assert!(stage.said("turn/interrupt").is_some() && !stage.out.contains(&Out::Quiet));
    stage.ends("u", "interrupted", Value::Null);
    assert!(stage.out.contains(&Out::Quiet));
    assert_eq!(ended(&stage.reports()), [TurnEnd::Interrupted { by_person: false }]);
    let mut idle = Stage::live();
    idle.step(In::Stopping);
    assert!(idle.out.contains(&Out::Quiet));
}

#[test]
fn every_operation_is_answered_by_the_end() {
    let mut stage = Stage::live();
    stage.turn("u");
    stage.offer(O1, 7);
    stage.ask(O2, Ask::Clear);
    stage.step(In::Over);
    assert_eq!(stage.failure(O1), Some(FailureKind::Unreachable), "it may have had it");
    assert_eq!(stage.failure(O2), Some(FailureKind::NotReady));
    stage.ask(OpId(3), Ask::Interrupt);
    assert_eq!(stage.failure(OpId(3)), Some(FailureKind::NotReady));
}

#[test]
fn garbage_is_counted_and_changes_nothing() {
    let mut stage = Stage::live();
    stage.step(In::Garbage { bytes: 5 });
    for odd in [json!(7), json!({"id": 999, "result": {}}), json!({"method": "turn/completed", "params": {"turn": 5}})]
    {
        stage.step(In::Heard(odd));
    }
    assert_eq!(stage.reports().iter().filter(|report| matches!(report, ProviderReport::Malformed { .. })).count(), 4);
    stage.offer(O1, 7);
    assert!(stage.said("turn/start").is_some());
}
