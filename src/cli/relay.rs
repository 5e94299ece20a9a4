//! `relay`: a relay of one's own.

use super::JSON;
use super::books;
use super::failure::{Done, Failure};
use super::given::{Environment, Key, key};
use super::{OK, places, say};
use clap::builder::FalseyValueParser;
use relay_runner_relay::{Config, Error, Relay};
use relay_runner_shell::ExitCode;
use secrecy::ExposeSecret;
use serde_json::json;
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::signal::unix::{SignalKind, signal};

const LISTEN: Key = key("--listen", "AGENT_RELAY_RELAY_LISTEN");
const DB: Key = key("--db", "AGENT_RELAY_RELAY_DB");

const AFTER_HELP: &str = "\
Examples:
  relay-runner relay
  relay-runner relay --listen 127.0.0.1:0 --json       on a free port; the first line says which
  relay-runner relay --db :memory:                     forget everything at the end
  relay-runner relay --listen 0.0.0.0:4850 --token-file token.txt

It keeps agents, messages, claims, tasks and commands in the database, and survives its own restart.
End it with Ctrl-C.";

/// Serve a relay: the bus and the HTTP API that agents talk through
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
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
    /// Print where it listens as one line of JSON
    #[arg(long, env = JSON, hide_env_values = true, value_parser = FalseyValueParser::new())]
    json: bool,
}

pub(crate) async fn run(args: &Args) -> Done {
    let env = Environment::ours();
    let mut config = Config::default();
    let address = |text: &str| text.parse::<SocketAddr>().map_err(|_| "write it as 127.0.0.1:4850".to_owned());
    if let Some(listen) = env.parsed(args.listen.as_deref(), LISTEN, address)? {
        config.listen = listen;
    }
    config.db = match env.text(args.db.as_deref(), DB)? {
        Some((text, _)) if text == ":memory:" => None,
        Some((text, _)) => Some(PathBuf::from(text)),
        None => Some(places::relay_db(env)?),
    };
    config.token = books::token(args.token_file.as_deref(), env)?.map(|token| token.expose_secret().to_owned());
    serve(config, args.json).await
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
