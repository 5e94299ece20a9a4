//! What the agent's verbs share: they speak for the agent whose runner started them, through that runner and with its
//! live credential, so that none of them needs an address or a token.

use super::JSON;
use super::books::random;
use super::failure::Failure;
use super::given::Environment;
use super::local::{self, Found, Here};
use super::order::{self, patient};
use clap::builder::FalseyValueParser;
use relay_runner_shell::client::{Client, ClientError};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::interval;

/// Longer than the runner takes for the calls and the files of any verb.
const LIMIT: Duration = Duration::from_mins(15);
/// Tries over a connection that breaks, to the runner or from there to the relay. Both do the same call once.
const TRIES: u32 = 3;
const BETWEEN: Duration = Duration::from_millis(200);
/// Bytes of a body that go over the socket; with a longer text the text goes in a file.
const INLINE_MOST: usize = 60 * 1024;

/// For whom a verb speaks.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct AgentArgs {
    /// The agent to speak for, when it is not the one that calls this: its runner must run here
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// The state folder, where that runner was given one
    #[arg(long, value_name = "FOLDER")]
    state_dir: Option<PathBuf>,
    /// Print the answer as JSON
    #[arg(long, env = JSON, hide_env_values = true, value_parser = FalseyValueParser::new())]
    pub(crate) json: bool,
}

/// The words of a message that are not on the command line, and the files that go with it.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct WordsArgs {
    /// Read the text from this file
    #[arg(long, value_name = "FILE", conflicts_with = "text")]
    pub(crate) file: Option<PathBuf>,
    /// Send a file with it, at most 64 MiB; may be repeated
    #[arg(long, value_name = "FILE")]
    pub(crate) attach: Vec<PathBuf>,
}

impl AgentArgs {
    /// Whether somebody said for whom.
    pub(crate) const fn is_named(&self) -> bool {
        self.agent.is_some() || self.state_dir.is_some()
    }

    /// The runner, which must be alive.
    pub(crate) fn runner(&self, env: Environment<'_>) -> Result<(Found, Client), Failure> {
        match local::speaking_for(env, self.agent.as_deref(), self.state_dir.as_deref())? {
            Here::Runs(found, client) => Ok((found, client)),
            Here::Dead(found) => Err(found.dead()),
            Here::None => Err(match local::inside(env).filter(|_| !self.is_named()) {
                Some(dir) => Failure::failed(
                    "not_running",
                    format!(
                        "the runner that started this process has ended, or is starting again: there is no runner in {} now; \
                         try again in a moment",
                        dir.display()
                    ),
                ),
                None => order::nobody(),
            }),
        }
    }

    /// Has the runner carry out a verb; what it answers.
    pub(crate) async fn ask(&self, verb: &str, body: Value) -> Result<Value, Failure> {
        let (found, client) = self.runner(Environment::ours())?;
        self.ask_of(&found, &client, verb, body).await
    }

    pub(crate) async fn ask_of(
        &self,
        found: &Found,
        client: &Client,
        verb: &str,
        mut body: Value,
    ) -> Result<Value, Failure> {
        // One for all tries: what was done already is not done again.
        body["idempotencyKey"] = json!(format!("verb-{:032x}", random()?));
        // Gone with this call.
        let _file = long_text_in_file(found, &mut body)?;
        let path = format!("/relay/{verb}");
        let what = format!("{verb} by {} (process {})", found.agent_id, found.pid);
        Ok(patient(persistent(client, &path, &body), &what, LIMIT).await??)
    }
}

/// A connection that breaks in between says nothing about what was done.
async fn persistent(client: &Client, path: &str, body: &Value) -> Result<Value, ClientError> {
    let mut pauses = interval(BETWEEN);
    let mut tries = 0;
    loop {
        pauses.tick().await;
        tries += 1;
        match client.post(path, body).await {
            Err(error) if tries < TRIES && says_nothing(&error) => {}
            answer => return answer,
        }
    }
}

/// Neither that it was done nor that it was not.
fn says_nothing(error: &ClientError) -> bool {
    match error {
        ClientError::Unreachable { .. } => true,
        ClientError::Refused { code, .. } => code == "relay_unreachable",
        ClientError::NotRunning { .. } | ClientError::Forbidden { .. } => false,
    }
}

fn long_text_in_file(found: &Found, body: &mut Value) -> Result<Option<tempfile::NamedTempFile>, Failure> {
    if body.to_string().len() <= INLINE_MOST {
        return Ok(None);
    }
    let Some(Value::String(text)) = body.get("body") else { return Ok(None) };
    let cannot = |e: std::io::Error| {
        let text = format!("cannot put the long text into a file of {}: {e}", found.dir.display());
        Failure::failed("input", text)
    };
    // For us alone, as the folder is.
    let file = tempfile::Builder::new().prefix("text-").tempfile_in(&found.dir).map_err(cannot)?;
    std::fs::write(file.path(), text).map_err(cannot)?;
    let path = absolute(file.path())?;
    body["bodyFile"] = json!(path);
    if let Some(body) = body.as_object_mut() {
        body.remove("body");
    }
    Ok(Some(file))
}

/// Paths as the runner takes them, which works in another folder.
pub(crate) fn absolutes(paths: &[PathBuf]) -> Result<Vec<String>, Failure> {
    paths.iter().map(|path| absolute(path)).collect()
}

fn absolute(path: &Path) -> Result<String, Failure> {
    let wrong = |why: &str| Failure::usage("bad_file", format!("the file {}: {why}", path.display()));
    let path = std::path::absolute(path).map_err(|e| wrong(&e.to_string()))?;
    path.into_os_string().into_string().map_err(|_| wrong("its path is not UTF-8 text; give the file another name"))
}
