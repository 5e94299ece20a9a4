//! `GET /terminal`: where a person can look at the provider, and drive it.

use super::routes::{ending, refusal};
use crate::input::{Input, Inputs};
use crate::observed::Ask;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use relay_runner_core::config::Identity;
use serde::Serialize;
use std::collections::BTreeMap;
use tokio::sync::oneshot;

/// How a terminal is come by. `argv` drives it; whoever only looks says so to the program that is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub(crate) enum Terminal {
    Tmux {
        /// None: the usual server.
        socket: Option<String>,
        session: String,
        argv: Vec<String>,
    },
    /// A program of the provider's own: whoever is in it drives.
    Command { argv: Vec<String>, env: BTreeMap<String, String> },
}

impl Terminal {
    /// The one that whoever started the runner named.
    pub(crate) fn of(identity: &Identity) -> Option<Self> {
        let session = identity.tmux_session.as_deref()?.to_owned();
        let socket = identity.tmux_socket.as_deref().map(str::to_owned);
        Some(Self::tmux("tmux".to_owned(), socket, session))
    }

    pub(crate) fn tmux(program: String, socket: Option<String>, session: String) -> Self {
        let mut argv = vec![program];
        if let Some(socket) = &socket {
            argv.extend(["-S".to_owned(), socket.clone()]);
        }
        // With `=`, tmux takes no other session whose name only begins so.
        argv.extend(["attach".to_owned(), "-t".to_owned(), format!("={session}")]);
        Self::Tmux { socket, session, argv }
    }
}

pub(super) async fn terminal(State(inputs): State<Inputs>) -> Response {
    let (answer, answered) = oneshot::channel();
    if !inputs.send(Input::Observe(Ask::Terminal(answer))).await {
        return ending();
    }
    match answered.await {
        Ok(Some(terminal)) => axum::Json(terminal).into_response(),
        Ok(None) => refusal(
            StatusCode::CONFLICT,
            "no_terminal",
            "the provider has no terminal now: codex, and Claude Code in --claude-mode terminal, have one while they run (`relay-runner status` \
             says whether), and another program when the runner was told of its tmux session (--tmux-session)",
        ),
        Err(_) => ending(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_terminal_is_the_session_that_was_named() {
        let mut identity = Identity::default();
        assert_eq!(Terminal::of(&identity), None);
        identity.tmux_session = Some("work".into());
        let json_of = |identity: &Identity| serde_json::to_value(Terminal::of(identity)).unwrap();
        let argv = json!(["tmux", "attach", "-t", "=work"]);
        assert_eq!(json_of(&identity), json!({"kind": "tmux", "socket": null, "session": "work", "argv": argv}));
        identity.tmux_socket = Some("/run/t".into());
        assert_eq!(json_of(&identity)["argv"], json!(["tmux", "-S", "/run/t", "attach", "-t", "=work"]));
    }
}
