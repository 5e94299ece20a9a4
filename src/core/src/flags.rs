//! Changes of what the core decides, by number. A journal names those that were in force, and is run again with them
//! and no others; whoever starts a new run has them all (docs/decisions, "Upcasts and flags").

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// A change of behaviour. Its number stands in journals: it is never given to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Flag {
    /// An adapter's approval that finds too many open is denied at once; without it, it is only noted, and the agent
    /// waits for an answer that never comes.
    DeniesApprovalsBeyondTheLimit = 1,
    /// A run that goes on where another ended leaves a gap in the numbers of operations and statuses; without it, those
    /// that were used after the journal was last forced to the disk are used again when the power fails.
    LeavesAGapBehindAnotherRun = 2,
    /// A read mark of which the relay knows nothing is said again, once the relay is known to know the agent; without it,
    /// the message is believed to be gone.
    DoubtsThatTheRelayKnowsTheAgent = 3,
    /// What was taken is in doubt when a turn ends that nobody saw begin; without it, the next turn is believed to have it.
    DoubtsWhatAnUnseenTurnHad = 4,
    /// Less is believed without a sign. Without it, none of this holds:
    ///
    /// - What is newer waits until it is known what is unread, after a first registration and after a gap in the events,
    ///   which are still taken in; the position stands until the replay that was asked for is announced.
    /// - A deleted message is over; a message is missing once a heartbeat has shown that the relay knows the agent.
    /// - A relay is the same over the same connection; commands are taken in once it is known which one they are of.
    /// - A claim that was lost is asked for again after a while; a link that was refused at the first registration is
    ///   closed.
    /// - Who was superseded plans no renewal, believes it of a late answer too, and leaves what it may not say any more,
    ///   and the outcome of what it gave up, to its next run.
    /// - What was handed over while a turn ran is in doubt when that failed and the provider shows nothing, and what waits
    ///   for a turn when one ended that nobody saw begin; a question of a turn that gives no sign of life is no reason to
    ///   wait for it; a turn that began while the first prompt was being handed over is its turn.
    /// - A task ends with the last message that is left once all that is unread is known; a stage that overtakes another
    ///   has a key of its own.
    BelievesLess = 5,
    /// A task that was given up has ended once its end was accepted or refused; without it, once anything that was said of
    /// it was, and what a superseded run gave up while `in_progress` was under way is said by nobody.
    BelievesOnlyEnds = 6,
    /// A message that expects a reply is owed one from the moment at which it is taken, until it is replied to; without
    /// it, nobody but the relay knows.
    RemembersWhatIsOwed = 7,
    /// A usage limit whose end is not known, or has passed already, is waited for, longer each time, and its exit is not
    /// counted; without it, that counts like a crash, and a provider that meets its limit over and over is given up within
    /// seconds.
    WaitsForLimitsWithoutEnd = 8,
    /// What a hook shows to be taken belongs to the turn that runs where the hook names that turn: it was steered into it.
    /// Without it, it is believed to wait for the next turn, and is in doubt when none comes.
    JoinsTheTurnOfItsHook = 9,
}

impl Flag {
    /// In the order of their numbers.
    pub const ALL: [Self; 9] = [
        Self::DeniesApprovalsBeyondTheLimit,
        Self::LeavesAGapBehindAnotherRun,
        Self::DoubtsThatTheRelayKnowsTheAgent,
        Self::DoubtsWhatAnUnseenTurnHad,
        Self::BelievesLess,
        Self::BelievesOnlyEnds,
        Self::RemembersWhatIsOwed,
        Self::WaitsForLimitsWithoutEnd,
        Self::JoinsTheTurnOfItsHook,
    ];

    pub const fn number(self) -> u32 {
        self as u32
    }
}

/// The flags in force, by number and in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Flags(Vec<u32>);

impl Flags {
    /// What a new run has.
    pub fn all() -> Self {
        Self(Flag::ALL.into_iter().map(Flag::number).collect())
    }

    /// These and no others, in any order.
    pub fn of(flags: &[Flag]) -> Self {
        let mut numbers: Vec<u32> = flags.iter().map(|flag| flag.number()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        Self(numbers)
    }

    /// What the first journals have.
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    pub fn has(&self, flag: Flag) -> bool {
        self.0.contains(&flag.number())
    }

    /// One that this program does not know: a newer one wrote it.
    pub fn unknown(&self) -> Option<u32> {
        self.0.iter().copied().find(|number| Flag::ALL.iter().all(|known| known.number() != *number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_never_given_twice_and_the_list_is_whole() {
        // A flag that is added without being listed here has no number in a journal.
        for flag in Flag::ALL {
            match flag {
                Flag::DeniesApprovalsBeyondTheLimit
                | Flag::LeavesAGapBehindAnotherRun
                | Flag::DoubtsThatTheRelayKnowsTheAgent
                | Flag::DoubtsWhatAnUnseenTurnHad
                | Flag::BelievesLess
                | Flag::BelievesOnlyEnds
                | Flag::RemembersWhatIsOwed
                | Flag::WaitsForLimitsWithoutEnd
                | Flag::JoinsTheTurnOfItsHook => {}
            }
        }
        assert!(Flag::ALL.windows(2).all(|pair| pair[0].number() < pair[1].number()));
        assert_eq!(Flag::ALL[0].number(), 1);
    }

    #[test]
    fn a_flag_of_a_newer_program_is_known_as_such() {
        assert_eq!((Flags::all().unknown(), Flags::none().unknown()), (None, None));
        assert_eq!(Flags(alloc::vec![1, 999]).unknown(), Some(999));
        assert!(!Flags::none().has(Flag::DeniesApprovalsBeyondTheLimit));
    }
}
