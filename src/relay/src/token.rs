//! Runtime tokens as values: how they are made, and known again.
//!
//! A token is an HMAC of its jti and of the token that asked for it, under a secret of the database. So a token can be
//! given out a second time to whoever asked for it, though it is kept nowhere: the database alone makes no token, for it
//! has no token that asks, and neither does a token alone, for it has no secret. What is kept is the token's SHA-256.

use ring::{digest, hmac};

/// How every runtime token begins.
pub(crate) const PREFIX: &str = "rrt_";

/// What stands for a token in the database.
pub(crate) type Hash = [u8; 32];

/// The token of a jti that `parent` (a token, or nothing on an open relay) asked for.
pub(crate) fn derive(secret: &[u8], jti: &str, parent: &str) -> String {
    let mut mac = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret));
    // Neither part can be taken for a piece of the other: a jti has no line break.
    for part in ["relay-runner runtime token\n", jti, "\n", parent] {
        mac.update(part.as_bytes());
    }
    format!("{PREFIX}{}", hex(mac.sign().as_ref()))
}

pub(crate) fn hash(token: &str) -> Hash {
    let mut hash = Hash::default();
    hash.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
    hash
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_depends_on_the_secret_the_jti_and_who_asked() {
        let token = derive(b"secret", "j", "root");
        assert!(token.starts_with(PREFIX) && token.len() == PREFIX.len() + 64, "{token}");
        assert_eq!(token, derive(b"secret", "j", "root"));
        for other in [derive(b"other", "j", "root"), derive(b"secret", "k", "root"), derive(b"secret", "j", "r")] {
            assert_ne!(token, other);
        }
        assert_ne!(hash(&token), hash("root"));
    }
}
