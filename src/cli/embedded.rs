//! The relay of a run that was not told of one: the one on the default port, else one of our own there (behaviour 2).

use super::books::{Books, Health, default_relay};
use super::failure::Failure;
use super::given::Environment;
use super::run_options::Asked;
use super::{places, relay};
use relay_runner_relay::{Config, Relay};
use relay_runner_shell::RelayUrl;
use secrecy::ExposeSecret;

/// The relay to use, and its value while it is ours.
pub(crate) async fn relay_of(asked: &Asked, env: Environment<'_>) -> Result<(RelayUrl, Option<Relay>), Failure> {
    if let Some(url) = &asked.relay {
        return Ok((url.clone(), None));
    }
    let url = default_relay()?;
    let books = Books::new(&url, asked.token.as_ref())?;
    if let Some(found) = look(&books, &url).await? {
        return Ok((found, None));
    }
    // A relay of this machine keeps one state, whoever serves it; a state folder of one's own has one of its own.
    let db = if asked.usual_state { places::relay_db(env)? } else { asked.state_dir.join("relay.db") };
    let token = asked.token.as_ref().map(|token| token.expose_secret().to_owned());
    match relay::start(Config { db: Some(db.clone()), token, ..Config::default() }).await {
        Ok(relay) => {
            tracing::info!(
                "no relay was named and none is on the default port: one is embedded at {url}, its state in {}",
                db.display()
            );
            Ok((url, Some(relay)))
        }
        // Another run was faster.
        Err(failure) if failure.code == "port_in_use" => match look(&books, &url).await? {
            Some(found) => Ok((found, None)),
            None => Err(failure),
        },
        Err(failure) if failure.code == "database_in_use" => Err(Failure::failed(
            "database_in_use",
            format!(
                "no relay was named and none is on the default port, but one that keeps its state in {} runs on another; \
                 name it with --relay or AGENT_RELAY_URL",
                db.display()
            ),
        )),
        Err(failure) => Err(failure),
    }
}

async fn look(books: &Books, url: &RelayUrl) -> Result<Option<RelayUrl>, Failure> {
    match books.health().await {
        Health::Relay => {
            tracing::info!("no relay was named: the one at {url} is used");
            Ok(Some(url.clone()))
        }
        Health::Nobody => Ok(None),
        Health::Stranger(why) => Err(Failure::usage(
            "default_port_taken",
            format!(
                "no relay was named, and what listens at {url} is not one ({why}); name a relay with --relay or AGENT_RELAY_URL"
            ),
        )),
    }
}
