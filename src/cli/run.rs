//! `run`: one runner, to its end.

use super::failure::{Done, Failure};
use super::given::Environment;
use super::run_args::Args;
use super::run_options::Asked;
use super::say;
use super::{diagnostics, embedded, places};
use relay_runner_shell::{ExitCode, Runner};
use serde_json::json;
use std::path::PathBuf;
use std::time::Duration;

pub(crate) async fn run(args: &Args) -> Done {
    let env = Environment::ours();
    let asked = Asked::read(args, env)?;
    let log = if asked.is_in_terminal() { Some(leave_the_screen(&asked, env)?) } else { None };
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
                if let Some(log) = &log {
                    let log = log.display();
                    say::aside(format_args!("relay-runner: agent {agent} on {url}; what the runner does is in {log}"));
                }
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
    let told = log.map_or_else(|| "the lines above say how".to_owned(), |log| format!("{} says how", log.display()));
    explained(code, &agent, &url.to_string(), fail_fast, &told)
}

/// The screen will be the provider's: from now on the runner writes into a file, which this names.
fn leave_the_screen(asked: &Asked, env: Environment<'_>) -> Result<PathBuf, Failure> {
    relay_runner_shell::has_terminal().map_err(|why| {
        Failure::usage(
            "no_tty",
            format!(
                "--interactive hands this terminal over to the provider, and there is none: {why}; start it in the foreground of a \
                 terminal, without pipes, or without a person: --headless"
            ),
        )
    })?;
    let path = places::runner_log(env, asked.agent_id())?;
    if let Some(error) = diagnostics::into_file(path.clone()) {
        let path = path.display();
        say::aside(format_args!(
            "relay-runner: what the runner does is not logged, as {path} cannot be written: {error}"
        ));
    }
    Ok(path)
}

/// An end that was not asked for has its reason in words, and what to do about it.
fn explained(code: ExitCode, agent: &str, url: &str, fail_fast: Option<Duration>, told: &str) -> Done {
    let text = match code {
        ExitCode::Ok | ExitCode::Temporary => return Ok(code),
        ExitCode::RelayUnreachable => format!(
            "{agent}: the relay at {url} could not be reached within {} s (--fail-fast); start it, or name another with --relay",
            fail_fast.unwrap_or_default().as_secs_f32()
        ),
        ExitCode::GaveUp => {
            format!("{agent}: gave up on the provider: it ended too often too soon ({told}); mend it, and start again")
        }
        ExitCode::Superseded => {
            format!("{agent}: another runner has taken this agent over on {url}; give one of them another --agent-id")
        }
        ExitCode::CredentialRefused => format!(
            "{agent}: the relay at {url} refused the credential; give the right token with --token-file or AGENT_RELAY_TOKEN"
        ),
        ExitCode::Failed | ExitCode::Usage => format!("{agent}: the run failed; {told}"),
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
