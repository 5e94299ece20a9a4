//! `upgrade`: a runner steps aside for a newer program, without the agent noticing (behaviour 18).

use super::JSON;
use super::failure::{Done, Failure};
use super::given::Environment;
use super::local::{self, Found, Here};
use super::{OK, order, say, span};
use clap::builder::FalseyValueParser;
use relay_runner_shell::client::Client;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::{Instant, interval};

/// Beside the turn that may have to end first, and the stop of a provider that cannot be taken up.
const BESIDES: Duration = Duration::from_secs(30);
const QUIET: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(20);

const AFTER_HELP: &str = "\
Examples:
  relay-runner upgrade a1             step aside, and wait for a service to start it again
  relay-runner upgrade a1 --wait 0s   step aside only; start it again yourself, as before

The runner ends with 75 and leaves its claims and its registration. An agent that listens
(run command --listen) is left running, in the middle of its turn, and taken up by the next start.
Any other may end its turn first (--drain-timeout of its `run`), and is stopped then; the next start
begins a new one. A service that starts the runner again on 75 ends with the new program on the old
agent.";

/// Let a new version of this program take over a running agent
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The agent; not needed while one runner runs here
    #[arg(value_name = "AGENT")]
    agent: Option<String>,
    /// The state folder, where the runner was given one
    #[arg(long, value_name = "FOLDER")]
    state_dir: Option<PathBuf>,
    /// How long to wait for its successor
    #[arg(long, value_name = "SPAN", value_parser = span::parse, default_value = "10s")]
    wait: Duration,
    /// Print the outcome as JSON
    #[arg(long, env = JSON, hide_env_values = true, value_parser = FalseyValueParser::new())]
    json: bool,
}

/// The runner that stepped aside, and what it left.
struct Left {
    runner: Found,
    agent_pid: Option<u64>,
}

pub(crate) async fn run(args: &Args) -> Done {
    let left = step_aside(args).await?;
    let agent = &left.runner.agent_id;
    if !args.json {
        let stays = match left.agent_pid {
            Some(pid) => format!("its provider (process {pid}) goes on"),
            None => "its provider has ended".to_owned(),
        };
        say::line(format_args!("the runner of {agent} (process {}) has stepped aside; {stays}", left.runner.pid))?;
    }
    let successor = if args.wait.is_zero() { None } else { Some(successor(args, &left).await?) };
    if args.json {
        say::json(&json!({
            "agentId": agent, "runner": left.runner.pid, "provider": left.agent_pid,
            "successor": successor.as_ref().map(|found| found.pid),
        }))?;
    } else if let Some(found) = successor {
        say::line(format_args!("process {} has taken it up", found.pid))?;
    }
    Ok(OK)
}

async fn step_aside(args: &Args) -> Result<Left, Failure> {
    let env = Environment::ours();
    let (runner, client) = match local::runner(env, args.agent.as_deref(), args.state_dir.as_deref())? {
        Here::Runs(found, client) => (found, client),
        Here::Dead(found) => return Err(found.dead()),
        Here::None => {
            return Err(args.agent.as_deref().map_or_else(order::nobody, |agent| {
                let text = format!("no runner of {agent} runs here; a runner can be upgraded on its own machine only");
                Failure::failed("not_running", text)
            }));
        }
    };
    // Whether it answers there shows that the process is the runner, and not a stranger under its number.
    let provider = provider(&client).await?;
    let pid = i32::try_from(runner.pid).ok().and_then(Pid::from_raw);
    pid.ok_or(rustix::io::Errno::SRCH).and_then(|pid| kill_process(pid, Signal::USR2)).map_err(|error| {
        let text = format!("cannot signal the runner of {} (process {}): {error}", runner.agent_id, runner.pid);
        Failure::failed("not_signalled", text)
    })?;
    let stays = || provider.filter(|pid| u32::try_from(*pid).is_ok_and(local::is_alive));
    let what = format!("the runner of {} (process {}) to step aside", runner.agent_id, runner.pid);
    // The longest that its own settings can make of it: a day; who waits is told, and may go.
    waits(&what, Duration::from_hours(24) + BESIDES, async || (!runner.is_alive()).then_some(())).await.ok_or_else(
        || Failure::failed("timeout", format!("{what}: it has not done so; `relay-runner status` shows what it does")),
    )?;
    Ok(Left { agent_pid: stays(), runner })
}

async fn provider(client: &Client) -> Result<Option<u64>, Failure> {
    let state: Value = client.state().await?;
    Ok(state["process"]["process"]["pid"].as_u64())
}

async fn successor(args: &Args, left: &Left) -> Result<Found, Failure> {
    let env = Environment::ours();
    let agent = Some(left.runner.agent_id.as_str());
    // It has what was left once it says so itself.
    let look = async || match local::runner(env, agent, args.state_dir.as_deref()) {
        Ok(Here::Runs(found, client)) if found.pid != left.runner.pid => {
            let state = client.state().await.ok()?;
            let up = matches!(state["process"]["state"].as_str(), Some("waiting" | "working"));
            up.then(|| (found, state["process"]["process"]["pid"].as_u64()))
        }
        Ok(Here::Runs(..) | Here::Dead(_) | Here::None) | Err(_) => None,
    };
    let what = format!("somebody to start {} again", left.runner.agent_id);
    let (found, provider) = waits(&what, args.wait, look).await.ok_or_else(|| {
        let text = format!(
            "nobody has started {} again within {} s (--wait); start it as before (relay-runner run ...): it takes up \
             where it was. As a service, let it be started again when it ends with 75",
            left.runner.agent_id,
            args.wait.as_secs_f32()
        );
        Failure::failed("not_started_again", text)
    })?;
    if left.agent_pid.is_some() && left.agent_pid != provider {
        let text = format!(
            "process {} runs {} now, but with a new provider: that of before (process {}) was gone, or was started with \
             other settings; the log says which",
            found.pid,
            left.runner.agent_id,
            left.agent_pid.unwrap_or_default()
        );
        return Err(Failure::failed("provider_replaced", text));
    }
    Ok(found)
}

/// Waits, and says so now and then. None when it takes longer than the limit.
async fn waits<T>(what: &str, limit: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let began = Instant::now();
    let mut looks = interval(LOOK_EVERY);
    let mut next_word = began + QUIET;
    loop {
        looks.tick().await;
        if let Some(found) = look().await {
            return Some(found);
        }
        if began.elapsed() >= limit {
            return None;
        }
        if Instant::now() >= next_word {
            say::aside(format_args!("... waiting for {what}, {} s", began.elapsed().as_secs()));
            next_word = Instant::now() + began.elapsed().max(QUIET).min(Duration::from_secs(30));
        }
    }
}
