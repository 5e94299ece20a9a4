//! The runtime tokens of a run: the one in force, and new ones until the core has decided about them. The newest is
//! kept in the state folder, readable for its owner only, so that a runner that is started again days later with the
//! token it once began with goes on with the one that took its place.

use crate::clock;
use crate::info::write_whole;
use crate::input::{Input, Inputs, Task};
use crate::secret;
use relay_runner_core::time::Wall;
use relay_runner_core::wire::token_record;
use relay_runner_core::{TokenRecord, TokenSlot};
use relay_runner_protocol::token::{RecordGiven, TokenGiven};
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const FILE: &str = "token.json";
/// New tokens that wait for the core at a time.
const WAITING_MOST: usize = 4;
/// How often the token's file is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// The largest file that is taken for one.
const FILE_MOST: u64 = 64 * 1024;

/// A token and what is known of it.
#[derive(Debug, Clone)]
pub struct Token {
    pub secret: SecretString,
    pub record: TokenRecord,
}

impl Token {
    /// The text of a file: the token itself, or JSON as a relay hands it out (`token`, and a `record` with `jti`,
    /// `profileId` and `expiresAt`).
    pub fn read(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (token, record) = if text.starts_with('{') {
            let given: TokenGiven = serde_json::from_str(text)
                .map_err(|e| format!("it holds JSON without a token ({:?} error)", e.classify()))?;
            (given.token, token_record(given.record))
        } else {
            (text.to_owned(), TokenRecord::default())
        };
        Self::new(&token, record)
    }

    /// Fails when it cannot be sent in a header.
    pub fn new(token: &str, record: TokenRecord) -> Result<Self, String> {
        let token = token.trim();
        if token.is_empty() {
            return Err("it is empty; put the token into it".to_owned());
        }
        if HeaderValue::from_str(token).is_err() || !token.is_ascii() {
            return Err("it holds no token: a token is one line of printable ASCII characters".to_owned());
        }
        Ok(Self { secret: SecretString::from(token), record })
    }
}

/// What is kept for the next start.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    /// The token that the run was given: another one given later is believed before this file.
    given: String,
    token: String,
    #[serde(default)]
    jti: Option<String>,
    #[serde(default)]
    profile_id: Option<String>,
    #[serde(default)]
    expires_at: Option<u64>,
}

#[derive(Debug)]
pub(crate) struct Tokens {
    file: PathBuf,
    given: Option<SecretString>,
    current: Option<SecretString>,
    waiting: BTreeMap<TokenSlot, SecretString>,
    last: u64,
}

impl Tokens {
    /// Begins with the token that was given, or with the one that took its place in an earlier run and has not ended.
    pub(crate) fn begin(
        state_dir: &Path,
        given: Option<SecretString>,
        record: Option<TokenRecord>,
        now: Wall,
    ) -> (Self, Option<TokenRecord>) {
        let file = state_dir.join(FILE);
        let kept = given.as_ref().and_then(|given| kept(&file, given, now));
        let (current, record) = match kept {
            Some(token) => (Some(token.secret), Some(token.record)),
            None => (given.clone(), given.is_some().then(|| record.unwrap_or_default())),
        };
        (Self { file, given, current, waiting: BTreeMap::new(), last: 0 }, record)
    }

    pub(crate) const fn current(&self) -> Option<&SecretString> {
        self.current.as_ref()
    }

    /// Keeps a new token until the core has decided about it.
    pub(crate) fn keep(&mut self, token: SecretString) -> TokenSlot {
        self.last += 1;
        let slot = TokenSlot(self.last);
        self.waiting.insert(slot, token);
        while self.waiting.len() > WAITING_MOST {
            self.waiting.pop_first();
        }
        slot
    }

    /// The token in this slot is the one in force from now on, and the others are forgotten. Fails when it cannot be
    /// kept for the next start, which is no reason not to use it.
    pub(crate) fn adopt(&mut self, slot: TokenSlot, record: &TokenRecord) -> Result<(), String> {
        let Some(token) = self.waiting.remove(&slot) else {
            return Err(format!("there is no token in slot {slot}"));
        };
        self.waiting.clear();
        self.current = Some(token.clone());
        let Some(given) = &self.given else { return Ok(()) };
        let text = |text: &Option<relay_runner_core::Text>| text.as_deref().map(str::to_owned);
        let kept = Kept {
            given: given.expose_secret().to_owned(),
            token: token.expose_secret().to_owned(),
            jti: text(&record.jti),
            profile_id: text(&record.profile),
            expires_at: record.expires_at,
        };
        let failed = |e: &dyn std::fmt::Display| format!("cannot keep the new token in {}: {e}", self.file.display());
        let text = serde_json::to_string(&kept).map_err(|e| failed(&e))?;
        write_whole(&self.file, &text).map_err(|e| failed(&e))
    }
}

/// The token that took the place of this one, if it has not ended.
fn kept(file: &Path, given: &SecretString, now: Wall) -> Option<Token> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!("cannot read the token kept in {}: {error}", file.display());
            }
            return None;
        }
    };
    let Ok(kept) = serde_json::from_str::<Kept>(&text) else {
        tracing::warn!("{} cannot be read; the run begins with the token that it was given", file.display());
        return None;
    };
    let has_ended = kept.expires_at.is_some_and(|end| end.saturating_mul(1_000) <= now);
    if !secret::same(&kept.given, given) || has_ended {
        return None;
    }
    let record = RecordGiven { jti: kept.jti, profile_id: kept.profile_id, expires_at: kept.expires_at };
    Token::new(&kept.token, token_record(record)).ok()
}

/// Looks at the file that a token came from: when another stands in it, that one is handed in.
pub(crate) fn watch(file: PathBuf, inputs: &Inputs) -> Task {
    let to = inputs.clone();
    Task::start("watching the token's file", inputs, async move {
        let mut ticks = tokio::time::interval_at(clock::after(LOOK), LOOK);
        let mut seen = look(&file).await;
        let mut text = content(&file).await;
        loop {
            ticks.tick().await;
            let now = look(&file).await;
            if now == seen {
                continue;
            }
            seen = now;
            let new = content(&file).await;
            if new.is_none() || new == text {
                continue;
            }
            text = new;
            match Token::read(text.as_deref().unwrap_or_default()) {
                Ok(token) => {
                    tracing::info!("there is a new token in {}", file.display());
                    to.send(Input::Token { token, answer: None }).await;
                }
                Err(why) => tracing::warn!("the token's file {} has changed, and {why}", file.display()),
            }
        }
    })
}

/// As much of a file's metadata as shows that it was written.
async fn look(file: &Path) -> Option<(SystemTime, u64)> {
    let metadata = tokio::fs::metadata(file).await.ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

/// None while it cannot be read, as in the middle of being replaced.
async fn content(file: &Path) -> Option<String> {
    if look(file).await.is_none_or(|(_, len)| len > FILE_MOST) {
        return None;
    }
    tokio::fs::read_to_string(file).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(expires_at: u64) -> TokenRecord {
        TokenRecord { jti: Some("j2".into()), profile: None, expires_at: Some(expires_at) }
    }

    fn current(tokens: &Tokens) -> Option<&str> {
        tokens.current().map(ExposeSecret::expose_secret)
    }

    #[test]
    fn the_token_that_took_the_place_of_the_given_one_is_used_by_the_next_run() {
        let dir = tempfile::tempdir().unwrap();
        let begin = |given: &str| Tokens::begin(dir.path(), Some(SecretString::from(given)), None, 5_000);
        let (mut tokens, _) = begin("first-token");
        assert_eq!(current(&tokens), Some("first-token"));
        let slot = tokens.keep(SecretString::from("second-token"));
        tokens.adopt(slot, &record(u64::MAX / 2)).unwrap();
        assert_eq!(current(&tokens), Some("second-token"));

        let (again, known) = begin("first-token");
        assert_eq!(current(&again), Some("second-token"));
        assert_eq!(known, Some(record(u64::MAX / 2)));
        // Somebody who gives another one means it.
        assert_eq!(current(&begin("third-token").0), Some("third-token"));
        let mode = std::os::unix::fs::PermissionsExt::mode(&dir.path().join(FILE).metadata().unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_kept_token_that_has_ended_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let (mut tokens, _) = Tokens::begin(dir.path(), Some(SecretString::from("first-token")), None, 5_000);
        let slot = tokens.keep(SecretString::from("second-token"));
        tokens.adopt(slot, &record(1)).unwrap();
        let (again, known) = Tokens::begin(dir.path(), Some(SecretString::from("first-token")), None, 5_000);
        assert_eq!((current(&again), known), (Some("first-token"), Some(TokenRecord::default())));
    }

    #[test]
    fn new_tokens_wait_in_a_bounded_place() {
        let dir = tempfile::tempdir().unwrap();
        let (mut tokens, _) = Tokens::begin(dir.path(), None, None, 5_000);
        let first = tokens.keep(SecretString::from("token-0"));
        for n in 1..=WAITING_MOST {
            tokens.keep(SecretString::from(format!("token-{n}")));
        }
        assert!(tokens.adopt(first, &record(1)).is_err());
        assert_eq!(current(&tokens), None);
    }

    #[test]
    fn a_file_holds_a_token_or_json_with_one() {
        let read = |text| Token::read(text).map(|t| (t.secret.expose_secret().to_owned(), t.record.expires_at));
        assert_eq!(read(" abcdef \n"), Ok(("abcdef".to_owned(), None)));
        assert_eq!(read("{\"token\":\"t\",\"record\":{\"expiresAt\":5}}"), Ok(("t".to_owned(), Some(5))));
        assert!(read("").is_err() && read("a\nb").is_err() && read("{}").is_err());
    }
}
