//! The hazards: situations in which runners of this kind lose work, do it twice, or hang. That each is met says that the
//! world brings it about; that nothing goes wrong in it is the watch's business.
//!
//! Each has a detector: a small test of one step. `foreign-caller` and `bad-body` are refused by the control server
//! itself, and never become events: the program's own stories are about them.

mod approvals;
mod commands;
mod credential;
mod link;
mod messages;
mod process;

use super::step::Step;

/// A hazard's name, and whether this step is in the middle of it.
type Detector = (&'static str, fn(&Step<'_>) -> bool);

const GROUPS: [&[Detector]; 6] =
    [process::ALL, messages::ALL, commands::ALL, link::ALL, credential::ALL, approvals::ALL];

/// The names of all that can be met.
pub fn names() -> impl Iterator<Item = &'static str> {
    GROUPS.into_iter().flatten().map(|(name, _)| *name)
}

/// Those that a step meets.
pub(super) fn met<'a>(step: &'a Step<'_>) -> impl Iterator<Item = &'static str> + 'a {
    GROUPS.into_iter().flatten().filter(|(_, is_met)| is_met(step)).map(|(name, _)| *name)
}
