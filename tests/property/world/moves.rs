//! Moves drawn by proptest. A history is a list of them, and shrinks to a shorter list of smaller ones.

use proptest::prelude::*;
use relay_runner_core::event::{ExitClass, FailureKind, Signal};

use super::{Command, Move, World};

const KINDS: [FailureKind; 7] = [
    FailureKind::Server,
    FailureKind::TimedOut,
    FailureKind::Unreachable,
    FailureKind::NotReady,
    FailureKind::Provider,
    FailureKind::Busy { retry_after: Some(7_000) },
    FailureKind::Busy { retry_after: None },
];

const CLASSES: [ExitClass; 6] = [
    ExitClass::Crash,
    ExitClass::Clean,
    ExitClass::Signal,
    ExitClass::Hang,
    ExitClass::Refused,
    ExitClass::UsageLimit { until: None },
];

/// A provider and a relay at work, as they should be.
pub(crate) fn work() -> impl Strategy<Value = Move> {
    prop_oneof![
        4 => (0..3_usize).prop_map(Move::Answer),
        1 => Just(Move::ComesUp),
        2 => Just(Move::Takes),
        1 => Just(Move::TakesIntoTurn),
        2 => Just(Move::Busy),
        2 => Just(Move::Idle),
        1 => Just(Move::Wait),
    ]
}

/// What goes wrong between them.
pub(crate) fn troubles() -> impl Strategy<Value = Move> {
    prop_oneof![
        3 => (0..3_usize).prop_map(Move::Hold),
        3 => (0..3_usize, prop::sample::select(&KINDS[..])).prop_map(|(n, kind)| Move::Fail(n, kind)),
        2 => (0..60_000_u64).prop_map(Move::Pass),
        2 => prop::sample::select(&CLASSES[..]).prop_map(Move::Exits),
        1 => Just(Move::FailsTurn),
        1 => Just(Move::PersonInterrupts),
        1 => Just(Move::LinkBreaks),
        1 => Just(Move::LosesStatus),
    ]
}

/// Everything, without an order that ends the run.
pub(crate) fn anything() -> impl Strategy<Value = Move> {
    let id = || prop_oneof![1..6_u64, 1_000..1_004_u64];
    let says = prop::sample::select(vec![Command::Restart, Command::Reconnect, Command::Compact, Command::Unknown]);
    prop_oneof![
        12 => work(),
        4 => troubles(),
        3 => id().prop_map(Move::Publish),
        1 => id().prop_map(Move::Again),
        1 => id().prop_map(Move::RivalClaims),
        1 => id().prop_map(Move::RivalReleases),
        1 => id().prop_map(Move::Deletes),
        1 => (-400_000..400_000_i64).prop_map(Move::SetClock),
        1 => (0..900_000_u64).prop_map(Move::Sleeps),
        1 => says.prop_map(Move::Says),
        1 => prop::sample::select(vec![Signal::Hup]).prop_map(Move::Gets),
    ]
}

/// Makes these moves, and stops at the first that breaks something.
pub(crate) fn play(world: &mut World, moves: &[Move]) -> Result<(), TestCaseError> {
    for (n, what) in moves.iter().enumerate() {
        world.make(*what);
        if let Some(broken) = &world.broken {
            let told = world.told.join("\n  ");
            return Err(TestCaseError::fail(format!("{broken}, in move {n}, {what:?}:\n  {told}")));
        }
    }
    Ok(())
}

impl World {
    /// Everything comes to its end, and what must hold at rest holds.
    pub(crate) fn comes_to_rest(&mut self) -> Result<(), TestCaseError> {
        let before = self.core.view().now.mono;
        self.calms_down().and_then(|()| self.rests()).map_err(|broken| {
            let after = self.now.mono - before;
            TestCaseError::fail(format!("{broken} ({after} ms later)\n{:#?}", self.core.view().messages))
        })
    }
}
