//! The configuration, read again while the run goes on (behaviour 18, HUP).

use alloc::sync::Arc;

use crate::Core;
use crate::config::Settings;
use crate::effect::{Effect, Effects};
use crate::event::OpResult;
use crate::note::Note;
use crate::ops::Op;

impl Core {
    pub(crate) fn read_settings(&mut self, fx: &mut Effects) {
        if self.ending.is_begun() || self.ops.any(|op| *op == Op::ReadSettings) {
            return;
        }
        let op = self.ops.start(Op::ReadSettings, self.after(self.config.timing.shell_deadline));
        fx.push(Effect::ReadSettings { op });
    }

    /// What is under way keeps its deadline; what comes next has the new ones.
    pub(crate) fn settings_read(&mut self, result: OpResult, fx: &mut Effects) {
        // A configuration that cannot be read changes nothing; the note of the failure says why.
        let OpResult::Settings(settings) = result else { return };
        let changed = *settings != Settings::of(&self.config);
        fx.note(Note::SettingsRead { changed });
        if !changed {
            return;
        }
        let Settings { delivery, mark_read, on_give_up, wait_for_usage_limit, restart_exits, timing } = *settings;
        let config = Arc::make_mut(&mut self.config);
        config.delivery = delivery;
        config.mark_read = mark_read;
        config.on_give_up = on_give_up;
        config.wait_for_usage_limit = wait_for_usage_limit;
        config.limits.restart_exits = restart_exits;
        config.timing = timing;
        self.touched.inbox = true;
    }
}
