//! Who is let in.
//!
//! With a token: whoever shows it, or a runtime token that has not expired. Without one the relay listens on loopback only and lets in all programs of this
//! machine, but not the pages in its browser: those announce themselves by `Origin`, or reach the relay under a foreign
//! host name. A page that could post messages could have a coding agent do anything.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use relay_runner_protocol::http::TOKEN_HEADER;
use subtle::ConstantTimeEq;

use crate::credential::Credential;
use crate::rate::Caller;
use crate::refusal::{Refusal, Result};
use crate::{App, token};

pub(super) async fn check(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Result<Response> {
    app.check_up()?;
    let credential = admit(&app, request.headers()).await.map_err(|refusal| {
        // Whoever tries one token after the other is slowed down.
        app.rate.count(&Caller::Peer(peer.ip())).err().unwrap_or(refusal)
    })?;
    let caller = credential.caller(peer.ip());
    app.rate.count(&caller)?;
    request.extensions_mut().insert(caller);
    request.extensions_mut().insert(credential);
    Ok(next.run(request).await)
}

async fn admit(app: &App, headers: &HeaderMap) -> Result<Credential> {
    if app.token.is_none() && !is_local(headers) {
        let message = "a relay without a token serves programs of this machine only, at 127.0.0.1 or localhost, and no pages of a \
                       browser; set a token for others";
        return Err(Refusal::new(StatusCode::FORBIDDEN, "foreign_caller", message));
    }
    if let Some(root) = app.token.as_deref().filter(|root| shown(headers).any(|shown| same(shown, root))) {
        return Ok(Credential::Root(root.into()));
    }
    if let Some(token) = shown(headers).find_map(runtime_token) {
        return known(app, token).await;
    }
    match app.token {
        Some(_) => {
            let message = format!("show the relay's token, or a runtime token, in the header {TOKEN_HEADER}");
            Err(Refusal::new(StatusCode::UNAUTHORIZED, "unauthorized", message))
        }
        None => Ok(Credential::Root("".into())),
    }
}

/// A runtime token is checked on a relay without a token of its own as well: whoever shows one means it, and must learn
/// when it has ended.
async fn known(app: &App, token: &str) -> Result<Credential> {
    let hash = token::hash(token);
    let record = app.store.run(move |tx| tx.token(&hash)).await?;
    let Some(record) = record else {
        let message = "this relay did not make the runtime token that was shown, or made it long ago";
        return Err(Refusal::new(StatusCode::UNAUTHORIZED, "unauthorized", message));
    };
    let credential = Credential::Runtime { token: token.into(), record: record.into() };
    credential.check()?;
    Ok(credential)
}

fn shown(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let own = headers.get(TOKEN_HEADER).map(axum::http::HeaderValue::as_bytes);
    let bearer = headers.get(AUTHORIZATION).and_then(|value| {
        let (scheme, rest) = value.as_bytes().split_at_checked("bearer ".len())?;
        scheme.eq_ignore_ascii_case(b"bearer ").then_some(rest)
    });
    own.into_iter().chain(bearer)
}

/// Compared in constant time: how long it takes tells nothing about the token but its length.
fn same(shown: &[u8], token: &str) -> bool {
    shown.ct_eq(token.as_bytes()).into()
}

fn runtime_token(shown: &[u8]) -> Option<&str> {
    std::str::from_utf8(shown).ok().filter(|text| text.starts_with(token::PREFIX))
}

fn is_local(headers: &HeaderMap) -> bool {
    !headers.contains_key(ORIGIN) && headers.get(HOST).is_none_or(|host| host.to_str().is_ok_and(is_loopback))
}

fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_loopback_by_name_or_by_address() {
        for host in ["localhost", "LOCALHOST:4850", "127.0.0.1", "127.1.2.3:1", "[::1]:4850"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["", "example.org", "localhost.example.org:4850", "10.0.0.1", "[::2]:4850", "127.0.0.1.example.org"]
        {
            assert!(!is_loopback(host), "{host}");
        }
    }

    fn shows(headers: &HeaderMap, token: &str) -> bool {
        shown(headers).any(|shown| same(shown, token))
    }

    #[test]
    fn a_token_is_shown_in_either_header_and_whole() {
        let with = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            headers
        };
        assert!(shows(&with("x-agent-relay-token", "t0k"), "t0k"));
        assert!(shows(&with("authorization", "Bearer t0k"), "t0k"));
        assert!(shows(&with("authorization", "bearer t0k"), "t0k"));
        for (name, value) in [
            ("x-agent-relay-token", "t0"),
            ("x-agent-relay-token", "t0kk"),
            ("x-agent-relay-token", ""),
            ("authorization", "t0k"),
            ("authorization", "Basic t0k"),
        ] {
            assert!(!shows(&with(name, value), "t0k"), "{name}: {value}");
        }
    }
}
