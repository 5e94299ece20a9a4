//! Reports on their way to the relay: how many at a time, for how long, and which are done without when there are too
//! many.

use relay_runner_core::event::{ExitClass, FailureKind, Signal};
use relay_runner_core::{Config, Note, OpResult};

use crate::story::{Story, config, plain, task};

fn limited(change: fn(&mut Config)) -> Story {
    let mut config = config();
    change(&mut config);
    let mut story = Story::up_with(config);
    story.by_hand();
    story
}

#[test]
fn so_many_reports_are_under_way_at_a_time_and_an_answer_is_what_goes_on() {
    let mut story = limited(|config| config.limits.reports_under_way = 2);
    story.busy();
    for id in 1..=4 {
        story.message(plain(id));
    }
    assert_eq!(story.times("delivery,"), 2);
    let waits = |story: &Story| story.core.view().deadlines.iter().any(|d| format!("{:?}", d.what) == "Reports");
    assert!(!waits(&story), "no time is waited for");
    story.accepts("delivery,m1,held");
    assert_eq!(story.times("delivery,"), 3);
    // What came back waits for its time, and lets another go first.
    let second = story.expects("delivery,m2,held");
    story.fails(second, FailureKind::Server);
    assert_eq!(story.times("delivery,"), 4);
    assert!(!waits(&story));
    story.accepts("delivery,m3,held");
    assert!(waits(&story), "now there is room for it");
}

#[test]
fn a_stage_is_tried_four_times_and_a_read_mark_for_ever() {
    let mut story = Story::up();
    story.message(plain(1));
    story.works(1);
    let read = story.expects("read,m1");
    story.fails(read, FailureKind::Server);
    story.busy();
    story.by_hand();
    story.message(plain(2));
    let begun = story.now.mono;
    while story.now.mono < begun + 600_000 {
        let (at, _) = story.core.next_deadline().expect("there is always something");
        story.after(at - story.now.mono);
        for what in ["delivery,m2,held", "read,m1"] {
            if story.list().contains(what) {
                let op = story.expects(what);
                story.fails(op, FailureKind::Server);
            }
        }
    }
    assert_eq!(story.times("delivery,m2,held"), 4);
    assert!(story.times("read,m1") > 15, "{}", story.times("read,m1"));
}

#[test]
fn stages_and_states_of_commands_are_done_without_when_there_are_too_many_reports() {
    let mut story = limited(|config| config.limits.reports = 3);
    story.command("c1", "agent.juggle");
    assert_eq!(story.core.view().reports_waiting, 2, "accepted, and failed");
    story.busy();
    story.message(plain(1));
    assert_eq!(story.core.view().reports_waiting, 3);
    story.message(plain(2)).message(plain(3));
    story.never("delivery,m2");
    // An outcome is kept, and so are all others; what waits and can be done without makes room for it.
    story.command("c2", "agent.juggle");
    story.command("c3", "agent.juggle");
    let full: Vec<_> = story.noted.iter().filter(|note| matches!(note, Note::Full { .. })).collect();
    assert_eq!(full, [&Note::Full { what: "reports", dropped: 1 }], "it is said once");
    for id in ["c1", "c2", "c3"] {
        while story.times(&format!("command,{id},failed")) == 0 {
            let op = story.expects(&format!("command,{id},"));
            story.answers(op, OpResult::Ok);
        }
    }
}

#[test]
fn what_is_accepted_for_good_is_on_the_disk_before_anything_else_happens() {
    let mut story = Story::up();
    story.command("c1", "agent.juggle");
    story.accepts("command,c1,failed");
    assert!(story.synced, "the outcome of a command");
    let mut story = Story::up();
    story.message(plain(1));
    story.works(1);
    story.by_hand().accepts("read,m1");
    assert!(story.synced, "a read mark");
}

#[test]
fn a_run_in_which_all_goes_well_hears_nothing_stale() {
    let mut story = Story::holding_a_task();
    story.works(5);
    story.accepts("task,t50,m5,done");
    story.accepts("read,m5");
    assert!(story.core.view().messages.is_empty());
    let stale: Vec<_> = story.noted.iter().filter(|note| matches!(note, Note::Stale { .. })).collect();
    assert!(stale.is_empty(), "{stale:?}");
    let reported: Vec<_> = story.noted.iter().filter(|note| matches!(note, Note::TaskReported { .. })).collect();
    assert_eq!(reported.len(), 2, "started, and done: {reported:?}");
}

#[test]
fn a_task_that_is_blocked_has_not_ended() {
    let mut config = config();
    config.timing.ambiguous_limit = 60_000;
    let mut story = Story::up_with(config);
    story.message(task(5, 50)).message(task(6, 50));
    story.grants(5, 3);
    story.accepts("task,t50,m5,in_progress");
    story.works(5);
    story.accepts("read,m5");
    let claim = story.expects("claim,m6");
    story.answers(claim, OpResult::Granted { fence: 4, lease: None });
    story.hands_over(6);
    story.after(30_000 + 60_000);
    story.accepts("task,t50,m6,blocked");
    assert_eq!(story.stage(5), Some("worked"), "it waits for the other message of its task");
}

#[test]
fn nothing_is_reported_once_leave_is_taken() {
    let mut story = Story::holding_a_task();
    story.signal(Signal::Quit);
    story.exits(ExitClass::Signal);
    let release = story.expects("release,m5,f3");
    story.signal(Signal::Quit);
    story.expects("delete-agent");
    story.fails(release, FailureKind::Server);
    story.by_hand();
    story.after(1_500);
    assert_eq!(story.times("release,m5"), 1);
    assert_eq!(story.times("delete-agent"), 1, "and leave is not taken twice");
}
