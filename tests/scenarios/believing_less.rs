//! Stories of the simulator's second round (docs/decisions/0019), each told twice: as it goes today, and as it went in
//! journals without the flag, which shows that it can fail.

use relay_runner_core::config::{Adapter, Config};
use relay_runner_core::event::{
    ApprovalRequest, BusFrame, ExitClass, FailureKind, Incoming, LinkReport, OpResult, ProviderReport, RelayEvent,
    ReportStatus, StatusReport, TokenRecord, TurnEnd,
};
use relay_runner_core::flags::{Flag, Flags};
use relay_runner_core::{Call, DurableFacts, Event, MessageId, OpId, TokenSlot};
use relay_runner_protocol::ErrorCode;

use crate::story::{EPOCH, Story, config, facts, plain, task};

/// The story as it goes today, and as it went before.
fn told<T>(story: impl Fn(Config) -> T) -> (T, T) {
    told_without(&[Flag::BelievesLess, Flag::BelievesOnlyEnds], story)
}

/// The story as it goes today, and without these flags.
fn told_without<T>(without: &[Flag], story: impl Fn(Config) -> T) -> (T, T) {
    let flags: Vec<Flag> = Flag::ALL.into_iter().filter(|flag| !without.contains(flag)).collect();
    (story(config()), story(Config { flags: Flags::of(&flags), ..config() }))
}

fn is_superseded(story: &mut Story) {
    story.frame(BusFrame::Error { code: ErrorCode::Superseded, message: "a newer instance holds the agent".into() });
}

fn unread(messages: &[MessageId]) -> OpResult {
    OpResult::Unread { messages: messages.iter().map(|id| plain(*id)).collect(), full: false }
}

/// A list of what is unread that was asked for before brought back what was worked already.
#[test]
fn a_deleted_message_does_not_come_back_with_an_older_list() {
    let comes_back = told(|config| {
        let mut story = Story::up_with(config);
        story.message(plain(5));
        story.works(5);
        story.relay_says(RelayEvent::MessageDeleted { message: 5 });
        story.message(plain(5));
        story.times("offer,m5/2") > 0
    });
    assert_eq!(comes_back, (false, true));
}

/// What came live overtook what the relay still had to say.
#[test]
fn what_is_newer_waits_until_what_is_unread_is_known() {
    let first = told(|config| {
        let mut story = Story::with(config, facts());
        story.boot();
        story.opens();
        story.by_hand();
        story.frame(BusFrame::Registered { epoch: 1, cursor: 0, relay: None, heartbeat: None });
        story.provider_comes_up();
        story.message(plain(6));
        let list = story.expects(",unread,0,");
        story.fails(list, FailureKind::Server);
        story.after(21_000);
        let list = story.expects(",unread,0,");
        story.answers(list, unread(&[5, 6]));
        story.told.iter().find(|text| text.contains("offer,m")).cloned()
    });
    let starts = |offer: Option<String>, with: &str| offer.is_some_and(|offer| offer.contains(with));
    assert!(starts(first.0, "offer,m5/1/") && starts(first.1, "offer,m6/1/"));
}

/// A list that was asked for before the gap was known does not say what was missed.
#[test]
fn a_list_that_is_older_than_the_gap_does_not_end_the_wait() {
    let mut story = Story::up();
    story.link_breaks();
    story.waits_to_connect();
    story.by_hand();
    story.registers();
    let old = story.expects(",unread,0,");
    story.frame(BusFrame::Replayed { from: 1, to: 3, gap: true });
    story.answers(old, unread(&[]));
    story.message(plain(6));
    assert_eq!(story.stage(6), None);
    let list = story.expects(",unread,0,");
    story.answers(list, unread(&[5, 6]));
    let offer = story.told.iter().find(|text| text.contains("offer,m")).expect("both are offered");
    assert!(offer.contains("offer,m5/1/"), "{offer}");
}

/// Order is worth a while, and not that nothing is delivered any more.
#[test]
fn a_list_that_cannot_be_had_is_waited_for_ten_minutes() {
    let mut story = Story::with(config(), facts());
    story.boot();
    story.opens();
    story.by_hand();
    story.frame(BusFrame::Registered { epoch: 1, cursor: 0, relay: None, heartbeat: None });
    story.provider_comes_up();
    for _ in 0..30 {
        story.message(plain(6));
        assert_eq!(story.stage(6), None);
        while story.open.iter().any(|effect| effect.to_string().contains("http(")) {
            let call = story.expects("http(");
            story.fails(call, FailureKind::Server);
        }
        story.after(20_000);
    }
    story.message(plain(6));
    story.expects("offer,m6/1/");
}

/// A quick provider had worked its first prompt before the adapter said that it was handed over: the first message waited
/// for a turn until the prompt was overdue.
#[test]
fn a_turn_that_is_quicker_than_the_adapter_shows_that_the_prompt_was_taken() {
    let offered = told(|config| {
        let config = Config { first_prompt: Some(relay_runner_core::BodyRef::of("begin")), ..config };
        let mut story = Story::with(config, facts());
        story.boot();
        story.registers();
        story.provider_comes_up();
        story.busy().idle();
        let prompt = story.expects("prompt");
        story.answers(prompt, OpResult::Ok);
        story.message(plain(1));
        story.times("offer,m1/1") > 0
    });
    assert_eq!(offered, (true, false));
}

/// While the relay was away its lists failed as well, and what it then said overtook what had been turned away before.
#[test]
fn lists_that_fail_while_nothing_is_connected_do_not_end_the_wait() {
    let mut story = Story::with(config(), facts());
    story.boot();
    story.opens();
    story.by_hand();
    story.frame(BusFrame::Registered { epoch: 1, cursor: 0, relay: None, heartbeat: None });
    story.provider_comes_up();
    story.message(plain(5));
    story.link_breaks();
    for _ in 0..40 {
        while story.open.iter().any(|effect| effect.to_string().contains("http(")) {
            let call = story.expects("http(");
            story.fails(call, FailureKind::Unreachable);
        }
        story.after(20_000);
    }
    story.waits_to_connect();
    story.registers();
    story.message(plain(6));
    assert_eq!(story.stage(6), None);
}

/// The relay had forgotten events; those that it still had were taken for old ones.
#[test]
fn what_is_left_of_the_events_is_heard_behind_a_gap() {
    let still_here = told(|config| {
        let mut story = Story::up_with(config);
        story.busy();
        story.message(plain(6));
        story.link_breaks();
        story.waits_to_connect();
        story.registers();
        story.frame(BusFrame::Replayed { from: 1, to: 3, gap: true });
        let event = RelayEvent::MessageDeleted { message: 6 };
        story.frame(BusFrame::Event { frame: "e3".into(), seq: 3, event });
        story.stage(6).is_some()
    });
    assert_eq!(still_here, (false, true));
}

/// It was of a relay that was another one than before, and its outcome was forgotten with all that was of the old one.
#[test]
fn a_command_is_taken_in_once_it_is_known_which_relay_it_is_of() {
    let acknowledged = told(|config| {
        let mut story = Story::up_with(config);
        story.link_breaks();
        story.waits_to_connect();
        story.opens();
        story.command("c1", "agent.reconnect");
        let early = story.times("ack,c-c1") > 0;
        story.frame(BusFrame::Registered { epoch: 1, cursor: 1, relay: None, heartbeat: None });
        story.command("c1", "agent.compact");
        assert!(story.times("ack,c-c1") > 0, "it comes again, and is taken in");
        early
    });
    assert_eq!(acknowledged, (false, true));
}

/// An answer to an earlier registration came late, over the same connection, and was taken for that of another relay.
#[test]
fn an_older_registration_over_the_same_connection_is_of_the_same_relay() {
    let forgotten = told(|config| {
        let mut story = Story::up_with(config);
        story.message(plain(5));
        story.hands_over(5).takes(5);
        story.frame(BusFrame::Error { code: ErrorCode::NotRegistered, message: "who are you?".into() });
        story.frame(BusFrame::Registered { epoch: 1, cursor: 1, relay: None, heartbeat: None });
        story.frame(BusFrame::Error { code: ErrorCode::NotRegistered, message: "who are you?".into() });
        let relay = Some("one".into());
        story.frame(BusFrame::Registered { epoch: 1, cursor: 0, relay, heartbeat: None });
        story.stage(5).is_none()
    });
    assert_eq!(forgotten, (false, true));
}

/// A turn that ended after another had taken the agent had worked it, and nobody ever said so.
#[test]
fn what_is_worked_after_another_took_over_is_said_by_the_next_run() {
    let said = told(|config| {
        let mut story = Story::up_with(config);
        story.message(plain(5));
        story.hands_over(5).takes(5).busy();
        is_superseded(&mut story);
        story.idle().exits(ExitClass::Clean);
        let mut later = story.the_next_run();
        later.boot();
        later.registers();
        later.times("read,m5") > 0
    });
    assert_eq!(said, (true, false));
}

/// Whoever gave the command waited for its outcome for ever.
#[test]
fn the_outcome_that_a_superseded_run_could_not_say_is_said_by_the_next() {
    let said = told(|config| {
        let mut story = Story::up_with(config);
        story.command("c1", "agent.shutdown");
        is_superseded(&mut story);
        story.exits(ExitClass::Signal);
        story.expects("finish(76)");
        let mut later = story.the_next_run();
        later.boot();
        later.registers();
        later.times("command,c1,succeeded") > 0
    });
    assert_eq!(said, (true, false));
}

/// What was handed over while the turn ran may have been of it; the next turn was believed to have it.
#[test]
fn what_was_handed_over_in_a_turn_that_failed_is_in_doubt_where_nothing_shows_it() {
    let stage = told(|config| {
        let adapter = Adapter { evidence: false, steer: true, ..config.adapter };
        let delivery = relay_runner_core::config::Delivery::Steer;
        let mut story = Story::up_with(Config { adapter, delivery, ..config });
        story.busy();
        story.message(plain(5));
        story.hands_over(5);
        story.turn_fails("the model's service is down");
        story.busy().idle();
        story.stage(5)
    });
    assert_eq!(stage, (Some("ambiguous"), Some("worked")));
}

/// The end of a turn came that nobody had seen begin, while another was believed to run.
#[test]
fn what_waits_is_not_of_the_turn_after_one_that_ended_unseen_behind_another() {
    let stage = told(|config| {
        let turn = |status, id: &str| StatusReport { status, id: Some(id.into()), ..StatusReport::default() };
        let delivery = relay_runner_core::config::Delivery::Steer;
        let adapter = Adapter { steer: true, ..config.adapter };
        let mut story = Story::up_with(Config { delivery, adapter, ..config });
        story.report(turn(ReportStatus::Busy, "t1"));
        story.message(plain(5));
        story.hands_over(5).takes(5);
        let end = TurnEnd::Interrupted { by_person: true };
        story.report(StatusReport { end, ..turn(ReportStatus::Idle, "t2") });
        story.report(turn(ReportStatus::Busy, "t3")).report(turn(ReportStatus::Idle, "t3"));
        story.times("read,m5") > 0
    });
    assert_eq!(stage, (false, true));
}

/// The renewal that was under way was answered, and planned the next.
#[test]
fn a_superseded_runner_renews_its_token_no_more() {
    let token = |jti: &str, lives: u64| TokenRecord {
        jti: Some(jti.into()),
        profile: Some("provider-agent".into()),
        expires_at: Some((EPOCH + lives) / 1_000),
    };
    let renewals = told(|config| {
        let mut story = Story::up_with(Config { credential: Some(token("j1", 60_000)), ..config });
        story.waits_for("renew-token,j1");
        let renewal = story.expects("renew-token,j1");
        is_superseded(&mut story);
        story.answers(renewal, OpResult::Token { slot: TokenSlot(2), record: token("j2", 60_000) });
        story.after(29_000);
        story.times("renew-token")
    });
    assert_eq!(renewals, (1, 2));
}

/// The provider that it had taken up was still ending, and a connection that was over was waited for.
#[test]
fn a_credential_that_is_refused_at_first_opens_nothing_more() {
    let state = told(|config| {
        let adapter = Adapter { adoptable: true, ..config.adapter };
        let first = Story::up_with(Config { adapter, ..config });
        let mut story = first.the_next_run();
        story.boot();
        let failure = relay_runner_core::event::Failure { kind: FailureKind::Unauthorized, text: "who?".into() };
        story.hears(Event::Link(1, LinkReport::Failed(failure)));
        story.after(25_000);
        story.times("connect(c2)") > 0 || story.core.view().link.state == "connecting"
    });
    assert_eq!(state, (false, true));
}

/// A relay that grants a claim and does not let it be used made a loop of claims.
#[test]
fn a_claim_that_was_lost_is_not_asked_for_again_at_once() {
    let asked = told(|config| {
        let mut story = Story::up_with(config);
        for _ in 0..3 {
            story.message(task(5, 50));
            if story.open.iter().any(|effect| effect.to_string().contains("claim,m5")) {
                story.grants(5, 3);
                let started = story.expects("task,t50,m5,in_progress");
                story.fails(started, FailureKind::Conflict);
                let offer = story.expects("offer,m5/");
                story.fails(offer, FailureKind::NotReady);
            }
        }
        let at_once = story.times("claim,m5");
        story.after(5_000);
        (at_once, story.times("claim,m5") > 1)
    });
    assert_eq!(asked, ((1, true), (3, true)));
}

/// Nobody waited for the answer any more, and the runner went on as if nothing had been said.
#[test]
fn that_another_took_over_is_believed_of_a_late_answer() {
    let ends = told(|config| {
        let mut story = Story::up_with(config);
        story.by_hand();
        story.after(20_000);
        let heartbeat = story.expects(",heartbeat)");
        story.after(11_000);
        story.fails(heartbeat, FailureKind::Superseded);
        story.core.view().ending.is_some()
    });
    assert_eq!(ends, (true, false));
}

/// The other message of its task was held by a run that was killed, and is not ours any more.
#[test]
fn a_task_ends_with_the_last_message_that_is_left() {
    let ended = told(|config| {
        let mut story = Story::holding_a_task_with(config);
        story.hands_over(5).takes(5).busy();
        story.message(Incoming { claimed_by: None, ..task(6, 50) });
        story.idle();
        story.never(",done,");
        let mut later = story.the_next_run();
        later.boot();
        later.registers();
        later.frame(BusFrame::Replayed { from: 2, to: 2, gap: false });
        later.grants(5, 3);
        later.accepts("read,m5");
        later.after(21_000);
        later.times("task,t50,m5,done") > 0
    });
    assert_eq!(ended, (true, false));
}

/// One try after the other counted against the message while the relay was down; the first 404 was believed.
#[test]
fn a_message_is_missing_once_a_heartbeat_has_shown_that_the_agent_is_not() {
    let over = told(|config| {
        let mut story = Story::up_with(config);
        story.by_hand();
        story.message(plain(5));
        story.hands_over(5).takes(5).busy().idle();
        story.accepts("delivery,m5,offered");
        story.accepts("delivery,m5,worked");
        for _ in 0..3 {
            let read = story.expects("read,m5");
            story.fails(read, FailureKind::Server);
            story.after(9_000);
        }
        let read = story.expects("read,m5");
        story.fails(read, FailureKind::NotFound);
        story.stage(5).is_none()
    });
    assert_eq!(over, (false, true));
}

/// The agent was another's already when it was asked whether the relay still knew it.
#[test]
fn who_was_superseded_does_not_ask_whether_it_is_known() {
    let asked = told(|config| {
        let mut story = Story::holding_a_task_with(config);
        story.hands_over(5).takes(5).busy();
        story.by_hand();
        story.after(300_000);
        let renewal = story.expects(",renew,");
        while story.open.iter().any(|effect| effect.to_string().contains("http(")) {
            story.accepts("http(");
        }
        is_superseded(&mut story);
        let before = story.told.len();
        story.fails(renewal, FailureKind::NotFound);
        !story.told_since(before, ",heartbeat)").is_empty()
    });
    assert_eq!(asked, (false, true));
}

/// The power failed between them: the stage that had been overtaken was said under the key under which another was.
#[test]
fn a_stage_that_overtakes_another_is_another_request() {
    let keys = told(|config| {
        let mut story = Story::up_with(config);
        story.by_hand();
        story.message(plain(5));
        story.hands_over(5).takes(5);
        let before = story.core.facts();
        story.busy().idle();
        let after = story.core.facts();
        let key = |facts: &DurableFacts, stage: &str| {
            let is = |call: &Call| call.to_string().contains(&format!("delivery,m5,{stage}"));
            facts.reports.iter().find(|report| is(&report.call)).map(|report| report.key)
        };
        (key(&before, "taken"), key(&after, "worked"))
    });
    let same = |(taken, over): (Option<OpId>, Option<OpId>)| taken.is_some() && taken == over;
    assert_eq!((same(keys.0), same(keys.1)), (false, true), "{keys:?}");
    assert!(keys.0.1.is_some());
}

/// The relay forgot the agent while it replayed its events; one that came meanwhile was taken for the newest that was known.
#[test]
fn the_position_stands_while_the_replay_is_not_over() {
    let since = told(|config| {
        let mut story = Story::up_with(config);
        story.link_breaks();
        story.waits_to_connect();
        story.by_hand();
        story.registers();
        story.frame(BusFrame::Error { code: ErrorCode::NotRegistered, message: "who?".into() });
        story.expects("register)");
        story.frame(BusFrame::Event { frame: "e7".into(), seq: 7, event: RelayEvent::Other { name: "x".into() } });
        story.frame(BusFrame::Registered { epoch: EPOCH, cursor: 9, relay: None, heartbeat: None });
        story.told.iter().rev().find(|text| text.contains(",resume,")).cloned()
    });
    let from = |text: Option<String>, seq: &str| text.is_some_and(|text| text.ends_with(&format!(",resume,{seq})")));
    assert!(from(since.0.clone(), "0") && from(since.1.clone(), "7"), "{since:?}");
}

/// What it had given up kept its claim in the next run, and its task was never said to have failed.
#[test]
fn what_was_given_up_when_another_took_over_is_said_by_the_next_run() {
    let said = told(|config| {
        let mut story = Story::holding_a_task_with(config);
        story.hands_over(5).takes(5).busy();
        story.by_hand();
        let end = TurnEnd::Interrupted { by_person: true };
        story.report(StatusReport { end, ..StatusReport::default() });
        is_superseded(&mut story);
        story.exits(ExitClass::Signal);
        let mut later = story.the_next_run();
        later.boot();
        later.registers();
        later.grants(5, 3);
        later.times("task,t50,m5,blocked") > 0
    });
    assert_eq!(said, (true, false));
}

/// Its turn was broken off while the provider of a superseded run ended.
#[test]
fn what_is_given_up_after_another_took_over_is_said_by_the_next_run() {
    let said = told(|config| {
        let mut story = Story::holding_a_task_with(config);
        story.hands_over(5).takes(5).busy();
        is_superseded(&mut story);
        let end = TurnEnd::Interrupted { by_person: true };
        story.report(StatusReport { end, ..StatusReport::default() });
        story.exits(ExitClass::Signal);
        story.expects("finish(76)");
        let mut later = story.the_next_run();
        later.boot();
        later.registers();
        if later.times("claim,m5") > 0 {
            later.grants(5, 3);
        }
        later.times("task,t50,m5,blocked") == 1
    });
    assert_eq!(said, (true, false));
}

/// That it had been begun was heard after it was given up, and was taken for what it had ended with.
#[test]
fn a_task_that_was_given_up_has_not_ended_because_its_begin_was_accepted() {
    let said = told_without(&[Flag::BelievesOnlyEnds], |config| {
        let mut story = Story::up_with(config);
        story.message(task(5, 50));
        story.by_hand();
        story.grants(5, 3);
        story.accepts("delivery,m5,claimed");
        let begun = story.expects("task,t50,m5,in_progress");
        story.hands_over(5).takes(5).busy();
        let end = TurnEnd::Interrupted { by_person: true };
        story.report(StatusReport { end, ..StatusReport::default() });
        is_superseded(&mut story);
        story.answers(begun, OpResult::Ok);
        story.exits(ExitClass::Signal);
        let mut later = story.the_next_run();
        later.boot();
        later.registers();
        if later.times("claim,m5") > 0 {
            later.grants(5, 3);
        }
        later.times("task,t50,m5,blocked") == 1
    });
    assert_eq!(said, (true, false));
}

/// Nobody answered its question, since its turn was over long ago, and what was handed over waited for that for ever.
#[test]
fn what_is_handed_over_behind_a_silent_turn_that_asks_is_waited_for_no_longer_than_else() {
    let stage = told(|config| {
        let mut story = Story::up_with(config);
        story.busy();
        story.provider(ProviderReport::ApprovalOpened(Box::new(ApprovalRequest {
            id: "p1".into(),
            kind: "tool".into(),
            tool: None,
            reason: None,
        })));
        story.by_hand();
        story.after(600_000);
        let probe = story.expects(",probe)");
        story.fails(probe, FailureKind::Provider);
        story.message(plain(5));
        story.hands_over(5);
        story.after(31_000);
        story.stage(5)
    });
    assert_eq!(stage, (Some("ambiguous"), Some("offered")));
}
