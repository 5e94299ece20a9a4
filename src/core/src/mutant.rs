//! Wrong variants of the core, one at a time: canaries for those who watch it.
//!
//! A test that cannot fail says nothing, so each variant here must be caught by a story of its name's hazard
//! (`tests/scenarios/mutants.rs`), and by whoever else claims to see such faults. Without the feature `mutants` no
//! variant can be chosen, and every question for one is `false` at compile time.

use serde::{Deserialize, Serialize};

use crate::config::Config;

/// What a core can be made to do wrong. Each is asked for at one decision, or at two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Mutant {
    /// A read mark that fails puts its message back.
    RedeliversWhenMarkingFails,
    /// A lease is counted from the moment its answer came.
    CountsTheLeaseFromArrival,
    /// Only the monotonic clock ends a lease.
    BelievesOneClock,
    /// Reports go out without a fence.
    ForgetsTheFence,
    /// A claim that is granted again keeps its first fence.
    KeepsTheOldFence,
    /// Reports go out whatever became of the lease.
    ReportsUnderALapsedLease,
    /// The answer of a renewal brings back a claim that has ended.
    RevivesClaims,
    /// A claim whose answer was lost is asked for again as another request.
    AsksUnderANewKey,
    /// Claims of worked messages are released like all others.
    ReleasesWorkedClaims,
    /// The end of any turn completes whatever was taken.
    CompletesAtAnyIdle,
    /// A turn that failed completes what it had.
    CompletesAFailedTurn,
    /// Each message of a task ends it.
    EndsATaskWithEachMessage,
    /// A message is marked as read before it was worked.
    MarksReadTooEarly,
    /// What goes out again does not say so.
    ForgetsRepeats,
    /// A message whose offers fail is offered for ever.
    NeverSetsAside,
    /// New messages are taken in while older ones did not fit.
    OvertakesTheFlood,
    /// A process that is being stopped is offered messages.
    OffersToTheDying,
    /// An exit is not believed while its process starts.
    DropsAnExitWhileStarting,
    /// The exit of an older generation is believed.
    BelievesLateExits,
    /// The hook of an older session is believed.
    BelievesLateHooks,
    /// The hook of a nested provider is believed.
    BelievesNestedProviders,
    /// Exits are counted for ever.
    NeverForgetsExits,
    /// A restart during the pause leaves the pause armed, and that starts another process.
    SpawnsTwice,
    /// A shutdown does not take the place of a restart.
    RestartsInsteadOfEnding,
    /// A process that does not end when asked is asked for ever.
    NeverEscalates,
    /// A command that comes again is carried out again.
    RepeatsCommands,
    /// A command of the relay is heard, and neither acknowledged nor carried out.
    IgnoresCommands,
    /// Statuses do not count up.
    RepeatsStatusNumbers,
    /// Shown as ready while the agent goes down.
    ReadyWhileGoingDown,
    /// No pause grows between attempts to connect.
    NeverBacksOff,
    /// A superseded instance deletes the agent that another holds.
    DeletesWhatAnotherHolds,
    /// A link that breaks while leave is taken is opened again.
    ReconnectsWhileLeaving,
    /// A 401 under an older credential counts against the one in force.
    BelievesOldRefusals,
    /// Another credential does not bring liveness back.
    StaysSilentWhenRenewed,
    /// A token is renewed every second.
    RenewsAllTheTime,
    /// The connection goes on with the old token.
    KeepsTheOldConnection,
    /// A question outlives the turn that asked it.
    KeepsQuestionsOpen,
    /// A second decision is passed on like the first.
    PassesOnTheSecondAnswer,
    /// A turn that nothing confirms stays a fact, and keeps everything else waiting.
    WaitsForSilentTurns,
    /// What a turn had that ended unseen is worked.
    CompletesAnUnseenTurn,
    /// The agent is told each time somebody says that a message is not its own any more.
    TellsTwice,
    /// The agent is not told that a message is not its own any more.
    NeverTells,
    /// Each urgent message interrupts the turn that is being interrupted.
    InterruptsAgain,
    /// A message that made way for an urgent one has failed.
    BlamesWhatMadeWay,
    /// An offer that the adapter knows was missed is not made again.
    ForgetsTheMissed,
    /// What a process that is taken up may have is believed to be where the run before knew it.
    BelievesWhatWasKnown,
    /// What a process that is taken up may have is offered to it again.
    OffersTwiceToTheAdopted,
    /// The process after the next knows nothing of the conversation.
    ForgetsTheConversation,
}

impl Mutant {
    pub const ALL: [Self; 48] = [
        Self::RedeliversWhenMarkingFails,
        Self::CountsTheLeaseFromArrival,
        Self::BelievesOneClock,
        Self::ForgetsTheFence,
        Self::KeepsTheOldFence,
        Self::ReportsUnderALapsedLease,
        Self::RevivesClaims,
        Self::AsksUnderANewKey,
        Self::ReleasesWorkedClaims,
        Self::CompletesAtAnyIdle,
        Self::CompletesAFailedTurn,
        Self::EndsATaskWithEachMessage,
        Self::MarksReadTooEarly,
        Self::ForgetsRepeats,
        Self::NeverSetsAside,
        Self::OvertakesTheFlood,
        Self::OffersToTheDying,
        Self::DropsAnExitWhileStarting,
        Self::BelievesLateExits,
        Self::BelievesLateHooks,
        Self::BelievesNestedProviders,
        Self::NeverForgetsExits,
        Self::SpawnsTwice,
        Self::RestartsInsteadOfEnding,
        Self::NeverEscalates,
        Self::RepeatsCommands,
        Self::IgnoresCommands,
        Self::RepeatsStatusNumbers,
        Self::ReadyWhileGoingDown,
        Self::NeverBacksOff,
        Self::DeletesWhatAnotherHolds,
        Self::ReconnectsWhileLeaving,
        Self::BelievesOldRefusals,
        Self::StaysSilentWhenRenewed,
        Self::RenewsAllTheTime,
        Self::KeepsTheOldConnection,
        Self::KeepsQuestionsOpen,
        Self::PassesOnTheSecondAnswer,
        Self::WaitsForSilentTurns,
        Self::CompletesAnUnseenTurn,
        Self::TellsTwice,
        Self::NeverTells,
        Self::InterruptsAgain,
        Self::BlamesWhatMadeWay,
        Self::ForgetsTheMissed,
        Self::BelievesWhatWasKnown,
        Self::OffersTwiceToTheAdopted,
        Self::ForgetsTheConversation,
    ];
}

impl Config {
    /// Whether this core is wrong in this way. Never in a program that is shipped.
    #[cfg(feature = "mutants")]
    pub(crate) fn is_mutant(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    #[cfg(not(feature = "mutants"))]
    #[expect(clippy::unused_self, reason = "asked in the same words with and without the feature")]
    pub(crate) const fn is_mutant(&self, _: Mutant) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::Mutant;

    #[test]
    fn the_list_of_mutants_is_whole() {
        // A variant that is added without being listed has no place in the order.
        for (at, mutant) in Mutant::ALL.into_iter().enumerate() {
            assert_eq!(mutant as usize, at, "{mutant:?}");
        }
        assert_eq!(Mutant::ForgetsTheConversation as usize + 1, Mutant::ALL.len(), "the last one is the last");
    }
}
