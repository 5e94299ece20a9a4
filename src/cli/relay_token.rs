//! `relay token`: a runtime token for an agent, made by the relay for whoever has the relay's own token.

use super::books::RelayArgs;
use super::failure::Done;
use super::given::{Environment, Key, key};
use super::{OK, say, span};
use relay_runner_protocol::http::TOKENS;
use relay_runner_protocol::token::{NewToken, TokenAnswer};

const LIFETIME: Key = key("--lifetime", "AGENT_RELAY_TOKEN_LIFETIME");

const AFTER_HELP: &str = "\
Examples:
  relay-runner relay token --token-file root.txt > a1.token
  relay-runner relay token --lifetime 8h > a1.token
  relay-runner run command --token-file a1.token -- ./agent.sh

The token is shown once, as JSON with what is known of it: the file that a runner takes as
--token-file. A runner renews a token of the profiles provider-agent and provider-interactive in
time, and keeps the newest one in its state folder. Whoever has the token is let in by the relay,
so keep the file to yourself (umask 077).";

/// Have a relay make a runtime token, with its own token
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// What it is for; only provider-agent and provider-interactive can be renewed
    #[arg(long, value_name = "NAME", default_value = "provider-agent")]
    profile: String,
    /// How long it lasts, for example 8h or 30d [env: AGENT_RELAY_TOKEN_LIFETIME] [default: the relay's, 24h]
    #[arg(long, value_name = "SPAN")]
    lifetime: Option<String>,
    #[command(flatten)]
    relay: RelayArgs,
}

pub(crate) async fn run(args: &Args) -> Done {
    let env = Environment::ours();
    let lifetime_seconds = env.parsed(args.lifetime.as_deref(), LIFETIME, span::whole_seconds)?;
    let new = NewToken { profile_id: args.profile.clone(), lifetime_seconds };
    let made: TokenAnswer = args.relay.books(env)?.post(TOKENS, &new).await?;
    say::json(&serde_json::json!({"token": made.token, "record": made.record}))?;
    Ok(OK)
}
