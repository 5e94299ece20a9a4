//! A relay that is hard to reach: links that break, links that only look alive, and calls that never end.

use relay_runner_core::event::{BusFrame, ExitClass, LinkReport, RelayEvent};
use relay_runner_core::{Event, OpResult};

use crate::story::{Story, plain, task};

#[test]
fn flapping_link() {
    let mut story = Story::up();
    story.after(60_000);
    let mut waits = Vec::new();
    for _ in 0..12 {
        story.link_breaks();
        waits.push(story.waits_to_connect());
        story.registers();
    }
    // Twice as long each time, to half a minute; and by up to a half less, so that not all come at once.
    for (n, wait) in waits.iter().enumerate() {
        let most = (500 << n).min(30_000);
        assert!((most / 2..=most).contains(wait), "{n}: {waits:?}");
    }
    let late: std::collections::BTreeSet<_> = waits[7..].iter().collect();
    assert!(late.len() > 1, "jittered: {waits:?}");

    // An hour of it is no busy loop.
    let (then, end) = (story.told.len(), story.now.mono + 3_600_000);
    while story.now.mono < end {
        story.link_breaks();
        story.waits_to_connect();
        story.registers();
    }
    let attempts = story.told_since(then, "connect(").len();
    assert!((120..=241).contains(&attempts), "{attempts} in an hour");

    // A minute without a loss makes it forget.
    story.after(60_000);
    story.link_breaks();
    assert!(story.waits_to_connect() <= 500);
}

#[test]
fn half_open_link() {
    let mut story = Story::up();
    story.by_hand();
    story.relay_says(RelayEvent::Other { name: "weather".into() });
    story.busy();
    story.expects(",busy,ready");
    // It is said again for as long as nobody says that it arrived.
    story.after(10_000);
    story.expects(",busy,ready");
    // The shell hears nothing for 45 s, and gives the connection up.
    story.after(35_000);
    story.hears(Event::Link(1, LinkReport::Closed("nothing was heard for 45 s".into())));
    assert_eq!(story.core.view().link.state, "waiting");
    story.after(500);
    story.opens();
    story.expects("register");

    // The next one takes the registration, and says nothing either.
    story.after(10_000);
    story.expects("disconnect(c2)");
    story.waits_to_connect();
    let then = story.told.len();
    story.registers();
    assert_eq!(story.told_since(then, ",busy,ready").len(), 1, "the whole status goes again");
    assert_eq!(story.told_since(then, "resume,1").len(), 1, "and the events since then come again");
}

#[test]
fn a_connection_of_which_nothing_is_heard_at_all_is_given_up() {
    let mut story = Story::up();
    story.link_breaks();
    story.after(500);
    story.expects("connect(c2)");
    story.after(20_000);
    story.expects("disconnect(c2)");
    story.waits_to_connect();
    story.expects("connect(c3)");
}

/// From now on no call of the relay is ever answered. Counts those that are made within this time.
fn calls_in_silence(story: &mut Story, millis: u64, what: &str) -> usize {
    let then = story.told.len();
    story.after(millis);
    story.told_since(then, what).len()
}

#[test]
fn hung_request() {
    // A claim: asked again, under its key.
    let mut story = Story::up();
    story.by_hand();
    story.message(task(5, 50));
    assert!(calls_in_silence(&mut story, 60_000, "claim,m5") >= 2);

    // A renewal: the lease ends, and the claim is asked for again.
    let mut story = Story::holding_a_task();
    story.by_hand();
    story.hands_over(5);
    story.takes(5);
    story.busy();
    let renewals = calls_in_silence(&mut story, 600_000, "renew,m5,f3");
    assert!((3..=8).contains(&renewals), "{renewals}: the less is left, the sooner");
    assert!(calls_in_silence(&mut story, 60_000, "claim,m5") >= 2);

    // A report: tried again, before the next of its lane.
    let mut story = Story::up();
    story.message(plain(1));
    story.works(1);
    story.by_hand();
    assert!(calls_in_silence(&mut story, 60_000, "read,m1") >= 2);
    story.never("settled");

    // Rounds of liveness, and what is unread: the next round goes.
    let mut story = Story::up();
    story.by_hand();
    let then = story.told.len();
    story.after(120_000);
    for call in ["set-status", "set-ready", ",heartbeat)", "unread,"] {
        assert!(story.told_since(then, call).len() >= 3, "{call}");
    }
}

#[test]
fn a_run_ends_in_time_although_nothing_is_ever_answered() {
    let mut story = Story::holding_a_task();
    story.message(plain(1));
    story.by_hand();
    story.hands_over(5);
    story.takes(5);
    story.busy();
    story.command("c1", "agent.compact");
    story.command("c2", "agent.shutdown");
    // Not even the exit of the provider comes.
    story.after(10_000 + 2_000 + 2_000);
    story.expects("stop(g1,Kill)");
    story.expects("finish(0)");
    assert_eq!(story.core.view().operations, 0);
    assert_eq!(story.core.next_deadline(), None);

    let mut story = Story::up();
    story.by_hand();
    story.command("c2", "agent.shutdown");
    story.exits(ExitClass::Clean);
    story.after(10_000 + 2_000);
    story.expects("finish(0)");
}

/// Every status that was told, with its number, over whichever transport: `(number, words)`.
fn statuses(story: &Story) -> Vec<(u64, String)> {
    let mut all = Vec::new();
    for text in &story.told {
        let parts: Vec<_> = text.trim_end_matches(')').split(',').collect();
        if let Some(at) = parts.iter().position(|part| *part == "status") {
            all.push((parts[at + 1].parse().expect("a number"), parts[at + 2].to_owned()));
        } else if let Some(at) = parts.iter().position(|part| *part == "set-status") {
            all.push((parts[at + 2].parse().expect("a number"), parts[at + 1].to_owned()));
        }
    }
    all
}

#[test]
fn status_writers_race() {
    let mut story = Story::up();
    story.by_hand();
    // The bus has an old status under way when the next round of liveness writes as well, time and again: with the
    // link up, down, and up again.
    for n in 0..20 {
        if n % 2 == 0 {
            story.busy()
        } else {
            story.idle()
        };
        story.after(7_000);
        match n {
            6 => {
                story.link_breaks();
            }
            14 => {
                story.registers();
            }
            _ => {}
        }
        while story.list().contains("set-") || story.list().contains(",heartbeat)") {
            for call in ["set-status", "set-ready", ",heartbeat)"] {
                if story.list().contains(call) {
                    story.accepts(call);
                }
            }
        }
    }
    let all = statuses(&story);
    assert!(all.len() > 15, "{all:?}");
    // The relay ignores lower numbers. So whatever arrives last, the newest is shown: numbers never go back, and one
    // number never says two things.
    assert!(all.windows(2).all(|pair| pair[0].0 <= pair[1].0), "{all:?}");
    let mut said = std::collections::BTreeMap::new();
    for (number, words) in &all {
        assert_eq!(said.entry(number).or_insert(words), &words, "number {number} says two things: {all:?}");
    }
}

#[test]
fn an_answer_to_an_older_status_does_not_settle_a_newer_one() {
    let mut story = Story::up();
    story.by_hand();
    story.busy();
    let seq = story.core.view().status_seq;
    story.idle();
    // The acknowledgement of an older status comes late: the one under way is still waited for.
    story.frame(BusFrame::Ack { frame: format!("status-{}", seq - 1).into() });
    story.expects(",busy,");
    story.expects_no(",idle,");
    story.frame(BusFrame::Ack { frame: format!("status-{seq}").into() });
    story.expects(",idle,ready");
}

#[test]
fn a_renewal_that_hangs_does_not_end_a_claim_that_the_relay_gives_again() {
    let mut story = Story::holding_a_task();
    story.hands_over(5);
    story.takes(5);
    story.busy();
    story.after(300_000);
    story.expects("renew,m5,f3");
    story.after(275_000);
    story.idle();
    story.never(",done");
    let claim = story.expects("claim,m5");
    story.answers(claim, OpResult::Granted { fence: 4, lease: Some(600_000) });
    story.after(5_000);
    story.expects("task,t50,m5,done,f4");
}
