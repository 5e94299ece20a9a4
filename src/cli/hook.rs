//! `hook`: what a provider's own hooks call (behaviour 19). One post to the control socket of the runner that started the
//! provider; whatever comes of it, the provider goes on: always 0, and nothing on standard output but what the hook's own
//! protocol wants.

use super::ago::now;
use super::failure::Done;
use super::given::Environment;
use super::local::{self, Here};
use super::{OK, say};
use relay_runner_core::hooks;
use relay_runner_shell::client::ClientError;
use serde_json::{Map, Value, json};
use std::ffi::OsString;
use std::io::{IsTerminal, Read};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval};

/// A hook holds the provider up, so that it takes no longer than this, with all that belongs to it.
const WITHIN: Duration = Duration::from_secs(3);
/// A permission request waits for a person, as long as the runner lets it (`--approval-timeout`, a day at most); the
/// provider's own time-out for the hook ends it in any case.
const PERMISSION_WITHIN: Duration = Duration::from_hours(24);
/// The core cannot do without these: a runner that is just being replaced is waited for, within [`WITHIN`].
const WAITED_FOR: [&str; 4] = ["SessionStart", "UserPromptSubmit", "Stop", "StopFailure"];
const PERMISSION: &str = "PermissionRequest";
/// Between two looks for the next runner.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long the next runner may take until it has taken up the provider, in milliseconds.
const TAKEN_UP_WITHIN: u64 = 30_000;
/// The largest payload that is read, in bytes.
const PAYLOAD_MOST: u64 = 64 * 1024 * 1024;
/// What a person is shown of what a tool is called with, in bytes; the control server takes 64 KiB in all.
const INPUT_MOST: usize = 8 * 1024;
/// Ancestors that are looked at.
const ANCESTORS: usize = 8;

const AFTER_HELP: &str = "\
Called by a provider's hooks, with the hook's JSON on standard input:
  relay-runner hook Stop < payload.json

The runner is found by AGENT_RELAY_RUNNER_DIR; without one, nothing happens. One that was killed or is being
upgraded is waited for: for 3 s, and by a PermissionRequest until the provider ends the hook. It always ends with 0, so that a
provider is never kept from its work; RELAY_RUNNER_LOG=debug says on standard error what went wrong.";

/// Report a provider's hook to its runner
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The hook's name, as the provider gives it: SessionStart, UserPromptSubmit, PermissionRequest, Stop, ...
    #[arg(value_name = "EVENT")]
    event: String,
    /// Of `Stop`: only ask whether the end of the turn is to be held; that it ended is told otherwise
    #[arg(long)]
    ask: bool,
    /// The provider's process [default: the nearest ancestor that is no shell, or a shell below it]
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
}

/// Whether a command line calls a hook: for a provider another exit code than 0 may be a word of its protocol.
pub(crate) fn is_called(arguments: &[OsString]) -> bool {
    arguments.get(1).is_some_and(|verb| verb == "hook") && !arguments.iter().any(|a| a == "--help" || a == "-h")
}

pub(crate) async fn run(args: &Args) -> Done {
    match post(args).await {
        Ok(Some(output)) => {
            if let Err(failure) = say::line(output) {
                tracing::debug!("hook {}: nobody reads what it prints: {failure:?}", args.event);
                // A stop that was held, and that the provider has not heard of, is one.
                if args.event == "Stop" {
                    say_again(args).await;
                }
            }
        }
        Ok(None) => {}
        Err(why) => tracing::debug!("hook {}: {why}", args.event),
    }
    Ok(OK)
}

/// What is to be printed; the error is for the log.
async fn post(args: &Args) -> Result<Option<String>, String> {
    let env = Environment::ours();
    let Some(hook) = Hook::of(args, env) else { return Ok(None) };
    let read = tokio::time::timeout(WITHIN, payload()).await;
    let read = read.map_err(|_| "nothing came on its standard input".to_owned()).and_then(|read| read);
    // That it happened is said even if nobody can read how.
    let mut payload = read.unwrap_or_else(|why| {
        tracing::debug!("hook {}: {why}", args.event);
        Map::new()
    });
    if args.ask {
        payload.insert(hooks::ASKS_ONLY.to_owned(), Value::Bool(true));
    }
    let within = if hook.event == PERMISSION { PERMISSION_WITHIN } else { WITHIN };
    let answer = hook.post(&payload, within).await?;
    let output = answer["output"].as_str().map(ToOwned::to_owned);
    if args.event == "SessionStart" {
        // Read by the model at the start of each session, also of one that was cleared.
        let told = env.raw("AGENT_RELAY_INSTRUCTIONS_FILE").and_then(|file| std::fs::read_to_string(file).ok());
        return Ok(told.into_iter().chain(output).reduce(|told, owed| format!("{told}\n{owed}")));
    }
    Ok(output)
}

async fn say_again(args: &Args) {
    let mut payload = Map::from_iter([("stop_hook_active".to_owned(), Value::Bool(true))]);
    if args.ask {
        payload.insert(hooks::ASKS_ONLY.to_owned(), Value::Bool(true));
    }
    if let Some(hook) = Hook::of(args, Environment::ours())
        && let Err(why) = hook.post(&payload, WITHIN).await
    {
        tracing::debug!("hook {}: {why}", args.event);
    }
}

/// A hook of a provider that a runner started.
struct Hook<'a> {
    event: &'a str,
    env: Environment<'a>,
    session: String,
    pids: Vec<u32>,
}

/// Why a runner has not answered.
enum Trouble {
    /// There is none, or a new one that has not taken up the provider yet.
    NotYet(String),
    Refused(String),
}

impl<'a> Hook<'a> {
    /// None outside of a provider, and where its runner has ended in order: nobody comes after it.
    fn of(args: &'a Args, env: Environment<'a>) -> Option<Self> {
        let session = env.raw("AGENT_RELAY_PROVIDER_SESSION_ID")?;
        if !local::inside(env)?.is_dir() {
            return None;
        }
        let pids = args.pid.map_or_else(|| ancestors(std::process::id()), |pid| vec![pid]);
        Some(Self { event: &args.event, env, session: session.to_string_lossy().into_owned(), pids })
    }

    /// Until a runner has answered: the one that started the provider, or where that is killed or steps aside, the next
    /// one of the same folder, for which this is as new as it was for the first.
    async fn post(&self, payload: &Map<String, Value>, within: Duration) -> Result<Value, String> {
        let mut body = hooks::slim(payload, INPUT_MOST);
        body.insert("providerSessionId".to_owned(), json!(self.session));
        body.remove("pid");
        body.insert("pids".to_owned(), json!(self.pids));
        let body = Value::Object(body);
        let is_patient = self.event == PERMISSION || WAITED_FOR.contains(&self.event);
        let posted = async {
            let mut looks = interval(LOOK_EVERY);
            looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                looks.tick().await;
                match self.try_once(&body).await {
                    Ok(answer) => return Ok(answer),
                    Err(Trouble::NotYet(_)) if is_patient => {}
                    Err(Trouble::NotYet(why) | Trouble::Refused(why)) => return Err(why),
                }
            }
        };
        let asked = tokio::time::timeout(within, posted).await;
        asked.map_err(|_| format!("no answer within {} s", within.as_secs()))?
    }

    async fn try_once(&self, body: &Value) -> Result<Value, Trouble> {
        let found = local::speaking_for(self.env, None, None);
        let (found, client) = match found.map_err(|failure| Trouble::Refused(format!("{failure:?}")))? {
            Here::Runs(found, client) => (found, client),
            Here::Dead(_) | Here::None => return Err(Trouble::NotYet("there is no runner".to_owned())),
        };
        let is_new = now().saturating_sub(found.started_at) < TAKEN_UP_WITHIN;
        if self.event == PERMISSION {
            // A runner that does not answer at all is not waited for.
            let there = tokio::time::timeout(WITHIN, client.status()).await;
            let there = there.map_err(|_| Trouble::Refused("the runner does not answer".to_owned()))?;
            there.map_err(|error| Trouble::of(&error, is_new))?;
        }
        let path = format!("/hook/{}", relay_runner_protocol::http::segment(self.event));
        client.post(&path, body).await.map_err(|error| Trouble::of(&error, is_new))
    }
}

impl Trouble {
    fn of(error: &ClientError, is_new: bool) -> Self {
        let why = error.to_string();
        match error {
            ClientError::NotRunning { .. } | ClientError::Unreachable { .. } => Self::NotYet(why),
            ClientError::Refused { code, .. } if code == "ending" || is_new && code == "stale_session" => {
                Self::NotYet(why)
            }
            ClientError::Refused { .. } | ClientError::Forbidden { .. } => Self::Refused(why),
        }
    }
}

/// Read in a thread of its own: what never comes must not keep the program from ending.
async fn payload() -> Result<Map<String, Value>, String> {
    if std::io::stdin().is_terminal() {
        return Ok(Map::new());
    }
    let (sender, read) = oneshot::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let done = std::io::stdin().lock().take(PAYLOAD_MOST).read_to_end(&mut bytes).map(|_| bytes);
        // Nobody waits any more.
        let _ = sender.send(done);
    });
    let bytes = read.await.map_err(|_| "its standard input cannot be read".to_owned())?;
    let bytes = bytes.map_err(|e| format!("its standard input cannot be read: {e}"))?;
    object(&String::from_utf8_lossy(&bytes))
}

fn object(text: &str) -> Result<Map<String, Value>, String> {
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_str(text)
        .or_else(|_| serde_json::from_str(&without_lone_surrogates(text)))
        .map_err(|e| format!("what is on its standard input is no JSON object: {e}"))
}

/// `JSON.stringify` writes them for a text that was cut in the middle of a character; others do not read them.
fn without_lone_surrogates(text: &str) -> String {
    let unit = |at: usize| {
        let escaped = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(escaped, 16).ok()
    };
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(next) = text[at..].find('\\').map(|n| at + n) {
        out.push_str(&text[at..next]);
        let (taken, written) = match (unit(next), unit(next + 6)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => (12, &text[next..next + 12]),
            (Some(0xd800..=0xdfff), _) => (6, "\\ufffd"),
            // With what it escapes, which may be another one.
            _ => {
                let end = next + 1 + text[next + 1..].chars().next().map_or(0, char::len_utf8);
                (end - next, &text[next..end])
            }
        };
        out.push_str(written);
        at = next + taken;
    }
    out.push_str(&text[at..]);
    out
}

/// The processes that this hook may be of: up to the first that is no shell, as hooks are started by one.
fn ancestors(of: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut at = of;
    while found.len() < ANCESTORS {
        let Some(parent) = parent(at) else { break };
        if at != of {
            found.push(at);
            if !is_shell(at) {
                break;
            }
        }
        at = parent;
    }
    if found.is_empty() {
        // No process table to look into: the parent is all that is known.
        found.extend(rustix::process::getppid().and_then(|pid| u32::try_from(pid.as_raw_nonzero().get()).ok()));
    }
    found
}

/// The parent of a process (Linux).
fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

/// By the program that runs, since a script has its own name.
fn is_shell(pid: u32) -> bool {
    let program = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    matches!(&*name, "sh" | "bash" | "dash" | "zsh" | "fish" | "ksh" | "busybox" | "env" | "timeout")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_was_cut_inside_a_character_is_read_all_the_same() {
        let read = |text: &str| object(text).map(|object| object["a"].as_str().unwrap().to_owned());
        assert_eq!(read(r#"{"a":"cut \ud83d"}"#).unwrap(), "cut \u{fffd}");
        assert_eq!(read(r#"{"a":"\udc00\ud83d\ude00 \ud83d\\ud83d \\"}"#).unwrap(), "\u{fffd}😀 \u{fffd}\\ud83d \\");
        assert_eq!(read(r#"{"a":"é\n\ud83d"}"#).unwrap(), "é\n\u{fffd}");
        assert!(object("").unwrap().is_empty());
        for wrong in ["[]", "{", "\\", r#"{"a":"\u12"}"#, "{\"a\":\"\\"] {
            assert!(object(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_a_hook_always_ends_with_0() {
        let called = |line: &str| is_called(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        assert!(called("relay-runner hook") && called("relay-runner hook --bogus Stop"));
        assert!(!called("relay-runner hook --help") && !called("relay-runner stop hook") && !called("relay-runner"));
    }
}
