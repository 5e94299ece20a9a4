//! Who may speak to the control server: on the socket the same user, on the port whoever knows the secret, and no web
//! page in any case.

use super::routes::refusal;
use crate::secret;
use axum::Router;
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::serve::IncomingStream;
use secrecy::SecretString;
use std::sync::Arc;
use tokio::net::UnixListener;

/// The user at the other end of the socket, as the system says it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    user: Option<u32>,
}

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self { user: stream.io().peer_cred().ok().map(|credentials| credentials.uid()) }
    }
}

pub(super) fn by_user(router: Router) -> Router {
    router.layer(middleware::from_fn(same_user))
}

async fn same_user(ConnectInfo(peer): ConnectInfo<Peer>, request: Request, next: Next) -> Response {
    if peer.user == Some(rustix::process::geteuid().as_raw()) {
        next.run(request).await
    } else {
        refusal(StatusCode::FORBIDDEN, "foreign_user", "this socket is for the user who started the runner")
    }
}

pub(super) fn by_secret(router: Router, secret: Arc<SecretString>) -> Router {
    router.layer(middleware::from_fn_with_state(secret, knows_secret))
}

async fn knows_secret(State(secret): State<Arc<SecretString>>, request: Request, next: Next) -> Response {
    match check(request.headers(), request.uri().host(), &secret) {
        Ok(()) => next.run(request).await,
        Err((status, code, message)) => refusal(status, code, message),
    }
}

fn check(
    headers: &HeaderMap,
    target: Option<&str>,
    secret: &SecretString,
) -> Result<(), (StatusCode, &'static str, &'static str)> {
    if headers.contains_key(ORIGIN) {
        return Err((StatusCode::FORBIDDEN, "foreign_origin", "web pages have no access to a runner"));
    }
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).or(target);
    if !host.is_some_and(is_loopback) {
        return Err((StatusCode::FORBIDDEN, "foreign_host", "the Host must be 127.0.0.1 or localhost"));
    }
    let given =
        headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|v| v.strip_prefix("Bearer "));
    if given.is_some_and(|given| secret::same(given.trim(), secret)) {
        Ok(())
    } else {
        Err((
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "send `Authorization: Bearer <secret>`; the secret is in runner.json of the runner folder \
             (AGENT_RELAY_RUNNER_DIR), where control.sock needs none",
        ))
    }
}

/// Against rebinding: the name under which we were found must be one that only this machine has.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    matches!(name, "127.0.0.1" | "::1") || name.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderName;

    fn outcome(headers: &[(HeaderName, &str)]) -> Result<(), u16> {
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        check(&headers, None, &SecretString::from("s3cret")).map_err(|(status, ..)| status.as_u16())
    }

    #[test]
    fn only_the_secret_with_a_loopback_host_and_no_origin_gets_in() {
        let right = (AUTHORIZATION, "Bearer s3cret");
        for host in ["127.0.0.1", "127.0.0.1:80", "localhost:9", "LOCALHOST", "[::1]:9"] {
            assert_eq!(outcome(&[(HOST, host), right.clone()]), Ok(()), "{host}");
        }
        for host in ["example.com", "127.0.0.1.example.com", "localhost.example.com:9", ""] {
            assert_eq!(outcome(&[(HOST, host), right.clone()]), Err(403), "{host}");
        }
        assert_eq!(outcome(std::slice::from_ref(&right)), Err(403));
        assert_eq!(outcome(&[(HOST, "localhost"), right, (ORIGIN, "http://localhost")]), Err(403));
        for wrong in ["Bearer s3cre", "Bearer ", "s3cret", "Basic s3cret"] {
            assert_eq!(outcome(&[(HOST, "localhost"), (AUTHORIZATION, wrong)]), Err(401), "{wrong}");
        }
        assert_eq!(outcome(&[(HOST, "localhost")]), Err(401));
    }
}
