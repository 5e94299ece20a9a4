//! The work that is open, as others are told of it: what keeps the agent busy, in which order, and how much.

use relay_runner_core::config::{Config, Delivery};
use relay_runner_core::event::{FailureKind, ProviderReport, ReportStatus, StatusReport};
use relay_runner_protocol::AgentStatus;

use crate::story::{Story, config, plain, task};

fn reports(story: &mut Story, status: ReportStatus, reason: &str, id: Option<&str>) {
    let (reason, id) = (Some(reason.into()), id.map(Into::into));
    story.report(StatusReport { status, reason, id, ..StatusReport::default() });
}

fn opens(story: &mut Story, reason: &str, id: Option<&str>) {
    reports(story, ReportStatus::Busy, reason, id);
}

/// Kind and id of each item.
fn shown(story: &Story) -> Vec<(String, String)> {
    let meta = story.status_meta();
    let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), ToString::to_string);
    let items = meta["activeWork"].as_array().expect("a list");
    items.iter().map(|item| (text(&item["kind"]), text(&item["id"]))).collect()
}

/// A provider that can be handed something during a turn.
fn steered() -> Story {
    let mut config = Config { delivery: Delivery::Steer, ..config() };
    config.adapter.steer = true;
    Story::up_with(config)
}

fn published(story: &mut Story, what: impl FnOnce(&mut Story)) -> usize {
    let then = story.told.len();
    what(story);
    story.told_since(then, ",status,").len()
}

#[test]
fn a_message_that_is_offered_keeps_the_agent_busy_and_so_does_its_task() {
    let mut story = Story::up();
    story.message(plain(1));
    assert_eq!(story.core.view().status, AgentStatus::Busy);
    assert_eq!(story.core.view().busy_reasons, ["message"]);
    let offer = story.expects("offer,m1/");
    story.fails(offer, FailureKind::Provider);
    assert_eq!(story.core.view().status, AgentStatus::Idle);
    let story = Story::holding_a_task();
    assert_eq!(story.core.view().busy_reasons, ["message", "task"]);
}

#[test]
fn work_is_listed_by_kind_and_what_has_a_number_between_what_has_none_and_what_has_a_name() {
    let mut story = Story::holding_a_task();
    let reported = [
        ("weather", None),
        ("task", Some("named")),
        ("task", None),
        ("message", Some("named")),
        ("message", None),
        ("command", None),
        ("compaction", None),
        ("subagent", Some("s1")),
        ("provider-turn", None),
    ];
    for (reason, id) in reported {
        opens(&mut story, reason, id);
    }
    let expected = [
        ("provider-turn", "provider-turn"),
        ("subagent", "s1"),
        ("compaction", "compaction"),
        ("message", "message"),
        ("message", "5"),
        ("message", "named"),
        ("task", "task"),
        ("task", "50"),
        ("task", "named"),
        ("command", "command"),
        ("weather", "weather"),
    ];
    assert_eq!(shown(&story), expected.map(|(kind, id)| (kind.to_string(), id.to_string())));
    let kinds = ["provider-turn", "subagent", "compaction", "message", "task", "command", "weather"];
    assert_eq!(story.core.view().busy_reasons, kinds);
}

#[test]
fn so_much_work_is_shown_counting_messages_and_tasks() {
    for (most, room) in [(2, 0), (3, 1), (4, 2)] {
        let mut config = config();
        config.limits.work = most;
        let mut story = Story::up_with(config);
        story.message(task(5, 50));
        story.grants(5, 3);
        story.accepts("task,t50,m5,in_progress");
        for id in ["s1", "s2", "s3"] {
            opens(&mut story, "subagent", Some(id));
        }
        assert_eq!(shown(&story).len(), 2 + room, "{most}: {:?}", shown(&story));
    }
}

#[test]
fn work_that_is_reported_again_is_published_when_it_says_something_else() {
    let mut story = Story::up();
    let says = |story: &mut Story, label: &str| {
        let (reason, id, label) = (Some("subagent".into()), Some("s1".into()), Some(label.into()));
        story.report(StatusReport { status: ReportStatus::Busy, reason, id, label, ..StatusReport::default() });
    };
    assert_eq!(published(&mut story, |story| says(story, "reads")), 1);
    assert_eq!(published(&mut story, |story| says(story, "reads")), 0);
    assert_eq!(published(&mut story, |story| says(story, "writes")), 1);
    assert_eq!(story.status_meta()["activeWork"][0]["label"], "writes");
}

#[test]
fn a_message_is_published_when_it_comes_to_a_busy_agent_and_when_it_goes() {
    let mut story = steered();
    story.busy();
    assert_eq!(
        published(&mut story, |story| {
            story.message(plain(1));
        }),
        1
    );
    let offer = story.expects("offer,m1/");
    assert_eq!(
        published(&mut story, |story| {
            story.fails(offer, FailureKind::Provider);
        }),
        1
    );
}

/// Whatever ends, and whatever begins, while a status is under way: the next one says so, even if as much is open as
/// before.
#[test]
fn changes_that_are_as_many_one_way_as_the_other_are_published() {
    let ends: [fn(&mut Story); 4] = [
        |story| {
            let offer = story.expects("offer,m1/");
            story.fails(offer, FailureKind::Provider);
        },
        |story| reports(story, ReportStatus::Idle, "subagent", Some("s1")),
        |story| reports(story, ReportStatus::Idle, "subagent", None),
        |story| {
            story.report(StatusReport {
                status: ReportStatus::Busy,
                clear: vec!["subagent".into()],
                ..StatusReport::default()
            });
        },
    ];
    for (n, end) in ends.into_iter().enumerate() {
        let mut story = steered();
        story.busy();
        opens(&mut story, "subagent", Some("s1"));
        story.message(plain(1));
        story.by_hand();
        opens(&mut story, "compaction", None);
        story.expects(",status,");
        end(&mut story);
        opens(&mut story, "weather", None);
        let sent = published(&mut story, |story| {
            story.by_routine();
            let frame = format!("status-{}", story.core.view().status_seq);
            story.frame(relay_runner_core::event::BusFrame::Ack { frame: frame.into() });
        });
        assert_eq!(sent, 1, "{n}");
    }
}

#[test]
fn work_that_nothing_confirms_is_published_as_such_and_again_when_it_shows_itself() {
    // What the agent itself has to do keeps it busy meanwhile.
    let mut config = config();
    config.timing.turn_probe = 10_000;
    config.timing.take_timeout = 600_000;
    let mut story = Story::up_with(config);
    story.message(plain(1));
    story.hands_over(1);
    opens(&mut story, "weather", None);
    let probe = loop {
        story.after(1_000);
        if story.list().contains("probe") {
            break story.expects("probe");
        }
    };
    let before = story.core.view().status;
    let unverified = published(&mut story, |story| {
        story.fails(probe, FailureKind::Unsupported);
    });
    assert_eq!((unverified, story.core.view().status), (1, before));
    let confirmed = published(&mut story, |story| {
        story.provider(ProviderReport::SignOfLife);
    });
    assert_eq!((confirmed, story.core.view().status), (1, before));
}

#[test]
fn a_subagent_that_outlives_its_turn_is_probed_when_it_is_silent() {
    let mut story = Story::up();
    story.busy();
    opens(&mut story, "subagent", Some("s1"));
    story.report(StatusReport { still_running: vec!["s1".into()], ..StatusReport::default() });
    assert_eq!(story.core.view().busy_reasons, ["subagent"]);
    story.after(600_000);
    story.expects("probe");
}
