//! What no other story noticed when it was wrong: found by making the core wrong everywhere
//! (docs/decisions, "What the mutants found").

use relay_runner_core::config::{Approval, Delivery, Mode};
use relay_runner_core::event::{
    BusFrame, ExitClass, Failure, FailureKind, Incoming, ProviderReport, RelayEvent, ReportStatus, Signal,
    StatusReport, TakenOffer, TokenRecord,
};
use relay_runner_core::ids::Nonce;
use relay_runner_core::{BodyRef, Config, Event, Frame, OpResult, Order, wire};
use relay_runner_protocol::ErrorCode;

use crate::story::{Story, config, plain, task};

fn long(id: u64, len: u32) -> Incoming {
    Incoming { body: BodyRef { len, trimmed: len, digest: 1 }, ..plain(id) }
}

fn offers(story: &Story) -> Vec<&str> {
    story.told_since(0, "offer,")
}

/// A report of the provider's on something other than its turn.
fn reports(story: &mut Story, status: ReportStatus, reason: &str, id: Option<&str>) {
    let (reason, id) = (Some(reason.into()), id.map(Into::into));
    story.report(StatusReport { status, reason, id, ..StatusReport::default() });
}

// What is offered, and in which order.

#[test]
fn a_batch_is_filled_to_the_byte() {
    // 32 KiB, and 256 bytes around each body.
    for (len, together) in [(16_128, 2), (16_129, 1)] {
        let mut story = Story::up();
        story.busy();
        story.message(long(1, len)).message(long(2, len));
        story.idle();
        assert_eq!(offers(&story)[0].matches(",m").count(), together, "{len}: {:?}", offers(&story));
    }
}

#[test]
fn a_full_batch_goes_before_a_claim_of_a_later_message_and_after_one_of_an_earlier() {
    for (claimable, first) in [(2, "claim,m2"), (4, "offer,m1/1/")] {
        let mut config = config();
        config.limits.batch = 2;
        let mut story = Story::up_with(config);
        story.busy();
        for id in 1..=4 {
            story.message(if id == claimable { task(id, 50) } else { plain(id) });
        }
        let then = story.told.len();
        story.idle();
        let asked = |what: &str| story.told_since(then, what).len();
        assert_eq!(asked("claim,m") + asked("offer,m"), 1, "one of them waits for the other");
        assert_eq!(asked(first), 1, "{claimable}: {:?}", story.told_since(then, ""));
    }
}

#[test]
fn what_was_set_aside_is_not_taken_in_by_a_later_run() {
    let mut story = Story::up();
    story.message(plain(1));
    for _ in 0..8 {
        story.waits_for("offer,m1/");
        let offer = story.expects("offer,m1/");
        story.fails(offer, FailureKind::Provider);
    }
    assert_eq!(story.core.view().set_aside.len(), 1);
    // It is still unread on the relay.
    let mut later = story.the_next_run();
    later.boot();
    later.registers();
    later.provider_comes_up();
    later.message(plain(1));
    later.never("offer,m1");
    assert_eq!(later.core.view().set_aside.len(), 1, "and it is still listed");
}

#[test]
fn a_report_of_a_missed_offer_names_the_offer() {
    let mut story = Story::up();
    story.message(plain(7));
    story.hands_over(7);
    let nonce = story.core.view().messages[0].nonce;
    let missed = |nonce| ProviderReport::Missed { offers: vec![TakenOffer { message: 7, nonce: Some(nonce) }] };
    story.provider(missed(Nonce(nonce.0 ^ 1)));
    assert_eq!(story.stage(7), Some("offered"), "that was another offer");
    story.provider(missed(nonce));
    assert_eq!(story.stage(7), Some("held"));
}

#[test]
fn an_event_that_comes_again_with_its_old_number_changes_nothing() {
    let mut story = Story::up();
    story.by_hand();
    let released = |seq| {
        let event = RelayEvent::ClaimReleased { message: 77 };
        BusFrame::Event { frame: format!("e{seq}").into(), seq, event }
    };
    let then = story.told.len();
    story.frame(released(5));
    story.accepts("unread,");
    story.frame(released(5));
    story.frame(released(4));
    assert_eq!(story.told_since(then, "unread,").len(), 1);
    story.frame(released(6));
    assert_eq!(story.told_since(then, "unread,").len(), 2);
}

#[test]
fn nothing_unread_is_fetched_once_the_run_ends() {
    let mut story = Story::up();
    story.signal(Signal::Term);
    story.link_breaks();
    let then = story.told.len();
    story.after(2_000);
    story.registers();
    assert_eq!(story.told_since(then, "unread,").len(), 0);
}

#[test]
fn a_later_run_knows_what_is_over_and_what_was_had() {
    let mut story = Story::up();
    story.message(plain(1));
    story.works(1);
    story.accepts("read,m1");
    story.message(plain(2));
    story.hands_over(2);
    story.takes(2);
    story.relay_says(RelayEvent::MessageDeleted { message: 2 });
    story.busy().idle();
    assert!(story.core.view().messages.is_empty());
    let mut later = story.the_next_run();
    later.boot();
    later.registers();
    later.provider_comes_up();
    later.message(plain(1));
    later.never("offer,m1");
    later.message(plain(2));
    let offer = later.list();
    assert!(offer.contains("offer,m2/2/") && offer.contains("/redelivered"), "{offer}");
}

#[test]
fn every_offer_has_a_nonce_of_its_own_that_six_letters_can_say() {
    let mut story = Story::up();
    story.busy();
    for id in 1..=8 {
        story.message(plain(id));
    }
    story.idle();
    let nonces: std::collections::BTreeSet<u32> = story.core.view().messages.iter().map(|m| m.nonce.0).collect();
    assert_eq!(nonces.len(), 8, "{nonces:?}");
    assert!(nonces.iter().all(|nonce| *nonce < 1 << 30), "{nonces:?}");
}

#[test]
fn an_urgent_task_is_not_claimed_beyond_the_limit() {
    let mut story = Story::up_with(Config { delivery: Delivery::Interrupt, ..config() });
    story.message(task(5, 50));
    story.grants(5, 3);
    story.hands_over(5);
    story.takes(5);
    story.busy();
    story.message(Incoming { urgent: true, ..task(8, 80) });
    story.never("claim,m8");
    story.idle();
    story.expects("claim,m8");
}

#[test]
fn who_watches_hears_whether_a_message_of_a_dead_process_was_taken() {
    for (taken, stage) in [(true, "held"), (false, "ambiguous")] {
        let mut story = Story::up();
        story.message(plain(5));
        story.hands_over(5);
        if taken {
            story.takes(5);
        }
        story.exits(ExitClass::Crash);
        assert_eq!(story.times(&format!("delivery,m5,{stage},1,the%20;provider%20;process%20;ended")), 1);
    }
}

#[test]
fn only_what_is_in_doubt_is_blocked_after_half_an_hour() {
    let mut story = Story::up();
    story.message(plain(7));
    story.hands_over(7);
    story.after(30_000);
    assert_eq!(story.stage(7), Some("ambiguous"));
    story.message(task(5, 50));
    let claim = story.expects("claim,m5");
    story.answers(claim, OpResult::Granted { fence: 3, lease: None });
    story.accepts("task,t50,m5,in_progress");
    story.hands_over(5);
    story.takes(5);
    story.busy();
    for _ in 0..20 {
        story.after(120_000);
        story.provider(ProviderReport::SignOfLife);
    }
    story.never("blocked");
    story.idle();
    story.expects("task,t50,m5,done");
}

#[test]
fn a_claim_that_is_under_way_for_nothing_holds_nothing_up() {
    let mut story = Story::up();
    story.message(task(5, 50));
    story.expects("claim,m5");
    story.message(plain(6));
    story.expects_no("offer,m6");
    story.relay_says(RelayEvent::MessageDeleted { message: 5 });
    story.expects("offer,m6");
}

#[test]
fn what_was_never_offered_is_in_no_doubt() {
    let mut story = Story::up();
    for id in [5, 6] {
        story.message(task(id, id * 10));
    }
    story.grants(5, 3);
    story.hands_over(5);
    story.takes(5);
    story.after(29_999);
    assert_eq!(story.stage(6), Some("held"));
    story.after(1);
    assert_eq!(story.stage(5), Some("ambiguous"), "no turn began");
    assert_eq!(story.stage(6), Some("held"));
}

// What the agent is told.

#[test]
fn the_agent_is_told_of_everything_that_it_has_and_of_nothing_that_it_may_not_have() {
    let mut story = Story::up();
    story.busy();
    story.message(plain(1)).message(plain(2)).message(plain(3));
    story.idle();
    story.hands_over(1);
    story.takes(1).takes(2);
    story.after(30_000);
    assert_eq!(story.stage(3), Some("ambiguous"));
    story.busy();
    for message in 1..=3 {
        story.relay_says(RelayEvent::MessageDeleted { message });
    }
    story.idle();
    story.accepts("tell,m1");
    story.accepts("tell,m2");
    story.never("tell,m3");
}

#[test]
fn what_was_taken_and_then_doubted_is_told_of_all_the_same() {
    let mut story = Story::up();
    story.message(plain(1));
    story.hands_over(1);
    story.takes(1);
    story.after(30_000);
    assert_eq!(story.stage(1), Some("ambiguous"));
    story.relay_says(RelayEvent::MessageDeleted { message: 1 });
    story.expects("tell,m1");
}

#[test]
fn the_agent_is_told_nothing_while_it_compacts() {
    let mut story = Story::up();
    story.message(plain(1));
    story.hands_over(1);
    story.takes(1);
    story.busy().idle();
    story.message(plain(2));
    story.hands_over(2);
    story.takes(2);
    story.command("c1", "agent.compact");
    let compact = story.expects(",compact)");
    story.relay_says(RelayEvent::MessageDeleted { message: 2 });
    story.expects_no("tell,m2");
    story.answers(compact, OpResult::Ok);
    story.expects("tell,m2");
}

// Turns.

#[test]
fn a_turn_after_a_silent_one_is_shown_as_what_it_is() {
    let mut story = Story::up();
    let begins = |story: &mut Story, id: &str| reports(story, ReportStatus::Busy, "provider-turn", Some(id));
    begins(&mut story, "t1");
    let first = story.core.view().turn;
    story.after(600_000);
    let probe = story.expects("probe");
    story.fails(probe, FailureKind::Unsupported);
    begins(&mut story, "t1");
    assert_eq!(story.core.view().turn, first, "it was only silent");
    story.after(600_000);
    let probe = story.expects("probe");
    story.fails(probe, FailureKind::Unsupported);
    begins(&mut story, "t2");
    assert_ne!(story.core.view().turn, first);
    assert!(story.is_busy_for("provider-turn"));
    let work = &story.status_meta()["activeWork"];
    assert_eq!((work[0]["id"].as_str(), work.as_array().map(Vec::len)), (Some("t2"), Some(1)), "{work}");
}

#[test]
fn turns_of_a_later_run_are_other_turns() {
    let mut story = Story::up();
    story.busy().idle();
    story.busy();
    let turn = story.core.view().turn;
    let mut later = story.the_next_run();
    later.boot();
    later.registers();
    later.provider_comes_up();
    later.busy();
    assert!(later.core.view().turn > turn, "{:?} after {turn:?}", later.core.view().turn);
}

#[test]
fn an_idle_provider_is_not_probed() {
    let mut story = Story::up();
    story.provider(ProviderReport::SignOfLife);
    story.busy().idle();
    story.provider(ProviderReport::SignOfLife);
    story.after(3_600_000);
    story.never("probe");
}

#[test]
fn an_error_of_the_turn_is_its_failure_and_one_of_a_subagent_is_not() {
    let mut story = Story::up();
    story.message(plain(5));
    story.hands_over(5);
    story.takes(5);
    story.busy();
    reports(&mut story, ReportStatus::Busy, "subagent", Some("s1"));
    reports(&mut story, ReportStatus::Error, "subagent", Some("s1"));
    assert_eq!(story.core.view().busy_reasons, ["provider-turn", "message"]);
    assert_eq!(story.stage(5), Some("taken"));
    story.report(StatusReport { status: ReportStatus::Error, ..StatusReport::default() });
    story.expects("offer,m5/2/");
    story.never("read,m5");
}

#[test]
fn a_subagent_without_a_name_ends_with_its_turn() {
    let mut story = Story::up();
    story.busy();
    reports(&mut story, ReportStatus::Busy, "subagent", None);
    assert!(story.is_busy_for("subagent"));
    story.idle();
    assert!(!story.is_busy_for("subagent"));
}

#[test]
fn a_sign_of_life_says_nothing_of_what_was_never_taken() {
    let mut story = Story::up_with(Config { delivery: Delivery::Queue, ..config() });
    story.message(plain(5));
    story.hands_over(5);
    story.after(30_000);
    assert_eq!(story.stage(5), Some("ambiguous"));
    story.busy();
    story.after(600_000);
    let probe = story.expects("probe");
    story.fails(probe, FailureKind::Unsupported);
    story.provider(ProviderReport::SignOfLife);
    assert_eq!(story.stage(5), Some("ambiguous"));
}

#[test]
fn what_was_silent_and_shows_itself_is_a_fact_again() {
    let mut story = Story::up();
    story.busy();
    story.after(600_000);
    let probe = story.expects("probe");
    story.fails(probe, FailureKind::Unsupported);
    assert!(!story.is_busy_for("provider-turn"));
    story.provider(ProviderReport::SignOfLife);
    assert!(story.is_busy_for("provider-turn"));
    assert_eq!(story.status_meta()["activeWork"][0]["unverified"], false);
}

// What others are told.

#[test]
fn a_restart_is_one_entry_of_the_timeline_however_often_it_was_asked_for() {
    let mut story = Story::up();
    story.by_hand();
    story.command("c1", "agent.restart");
    story.command("c2", "agent.restart");
    let meta = story.status_meta();
    let entries = meta["timelineEvents"].as_array().map_or(0, |entries| {
        entries.iter().filter(|entry| entry["status"] == "restarting" && entry["id"] == "restarting-1").count()
    });
    assert_eq!(entries, 1, "{meta}");
}

#[test]
fn an_end_is_named_and_a_drain_is_no_shutdown_yet() {
    let mut story = Story::up();
    assert_eq!(story.core.view().ending, None);
    story.busy();
    story.signal(Signal::Term);
    assert_eq!(story.core.view().ending, Some("signal"));
    assert_eq!(story.core.view().lifecycle_action, None, "its turn may end");
    assert!(!story.core.view().ready);
    story.idle();
    assert_eq!(story.core.view().lifecycle_action, Some("shutting-down"));
    for (command, why) in [("agent.shutdown", "shutdown"), ("agent.kill", "kill")] {
        let mut story = Story::up();
        story.command("c1", command);
        assert_eq!(story.core.view().ending, Some(why));
    }
}

#[test]
fn a_superseded_instance_says_nothing_of_what_happens_to_it() {
    let mut story = Story::up();
    story.message(plain(1));
    story.hands_over(1);
    story.takes(1);
    story.busy();
    story.frame(BusFrame::Error { code: ErrorCode::Superseded, message: "another".into() });
    let then = story.told.len();
    story.idle();
    story.exits(ExitClass::Clean);
    assert_eq!(story.told_since(then, "http("), [""; 0]);
    story.expects("finish(76)");
}

#[test]
fn who_may_do_what_is_shown_as_configured() {
    let shown = |change: fn(&mut Config)| {
        let mut config = config();
        change(&mut config);
        let story = Story::up_with(config);
        let text = wire::frame(&story.core, &Frame::Heartbeat { status: story.core.view().status });
        let frame: serde_json::Value = serde_json::from_str(&text).expect("a frame is JSON");
        frame["payload"]["meta"]["providerCapabilities"].clone()
    };
    let open = shown(|_| {});
    assert_eq!(open["session"]["approvalMode"], "open", "{open}");
    assert_eq!(open["session"]["fileWrite"], true);
    assert_eq!(open["lifecycle"]["restartHard"], true);
    let cautious = shown(|config| config.identity.approval = Approval::ReadOnly);
    assert_eq!(cautious["session"]["approvalMode"], "read-only", "{cautious}");
    assert_eq!(cautious["session"]["fileWrite"], false);
    let at_a_terminal = shown(|config| {
        config.identity.provider = "claude".into();
        config.mode = Mode::Interactive;
    });
    assert_eq!(at_a_terminal["lifecycle"]["restartHard"], false, "{at_a_terminal}");
}

#[test]
fn the_credential_is_shown_by_its_record() {
    let record =
        TokenRecord { jti: Some("j1".into()), profile: Some("provider-agent".into()), expires_at: Some(2_000_000_000) };
    let story = Story::up_with(Config { credential: Some(record), ..config() });
    let auth = &story.status_meta()["auth"];
    assert_eq!((&auth["jti"], &auth["profileId"]), (&"j1".into(), &"provider-agent".into()), "{auth}");
    assert_eq!(auth["expiresAt"], 2_000_000_000_u64);
}

#[test]
fn a_lifecycle_action_is_shown_with_the_moment_it_began() {
    let mut story = Story::up();
    assert!(story.status_meta()["lifecycleActionAt"].is_null());
    story.exits(ExitClass::Crash);
    let began = story.now.wall;
    assert_eq!(story.status_meta()["lifecycleActionAt"], began);
    story.after(200);
    story.link_breaks();
    assert_eq!(story.status_meta()["lifecycleActionAt"], began, "as long as it lasts");
    story.after(300);
    story.provider_comes_up();
    assert!(story.status_meta()["lifecycleActionAt"].is_null());
}

#[test]
fn a_heartbeat_says_what_the_provider_can_do_and_where_its_terminal_is() {
    let heartbeat = |story: &Story| -> serde_json::Value {
        let text = wire::frame(&story.core, &Frame::Heartbeat { status: story.core.view().status });
        serde_json::from_str(&text).expect("a frame is JSON")
    };
    let frame = heartbeat(&Story::up());
    let meta = &frame["payload"]["meta"];
    assert_eq!(meta["providerCapabilities"]["context"]["compact"], true, "{frame}");
    assert!(meta.get("tmuxSession").is_none(), "what is not known is missing: {frame}");
    let mut config = config();
    config.identity.tmux_session = Some("work".into());
    let frame = heartbeat(&Story::up_with(config));
    assert_eq!(frame["payload"]["meta"]["tmuxSession"], "work");
}

#[test]
fn what_a_report_says_of_its_work_is_passed_on() {
    let mut story = Story::up();
    let said = |text: &str| Some(text.into());
    story.report(StatusReport {
        status: ReportStatus::Busy,
        metadata: said(r#"{"depth":2}"#),
        provider_state: said(r#"{"model":"m"}"#),
        ..StatusReport::default()
    });
    let meta = story.status_meta();
    assert_eq!(meta["activeWork"][0]["metadata"]["depth"], 2);
    assert_eq!(meta["providerState"]["model"], "m");
    // That of a subagent is not the provider's.
    let mut story = Story::up();
    story.report(StatusReport {
        status: ReportStatus::Busy,
        reason: said("subagent"),
        provider_state: said(r#"{"model":"m"}"#),
        ..StatusReport::default()
    });
    assert!(story.status_meta()["providerState"].is_null());
}

#[test]
fn whatever_is_shown_is_published_when_it_changes() {
    let mut story = Story::up();
    let published = |story: &mut Story, what: &dyn Fn(&mut Story)| {
        let then = story.told.len();
        what(story);
        story.told_since(then, "status,").len()
    };
    assert_eq!(
        published(&mut story, &|story| {
            story.busy();
        }),
        1
    );
    let opens = |story: &mut Story| reports(story, ReportStatus::Busy, "subagent", Some("s1"));
    assert_eq!(published(&mut story, &opens), 1, "more work");
    let ends = |story: &mut Story| reports(story, ReportStatus::Idle, "subagent", Some("s1"));
    assert_eq!(published(&mut story, &ends), 1, "less work");
    assert_eq!(published(&mut story, &ends), 0, "it was over already");
    assert_eq!(published(&mut story, &opens), 1);
    let all_end = |story: &mut Story| reports(story, ReportStatus::Idle, "subagent", None);
    assert_eq!(published(&mut story, &all_end), 1, "all of a kind");
    let breaks = |story: &mut Story| {
        story.hears(Event::Order(Order::JournalBroken { why: "full".into() }));
    };
    assert_eq!(published(&mut story, &breaks), 1, "the journal");
    assert_eq!(story.status_meta()["journal"], "broken");
    assert_eq!(story.core.view().journal_broken, Some("full"));
}

#[test]
fn messages_are_counted_by_stage_and_bad_lines_of_the_provider_are_counted() {
    let mut story = Story::up();
    story.busy();
    story.message(plain(1)).message(plain(2)).message(plain(3));
    assert_eq!(story.core.view().stages.get("held"), Some(&3));
    for _ in 0..2 {
        story.provider(ProviderReport::Malformed { reason: "no JSON".into() });
    }
    assert_eq!(story.core.view().malformed, 2);
}

// What the relay must accept.

#[test]
fn a_relay_that_is_busy_says_when_to_come_back() {
    let mut story = Story::up();
    story.message(plain(1));
    story.works(1);
    let read = story.expects("read,m1");
    let kind = FailureKind::Busy { retry_after: Some(90_000) };
    story.answers(read, OpResult::Failed(Failure { kind, text: "HTTP 429".into() }));
    story.after(89_999);
    story.expects_no("read,m1");
    story.after(1);
    story.expects("read,m1");
}

#[test]
fn what_the_relay_will_never_accept_is_said_once() {
    let mut story = Story::up();
    story.message(plain(1));
    story.works(1);
    let read = story.expects("read,m1");
    story.fails(read, FailureKind::NotFound);
    story.after(120_000);
    assert_eq!(story.times("read,m1"), 1);
    assert!(story.core.view().messages.is_empty(), "nothing more is owed for it");
}

#[test]
fn what_was_asked_of_a_dead_process_is_waited_for_no_more() {
    let mut story = Story::up();
    let before = story.core.view().operations;
    story.message(plain(1));
    story.expects("offer,m1");
    assert_eq!(story.core.view().operations, before + 1);
    story.exits(ExitClass::Crash);
    assert_eq!(story.core.view().operations, before);
}

#[test]
fn what_is_silenced_is_not_waited_for() {
    let mut story = Story::up();
    story.by_hand();
    story.message(plain(1));
    story.expects("delivery,m1,offered");
    story.after(31_000);
    assert_eq!(story.stage(1), Some("ambiguous"));
    assert_eq!(story.core.view().reports_waiting, 2, "what is under way, and the doubt");
    story.relay_says(RelayEvent::MessageDeleted { message: 1 });
    assert_eq!(story.core.view().reports_waiting, 1, "only what is under way");
}

#[test]
fn as_many_commands_are_remembered_as_the_limit_says() {
    let mut config = config();
    config.limits.commands = 2;
    let mut story = Story::up_with(config);
    for id in ["c1", "c2", "c3"] {
        story.command(id, "agent.juggle");
    }
    let known: Vec<_> = story.core.facts().commands.iter().map(|command| command.id.to_string()).collect();
    assert_eq!(known, ["c2", "c3"]);
}

#[test]
fn what_happens_to_commands_is_remembered_for_a_day() {
    let mut story = Story::up();
    let known = |story: &Story| story.core.facts().commands.len();
    story.command("c1", "agent.juggle");
    story.after(86_400_000);
    story.command("c2", "agent.juggle");
    assert_eq!(known(&story), 2);
    story.after(1);
    story.command("c3", "agent.juggle");
    assert_eq!(known(&story), 2, "the first is forgotten");
}

#[test]
fn commands_that_wait_for_different_things_are_counted_together() {
    let mut story = Story::up();
    story.message(plain(1));
    story.by_hand();
    story.link_breaks();
    for n in 0..40 {
        story.local_command(if n % 2 == 0 { "agent.reconnect" } else { "agent.compact" });
    }
    assert_eq!(story.times("failed"), 0);
    for _ in 0..24 {
        story.local_command("agent.compact");
    }
    assert_eq!(story.times("failed"), 0);
    story.local_command("agent.compact");
    assert_eq!(story.times("failed,too%20;many%20;commands%20;wait"), 1);
}

#[test]
fn nothing_is_asked_of_a_process_that_makes_way_for_the_next() {
    let mut story = Story::up();
    story.command("c1", "agent.restart");
    story.command("c2", "agent.compact");
    story.expects("command,c2,failed,provider%20;is%20;restarting");
}

// Ends.

#[test]
fn only_the_shutdown_that_a_kill_overtook_says_that_it_was_escalated() {
    let mut story = Story::up();
    story.command("c1", "agent.shutdown");
    story.command("c2", "agent.kill");
    story.exits(ExitClass::Signal);
    let outcome = |id: &str| story.told_since(0, &format!("command,{id},succeeded"))[0].contains("escalated");
    assert!(outcome("c1"));
    assert!(!outcome("c2"));
    let mut story = Story::up();
    story.command("c1", "agent.shutdown");
    story.exits(ExitClass::Clean);
    story.never("escalated");
}

#[test]
fn a_shutdown_that_comes_when_the_provider_is_gone_has_its_outcome_as_well() {
    let mut story = Story::holding_a_task();
    story.signal(Signal::Term);
    story.exits(ExitClass::Clean);
    assert_eq!(story.core.view().ending_phase, "reporting");
    story.command("c1", "agent.shutdown");
    story.expects("command,c1,succeeded");
}

#[test]
fn a_second_quit_leaves_what_is_not_accepted() {
    let mut story = Story::holding_a_task();
    story.signal(Signal::Quit);
    story.exits(ExitClass::Signal);
    story.expects("release,m5,f3");
    story.never("delete-agent");
    story.signal(Signal::Quit);
    story.expects("delete-agent");
}

#[test]
fn a_claim_that_lapsed_is_not_asked_for_again_while_the_run_ends() {
    let mut story = Story::holding_a_task();
    story.hands_over(5);
    story.takes(5);
    story.busy();
    story.sleeps(3_600_000);
    story.after(15_000);
    let again = story.expects("claim,m5");
    story.fails(again, FailureKind::Unreachable);
    story.signal(Signal::Quit);
    let then = story.told.len();
    story.after(5_000);
    assert_eq!(story.told_since(then, "claim,m5").len(), 0, "{:?}", story.told_since(then, ""));
}

#[test]
fn a_word_that_the_provider_cannot_be_told_is_not_tried_again() {
    let mut story = Story::up();
    story.message(plain(3));
    story.hands_over(3);
    story.takes(3);
    story.busy();
    story.relay_says(RelayEvent::MessageDeleted { message: 3 });
    story.idle();
    let word = story.expects("tell,m3");
    story.fails(word, FailureKind::Unsupported);
    story.after(60_000);
    assert_eq!(story.times("tell,m3"), 1);
}

#[test]
fn over_http_nothing_is_said_that_was_lost_with_the_link() {
    let mut story = Story::up();
    story.by_hand();
    story.busy();
    story.expects(",busy,");
    story.link_breaks();
    story.idle();
    let then = story.told.len();
    story.after(40_000);
    let said = story.told_since(then, "set-status,");
    assert!(said.iter().all(|call| call.contains("set-status,idle")), "{said:?}");
}
