//! Orders to a runner: over its control socket when it runs here, else as a command through the relay; and the wait for
//! what becomes of them.

use super::JSON;
use super::books::{Books, RelayArgs};
use super::failure::Failure;
use super::follow::LOOK_EVERY;
use super::given::Environment;
use super::local::{self, Found, Here};
use super::say;
use clap::builder::FalseyValueParser;
use relay_runner_protocol::command::NewCommand;
use relay_runner_protocol::http::{COMMANDS, command};
use relay_runner_protocol::{AgentStatus, Command, CommandStatus, CommandType};
use relay_runner_shell::client::{Client, ClientError};
use serde_json::{Map, Value};
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::{Instant, interval, timeout_at};

/// When somebody who waits is told so; doubled each time.
const PROGRESS: Duration = Duration::from_secs(2);
const PROGRESS_MOST: Duration = Duration::from_secs(30);
/// How long a process may take to go once its runner has answered.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// Whom an order is for.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct OrderArgs {
    /// The agent; not needed while one runner runs here
    #[arg(value_name = "AGENT")]
    pub(crate) agent: Option<String>,
    /// The state folder, where the runner was given one
    #[arg(long, value_name = "FOLDER")]
    pub(crate) state_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) relay: RelayArgs,
    /// Print the outcome as JSON
    #[arg(long, env = JSON, hide_env_values = true, value_parser = FalseyValueParser::new())]
    pub(crate) json: bool,
}

/// What became of an order.
#[derive(Debug)]
pub(crate) struct Obeyed {
    pub(crate) agent: String,
    /// What the runner says of it.
    pub(crate) answer: Value,
    /// The runner, when it is one of this machine.
    pub(crate) found: Option<Found>,
}

impl OrderArgs {
    /// Gives it and waits for its outcome, within `limit`.
    pub(crate) async fn give(
        &self,
        what: CommandType,
        params: Map<String, Value>,
        limit: Duration,
    ) -> Result<Obeyed, Failure> {
        let env = Environment::ours();
        let found = match local::runner(env, self.agent.as_deref(), self.state_dir.as_deref())? {
            Here::Runs(found, client) => {
                if let Some(answer) = here(&client, &found, what, params.clone(), limit).await? {
                    return Ok(Obeyed { agent: found.agent_id.clone(), answer, found: Some(found) });
                }
                // It went in the meantime.
                return Err(found.dead());
            }
            Here::Dead(found) => Some(found),
            Here::None => None,
        };
        let Some(agent) = self.agent.as_deref() else {
            return Err(found.map_or_else(nobody, |found| found.dead()));
        };
        let books = self.relay.books(env)?;
        match books.agent(agent).await {
            Ok(Some(known)) => {
                // The order would wait on the relay, and be carried out by the next start.
                if let Some(dead) = found.filter(|found| found.is_known_as(&known)) {
                    return Err(dead.dead());
                }
                if ends(what) && known.status == AgentStatus::Offline {
                    return Err(Failure::failed(
                        "not_running",
                        format!("{agent} is offline on the relay at {}: its runner has ended already", books.base()),
                    ));
                }
            }
            Ok(None) => return Err(found.map_or_else(|| unknown(agent, &books), |found| found.dead())),
            Err(failure) => return Err(found.map_or(failure, |found| found.dead())),
        }
        let answer = through(&books, agent, what, params, limit).await?;
        Ok(Obeyed { agent: agent.to_owned(), answer, found: None })
    }
}

const fn ends(what: CommandType) -> bool {
    matches!(what, CommandType::Shutdown | CommandType::Kill)
}

/// None when the runner went away.
async fn here(
    client: &Client,
    found: &Found,
    what: CommandType,
    params: Map<String, Value>,
    limit: Duration,
) -> Result<Option<Value>, Failure> {
    let ends = ends(what);
    let asked = client.command(what.as_str(), params);
    let what = format!("{} of {} (process {})", what.as_str(), found.agent_id, found.pid);
    match patient(asked, &what, limit).await? {
        Ok(answer) => Ok(Some(answer)),
        Err(ClientError::NotRunning { .. }) => Ok(None),
        // It takes no orders any more: what was asked for is already happening.
        Err(ClientError::Refused { ref code, .. }) if code == "ending" && ends => Ok(Some(Value::Null)),
        Err(error) => Err(error.into()),
    }
}

async fn through(
    books: &Books,
    agent: &str,
    what: CommandType,
    params: Map<String, Value>,
    limit: Duration,
) -> Result<Value, Failure> {
    let new =
        NewCommand { command_type: what.as_str().to_owned(), target: agent.to_owned(), params: Value::Object(params) };
    let issued: Command = books.post(COMMANDS, &new).await?;
    let ended = async {
        let mut looks = interval(LOOK_EVERY);
        loop {
            looks.tick().await;
            let command: Command = books.get(&command(&issued.id)).await?;
            if command.status.is_final() {
                return Ok::<_, Failure>(command);
            }
        }
    };
    let what = format!("{} of {agent}, command {} on {}", what.as_str(), issued.id, books.base());
    let command = match patient(ended, &what, limit).await {
        Err(late) if late.code == "timeout" => {
            let text = format!(
                "{what}: nobody has carried it out within {} s (`relay-runner agents` shows when {agent} was seen); the relay \
                 keeps it for {agent}'s runner",
                limit.as_secs()
            );
            return Err(Failure::failed("timeout", text));
        }
        answered => answered??,
    };
    if command.status == CommandStatus::Failed {
        let why = command.error.unwrap_or_else(|| "no reason was given".to_owned());
        return Err(Failure::failed("command_failed", format!("{what} failed: {}", say::plain(&why))));
    }
    Ok(command.result.unwrap_or(Value::Null))
}

/// Waits, and says so now and then.
pub(crate) async fn patient<T>(work: impl Future<Output = T>, what: &str, limit: Duration) -> Result<T, Failure> {
    let began = Instant::now();
    let mut quiet = PROGRESS;
    let mut work = std::pin::pin!(work);
    loop {
        let told = Instant::now() + quiet;
        match timeout_at(told.min(began + limit), &mut work).await {
            Ok(done) => return Ok(done),
            Err(_) if began.elapsed() >= limit => {
                return Err(Failure::failed(
                    "timeout",
                    format!(
                        "{what}: no outcome within {} s; `relay-runner status` shows what it does",
                        limit.as_secs()
                    ),
                ));
            }
            Err(_) => say::aside(format_args!("... waiting for {what}, {} s", began.elapsed().as_secs())),
        }
        quiet = (quiet * 2).min(PROGRESS_MOST);
    }
}

/// Waits until the process of a runner is gone.
pub(crate) async fn gone(found: &Found) -> Result<(), Failure> {
    let gone = async {
        let mut looks = interval(Duration::from_millis(20));
        while found.is_alive() {
            looks.tick().await;
        }
    };
    tokio::time::timeout(GONE_WITHIN, gone).await.map_err(|_| {
        Failure::failed(
            "still_there",
            format!(
                "the runner of {} has ended its work, but process {} is still there after {} s",
                found.agent_id,
                found.pid,
                GONE_WITHIN.as_secs()
            ),
        )
    })
}

pub(crate) fn nobody() -> Failure {
    Failure::failed(
        "not_running",
        "no runner runs here; start one with `relay-runner run command -- ./agent.sh`, or name an agent of the relay",
    )
}

pub(crate) fn unknown(agent: &str, books: &Books) -> Failure {
    Failure::failed(
        "not_running",
        format!(
            "no runner of {agent} runs here, and the relay at {} does not know {agent}; `relay-runner agents` lists who is there",
            books.base()
        ),
    )
}
