//! `run`: one runner, to its end.

use super::failure::{Done, Failure};
use super::given::Environment;
use super::run_args::Args;
use super::run_options::Asked;
use super::say;
use super::{diagnostics, embedded};
use relay_runner_shell::{ExitCode, Runner};
use serde_json::json;
use std::time::Duration;

pub(crate) async fn run(args: &Args) -> Done {
    let env = Environment::ours();
    let asked = Asked::read(args, env)?;
    if let Some(level) = &asked.log {
        diagnostics::set(level);
    }
    let (url, relay) = embedded::relay_of(&asked, env).await?;
    let (agent, fail_fast) = (asked.agent_id().to_owned(), asked.fail_fast());
    let state_dir = std::path::absolute(&asked.state_dir).unwrap_or_else(|_| asked.state_dir.clone());
    let options = asked.options(url.clone());
    let ended = match Runner::prepare(options) {
        Ok((runner, handle)) => {
            tracing::info!("agent {agent} on {url}; its state and journal are in {}", state_dir.display());
            let said = if args.json {
                say::json(&json!({
                    "event": "started", "agentId": agent, "relay": url.to_string(), "stateDir": state_dir,
                    "runnerDir": handle.runner_dir(), "journal": handle.journal(), "pid": std::process::id(),
                }))
            } else {
                Ok(())
            };
            match said {
                Ok(()) => Box::pin(runner.run()).await.map_err(Failure::from),
                Err(failure) => Err(failure),
            }
        }
        Err(error) => Err(error.into()),
    };
    if let Some(relay) = relay {
        relay.stop().await;
    }
    let code = ended?;
    if args.json {
        say::json(&json!({"event": "ended", "agentId": agent, "exitCode": code as u8}))?;
    }
    explained(code, &agent, &url.to_string(), fail_fast)
}

/// An end that was not asked for has its reason in words, and what to do about it.
fn explained(code: ExitCode, agent: &str, url: &str, fail_fast: Option<Duration>) -> Done {
    let text = match code {
        ExitCode::Ok | ExitCode::Temporary => return Ok(code),
        ExitCode::RelayUnreachable => format!(
            "{agent}: the relay at {url} could not be reached within {} s (--fail-fast); start it, or name another with --relay",
            fail_fast.unwrap_or_default().as_secs_f32()
        ),
        ExitCode::GaveUp => format!(
            "{agent}: gave up on the provider: it ended too often too soon (the lines above say how); mend it, and start again"
        ),
        ExitCode::Superseded => {
            format!("{agent}: another runner has taken this agent over on {url}; give one of them another --agent-id")
        }
        ExitCode::CredentialRefused => format!(
            "{agent}: the relay at {url} refused the credential; give the right token with --token-file or AGENT_RELAY_TOKEN"
        ),
        ExitCode::Failed | ExitCode::Usage => format!("{agent}: the run failed; the lines above say how"),
    };
    Err(Failure::new(code, code_name(code), text))
}

const fn code_name(code: ExitCode) -> &'static str {
    match code {
        ExitCode::Ok => "ok",
        ExitCode::Failed => "run_failed",
        ExitCode::Usage => "usage",
        ExitCode::RelayUnreachable => "relay_unreachable",
        ExitCode::GaveUp => "gave_up",
        ExitCode::Temporary => "temporary",
        ExitCode::Superseded => "superseded",
        ExitCode::CredentialRefused => "credential_refused",
    }
}
