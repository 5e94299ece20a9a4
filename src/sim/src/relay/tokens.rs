//! Runtime tokens: each ends, and makes one successor.

use std::collections::BTreeMap;

use relay_runner_core::event::{FailureKind, OpResult, TokenRecord};
use relay_runner_core::{Text, TokenSlot};

use super::failure;
use crate::clock::BEGIN;

/// Which token.
pub(crate) type TokenId = u64;

#[derive(Debug, Clone, Default)]
pub(crate) struct Tokens {
    /// When each ends, in the relay's time; none never does.
    all: BTreeMap<TokenId, Token>,
    /// While this holds, all are refused.
    pub(crate) refuses: bool,
}

#[derive(Debug, Clone)]
struct Token {
    ends: u64,
    lives: u64,
    revoked: bool,
    next: Option<TokenId>,
}

impl Tokens {
    /// Makes a token that lives so many seconds.
    pub(crate) fn makes(&mut self, lives: u64, time: u64) -> TokenId {
        let id = self.all.len() as u64 + 1;
        self.all.insert(id, Token { ends: time + lives * 1_000, lives, revoked: false, next: None });
        id
    }

    pub(crate) fn are_taken(&self, token: Option<TokenId>, time: u64) -> bool {
        let Some(token) = token else { return true };
        !self.refuses && self.all.get(&token).is_some_and(|token| !token.revoked && token.ends > time)
    }

    pub(crate) fn revokes(&mut self, token: TokenId) {
        self.all.entry(token).and_modify(|token| token.revoked = true);
    }

    /// When it ends, in the relay's time.
    pub(crate) fn ends(&self, token: TokenId) -> u64 {
        self.all.get(&token).map_or(0, |token| token.ends)
    }

    /// What is told of a token, in the words of its own.
    pub(crate) fn record(&self, token: TokenId) -> TokenRecord {
        let ends = (self.ends(token) + BEGIN).saturating_sub(super::EPOCH);
        TokenRecord {
            jti: Some(format!("j{token}").into()),
            profile: Some("provider-agent".into()),
            expires_at: Some(ends / 1_000),
        }
    }

    /// The successor: the same whenever it is asked for again.
    pub(super) fn renews(&mut self, token: Option<TokenId>, time: u64, text: &Text) -> OpResult {
        let Some(old) = token.and_then(|token| self.all.get(&token)).cloned() else {
            return failure(FailureKind::Invalid, text);
        };
        let next = old.next.unwrap_or_else(|| self.makes(old.lives, time));
        if let Some(old) = token.and_then(|token| self.all.get_mut(&token)) {
            old.next = Some(next);
        }
        OpResult::Token { slot: TokenSlot(next), record: self.record(next) }
    }
}
