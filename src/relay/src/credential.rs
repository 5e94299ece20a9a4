//! With what right a call is made.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use relay_runner_protocol::token::{RENEWABLE_PROFILES, TokenRecord};

use crate::clock;
use crate::rate::Caller;
use crate::refusal::{Refusal, Result};

/// How long a wait for an expiry lasts at most: a machine that slept, or a clock that was set, is noticed after this.
const LOOK_AGAIN: Duration = Duration::from_secs(15);

/// Who calls, as far as the door could tell.
#[derive(Clone)]
pub(crate) enum Credential {
    /// Whoever shows the relay's own token; on a relay without one, every program of this machine. The token, or nothing.
    Root(Arc<str>),
    Runtime {
        token: Arc<str>,
        record: Arc<TokenRecord>,
    },
}

impl Credential {
    /// The runtime token that is to be renewed, with what is known of it.
    pub(crate) fn renewable(&self) -> Result<(&Arc<str>, &TokenRecord)> {
        let Self::Runtime { token, record } = self else {
            let message = "only a runtime token is renewed, by itself: show it";
            return Err(Refusal::new(StatusCode::FORBIDDEN, "not_a_runtime_token", message));
        };
        if !RENEWABLE_PROFILES.contains(&record.profile_id.as_str()) {
            let message = format!("tokens of the profile {} are not renewed; ask for a new one", record.profile_id);
            return Err(Refusal::new(StatusCode::FORBIDDEN, "not_renewable", message));
        }
        Ok((token, record))
    }

    /// What may ask for tokens of any profile.
    pub(crate) fn root(&self) -> Result<&Arc<str>> {
        match self {
            Self::Root(token) => Ok(token),
            Self::Runtime { .. } => {
                let message = "runtime tokens are made for whoever shows the relay's own token";
                Err(Refusal::new(StatusCode::FORBIDDEN, "root_only", message))
            }
        }
    }

    /// As whom the call counts.
    pub(crate) fn caller(&self, peer: IpAddr) -> Caller {
        match self {
            Self::Root(_) => Caller::Peer(peer),
            Self::Runtime { record, .. } => record.as_ref().into(),
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        match self {
            Self::Runtime { record, .. } if is_over(record, clock::now()) => Err(expired(record)),
            _ => Ok(()),
        }
    }

    /// Comes back when the credential is good no more.
    pub(crate) async fn end(&self) -> Refusal {
        let Self::Runtime { record, .. } = self else { return std::future::pending().await };
        loop {
            let left = record.expires_at.saturating_mul(1000).saturating_sub(clock::now());
            if left == 0 {
                return expired(record);
            }
            tokio::time::sleep(LOOK_AGAIN.min(Duration::from_millis(left))).await;
        }
    }
}

/// Without the token: it must not reach a log by way of `{:?}`.
impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root(_) => f.write_str("Root"),
            Self::Runtime { record, .. } => f.debug_tuple("Runtime").field(record).finish(),
        }
    }
}

pub(crate) fn is_over(record: &TokenRecord, now: u64) -> bool {
    now >= record.expires_at.saturating_mul(1000)
}

pub(crate) fn expired(record: &TokenRecord) -> Refusal {
    let message = format!("the runtime token {} has expired; get a new one", record.jti);
    Refusal::new(StatusCode::UNAUTHORIZED, "expired_token", message)
}
