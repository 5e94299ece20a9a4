//! Typing, one thing at a time: look, paste, look again, enter. Keys go to whatever is on the screen, so that nothing is
//! entered which was not seen in the input a moment before; into a dialog nothing goes at all.

use super::{Keys, LOOK_EVERY, Out, Phase, Session};
use crate::provider::claude::terminal::screen::{Question, Screen};
use relay_runner_core::event::{ExitClass, FailureKind, TakenOffer};
use relay_runner_core::{OpId, OpResult};

/// Between two looks while something is typed.
const LOOK_AGAIN: u64 = 50;
/// How long the input may not be free.
const FREE_WITHIN: u64 = 5_000;
/// How long what was pasted or entered may not show.
const SHOWN_WITHIN: u64 = 5_000;
/// When a key that had no effect is pressed again: a dialog passes over the keys of its first moment.
const AGAIN_AFTER: u64 = 1_500;
/// When the program is asked by a signal after all.
const EXITS_WITHIN: u64 = 3_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    Text(String),
    Offer(String, Vec<TakenOffer>),
    Compact,
    Clear,
    Exit,
    Escape,
}

impl What {
    fn text(&self) -> Option<&str> {
        Some(match self {
            Self::Text(text) | Self::Offer(text, _) => text,
            Self::Compact => "/compact",
            Self::Clear => "/clear",
            Self::Exit => "/exit",
            Self::Escape => return None,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Looks,
    Pasted,
    /// Enter, or Escape, was pressed at this time.
    Pressed(u64),
}

#[derive(Debug)]
pub(super) struct Typing {
    pub(super) op: Option<OpId>,
    what: What,
    step: Step,
    /// Given up at this time.
    until: u64,
}

impl Session {
    /// Once whatever is typed now is done.
    pub(super) fn types(&mut self, op: Option<OpId>, what: What) {
        self.waiting.push_back((op, what));
        self.type_next();
    }

    fn type_next(&mut self) {
        if self.typing.is_some() {
            return;
        }
        if let Some((op, what)) = self.waiting.pop_front() {
            let limit = if what == What::Exit { EXITS_WITHIN } else { FREE_WITHIN };
            self.typing = Some(Typing { op, what, step: Step::Looks, until: self.now + limit });
            self.look();
        }
    }

    pub(super) fn screen(&mut self, screen: Screen) {
        match self.phase {
            Phase::Starting => return self.first_screen(screen),
            Phase::CatchingUp => return self.adopted_screen(screen),
            Phase::Live => {}
            Phase::Done => return,
        }
        for op in std::mem::take(&mut self.probes) {
            match screen {
                Screen::Input { works: false, .. } => {
                    self.fail(op, FailureKind::Provider, "its terminal shows no turn that runs");
                }
                Screen::Input { works: true, .. } | Screen::Other | Screen::Question(_) => {
                    self.answer(op, OpResult::Ok);
                }
            }
        }
        let Some(Typing { what, step, until, .. }) = &self.typing else { return };
        let (step, late) = (*step, self.now >= *until);
        match (what.text().map(str::to_owned), step, screen) {
            // Nothing runs. A menu or the dialog of the turn that has begun: what was entered was taken.
            (None, Step::Looks | Step::Pressed(_), Screen::Input { works: false, .. })
            | (Some(_), Step::Pressed(_), Screen::Input { empty: true, .. } | Screen::Other) => self.typed(),
            (None, Step::Looks, Screen::Input { .. } | Screen::Other) => self.press(Keys::Escape),
            (None, Step::Pressed(at), Screen::Input { .. } | Screen::Other)
                if !late && self.now >= at + AGAIN_AFTER =>
            {
                self.press(Keys::Escape);
            }
            (Some(text), Step::Looks, Screen::Input { empty: true, works: false }) => {
                self.left = true;
                self.out.push(Out::Type(Keys::Paste(text)));
                self.goes_on(Step::Pasted, SHOWN_WITHIN);
            }
            // A signal does as well, and sooner.
            (Some(_), Step::Looks, _) if *what == What::Exit => self.gives_up(screen),
            (Some(_), Step::Looks, Screen::Input { empty: false, works: false }) if self.left => {
                self.out.push(Out::Type(Keys::Clear));
                self.look_at = Some(self.now + LOOK_AGAIN);
            }
            (Some(_), Step::Pasted, Screen::Input { empty: false, works: false }) => self.press(Keys::Enter),
            (Some(_), Step::Pressed(at), Screen::Input { empty: false, works: false })
                if !late && self.now >= at + AGAIN_AFTER =>
            {
                self.press(Keys::Enter);
            }
            _ if late => self.gives_up(screen),
            _ => self.look_at = Some(self.now + LOOK_AGAIN),
        }
    }

    fn goes_on(&mut self, step: Step, within: u64) {
        if let Some(typing) = &mut self.typing {
            typing.step = step;
            typing.until = typing.until.max(self.now + within);
        }
        self.look_at = Some(self.now + LOOK_AGAIN);
    }

    fn press(&mut self, keys: Keys) {
        let again = matches!(self.typing, Some(Typing { step: Step::Pressed(_), .. }));
        self.out.push(Out::Type(keys));
        self.goes_on(Step::Pressed(self.now), if again { 0 } else { SHOWN_WITHIN });
    }

    /// It is in.
    fn typed(&mut self) {
        let Some(Typing { op, what, step, .. }) = self.typing.take() else { return };
        if what.text().is_some() {
            self.left = false;
        } else if step == Step::Looks {
            self.interrupting = false;
        }
        match (op, what) {
            (Some(op), What::Compact) => self.compacting = Some(op),
            (Some(op), What::Clear) => self.clearing = Some(op),
            // What became of a turn that was interrupted stands in the transcript.
            (Some(op), What::Text(_) | What::Offer(..) | What::Escape) => self.answer(op, OpResult::Ok),
            (None, _) | (Some(_), What::Exit) => {}
        }
        self.type_next();
    }

    /// What was entered has had its effect before the screen showed that it is in.
    pub(super) fn has_taken(&mut self, what: &What) {
        let is = |typing: &Typing| typing.what == *what && matches!(typing.step, Step::Pressed(_));
        if self.typing.as_ref().is_some_and(is) {
            self.typed();
        }
    }

    /// The turn was interrupted, so that nothing need be pressed any more.
    pub(super) fn escaped(&mut self) {
        if self.typing.as_ref().is_some_and(|typing| typing.what == What::Escape) {
            self.typed();
        }
    }

    fn gives_up(&mut self, screen: Screen) {
        let Some(Typing { op, what, .. }) = self.typing.take() else { return };
        let why = match screen {
            Screen::Input { empty: false, .. } => {
                "somebody has typed something into Claude Code's terminal; enter it, or clear it with Ctrl-U \
                 (`relay-runner attach --drive`)"
            }
            Screen::Input { works: true, .. } => "Claude Code is at work, and its input is not free",
            Screen::Input { .. } => "Claude Code's terminal did not take what was typed",
            Screen::Question(_) | Screen::Other => {
                "a dialog is open in Claude Code's terminal; nothing is typed into it"
            }
        };
        self.not_done(op, what, FailureKind::NotReady, why);
        self.type_next();
    }

    fn not_done(&mut self, op: Option<OpId>, what: What, kind: FailureKind, why: &str) {
        if let Some(op) = op {
            self.fail(op, kind, why);
        }
        match what {
            What::Escape => self.interrupting = false,
            What::Exit => self.out.push(Out::Terminate),
            What::Offer(_, offers) => self.pending.retain(|pending| !offers.contains(&pending.offer)),
            What::Text(_) | What::Compact | What::Clear => {}
        }
    }

    pub(super) fn not_typed(&mut self, why: &str) {
        if let Some(Typing { op, what, .. }) = self.typing.take() {
            self.not_done(op, what, FailureKind::Unreachable, why);
        }
        for op in std::mem::take(&mut self.probes) {
            self.fail(op, FailureKind::Unreachable, why);
        }
        if matches!(self.phase, Phase::Starting | Phase::CatchingUp) {
            self.look_at = Some(self.now + LOOK_EVERY);
        }
        self.type_next();
    }

    /// Before the first hook: it may ask something that only a person may answer.
    fn first_screen(&mut self, screen: Screen) {
        self.look_at = Some(self.now + LOOK_EVERY);
        match screen {
            Screen::Question(question) => {
                self.questions += 1;
                // Not one that is being drawn over another.
                if self.questions > 1 {
                    self.asks_first(question);
                }
            }
            Screen::Input { .. } => {
                let since = *self.input_since.get_or_insert(self.now);
                if self.now >= since + super::HOOKS_WITHIN {
                    let why = "Claude Code is up, and none of its hooks reaches the runner: hooks may be turned off in its settings \
                               (disableAllHooks, or a policy of the machine); allow them, then `relay-runner restart`";
                    self.end(ExitClass::Refused, why.to_owned());
                }
            }
            Screen::Other => {}
        }
    }

    fn asks_first(&mut self, question: Question) {
        self.end(ExitClass::Refused, format!("{}; then `relay-runner restart`", question.words()));
    }
}
