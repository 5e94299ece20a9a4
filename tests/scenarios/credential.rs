//! The runtime token: renewed before it ends, doubted when the relay refuses it, replaced when somebody hands in another.

use relay_runner_core::config::Timing;
use relay_runner_core::event::{BusFrame, FailureKind, LinkReport, TokenRecord};
use relay_runner_core::wire;
use relay_runner_core::{Config, Event, Frame, OpId, OpResult, Order, RequestId, TokenSlot};
use relay_runner_protocol::{AgentStatus, ErrorCode};

use crate::story::{EPOCH, Story, config, facts, plain, task};

const HOUR: u64 = 3_600_000;

/// A renewable token that ends so many milliseconds after the story began.
fn token(jti: &str, lives: u64) -> TokenRecord {
    TokenRecord {
        jti: Some(jti.into()),
        profile: Some("provider-agent".into()),
        expires_at: Some((EPOCH + 1_000 + lives) / 1_000),
    }
}

fn with_token(lives: u64) -> Config {
    Config { credential: Some(token("j1", lives)), ..config() }
}

fn renewed(slot: u64, jti: &str, ends: u64) -> OpResult {
    OpResult::Token { slot: TokenSlot(slot), record: token(jti, ends) }
}

/// Time passes until the renewal is asked for, which is then under way.
#[track_caller]
fn renewal_of(story: &mut Story, jti: &str) -> OpId {
    let before = story.times("renew-token");
    for _ in 0..4 * 3_600 {
        if story.times("renew-token") > before {
            break;
        }
        story.after(1_000);
    }
    story.expects(&format!("renew-token,{jti}"))
}

fn state(story: &Story) -> &'static str {
    story.core.view().credential.state
}

#[test]
fn a_token_is_renewed_before_it_ends_and_used_everywhere() {
    let mut story = Story::up_with(with_token(HOUR));
    // 20 % of an hour before its end, and up to half a minute sooner.
    story.after(HOUR - 12 * 60_000 - 30_001);
    story.expects_no("renew-token");
    let renewal = renewal_of(&mut story, "j1");
    assert!(story.now.mono - 1_000 <= HOUR - 12 * 60_000 + 1_000);
    story.answers(renewal, renewed(1, "j2", 2 * HOUR));
    story.expects("use-token(s1)");
    story.expects("disconnect(c1)");
    story.registers();
    assert_eq!(story.core.view().credential.jti, Some("j2"));
    // The next one is planned from its own end.
    renewal_of(&mut story, "j2");
    assert!(story.now.mono > HOUR + 40 * 60_000);
}

#[test]
fn short_token() {
    let mut story = Story::up_with(with_token(30_000));
    for n in 1..=10_u64 {
        // At half of its life, and sooner by the jitter.
        let waited = story.waits_for("renew-token");
        assert!((7_000..=15_000).contains(&waited), "{waited}");
        let renewal = story.expects("renew-token");
        story.expects_no("renew-token");
        let ends = story.now.wall - EPOCH - 1_000 + 30_000;
        story.answers(renewal, renewed(n, &format!("j{}", n + 1), ends));
        story.registers();
    }
    assert_eq!(story.times("renew-token"), 10, "once per half-life, and not every second");
}

#[test]
fn a_token_without_an_end_or_of_another_profile_is_not_renewed() {
    let endless = TokenRecord { expires_at: None, ..token("j1", 0) };
    let foreign = TokenRecord { profile: Some("operator".into()), ..token("j1", 60_000) };
    for record in [endless, foreign] {
        let mut story = Story::up_with(Config { credential: Some(record), ..config() });
        story.after(HOUR);
        story.never("renew-token");
    }
}

#[test]
fn a_wait_of_many_days_is_split() {
    const DAY: u64 = 24 * HOUR;
    // Nothing else happens in this story.
    let timing =
        Timing { tick: 100 * DAY, register_deadline: 100 * DAY, start_without_relay: 100 * DAY, ..Timing::default() };
    let mut story = Story::with(Config { timing, ..with_token(60 * DAY) }, facts());
    story.boot();
    let mut waits = Vec::new();
    while story.times("renew-token") == 0 {
        let (at, _) = story.core.next_deadline().expect("a renewal is planned");
        waits.push(at - story.now.mono);
        story.after(at - story.now.mono);
    }
    // 2^31 - 1 milliseconds are not quite 25 days, so 60 days less an hour are three waits.
    assert_eq!(waits.len(), 3, "{waits:?}");
    assert_eq!(waits[..2], [2_147_483_647; 2]);
    let all = waits.iter().sum::<u64>();
    assert!((60 * DAY - HOUR - 30_000..=60 * DAY - HOUR).contains(&all), "{all}");
}

#[test]
fn renewal_answer_lost() {
    let mut story = Story::up_with(with_token(HOUR));
    let lost = renewal_of(&mut story, "j1");
    story.fails(lost, FailureKind::TimedOut);
    // The old token stays good: the connection stays, and the next try names the same token, so it has the same key.
    story.expects_no("disconnect");
    story.message(plain(7));
    story.hands_over(7);
    story.after(60_000);
    let again = story.expects("renew-token,j1");
    // The first answer comes after all.
    story.answers(lost, renewed(1, "j2", 2 * HOUR));
    story.expects_no("use-token");
    story.answers(again, renewed(2, "j2", 2 * HOUR));
    story.expects("use-token(s2)");
}

#[test]
fn a_failed_renewal_is_tried_again_while_there_is_time_and_shown() {
    let mut story = Story::up_with(with_token(10 * 60_000));
    let mut waits = Vec::new();
    let mut renewal = renewal_of(&mut story, "j1");
    story.by_hand();
    for _ in 0..4 {
        story.fails(renewal, FailureKind::Unreachable);
        let failed = story.now.mono;
        renewal = renewal_of(&mut story, "j1");
        waits.push((story.now.mono - failed) / 1_000);
    }
    // A minute, and half of what remains once that is less.
    assert!(waits[0] == 60 && waits.is_sorted_by(|a, b| a >= b) && waits[3] < 15, "{waits:?}");
    let status = Frame::Status { seq: 1, status: AgentStatus::Idle, ready: true };
    assert!(wire::frame(&story.core, &status).contains("runtime-token-renewal-failed"));
}

#[test]
fn slept_past_expiry() {
    let mut story = Story::up_with(with_token(HOUR));
    story.after(60_000);
    story.sleeps(2 * HOUR);
    // Noticed with the next comparison of the clocks, and tried at once, once.
    story.after(15_000);
    let renewal = story.expects("renew-token,j1");
    story.fails(renewal, FailureKind::Unauthorized);
    assert_eq!(state(&story), "expired");
    story.by_hand();
    story.after(HOUR);
    story.expects_no("renew-token");
    // A new one can be handed in, and everything goes on.
    let ends = story.now.wall - EPOCH + HOUR;
    hand_in(&mut story, 9, 5, token("j9", ends));
    story.expects("answer(r9,token,true)");
    story.expects("use-token(s5)");
    assert_eq!(state(&story), "valid");
    story.expects("set-status");
}

#[test]
fn a_relay_that_is_not_back_yet_after_a_sleep_is_asked_again() {
    let mut story = Story::up_with(with_token(HOUR));
    story.sleeps(2 * HOUR).after(15_000);
    let renewal = story.expects("renew-token,j1");
    story.fails(renewal, FailureKind::Unreachable);
    assert_eq!(state(&story), "expired");
    story.after(60_000);
    let renewal = story.expects("renew-token,j1");
    let ends = story.now.wall - EPOCH + HOUR;
    story.answers(renewal, renewed(1, "j2", ends));
    assert_eq!(state(&story), "valid");
}

fn hand_in(story: &mut Story, request: u64, slot: u64, record: TokenRecord) {
    let request = Some(RequestId(request));
    story.hears(Event::Order(Order::Token { request, slot: TokenSlot(slot), record }));
}

#[test]
fn a_token_that_has_ended_is_not_taken() {
    let mut story = Story::up_with(with_token(HOUR));
    hand_in(&mut story, 9, 5, token("j9", 0));
    story.expects("answer(r9,token,false)");
    story.never("use-token");
}

#[test]
fn renewed_then_silent() {
    let mut story = Story::up_with(Config { credential: Some(TokenRecord::default()), ..config() });
    story.by_hand();
    story.after(20_000);
    let heartbeat = story.expects(",heartbeat");
    story.fails(heartbeat, FailureKind::Unauthorized);
    assert_eq!(state(&story), "refused");
    // It cannot be renewed: liveness is silent until there is another token.
    story.open.clear();
    story.after(120_000);
    story.expects_no("set-status");
    hand_in(&mut story, 9, 5, token("j9", HOUR));
    story.expects("use-token(s5)");
    story.expects("set-status");
    story.expects(",heartbeat");
    assert_eq!(state(&story), "valid");
}

/// A relay that refused one call by mistake must not silence the agent for the rest of its life.
#[test]
fn a_call_that_the_relay_takes_ends_what_an_earlier_refusal_paused() {
    let mut story = Story::up_with(Config { credential: Some(TokenRecord::default()), ..config() });
    story.by_hand();
    story.after(20_000);
    let before = story.expects("set-status");
    let heartbeat = story.expects("ms,heartbeat");
    story.fails(heartbeat, FailureKind::Unauthorized);
    assert_eq!(state(&story), "refused");
    // What was asked before the refusal says nothing about it.
    story.answers(before, OpResult::Ok);
    assert_eq!(state(&story), "refused");
    story.message(task(7, 70));
    let since = story.expects("claim,m7");
    story.answers(since, OpResult::Refused { by: Some("rival".into()) });
    assert_eq!(state(&story), "valid");
    story.open.clear();
    story.after(20_000);
    story.expects("ms,heartbeat");
}

#[test]
fn a_refused_credential_is_tried_again_now_and_then() {
    let mut story = Story::up_with(Config { credential: Some(TokenRecord::default()), ..config() });
    story.by_hand();
    story.after(20_000);
    let heartbeat = story.expects("ms,heartbeat");
    story.open.clear();
    story.fails(heartbeat, FailureKind::Unauthorized);
    story.after(300_000);
    story.expects_no("set-status");
    story.expects_no("ms,heartbeat");
    story.after(20_000);
    let again = story.expects("ms,heartbeat");
    story.expects_no("set-status");
    story.fails(again, FailureKind::Unauthorized);
    story.open.clear();
    story.after(300_000);
    let again = story.expects("ms,heartbeat");
    story.answers(again, OpResult::Ok);
    assert_eq!(state(&story), "valid");
    story.after(20_000);
    story.expects("set-status");
}

#[test]
fn a_refused_call_makes_the_token_suspect_and_one_renewal_decides() {
    let mut story = Story::up_with(with_token(HOUR));
    story.message(plain(7));
    story.works(7);
    let read = story.expects("read,m7");
    story.fails(read, FailureKind::Unauthorized);
    let renewal = story.expects("renew-token,j1");
    // Meanwhile nothing else is asked.
    story.message(task(8, 80));
    story.after(10_000);
    story.expects_no("http(");
    story.answers(renewal, renewed(1, "j2", 2 * HOUR));
    story.expects("use-token(s1)");
    story.expects("read,m7");
    story.expects("claim,m8");
}

#[test]
fn calls_that_were_refused_together_wait_for_one_renewal() {
    let mut story = Story::up_with(with_token(HOUR));
    story.by_hand();
    story.after(20_000);
    for call in ["set-status", "set-ready", ",heartbeat"] {
        let refused = story.expects(call);
        story.fails(refused, FailureKind::Unauthorized);
    }
    let renewal = story.expects("renew-token,j1");
    story.open.clear();
    story.message(plain(7)).message(task(8, 80));
    story.after(10_000);
    story.expects_no("http(");
    assert_eq!(state(&story), "valid", "nobody knows yet whose fault it was");
    story.answers(renewal, renewed(1, "j2", 2 * HOUR));
    story.expects("use-token(s1)");
}

#[test]
fn a_refused_renewal_pauses_liveness_and_status_says_so() {
    let mut story = Story::up_with(with_token(HOUR));
    story.by_hand();
    story.after(20_000);
    let heartbeat = story.expects(",heartbeat");
    story.open.clear();
    story.fails(heartbeat, FailureKind::Unauthorized);
    let renewal = story.expects("renew-token,j1");
    story.fails(renewal, FailureKind::Unauthorized);
    assert_eq!(state(&story), "refused");
    story.after(59_000);
    story.expects_no("set-status");
    // It is tried again all the same, and what worked once goes on.
    story.after(1_000);
    let renewal = story.expects("renew-token,j1");
    story.answers(renewal, renewed(1, "j2", 2 * HOUR));
    story.expects("set-status");
}

#[test]
fn stale_401() {
    let mut story = Story::up_with(with_token(HOUR));
    let renewal = renewal_of(&mut story, "j1");
    story.by_hand();
    story.message(plain(7));
    let late = story.expects("delivery,m7,offered");
    story.answers(renewal, renewed(1, "j2", 2 * HOUR));
    // Asked under the old token, and refused after the new one came.
    story.fails(late, FailureKind::Unauthorized);
    assert_eq!(state(&story), "valid");
    story.expects_no("renew-token");
    story.expects("set-status");
}

#[test]
fn renewal_races_reconnect() {
    let mut story = Story::up_with(with_token(HOUR));
    let renewal = renewal_of(&mut story, "j1");
    // The link breaks, and a new connection is being opened with the old token.
    story.link_breaks();
    story.after(1_000);
    story.expects("connect(c2)");
    story.answers(renewal, renewed(1, "j2", 2 * HOUR));
    story.expects("disconnect(c2)");
    story.expects("connect(c3)");
    // Whatever the old attempt still says changes nothing.
    story.hears(Event::Link(2, LinkReport::Opened));
    story.expects_no("register");
    story.hears(Event::Link(3, LinkReport::Opened));
    story.expects("send(c3,register");
    story.expects_no("connect(");
}

#[test]
fn an_expired_token_is_renewed_before_the_next_connection() {
    let mut story = Story::up_with(with_token(HOUR));
    story.frame(BusFrame::Error { code: ErrorCode::ExpiredToken, message: "it has ended".into() });
    story.expects("disconnect(c1)");
    let renewal = story.expects("renew-token,j1");
    story.after(10_000);
    story.expects_no("connect(");
    story.answers(renewal, renewed(1, "j2", 2 * HOUR));
    story.expects("use-token(s1)");
    story.expects("connect(c2)");
}

#[test]
fn a_connection_that_waited_for_a_renewal_goes_on_when_that_fails() {
    let mut story = Story::up_with(with_token(HOUR));
    story.link_breaks();
    story.after(1_000);
    story.expects("connect(c2)");
    story.hears(Event::Link(2, LinkReport::Failed(failure(FailureKind::Unauthorized))));
    let renewal = story.expects("renew-token,j1");
    story.after(10_000);
    story.expects_no("connect(");
    story.fails(renewal, FailureKind::Unreachable);
    story.expects("connect(c3)");
}

fn failure(kind: FailureKind) -> relay_runner_core::Failure {
    relay_runner_core::Failure { kind, text: format!("{kind:?}").into() }
}

#[test]
fn a_registration_shows_that_the_token_is_good_after_all() {
    let mut story = Story::up_with(Config { credential: Some(TokenRecord::default()), ..config() });
    story.by_hand();
    story.after(20_000);
    let heartbeat = story.expects(",heartbeat");
    story.fails(heartbeat, FailureKind::Unauthorized);
    assert_eq!(state(&story), "refused");
    story.link_breaks();
    story.after(1_000);
    story.registers();
    assert_eq!(state(&story), "valid");
}

#[test]
fn renewal_after_stop() {
    let mut story = Story::up_with(with_token(HOUR));
    let renewal = renewal_of(&mut story, "j1");
    story.command("c1", "agent.kill");
    story.exits(relay_runner_core::event::ExitClass::Signal);
    let outcome = story.expects("command,c1,succeeded");
    story.answers(outcome, OpResult::Ok);
    let leave = story.expects("delete-agent");
    story.answers(leave, OpResult::Ok);
    story.expects("finish(0)");
    story.answers(renewal, renewed(1, "j2", 2 * HOUR));
    story.never("use-token");
    assert_eq!(story.core.next_deadline(), None);
}

#[test]
fn a_renewal_that_comes_while_the_run_ends_reopens_nothing() {
    let mut story = Story::up_with(with_token(HOUR));
    let renewal = renewal_of(&mut story, "j1");
    story.command("c1", "agent.shutdown");
    story.expects("Ask");
    story.answers(renewal, renewed(1, "j2", 2 * HOUR));
    // What is still to be said is said with it.
    story.expects("use-token(s1)");
    story.expects_no("connect(");
}

#[test]
fn a_credential_refused_at_the_first_registration_ends_with_77() {
    let mut story = Story::with(with_token(HOUR), facts());
    story.boot();
    story.expects("connect(c1)");
    story.hears(Event::Link(1, LinkReport::Failed(failure(FailureKind::Unauthorized))));
    story.expects("finish(77)");
}

/// How often a status was published by what this does.
fn published(story: &mut Story, what: impl FnOnce(&mut Story)) -> usize {
    let then = story.told.len();
    what(story);
    story.told_since(then, ",status,").len()
}

#[test]
fn a_token_that_is_refused_or_ends_is_published_as_such() {
    let mut story = Story::up_with(Config { credential: Some(TokenRecord::default()), ..config() });
    story.message(plain(7));
    story.works(7);
    let read = story.expects("read,m7");
    let refused = published(&mut story, |story| {
        story.fails(read, FailureKind::Unauthorized);
    });
    assert_eq!((refused, state(&story)), (1, "refused"));

    let foreign = TokenRecord { profile: Some("operator".into()), ..token("j1", HOUR) };
    let mut story = Story::up_with(Config { credential: Some(foreign), ..config() });
    let ended = published(&mut story, |story| {
        story.after(HOUR + 15_000);
    });
    assert_eq!((ended, state(&story)), (1, "expired"));
}

#[test]
fn a_token_that_had_ended_before_the_start_is_not_renewed() {
    let mut story = Story::up_with(with_token(0));
    story.after(HOUR);
    story.never("renew-token");
}

#[test]
fn a_clock_that_was_set_back_puts_no_renewal_off() {
    let mut story = Story::up_with(with_token(HOUR));
    story.now.wall -= 30 * 60_000;
    story.waits_for("renew-token,j1");
    assert!(story.now.mono <= HOUR, "{}", story.now.mono);
}

#[test]
fn every_renewal_that_failed_has_an_entry_of_its_own() {
    let mut story = Story::up_with(with_token(10 * 60_000));
    story.by_hand();
    for _ in 0..2 {
        let renewal = renewal_of(&mut story, "j1");
        story.fails(renewal, FailureKind::Unreachable);
    }
    let meta = story.status_meta();
    let entries = meta["timelineEvents"].as_array().expect("a list");
    let ids: Vec<_> = entries.iter().filter_map(|entry| entry["id"].as_str()).collect();
    assert_eq!(ids, ["renewal-1-1", "renewal-1-2"]);
}

#[test]
fn a_token_without_a_name_is_named_by_its_number() {
    let mut story = Story::up_with(with_token(HOUR));
    story.by_hand();
    for n in 0..2 {
        hand_in(&mut story, 9, n, TokenRecord { jti: None, ..token("", HOUR) });
    }
    let meta = story.status_meta();
    let entries = meta["timelineEvents"].as_array().expect("a list");
    let ids: Vec<_> = entries.iter().filter_map(|entry| entry["id"].as_str()).collect();
    assert_eq!(ids, ["token-2", "token-3"]);
}

#[test]
fn a_token_that_comes_without_a_profile_has_that_of_the_one_before() {
    let mut story = Story::up_with(with_token(HOUR));
    let renewal = renewal_of(&mut story, "j1");
    let record = TokenRecord { profile: None, ..token("j2", 2 * HOUR) };
    story.answers(renewal, OpResult::Token { slot: TokenSlot(1), record });
    story.registers();
    renewal_of(&mut story, "j2");
}

#[test]
fn claims_wait_for_a_doubted_token_as_well() {
    let mut story = Story::up_with(with_token(HOUR));
    story.message(plain(7));
    story.works(7);
    let read = story.expects("read,m7");
    story.message(task(8, 80));
    let claim = story.expects("claim,m8");
    story.answers(claim, OpResult::Granted { fence: 3, lease: Some(30_000) });
    story.after(9_000);
    story.fails(read, FailureKind::Unauthorized);
    let renewal = story.expects("renew-token,j1");
    story.after(5_000);
    story.expects_no("renew,m8");
    story.answers(renewal, renewed(1, "j2", 2 * HOUR));
    story.after(1_000);
    story.expects("renew,m8,f3");
}

#[test]
fn what_a_connection_of_an_older_token_says_is_not_about_the_new_one() {
    // While the run ends, there is no new connection for a new token.
    let ending = || {
        let mut story = Story::up_with(with_token(HOUR));
        story.message(plain(7));
        story.works(7);
        story.busy();
        story.signal(relay_runner_core::event::Signal::Term);
        hand_in(&mut story, 9, 5, token("j9", HOUR));
        story.expects("use-token(s5)");
        story.expects_no("connect(c2)");
        story
    };
    let mut story = ending();
    story.frame(BusFrame::Error { code: ErrorCode::Unauthorized, message: "which?".into() });
    story.expects("disconnect(c1)");
    story.expects_no("renew-token");

    let mut story = ending();
    let old = story.expects("read,m7");
    story.fails(old, FailureKind::Server);
    story.waits_for("read,m7");
    let read = story.expects("read,m7");
    story.fails(read, FailureKind::Unauthorized);
    story.expects("renew-token,j9");
    story.frame(BusFrame::Error { code: ErrorCode::NotRegistered, message: "who?".into() });
    story.expects("register");
    story.frame(BusFrame::Registered { epoch: 2, cursor: 1, relay: None, heartbeat: None });
    assert_eq!(story.core.view().credential.standing, "suspect");
}

#[test]
fn what_is_known_of_the_token_in_force_is_there_for_the_next_run() {
    let mut story = Story::up_with(with_token(HOUR));
    assert_eq!(story.core.token_record(), Some(&token("j1", HOUR)));
    hand_in(&mut story, 9, 5, token("j9", 2 * HOUR));
    assert_eq!(story.core.token_record(), Some(&token("j9", 2 * HOUR)));
    assert_eq!(Story::up().core.token_record(), None);
}
