//! Runtime tokens: issued, renewed, known again, forgotten.
//!
//! A renewal gives a new token and leaves the old one good until its own expiry, so that a lost answer costs nothing. The
//! answer that is kept for an idempotency key has no token in it: the token is derived again.

use axum::http::StatusCode;
use relay_runner_protocol::token::{TokenAnswer, TokenRecord};
use rusqlite::{OptionalExtension, params};

use super::Tx;
use super::bounds::check_word;
use super::columns::{Columns, int, json};
use super::idempotency::{Answer, Asked};
use crate::refusal::{Refusal, Result};
use crate::token::{Hash, derive, hash};

/// How long an expired token is still known as such, in seconds: 7 days. Later it is unknown.
const REMEMBERED: u64 = 7 * 24 * 60 * 60;
/// Seconds that a token may be asked to last: a year.
const LONGEST: u64 = 365 * 24 * 60 * 60;

impl Tx<'_> {
    /// A token that `parent` asks for: the relay's own token, the runtime token that is renewed, or nothing on an open relay.
    /// Seconds; none is the relay's usual lifetime. The same key by the same parent gives the same token.
    pub(crate) fn issue_token(
        &mut self,
        asked: &Asked,
        parent: &str,
        profile: &str,
        lifetime: Option<u64>,
    ) -> Result<TokenAnswer> {
        check_word("profileId", profile)?;
        let lifetime = lifetime.unwrap_or(self.rules.token_lifetime);
        if !(1..=LONGEST).contains(&lifetime) {
            return Err(Refusal::invalid(format!("a token lasts 1 to {LONGEST} seconds")));
        }
        let kept = self.once(asked, |tx| {
            let record = tx.draw_token(parent, profile, lifetime)?;
            Ok(Answer { status: StatusCode::OK, body: json(&record)? })
        })?;
        let record: TokenRecord = serde_json::from_str(&kept.body)?;
        let token = derive(&self.token_secret()?, &record.jti, parent);
        if self.token(&hash(&token))?.is_none() {
            let message = "the token of this key was made for another token of the relay; use a new key";
            return Err(Refusal::conflict("token_gone", message));
        }
        Ok(TokenAnswer { token, record })
    }

    fn draw_token(&mut self, parent: &str, profile: &str, lifetime: u64) -> Result<TokenRecord> {
        let jti = super::random_id()?;
        // Rounded up, so that no token is shorter than it was asked for.
        let expires_at = self.now.div_ceil(1000).saturating_add(lifetime);
        let token = derive(&self.token_secret()?, &jti, parent);
        self.sql
            .prepare_cached("INSERT INTO tokens (jti, hash, profile_id, expires_at) VALUES (?, ?, ?, ?)")?
            .execute(params![jti, hash(&token), profile, int(expires_at)])?;
        Ok(TokenRecord { jti, profile_id: profile.to_owned(), expires_at })
    }

    /// Expired ones too, for a while.
    pub(crate) fn token(&self, hash: &Hash) -> Result<Option<TokenRecord>> {
        let mut query = self.sql.prepare_cached("SELECT * FROM tokens WHERE hash = ?")?;
        let record = query.query_row([hash], |row| {
            Ok(TokenRecord {
                jti: row.get("jti")?,
                profile_id: row.get("profile_id")?,
                expires_at: row.nat("expires_at")?,
            })
        });
        Ok(record.optional()?)
    }

    /// Drawn when the first token is made.
    fn token_secret(&self) -> Result<Vec<u8>> {
        let mut query = self.sql.prepare_cached("SELECT value FROM secrets WHERE name = 'tokens'")?;
        if let Some(secret) = query.query_row([], |row| row.get(0)).optional()? {
            return Ok(secret);
        }
        let mut secret = vec![0; 32];
        getrandom::fill(&mut secret).map_err(Refusal::internal)?;
        self.sql.prepare_cached("INSERT INTO secrets (name, value) VALUES ('tokens', ?)")?.execute([&secret])?;
        Ok(secret)
    }

    pub(super) fn forget_tokens(&mut self) -> Result<()> {
        let oldest = int((self.now / 1000).saturating_sub(REMEMBERED));
        self.sql.prepare_cached("DELETE FROM tokens WHERE expires_at <= ?")?.execute([oldest])?;
        Ok(())
    }
}
