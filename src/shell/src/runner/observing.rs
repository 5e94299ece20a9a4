//! What others want to know of the run.

use super::Runner;
use crate::control::terminal::Terminal;
use crate::control::{metrics, why};
use crate::observed::Ask;

impl Runner {
    /// Whoever asked may have gone: then nobody hears the answer.
    pub(super) fn observe(&mut self, ask: Ask) {
        match ask {
            Ask::Why(answer) => {
                let _ = answer.send(why::answer(&self.core, &self.observed, self.clock.stamp(), self.journal.path()));
            }
            Ask::Metrics(answer) => {
                let _ = answer.send(metrics::text(&metrics::Seen {
                    view: &self.core.view(),
                    observed: &self.observed,
                    version: &self.options.program.version,
                    started_at: self.core.config().identity.started_at,
                    journal_bytes: self.journal.written(),
                    inputs_waiting: self.waiting.len() + self.own.len(),
                }));
            }
            Ask::Listen(resume, answer) => {
                let _ = answer.send(self.observed.listen(&resume));
            }
            Ask::Terminal(answer) => {
                let named = Terminal::of(&self.core.config().identity);
                let own = || {
                    self.provider
                        .terminal(self.core.conversation())
                        .filter(|_| self.core.view().process.process.is_some())
                };
                let _ = answer.send(named.or_else(own));
            }
        }
    }
}
