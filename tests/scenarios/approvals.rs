//! Questions of the provider that wait for a person: held at the control server, or the adapter's own. The first answer
//! wins, and nobody's answer reaches a question that it was not given to.

use relay_runner_core::config::{Mode, Timing};
use relay_runner_core::event::{ApprovalRequest, BusFrame, ExitClass, Params, PermissionAsk, ProviderReport};
use relay_runner_core::flags::Flags;
use relay_runner_core::{Config, Event, OpResult, Order, RequestId};

use crate::story::{Story, config};

fn request(id: &str) -> ApprovalRequest {
    ApprovalRequest { id: id.into(), kind: "tool".into(), tool: Some("rm".into()), reason: None }
}

/// A hook of this session waits at the control server.
fn asks(story: &mut Story, session: &str, number: u64, id: &str) {
    let ask =
        Box::new(PermissionAsk { approval: request(id), session: Some(session.into()), pid: None, pids: Vec::new() });
    story.hears(Event::Order(Order::Permission { request: RequestId(number), ask }));
}

/// The names of those that wait for a decision.
fn open(story: &Story) -> Vec<&str> {
    story.core.view().approvals.iter().map(|open| open.id).collect()
}

/// The adapter itself asks.
fn adapter_asks(story: &mut Story, id: &str) {
    story.provider(ProviderReport::ApprovalOpened(Box::new(request(id))));
}

fn decides(story: &mut Story, command: &str, id: &str, decision: &str) {
    let params = Params {
        approval: Some(id.into()),
        decision: Some(decision.into()),
        reason: Some("looks fine".into()),
        ..Params::default()
    };
    story.command_with(command, "agent.permissionDecision", params);
}

#[test]
fn a_decision_reaches_the_hook_that_waits_for_it() {
    let mut story = Story::up();
    let session = story.session();
    asks(&mut story, &session, 1, "p1");
    assert_eq!(open(&story), ["p1"]);
    decides(&mut story, "c1", "p1", "approve");
    story.expects("answer(r1,permission,approve,looks%20;fine)");
    story.expects("command,c1,succeeded");
    story.never("decide,p1");
    assert!(story.core.view().approvals.is_empty());
}

#[test]
fn a_decision_reaches_the_adapter_that_asked() {
    let mut story = Story::up();
    adapter_asks(&mut story, "p1");
    decides(&mut story, "c1", "p1", "deny");
    let passed_on = story.expects("decide,p1,Deny");
    story.answers(passed_on, OpResult::Ok);
    story.expects("command,c1,succeeded");
}

#[test]
fn two_answers() {
    let mut story = Story::up();
    let session = story.session();
    // Held at the control server.
    asks(&mut story, &session, 1, "p1");
    decides(&mut story, "c1", "p1", "approve");
    decides(&mut story, "c2", "p1", "deny");
    story.expects("permission,approve");
    story.expects("command,c1,succeeded");
    story.expects("command,c2,failed,it%20;was%20;decided%20;already:%20;approve");
    // The adapter's, while the first is still on its way.
    adapter_asks(&mut story, "p2");
    decides(&mut story, "c3", "p2", "deny");
    decides(&mut story, "c4", "p2", "approve");
    story.expects("command,c4,failed,it%20;was%20;decided%20;already:%20;deny");
    let passed_on = story.expects("decide,p2,Deny");
    story.answers(passed_on, OpResult::Ok);
    story.expects("command,c3,succeeded");
    // The person at the terminal was first.
    asks(&mut story, &session, 2, "p3");
    story.provider(ProviderReport::ApprovalClosed { id: "p3".into() });
    story.expects("answer(r2,permission,none");
    decides(&mut story, "c5", "p3", "approve");
    story.expects("command,c5,failed,it%20;was%20;answered%20;in%20;the%20;provider");
    assert_eq!(story.times("permission,approve"), 1, "only the first answer reached anybody");
}

#[test]
fn stale_approval() {
    let mut story = Story::up();
    // Its turn is over.
    story.busy();
    let session = story.session();
    asks(&mut story, &session, 1, "p1");
    adapter_asks(&mut story, "p2");
    story.idle();
    story.expects("answer(r1,permission,none");
    assert!(story.core.view().approvals.is_empty());
    decides(&mut story, "c1", "p1", "approve");
    decides(&mut story, "c2", "p2", "approve");
    story.expects("command,c1,failed,the%20;request%20;is%20;over:%20;its%20;turn");
    story.expects("command,c2,failed,the%20;request%20;is%20;over:%20;its%20;turn");

    // Its process is over, and the next one asks something else.
    asks(&mut story, &session, 2, "p3");
    story.exits(ExitClass::Crash);
    story.expects("answer(r2,permission,none");
    story.after(500);
    story.provider_comes_up();
    adapter_asks(&mut story, "p4");
    decides(&mut story, "c3", "p3", "approve");
    story.expects("command,c3,failed,the%20;request%20;is%20;over:%20;its%20;provider");
    decides(&mut story, "c4", "never-asked", "approve");
    story.expects("command,c4,failed,no%20;such%20;request");
    assert_eq!(open(&story), ["p4"], "the later request is still open");
    story.never("Approve");
    story.never("permission,approve");
}

#[test]
fn a_decision_that_was_on_its_way_when_the_turn_ended_has_failed() {
    let mut story = Story::up();
    story.busy();
    adapter_asks(&mut story, "p1");
    decides(&mut story, "c1", "p1", "approve");
    let passed_on = story.expects("decide,p1,Approve");
    story.idle();
    story.answers(passed_on, OpResult::Ok);
    story.expects("command,c1,failed,the%20;request%20;is%20;over:%20;its%20;turn");
}

/// A provider may use a name again: what was decided about the earlier request says nothing about the later one.
#[test]
fn a_decision_on_its_way_settles_no_later_request_of_the_same_name() {
    let mut story = Story::up();
    story.busy();
    adapter_asks(&mut story, "p1");
    decides(&mut story, "c1", "p1", "approve");
    let first = story.expects("decide,p1,Approve");
    story.provider(ProviderReport::ApprovalClosed { id: "p1".into() });
    adapter_asks(&mut story, "p1");
    decides(&mut story, "c2", "p1", "deny");
    let second = story.expects("decide,p1,Deny");
    story.answers(first, OpResult::Ok);
    story.expects("command,c1,failed,it%20;was%20;answered%20;in%20;the%20;provider");
    assert_eq!(open(&story), ["p1"], "the later request still waits for its own decision");
    story.answers(second, OpResult::Ok);
    story.expects("command,c2,succeeded");
}

#[test]
fn nobody_decides_in_time() {
    let timing = || Timing { approval: 60_000, ..Timing::default() };
    // Headless: nobody will ever look at the dialog.
    let mut story = Story::up_with(Config { timing: timing(), ..config() });
    let session = story.session();
    asks(&mut story, &session, 1, "p1");
    story.after(59_999);
    story.expects_no("answer(");
    story.after(1);
    story.expects("answer(r1,permission,deny,the%20;request%20;is%20;over:%20;nobody%20;decided");
    decides(&mut story, "c1", "p1", "approve");
    story.expects("command,c1,failed,the%20;request%20;is%20;over:%20;nobody");

    // Interactive: the dialog stays where the person sees it.
    let mut story = Story::up_with(Config { mode: Mode::Interactive, timing: timing(), ..config() });
    let session = story.session();
    asks(&mut story, &session, 1, "p1");
    story.after(60_000);
    story.expects("answer(r1,permission,none");
}

/// An agent that asks and gets no answer waits for ever.
#[test]
fn a_request_that_finds_too_many_open_is_denied_at_once() {
    let mut story = Story::up();
    let most = config().limits.approvals;
    for n in 0..most {
        adapter_asks(&mut story, &format!("p{n}"));
    }
    story.never("decide,");
    adapter_asks(&mut story, "one-more");
    let denied = story.expects("decide,one-more,Deny,too%20;many");
    story.answers(denied, OpResult::Ok);
    assert_eq!(open(&story).len(), most);
    // One that is open already, asked for again, is still waiting.
    adapter_asks(&mut story, "p0");
    story.never("decide,p0");
    // Whoever asks without reading the answers gets no more than so many at a time.
    for n in 0..2 * most {
        adapter_asks(&mut story, &format!("q{n}"));
    }
    assert_eq!(story.times("decide,q"), most);
}

/// As the first journals have it.
#[test]
fn without_its_flag_a_request_beyond_the_limit_is_only_noted() {
    let mut story = Story::up_with(Config { flags: Flags::none(), ..config() });
    for n in 0..=config().limits.approvals {
        adapter_asks(&mut story, &format!("p{n}"));
    }
    story.never("decide,");
}

#[test]
fn a_request_of_another_session_is_nobodys() {
    let mut story = Story::up();
    asks(&mut story, "another", 1, "p1");
    story.expects("answer(r1,stale)");
    assert!(story.core.view().approvals.is_empty());
}

#[test]
fn an_open_request_keeps_typed_messages_away() {
    let adapter = relay_runner_core::config::Adapter { typed: true, ..config().adapter };
    let mut story = Story::up_with(Config { adapter, ..config() });
    let session = story.session();
    asks(&mut story, &session, 1, "p1");
    story.message(crate::story::plain(7));
    story.expects_no("offer,m7");
    decides(&mut story, "c1", "p1", "deny");
    story.hands_over(7);
}

#[test]
fn a_question_is_published_when_it_is_asked_and_when_it_is_over() {
    let mut story = Story::up();
    for id in ["p1", "p2"] {
        let then = story.told.len();
        adapter_asks(&mut story, id);
        assert_eq!(story.told_since(then, ",status,").len(), 1);
        let then = story.told.len();
        story.provider(ProviderReport::ApprovalClosed { id: id.into() });
        assert_eq!(story.told_since(then, ",status,").len(), 1);
    }
    // One for another, while a status is under way.
    adapter_asks(&mut story, "p3");
    story.by_hand();
    story.busy();
    story.provider(ProviderReport::ApprovalClosed { id: "p3".into() });
    adapter_asks(&mut story, "p4");
    let then = story.told.len();
    let frame = format!("status-{}", story.core.view().status_seq);
    story.frame(BusFrame::Ack { frame: frame.into() });
    assert_eq!(story.told_since(then, ",status,").len(), 1);
}

#[test]
fn as_many_questions_that_are_over_are_remembered_as_may_be_open() {
    let mut config = config();
    config.limits.approvals = 2;
    let mut story = Story::up_with(config);
    for id in ["p1", "p2", "p3"] {
        adapter_asks(&mut story, id);
        story.provider(ProviderReport::ApprovalClosed { id: id.into() });
    }
    let over: Vec<_> = story.core.view().approvals_over.iter().map(|over| (over.id, over.how)).collect();
    assert_eq!(over, [("p2", "elsewhere"), ("p3", "elsewhere")]);
    decides(&mut story, "c1", "p1", "approve");
    story.expects("command,c1,failed,no%20;such%20;request");
    decides(&mut story, "c2", "p2", "approve");
    story.expects("command,c2,failed,it%20;was%20;answered");
}
