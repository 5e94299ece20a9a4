//! `relay`: a relay of one's own.

use super::JSON;
use super::books;
use super::failure::{Done, Failure};
use super::given::{Environment, Key, key};
use super::{OK, places, relay_token, say, span};
use clap::builder::FalseyValueParser;
use relay_runner_relay::{Config, Error, Relay};
use relay_runner_shell::ExitCode;
use secrecy::ExposeSecret;
use serde_json::json;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

const LISTEN: Key = key("--listen", "AGENT_RELAY_RELAY_LISTEN");
const DB: Key = key("--db", "AGENT_RELAY_RELAY_DB");
const LIFETIME: Key = key("--token-lifetime", "AGENT_RELAY_RELAY_TOKEN_LIFETIME");
const RATE: Key = key("--calls-per-second", "AGENT_RELAY_RELAY_CALLS_PER_SECOND");
const KEEP: Key = key("--keep-for", "AGENT_RELAY_RELAY_KEEP_FOR");
const ARTIFACTS: Key = key("--keep-artifacts", "AGENT_RELAY_RELAY_KEEP_ARTIFACTS");

const AFTER_HELP: &str = "\
Examples:
  relay-runner relay
  relay-runner relay --listen 127.0.0.1:0 --json       on a free port; the first line says which
  relay-runner relay --db :memory:                     forget everything at the end
  relay-runner relay --listen 0.0.0.0:4850 --token-file token.txt
  relay-runner relay token --token-file token.txt      a token for an agent; `relay token --help`

It keeps agents, messages, claims, tasks and commands in the database, artifacts in a folder
beside it, and survives its own restart.
End it with Ctrl-C.";

/// Serve a relay: the bus and the HTTP API that agents talk through
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP, args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// Where to listen; anything but loopback needs a token [env: AGENT_RELAY_RELAY_LISTEN] [default: 127.0.0.1:4850]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// The file that keeps its state [env: AGENT_RELAY_RELAY_DB]
    /// [default: $XDG_STATE_HOME/relay-runner/relay.db]
    #[arg(long, value_name = "FILE")]
    db: Option<String>,
    /// A file that holds the token that clients must show [env: AGENT_RELAY_TOKEN (the token), AGENT_RELAY_TOKEN_FILE]
    #[arg(long, value_name = "FILE")]
    token_file: Option<String>,
    /// How long its runtime tokens last unless somebody asks for another span, and renewed ones
    /// [env: AGENT_RELAY_RELAY_TOKEN_LIFETIME] [default: 24h]
    #[arg(long, value_name = "SPAN")]
    token_lifetime: Option<String>,
    /// How many calls and frames a client may make in a second, five times as many at once; 0: no limit
    /// [env: AGENT_RELAY_RELAY_CALLS_PER_SECOND] [default: 10000]
    #[arg(long, value_name = "NUMBER")]
    calls_per_second: Option<String>,
    /// How long messages, commands and ended tasks are kept [env: AGENT_RELAY_RELAY_KEEP_FOR] [default: 30d]
    #[arg(long, value_name = "SPAN")]
    keep_for: Option<String>,
    /// MiB of all artifacts together, and of one at most [env: AGENT_RELAY_RELAY_KEEP_ARTIFACTS] [default: 4096, one of 64]
    #[arg(long, value_name = "MIB")]
    keep_artifacts: Option<String>,
    /// Print where it listens as one line of JSON
    #[arg(long, env = JSON, hide_env_values = true, value_parser = FalseyValueParser::new())]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Token(relay_token::Args),
}

pub(crate) async fn run(args: &Args) -> Done {
    if let Some(Verb::Token(token)) = &args.verb {
        return relay_token::run(token).await;
    }
    let env = Environment::ours();
    let mut config = Config::default();
    limits(&mut config, args, env)?;
    let address = |text: &str| text.parse::<SocketAddr>().map_err(|_| "write it as 127.0.0.1:4850".to_owned());
    if let Some(listen) = env.parsed(args.listen.as_deref(), LISTEN, address)? {
        config.listen = listen;
    }
    config.db = match env.text(args.db.as_deref(), DB)? {
        Some((text, _)) if text == ":memory:" => None,
        Some((text, _)) => Some(PathBuf::from(text)),
        None => Some(places::relay_db(env)?),
    };
    config.token =
        books::token_of_relay(args.token_file.as_deref(), env)?.map(|token| token.expose_secret().to_owned());
    serve(config, args.json).await
}

/// What it hands out, lets through and keeps.
fn limits(config: &mut Config, args: &Args, env: Environment<'_>) -> Result<(), Failure> {
    let number = |text: &str| text.parse::<u32>().map_err(|_| "write a whole number".to_owned());
    if let Some(seconds) = env.parsed(args.token_lifetime.as_deref(), LIFETIME, span::whole_seconds)? {
        config.token_lifetime = Duration::from_secs(seconds);
    }
    if let Some(calls) = env.parsed(args.calls_per_second.as_deref(), RATE, number)? {
        config.calls_per_second = calls;
        config.calls_at_once = calls.saturating_mul(5).max(1);
    }
    if let Some(seconds) = env.parsed(args.keep_for.as_deref(), KEEP, span::whole_seconds)? {
        config.keep_for = Duration::from_secs(seconds);
    }
    if let Some(mib) = env.parsed(args.keep_artifacts.as_deref(), ARTIFACTS, number)? {
        config.keep_artifact_bytes = u64::from(mib) << 20;
        config.artifact_bytes = config.artifact_bytes.min(config.keep_artifact_bytes);
    }
    Ok(())
}

async fn serve(config: Config, json: bool) -> Done {
    // Listened to from before the relay is there, so that nothing ends it in disorder.
    let failed = |e| Failure::failed("signals", format!("the signals of the process cannot be listened to: {e}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let state = config.db.as_ref().map_or_else(|| "memory".to_owned(), |db| db.display().to_string());
    let relay = start(config).await?;
    let said = if json {
        say::json(&json!({"event": "listening", "url": relay.url(), "db": state}))
    } else {
        say::line(format_args!("relay at {}; its state is in {state}", relay.url()))
    };
    if said.is_ok() {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
    relay.stop().await;
    said.map(|()| OK)
}

/// Starts a relay, its folder made.
pub(crate) async fn start(config: Config) -> Result<Relay, Failure> {
    if let Some(db) = &config.db {
        places::make_parent(db)?;
    }
    Relay::start(config).await.map_err(Failure::from)
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (exit, code) = match &error {
            Error::OpenToTheNetwork(_) => (ExitCode::Usage, "token_needed"),
            Error::PortInUse(_) => (ExitCode::Failed, "port_in_use"),
            Error::Listen { .. } => (ExitCode::Usage, "listen"),
            Error::Database { .. } => (ExitCode::Usage, "database"),
            Error::DatabaseInUse { .. } => (ExitCode::Failed, "database_in_use"),
            Error::DatabaseTooNew { .. } => (ExitCode::Failed, "database_too_new"),
            _ => (ExitCode::Failed, "relay"),
        };
        Self::new(exit, code, error.to_string())
    }
}
