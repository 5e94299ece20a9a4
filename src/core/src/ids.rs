//! The ids that run through the core, and how ids on the wire are derived from them.
//!
//! Nothing here is random: an id is a pure function of the run and of what it names, so that a retry after a crash
//! uses the same one. Secrets are never derived; they are made in the shell from the operating system's randomness.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Immutable text, cheap to clone.
pub type Text = Arc<str>;

/// A message's id on the relay; inbox order is the order of these.
pub type MessageId = u64;
/// A task's id on the relay.
pub type TaskId = u64;
/// The number of a claim: a report under an old one is refused by the relay.
pub type Fence = u64;
/// Which registration of the agent is meant; a higher one makes all lower ones stale.
pub type Epoch = u64;
/// The n-th connection attempt of this process; frames of an older one are ignored.
pub type Conn = u64;

/// The n-th provider process of an agent. It goes on counting across restarts of the runner; 0 is "none yet".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub u64);

/// An operation that will be answered. Numbers go on counting across restarts of the runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OpId(pub u64);

/// A request of somebody at the control server who waits for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(pub u64);

/// Where the shell keeps a runtime token; 0 is the one that the run began with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenSlot(pub u64);

/// A turn of the provider, counted by the core; 0 is "none".
pub type TurnNumber = u64;

/// The short random text in an offer's heading, by which the provider's echo is recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Nonce(pub u32);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "g{}", self.0)
    }
}

impl fmt::Display for OpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "o{}", self.0)
    }
}

impl fmt::Display for TokenSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}", self.0)
    }
}

/// Crockford's base 32.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

impl Nonce {
    /// Reads the six letters that a heading shows.
    pub fn parse(text: &str) -> Option<Self> {
        let letters = <[u8; 6]>::try_from(text.as_bytes()).ok()?;
        letters
            .into_iter()
            .try_fold(0_u32, |number, letter| {
                let digit = ALPHABET.iter().position(|known| *known == letter)?;
                Some(number << 5 | u32::try_from(digit).ok()?)
            })
            .map(Self)
    }
}

impl fmt::Display for Nonce {
    /// Six letters: none that can be misread, nothing that a shell or a model changes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for shift in [25, 20, 15, 10, 5, 0] {
            let letter = ALPHABET[(self.0 >> shift) as usize & 31];
            fmt::Write::write_char(f, char::from(letter))?;
        }
        Ok(())
    }
}

/// The idempotency key of an operation: UUIDv5 of the run, the operation's number, and what its request says of the
/// registration and the claim. A try under another epoch or fence is another request, and gets another key.
pub fn idempotency_key(run: &str, key: OpId, epoch: Epoch, fence: Option<Fence>) -> String {
    derived(run, &format!("operation:{}:{epoch}:{}", key.0, fence.unwrap_or(0)))
}

/// The idempotency key of renewing the token with this id: a try whose answer was lost brings the same new token again.
pub fn renewal_key(run: &str, jti: &str) -> String {
    derived(run, &format!("renewal:{jti}"))
}

/// The provider session of a generation: hooks echo it, so that a hook of an older process is recognised.
pub fn provider_session(run: &str, generation: Generation) -> String {
    derived(run, &format!("provider-session:{}", generation.0))
}

fn derived(run: &str, name: &str) -> String {
    let run = Uuid::new_v5(&Uuid::NAMESPACE_OID, run.as_bytes());
    let mut buffer = Uuid::encode_buffer();
    String::from(&*Uuid::new_v5(&run, name.as_bytes()).as_hyphenated().encode_lower(&mut buffer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_ids_are_stable_and_distinct() {
        let key = |run, op, epoch, fence| idempotency_key(run, OpId(op), epoch, fence);
        assert_eq!(key("run", 1, 1, None), key("run", 1, 1, None));
        assert_ne!(key("run", 1, 1, None), key("run", 2, 1, None));
        assert_ne!(key("run", 1, 1, None), key("other", 1, 1, None));
        assert_ne!(key("run", 1, 1, None), key("run", 1, 2, None));
        assert_ne!(key("run", 1, 1, None), key("run", 1, 1, Some(1)));
        assert_ne!(key("run", 1, 0, None), provider_session("run", Generation(1)));
    }

    #[test]
    fn a_renewal_is_known_by_the_token_that_it_renews() {
        assert_eq!(renewal_key("run", "jti-1"), renewal_key("run", "jti-1"));
        assert_ne!(renewal_key("run", "jti-1"), renewal_key("run", "jti-2"));
        assert_ne!(renewal_key("run", "jti-1"), renewal_key("other", "jti-1"));
    }

    #[test]
    fn a_nonce_reads_as_six_plain_letters() {
        assert_eq!(format!("{}", Nonce(0)), "000000");
        assert_eq!(format!("{}", Nonce(31)), "00000z");
        assert_eq!(format!("{}", Nonce(1 << 29)), "g00000");
        for nonce in [Nonce(0), Nonce(31), Nonce(987_654_321), Nonce((1 << 30) - 1)] {
            assert_eq!(Nonce::parse(&format!("{nonce}")), Some(nonce));
        }
        for wrong in ["", "00000", "0000000", "00000i", "00000A", "0000ü"] {
            assert_eq!(Nonce::parse(wrong), None, "{wrong}");
        }
    }
}
