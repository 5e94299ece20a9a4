//! Taking up the provider process that outlived its runner (behaviour, before 18).
//!
//! What the process has of what it was offered, and what became of it, only the process itself knows. Until it has
//! said so, all of that is ambiguous: nothing of it is offered again, and nothing of it counts as worked. What it
//! repeats is believed like any other evidence; what it missed is offered again; the rest stays ambiguous.

use alloc::vec::Vec;
use relay_runner_protocol::Stage;

use crate::Core;
use crate::config::Config;
use crate::deadlines::TimerKey;
use crate::effect::{Effects, Offer, Offers};
use crate::event::ProcessRef;
use crate::facts::{DurableFacts, ProviderFact};
use crate::inbox::Item;
use crate::lifecycle::Input;

impl DurableFacts {
    /// The process of the run before, where it can be taken up: it would be started in the same way today.
    pub fn adoptable(&self, config: &Config) -> Option<&ProcessRef> {
        let ProviderFact { process, launch, .. } = self.provider.as_ref()?;
        process.as_ref().filter(|_| config.adapter.adoptable && *launch == config.launch)
    }
}

impl Core {
    /// The first thing of a run, once it can be reached: before registering, and without a relay.
    pub(crate) fn adopt_provider(&mut self, fx: &mut Effects) {
        if self.lifecycle.is_to_adopt() {
            let in_doubt = self.inbox.iter().filter(|(_, item)| item.stage == Stage::Ambiguous);
            let offers: Offers = in_doubt.map(|(id, item)| offer_of(id, item)).collect();
            self.lifecycle_input(&Input::Adopt(offers), fx);
        }
    }

    /// It has said what it knows; what it does not account for stays in doubt.
    pub(crate) fn adopted(&mut self, fx: &mut Effects) {
        let in_doubt: Vec<_> =
            self.inbox.iter().filter(|(_, item)| item.stage == Stage::Ambiguous).map(|(id, _)| id).collect();
        if !in_doubt.is_empty() && !self.deadlines.is_armed(TimerKey::Ambiguous) {
            self.deadlines.arm(TimerKey::Ambiguous, self.now.mono, self.config.timing.ambiguous_limit);
        }
        for id in in_doubt {
            let why = "its process went on without the runner, and does not say what became of it";
            self.say_stage(id, Stage::Ambiguous, Some(why.into()), fx);
        }
        self.timeline("provider-adopted");
    }

    /// The process that was to be taken up is gone: the next one is started as if this were any start.
    pub(crate) fn start_instead(&mut self, fx: &mut Effects) {
        if self.link.epoch.is_some() || !self.deadlines.is_armed(TimerKey::StartWithoutRelay) {
            self.start_provider(fx);
        }
    }
}

const fn offer_of(message: u64, item: &Item) -> Offer {
    Offer { message, attempt: item.attempt, nonce: item.nonce, repeat: item.repeat }
}
