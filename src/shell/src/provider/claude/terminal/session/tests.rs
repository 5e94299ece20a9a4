//! The session by itself: what comes in is written down as it was measured.

use super::*;
use crate::provider::claude::terminal::screen::Question;
use crate::provider::claude::terminal::transcript::Limit;
use relay_runner_core::event::{ReportStatus, TimelineReport};
use relay_runner_core::ids::Nonce;
use serde_json::json;

const IDLE: Screen = Screen::Input { empty: true, works: false };
const TYPED: Screen = Screen::Input { empty: false, works: false };
const WORKS: Screen = Screen::Input { empty: true, works: true };

fn offer(message: u64) -> TakenOffer {
    TakenOffer { message, nonce: Nonce::parse("zzzzzz") }
}

struct Stage {
    session: Session,
    now: u64,
    out: Vec<Out>,
}

impl Stage {
    fn of(typed: bool, in_doubt: Option<Vec<TakenOffer>>) -> Self {
        let opening = Opening { conversation: "c1".to_owned(), typed, in_doubt, partly: false };
        let mut stage = Self { session: Session::new(opening), now: 0, out: Vec::new() };
        stage.hears(In::Started);
        stage
    }

    fn new() -> Self {
        let mut stage = Self::of(true, None);
        stage.hook("SessionStart", json!({"session_id": "c1", "source": "startup", "model": "m"}));
        stage.out.clear();
        stage
    }

    /// In a turn that has message 7.
    fn at_work() -> Self {
        let mut stage = Self::new();
        stage.offers(7, true);
        stage.submits(7, "p1");
        stage.out.clear();
        stage
    }

    fn hears(&mut self, input: In) -> &mut Self {
        let out = self.session.step(self.now, input);
        self.out.extend(out);
        self
    }

    fn hook(&mut self, event: &str, payload: Value) -> &mut Self {
        let Value::Object(payload) = payload else { panic!("an object") };
        self.hears(In::Hook { event: event.to_owned(), payload })
    }

    fn reads(&mut self, entry: Entry) -> &mut Self {
        self.hears(In::Read(vec![entry]))
    }

    fn offers(&mut self, message: u64, heard: bool) -> &mut Self {
        let ask = Ask::Offer { offers: vec![offer(message)], text: "the text".to_owned() };
        self.hears(In::Asked { op: OpId(message), ask, heard })
    }

    fn submits(&mut self, message: u64, turn: &str) -> &mut Self {
        let prompt = format!("<event>[relay message {message} zzzzzz] from alice</event>");
        self.hook("UserPromptSubmit", json!({"prompt": prompt, "prompt_id": turn}))
    }

    fn asks(&mut self, op: u64, ask: Ask) -> &mut Self {
        self.hears(In::Asked { op: OpId(op), ask, heard: true })
    }

    /// Time passes, with all that is due in it.
    fn after(&mut self, span: u64) -> &mut Self {
        let end = self.now + span;
        while let Some(at) = self.session.next_deadline().filter(|at| *at <= end) {
            self.now = at.max(self.now);
            self.hears(In::Due);
            assert!(self.session.next_deadline() != Some(at), "it spins at {at}");
        }
        self.now = end;
        self
    }

    /// All that it has put out since the last time.
    fn told(&mut self) -> Vec<Out> {
        std::mem::take(&mut self.out)
    }

    fn sees(&mut self, screen: Screen) -> &mut Self {
        self.hears(In::Screen(screen))
    }
}

fn ended(turn: &str, end: TurnEnd) -> Out {
    let failed = matches!(end, TurnEnd::Failed { .. });
    let timeline = failed.then(|| TimelineReport { status: "turn-failed".into(), id: None, timestamp: None });
    let id = Some(turn.into());
    Out::Report(ProviderReport::Status(Box::new(StatusReport { id, end, timeline, ..StatusReport::default() })))
}

fn failed(out: &Out) -> Option<(OpId, String)> {
    match out {
        Out::Answer(op, OpResult::Failed(failure)) => Some((*op, failure.text.to_string())),
        _ => None,
    }
}

#[test]
fn the_first_hook_makes_it_ready() {
    let mut stage = Stage::of(true, None);
    stage.after(600);
    assert_eq!(stage.told(), [Out::Look]);
    stage.hook("SessionStart", json!({"session_id": "c1", "model": "m"}));
    let expected = [
        Out::Report(ProviderReport::Model { model: "m".into(), effort: None }),
        Out::Follow("c1".to_owned()),
        Out::Report(ProviderReport::Conversation { id: "c1".into() }),
        Out::Report(ProviderReport::Ready),
    ];
    assert_eq!(stage.told(), expected);
    assert_eq!(stage.session.next_deadline(), None, "quiet, when nothing happens");
    assert!(!stage.session.is_watched());
}

#[test]
fn a_first_question_that_stays_ends_it_with_the_next_step() {
    let mut stage = Stage::of(true, None);
    stage.after(600).sees(Screen::Question(Question::Trust));
    stage.after(600).sees(Screen::Question(Question::Trust));
    let last = stage.told().pop();
    let Some(Out::End { class: ExitClass::Refused, detail }) = last else { panic!("{last:?}") };
    assert!(detail.contains("trusted") && detail.contains("relay-runner restart"), "{detail}");
}

#[test]
fn one_whose_hooks_never_come_is_refused() {
    let mut stage = Stage::of(true, None);
    for _ in 0..50 {
        stage.after(600).sees(IDLE);
    }
    assert!(
        stage
            .out
            .iter()
            .any(|out| matches!(out, Out::End { class: ExitClass::Refused, detail } if detail.contains("hooks")))
    );
}

#[test]
fn a_message_goes_through_the_monitor_and_is_lost_only_where_nobody_has_it() {
    let mut stage = Stage::new();
    stage.offers(7, true);
    assert_eq!(stage.told(), [Out::Monitor { op: OpId(7), offers: vec![offer(7)] }]);
    stage.reads(Entry::Queued { offers: vec![offer(7)] }).after(60_000);
    assert_eq!(stage.told(), [], "it waits for its turn");
    stage.submits(7, "p1");
    assert_eq!(stage.told(), [], "the core hears of that by itself");

    stage.offers(8, true).after(60_000);
    let missed = Out::Report(ProviderReport::Missed { offers: vec![offer(8)] });
    assert_eq!(stage.told(), [Out::Monitor { op: OpId(8), offers: vec![offer(8)] }, missed]);
}

#[test]
fn the_end_of_a_turn_that_is_read_late_does_not_end_the_next() {
    let mut stage = Stage::at_work();
    stage.hook("Stop", json!({"prompt_id": "p1"})).hook("UserPromptSubmit", json!({"prompt": "x", "prompt_id": "p2"}));
    let next = Entry::Prompt { turn: Some("p2".to_owned()), offers: Vec::new() };
    stage.reads(Entry::Ended).after(1_000).reads(next).after(60_000);
    assert_eq!(stage.told(), [], "it goes on");
    stage.reads(Entry::Ended).after(5_000);
    assert_eq!(stage.told().len(), 1);
}

#[test]
fn a_prompt_of_which_the_hook_was_lost_is_taken_by_the_transcript() {
    let mut stage = Stage::new();
    stage.offers(7, true);
    stage.told();
    stage.reads(Entry::Prompt { turn: Some("p1".to_owned()), offers: vec![offer(7)] });
    let [Out::Report(ProviderReport::Status(busy)), Out::Report(ProviderReport::Taken { offers, into_turn: true })] =
        &stage.told()[..]
    else {
        panic!("taken in its turn")
    };
    assert_eq!((busy.status, busy.id.as_deref(), &offers[..]), (ReportStatus::Busy, Some("p1"), &[offer(7)][..]));
    stage.reads(Entry::Ended).after(5_000);
    assert_eq!(stage.told(), [ended("p1", TurnEnd::Normal)]);
    assert!(!stage.session.is_watched());
}

#[test]
fn a_turn_of_which_the_end_was_lost_is_ended_by_the_transcript_and_else_by_its_hook() {
    let mut stage = Stage::at_work();
    stage.reads(Entry::Ended).hook("Stop", json!({"prompt_id": "p1"})).after(60_000);
    assert_eq!(stage.told(), []);
    let mut stage = Stage::at_work();
    stage.reads(Entry::Ended).after(60_000);
    assert_eq!(stage.told(), [ended("p1", TurnEnd::Normal)]);
}

#[test]
fn a_turn_whose_end_was_held_is_watched_on() {
    let mut stage = Stage::at_work();
    stage.hook("Stop", json!({"prompt_id": "p1"})).after(1_000);
    assert!(stage.session.is_watched(), "its end may be held");
    let spoke = Entry::Spoke { model: "m".to_owned(), effort: None, used: 0, window: 0 };
    stage.reads(spoke).after(600_000);
    assert_eq!(stage.told(), [], "it goes on");
    stage.reads(Entry::Interrupted { turn: Some("p1".to_owned()) });
    assert_eq!(stage.told(), [ended("p1", TurnEnd::Interrupted { by_person: true })]);
    // One that was not held is over once it stands in the transcript, or after a while.
    let mut stage = Stage::at_work();
    stage.hook("Stop", json!({"prompt_id": "p1"})).reads(Entry::Ended);
    assert!(stage.session.is_watched(), "what a person has queued may begin a turn without a hook");
    stage.after(5_000);
    assert!(!stage.session.is_watched());
    let mut stage = Stage::at_work();
    stage.hook("Stop", json!({"prompt_id": "p1"})).after(60_000);
    assert_eq!((stage.told(), stage.session.is_watched()), (vec![], false));
}

#[test]
fn an_interrupt_that_nobody_asked_for_is_a_persons() {
    let mut stage = Stage::at_work();
    stage.reads(Entry::Interrupted { turn: Some("p1".to_owned()) });
    assert_eq!(stage.told(), [ended("p1", TurnEnd::Interrupted { by_person: true })]);
}

#[test]
fn an_interrupt_presses_escape_until_it_has_an_effect() {
    let mut stage = Stage::at_work();
    stage.asks(1, Ask::Interrupt).sees(WORKS);
    assert_eq!(stage.told(), [Out::Look, Out::Type(Keys::Escape)]);
    stage.after(60).sees(Screen::Other);
    assert_eq!(stage.told(), [Out::Look], "not at every look");
    stage.after(2_000).sees(Screen::Other);
    assert_eq!(stage.told(), [Out::Look, Out::Type(Keys::Escape)]);
    stage.reads(Entry::Interrupted { turn: Some("p1".to_owned()) });
    let told = [ended("p1", TurnEnd::Interrupted { by_person: false }), Out::Answer(OpId(1), OpResult::Ok)];
    assert_eq!(stage.told(), told);

    // Where nothing runs, a second Escape would open a menu.
    let mut stage = Stage::new();
    stage.asks(1, Ask::Interrupt).sees(IDLE);
    assert_eq!(stage.told(), [Out::Look, Out::Answer(OpId(1), OpResult::Ok)]);
}

#[test]
fn a_failed_turn_says_why_once_both_have_told() {
    let failure = Failure { class: "invalid_request".to_owned(), words: "too long".to_owned(), limit: None };
    let hook = json!({"prompt_id": "p1", "error": "invalid_request"});
    let why = TurnEnd::Failed { error: "too long (invalid_request)".into() };
    let mut stage = Stage::at_work();
    stage.hook("StopFailure", hook.clone()).reads(Entry::Failed(failure.clone()));
    assert_eq!(stage.told(), [ended("p1", why.clone())]);
    let mut stage = Stage::at_work();
    stage.reads(Entry::Failed(failure.clone())).hook("StopFailure", hook.clone()).after(9_000);
    assert_eq!(stage.told(), [ended("p1", why.clone())]);
    // One of them was lost.
    let mut stage = Stage::at_work();
    stage.hook("StopFailure", hook).after(9_000);
    assert_eq!(stage.told(), [ended("p1", TurnEnd::Failed { error: "invalid_request".into() })]);
    let mut stage = Stage::at_work();
    stage.reads(Entry::Failed(failure)).after(9_000);
    assert_eq!(stage.told(), [ended("p1", why)]);
}

#[test]
fn a_failure_that_is_read_late_is_of_no_turn_that_runs_then() {
    let failure = Failure { class: "server_error".to_owned(), words: "late".to_owned(), limit: None };
    let mut stage = Stage::at_work();
    stage.hook("StopFailure", json!({"prompt_id": "p1", "error": "server_error"})).after(2_500);
    assert_eq!(stage.told(), [ended("p1", TurnEnd::Failed { error: "server_error".into() })]);
    stage.reads(Entry::Failed(failure)).after(1_000);
    stage.offers(8, true).submits(8, "p2").after(9_000);
    assert_eq!(stage.told(), [Out::Monitor { op: OpId(8), offers: vec![offer(8)] }], "nothing ends the next turn");
}

#[test]
fn limits_and_bad_credentials_end_the_process_instead_of_the_turn() {
    let failure = |class: &str, limit| Failure { class: class.to_owned(), words: "words".to_owned(), limit };
    let ends = |failure: Failure| {
        let mut stage = Stage::at_work();
        stage.hook("StopFailure", json!({"prompt_id": "p1", "error": failure.class})).reads(Entry::Failed(failure));
        let told = stage.told();
        let [Out::End { class, .. }] = &told[..] else { panic!("{told:?}") };
        *class
    };
    let limit = ends(failure("rate_limit", Some(Limit { ends: Some(1_800_000_000) })));
    assert_eq!(limit, ExitClass::UsageLimit { until: Some(1_800_000_000_000) });
    assert_eq!(ends(failure("rate_limit", Some(Limit { ends: None }))), ExitClass::UsageLimit { until: None });
    assert_eq!(ends(failure("authentication_failed", None)), ExitClass::Refused);
    assert_eq!(ends(failure("billing_error", None)), ExitClass::Refused);
}

#[test]
fn what_is_typed_is_entered_once_it_is_seen_in_the_input() {
    let mut stage = Stage::new();
    stage.asks(1, Ask::Prompt { text: "go".to_owned() });
    stage.sees(IDLE).after(60).sees(IDLE).after(60).sees(TYPED);
    let paste = Out::Type(Keys::Paste("go".to_owned()));
    assert_eq!(stage.told(), [Out::Look, paste, Out::Look, Out::Look, Out::Type(Keys::Enter)]);
    stage.after(60).sees(WORKS);
    assert_eq!(stage.told(), [Out::Look, Out::Answer(OpId(1), OpResult::Ok)]);
}

#[test]
fn nothing_is_typed_into_a_dialog_nor_into_what_a_person_types() {
    for (screen, word) in [(Screen::Other, "dialog"), (TYPED, "somebody"), (WORKS, "at work")] {
        let mut stage = Stage::new();
        stage.asks(1, Ask::Prompt { text: "go".to_owned() });
        for _ in 0..200 {
            stage.sees(screen).after(60);
        }
        let told = stage.told();
        assert!(!told.iter().any(|out| matches!(out, Out::Type(_))), "{told:?}");
        let (op, why) = told.iter().find_map(failed).unwrap();
        assert!(op == OpId(1) && why.contains(word), "{why}");
    }
    // A dialog that opens behind what was pasted gets no Enter.
    let mut stage = Stage::new();
    stage.asks(1, Ask::Prompt { text: "go".to_owned() }).sees(IDLE);
    for _ in 0..200 {
        stage.after(60).sees(Screen::Other);
    }
    let told = stage.told();
    assert!(!told.contains(&Out::Type(Keys::Enter)) && told.iter().any(|out| failed(out).is_some()), "{told:?}");
}

#[test]
fn compaction_and_clearing_are_done_when_their_hooks_say_so() {
    let mut stage = Stage::new();
    let types = |stage: &mut Stage| {
        stage.sees(IDLE).after(60).sees(TYPED).after(60).sees(IDLE);
    };
    stage.asks(1, Ask::Compact);
    types(&mut stage);
    assert!(stage.told().contains(&Out::Type(Keys::Paste("/compact".to_owned()))));
    stage.hook("PostCompact", json!({}));
    assert_eq!(stage.told(), [Out::Answer(OpId(1), OpResult::Ok)]);
    stage.asks(2, Ask::Clear);
    types(&mut stage);
    stage.told();
    stage.hook("SessionStart", json!({"session_id": "c2", "source": "clear", "model": "m"}));
    let another = Out::Report(ProviderReport::Conversation { id: "c2".into() });
    assert_eq!(stage.told(), [Out::Follow("c2".to_owned()), another, Out::Answer(OpId(2), OpResult::Ok)]);
}

#[test]
fn a_compaction_that_is_done_before_the_screen_is_seen_is_done() {
    for (ask, hook, payload) in [
        (Ask::Compact, "PostCompact", json!({})),
        (Ask::Clear, "SessionStart", json!({"session_id": "c2", "source": "clear", "model": "m"})),
    ] {
        let mut stage = Stage::new();
        stage.asks(1, ask).sees(IDLE).after(60).sees(TYPED);
        stage.hook(hook, payload);
        assert_eq!(stage.told().last(), Some(&Out::Answer(OpId(1), OpResult::Ok)));
        stage.after(60_000).sees(IDLE);
        assert!(!stage.told().iter().any(|out| matches!(out, Out::Answer(..) | Out::Type(_))));
    }
}

#[test]
fn without_its_monitor_messages_are_typed_and_that_is_said_once() {
    let mut stage = Stage::new();
    stage.offers(7, false);
    assert_eq!(stage.told(), [Out::Monitor { op: OpId(7), offers: vec![offer(7)] }], "it may be coming up");
    stage.after(40_000).told();
    stage.offers(7, false);
    assert!(matches!(&stage.told()[..], [Out::Note { warns: true, .. }, Out::Look]));
    stage.sees(IDLE).after(60).sees(TYPED).after(60).sees(WORKS);
    assert_eq!(stage.told().last(), Some(&Out::Answer(OpId(7), OpResult::Ok)));
    stage.submits(7, "p1").hook("Stop", json!({"prompt_id": "p1"}));
    stage.offers(8, false);
    assert_eq!(stage.told(), [Out::Look]);
    for _ in 0..200 {
        stage.sees(WORKS).after(60);
    }
    assert!(stage.told().iter().any(|out| failed(out).is_some()));
    stage.after(60_000);
    assert!(!stage.session.is_watched(), "nothing of it is waited for");
}

#[test]
fn a_probe_looks_at_the_screen() {
    let mut stage = Stage::at_work();
    stage.asks(1, Ask::Probe).sees(WORKS).asks(2, Ask::Probe).sees(IDLE);
    let told = stage.told();
    assert_eq!(told[1], Out::Answer(OpId(1), OpResult::Ok));
    assert!(failed(&told[3]).is_some_and(|(op, _)| op == OpId(2)), "{told:?}");
}

#[test]
fn the_context_and_the_model_are_reported_when_they_change() {
    let mut stage = Stage::at_work();
    let spoke = |used| Entry::Spoke { model: "n".to_owned(), effort: Some("low".to_owned()), used, window: 200_000 };
    stage.reads(spoke(100)).reads(spoke(100)).reads(spoke(200));
    let told = stage.told();
    let contexts = told.iter().filter(|out| matches!(out, Out::Report(ProviderReport::Context(_)))).count();
    let models = told.iter().filter(|out| matches!(out, Out::Report(ProviderReport::Model { .. }))).count();
    assert_eq!((contexts, models), (2, 1), "{told:?}");
}

#[test]
fn it_is_asked_to_exit_where_its_input_is_free_and_else_by_a_signal() {
    let mut stage = Stage::new();
    stage.hears(In::Stopping).sees(IDLE);
    assert_eq!(stage.told(), [Out::Look, Out::Type(Keys::Paste("/exit".to_owned()))]);
    for screen in [WORKS, TYPED, Screen::Other] {
        let mut stage = Stage::at_work();
        stage.hears(In::Stopping).sees(screen);
        assert_eq!(stage.told(), [Out::Look, Out::Terminate]);
    }
    let mut stage = Stage::of(false, None);
    stage.hook("SessionStart", json!({"session_id": "c1"})).hears(In::Stopping);
    assert_eq!(stage.told().last(), Some(&Out::Terminate), "nothing can be typed");
}

#[test]
fn every_operation_is_answered_when_it_is_over() {
    let mut stage = Stage::new();
    stage.asks(1, Ask::Compact).sees(IDLE).after(60).sees(TYPED).after(60).sees(IDLE);
    stage.asks(2, Ask::Prompt { text: "go".to_owned() }).asks(3, Ask::Probe).asks(4, Ask::Clear);
    stage.told();
    stage.hears(In::Over);
    let told = stage.told();
    let answered: std::collections::BTreeSet<u64> = told.iter().filter_map(failed).map(|(op, _)| op.0).collect();
    assert_eq!(answered, [1, 2, 3, 4].into(), "{told:?}");
    stage.asks(5, Ask::Probe);
    assert!(stage.told().iter().any(|out| failed(out).is_some()));
}

fn prompt(turn: &str, message: u64) -> Entry {
    Entry::Prompt { turn: Some(turn.to_owned()), offers: vec![offer(message)] }
}

fn taken_up(in_doubt: &[u64], entries: Vec<Entry>, screen: Screen) -> Vec<Out> {
    let mut stage = Stage::of(true, Some(in_doubt.iter().map(|id| offer(*id)).collect()));
    assert_eq!(stage.told(), [Out::Follow("c1".to_owned())]);
    stage.hears(In::Read(entries)).sees(screen).after(5_000);
    let told = stage.told();
    let ready = told.iter().filter(|out| **out == Out::Report(ProviderReport::Ready)).count();
    assert_eq!((ready, told.last()), (1, Some(&Out::Report(ProviderReport::Ready))), "{told:?}");
    told
}

fn taken(message: u64) -> Out {
    Out::Report(ProviderReport::Taken { offers: vec![offer(message)], into_turn: true })
}

#[test]
fn one_that_is_taken_up_tells_what_became_of_what_it_had() {
    // It still works on it.
    let told = taken_up(&[7], vec![prompt("p0", 6), Entry::Ended, prompt("p1", 7)], WORKS);
    assert!(told.contains(&taken(7)) && !told.contains(&taken(6)), "{told:?}");
    assert!(
        !told.iter().any(|out| matches!(out, Out::Report(ProviderReport::Status(s)) if s.status == ReportStatus::Idle))
    );
    // It has done it.
    let told = taken_up(&[7], vec![prompt("p1", 7), Entry::Ended, prompt("p2", 9), Entry::Ended], IDLE);
    let end = told.iter().position(|out| *out == ended("p1", TurnEnd::Normal)).unwrap();
    assert!(told.iter().position(|out| *out == taken(7)).unwrap() < end, "{told:?}");
    // It never got it, or not yet.
    let told = taken_up(&[7], vec![], IDLE);
    assert!(told.contains(&Out::Report(ProviderReport::Missed { offers: vec![offer(7)] })), "{told:?}");
    let told = taken_up(&[7], vec![Entry::Queued { offers: vec![offer(7)] }], WORKS);
    assert!(
        !told
            .iter()
            .any(|out| matches!(out, Out::Report(ProviderReport::Missed { .. } | ProviderReport::Taken { .. })))
    );
    // Nobody saw its end.
    let told = taken_up(&[7], vec![prompt("p1", 7)], IDLE);
    let unseen = TurnEnd::Failed { error: "the turn is over, and nobody saw how it ended".into() };
    assert!(told.contains(&ended("p1", unseen)), "{told:?}");
    // A dialog is one of a turn that runs.
    let told = taken_up(&[7], vec![prompt("p1", 7)], Screen::Other);
    assert!(
        !told.iter().any(|out| matches!(out, Out::Report(ProviderReport::Status(s)) if s.status == ReportStatus::Idle))
    );
    // The turn of one that was killed before is not its own.
    let told = taken_up(&[], vec![prompt("p1", 7)], IDLE);
    assert!(!told.iter().any(|out| matches!(out, Out::Report(ProviderReport::Status(_)))), "{told:?}");
}

#[test]
fn one_that_is_taken_up_at_its_usage_limit_waits_for_it() {
    let mut stage = Stage::of(true, Some(vec![offer(7)]));
    let failure =
        Failure { class: "rate_limit".to_owned(), words: "no".to_owned(), limit: Some(Limit { ends: Some(5) }) };
    stage.hears(In::Read(vec![prompt("p1", 7), Entry::Failed(failure)])).sees(IDLE).after(5_000);
    let told = stage.told();
    let Some(Out::End { class, .. }) = told.last() else { panic!("{told:?}") };
    assert_eq!(*class, ExitClass::UsageLimit { until: Some(5_000) });
}
