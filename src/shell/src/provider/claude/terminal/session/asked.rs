//! What the core asks for.

use super::typing::What;
use super::{Ask, HAS_IT_WITHIN, Out, Pending, Phase, Session};
use relay_runner_core::event::{FailureKind, TakenOffer};
use relay_runner_core::{OpId, format};

/// How long the monitor may take to come up: it is started after Claude Code itself, and never again when it ends.
const MONITOR_WITHIN: u64 = 15_000;
/// Lines of the monitor that words may take: it says five within 1.5 s, and is waited for 10 s.
const LINES_MOST: usize = 25;
const NOT_TYPED: &str = "nothing can be typed into this terminal; it is its person's";

impl Session {
    pub(super) fn asked(&mut self, op: OpId, ask: Ask, heard: bool) {
        if self.phase != Phase::Live || self.stopping {
            return self.fail(op, FailureKind::NotReady, "Claude Code is not ready");
        }
        match ask {
            Ask::Offer { offers, text } => self.offer(op, offers, text, heard),
            Ask::Prompt { text } if self.opening.typed => self.types(Some(op), What::Text(text)),
            Ask::Tell { text } if self.opening.typed && format::lines(&text).count() > LINES_MOST => {
                self.types(Some(op), What::Text(text));
            }
            Ask::Prompt { text } | Ask::Tell { text } if format::lines(&text).count() > LINES_MOST => {
                let why = format!(
                    "it takes more than {LINES_MOST} lines of the monitor, which is all that there is to say it by"
                );
                self.fail(op, FailureKind::Invalid, &why);
            }
            Ask::Prompt { text } | Ask::Tell { text } => self.out.push(Out::Say { op, text }),
            Ask::Interrupt if self.opening.typed => {
                self.interrupting = true;
                self.types(Some(op), What::Escape);
            }
            Ask::Probe if self.opening.typed => {
                self.probes.push(op);
                self.look();
            }
            Ask::Compact if self.opening.typed => self.types(Some(op), What::Compact),
            Ask::Clear if self.opening.typed => self.types(Some(op), What::Clear),
            Ask::Interrupt | Ask::Probe | Ask::Compact | Ask::Clear => {
                self.fail(op, FailureKind::Unsupported, NOT_TYPED);
            }
            Ask::Decide => {
                self.fail(op, FailureKind::Unsupported, "its permissions are asked for by a hook, and answered there");
            }
        }
    }

    /// Through the monitor, which is safe whatever is on the screen; typed only where it is gone.
    fn offer(&mut self, op: OpId, offers: Vec<TakenOffer>, text: String, heard: bool) {
        let is_new = |pending: &Pending| !offers.contains(&pending.offer);
        self.pending.retain(is_new);
        self.was_heard |= heard;
        let is_gone = !heard && (self.was_heard || self.now >= self.up_at + MONITOR_WITHIN);
        let typed = is_gone && self.opening.typed;
        // The monitor's acknowledgement is part of the time.
        let lost_at = (!typed).then(|| self.now + 2 * HAS_IT_WITHIN);
        self.pending.extend(offers.iter().map(|offer| Pending { offer: *offer, lost_at }));
        if typed {
            if !std::mem::replace(&mut self.falls_back, true) {
                self.note(
                    true,
                    "the monitor of Claude Code's plugin has ended; messages are typed into its terminal instead"
                        .to_owned(),
                );
            }
            self.types(Some(op), What::Offer(text, offers));
        } else {
            self.falls_back = false;
            self.out.push(Out::Monitor { op, offers });
        }
    }
}
