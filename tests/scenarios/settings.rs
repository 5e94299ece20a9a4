//! HUP: the configuration is read again while the run goes on.

use relay_runner_core::config::{Delivery, Mode, Settings, Timing};
use relay_runner_core::event::{FailureKind, Incoming, Signal};
use relay_runner_core::{Config, OpResult};

use crate::story::{Story, config, plain};

#[test]
fn a_configuration_that_was_read_again_is_used_from_then_on() {
    let mut story = Story::up();
    story.busy();
    story.signal(Signal::Hup);
    let read = story.expects("read-settings");
    let timing = Timing { liveness: 90_000, ..Timing::default() };
    let settings = Settings { delivery: Delivery::Interrupt, timing, ..Settings::of(&config()) };
    story.answers(read, OpResult::Settings(Box::new(settings)));
    story.message(Incoming { urgent: true, ..plain(7) });
    story.expects("interrupt");
    assert_eq!(story.core.config().timing.liveness, 90_000);
}

#[test]
fn a_configuration_that_cannot_be_read_changes_nothing() {
    let mut story = Story::up();
    story.signal(Signal::Hup).signal(Signal::Hup);
    let read = story.expects("read-settings");
    story.expects_no("read-settings");
    let before = story.core.config().clone();
    story.fails(read, FailureKind::Invalid);
    assert_eq!(*story.core.config(), before);
    story.message(plain(7));
    story.works(7);
}

#[test]
fn at_a_terminal_a_hang_up_ends_the_run() {
    let mut story = Story::up_with(Config { mode: Mode::Interactive, ..config() });
    story.signal(Signal::Hup);
    story.expects("Ask");
    story.never("read-settings");
}

#[test]
fn a_configuration_that_was_recorded_before_usage_limits_were_a_choice_waits_for_them() {
    let mut recorded = serde_json::to_value(config()).unwrap();
    recorded.as_object_mut().and_then(|fields| fields.remove("wait_for_usage_limit")).expect("it is recorded now");
    let read: Config = serde_json::from_value(recorded).unwrap();
    assert!(read.wait_for_usage_limit);
}
