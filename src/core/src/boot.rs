//! Coming up (behaviour 2): control server, info file, bus, provider; each step waits only for what it needs.

use serde::{Deserialize, Serialize};

use crate::Core;
use crate::deadlines::TimerKey;
use crate::effect::{Effect, Effects, ExitCode};
use crate::ending::Why;
use crate::event::OpResult;
use crate::lifecycle::Input;
use crate::note::Note;
use crate::ops::Op;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Boot {
    #[default]
    New,
    /// The control server is being started.
    Control,
    Running,
}

impl Boot {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Control => "control",
            Self::Running => "running",
        }
    }
}

impl Core {
    pub(crate) fn begin_boot(&mut self, fx: &mut Effects) {
        if self.boot != Boot::New {
            fx.note(Note::Unexpected { state: "running", event: "boot" });
            return;
        }
        self.boot = Boot::Control;
        self.conclude_earlier_commands(fx);
        let op = self.ops.start(Op::StartControl, self.after(self.config.timing.shell_deadline));
        fx.push(Effect::StartControl { op });
        self.deadlines.arm(TimerKey::Tick, self.now.mono, self.config.timing.tick);
    }

    pub(crate) fn control_started(&mut self, result: OpResult, fx: &mut Effects) {
        if self.boot != Boot::Control {
            return;
        }
        self.boot = Boot::Running;
        if let OpResult::Failed(failure) = result {
            self.end(Why::Fault(failure.text), ExitCode::Failed, fx);
            return;
        }
        self.write_info(fx);
        self.plan_renewal(fx);
        let timing = &self.config.timing;
        self.deadlines.arm(TimerKey::StartWithoutRelay, self.now.mono, timing.start_without_relay);
        if self.config.fail_fast {
            self.deadlines.arm(TimerKey::FailFast, self.now.mono, timing.fail_fast);
        }
        self.adopt_provider(fx);
        self.connect(fx);
    }

    /// At start, and after every spawn.
    pub(crate) fn write_info(&mut self, fx: &mut Effects) {
        let op = self.ops.start(Op::WriteInfo, self.after(self.config.timing.shell_deadline));
        fx.push(Effect::WriteInfo { op });
    }

    /// Starts the first provider of this process: once registered, or after some time without a relay.
    pub(crate) fn start_provider(&mut self, fx: &mut Effects) {
        self.deadlines.clear(TimerKey::StartWithoutRelay);
        if self.boot == Boot::Running
            && self.lifecycle.never_started()
            && !self.lifecycle.is_parked()
            && !self.ending.is_begun()
        {
            self.lifecycle_input(&Input::Start, fx);
        }
    }

    pub(crate) fn fail_fast(&mut self, fx: &mut Effects) {
        self.end(Why::RelayUnreachable, ExitCode::RelayUnreachable, fx);
    }
}
