//! `ps`: the runners of this machine, one a line.

use super::ago::{lasting, now};
use super::failure::{Done, Failure};
use super::given::Environment;
use super::local::{self, Found};
use super::{JSON, OK, memory, say, state_shown};
use clap::builder::FalseyValueParser;
use relay_runner_shell::client::{Client, ClientError};
use serde_json::{Value, json};

const AFTER_HELP: &str = "\
Examples:
  relay-runner ps
  relay-runner ps --json | jq -r '.[] | select(.state == \"dead\") | .agentId'

FOR is how long it has been in that state, EXITS counts ends of the provider in the restart window,
QUEUE the messages that it holds, CONTEXT how full the provider's context is, MEMORY what runner and provider hold of it together.
A runner with a state folder of its own is found as long as it lives, or under XDG_RUNTIME_DIR.";

/// List the runners of this machine
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Print them as JSON
    #[arg(long, env = JSON, hide_env_values = true, value_parser = FalseyValueParser::new())]
    json: bool,
}

pub(crate) async fn run(args: &Args) -> Done {
    let mut rows = Vec::new();
    for found in local::everywhere(Environment::ours()) {
        rows.push(row(&found, &look(&found).await));
    }
    if args.json {
        say::pretty_json(&rows)?;
    } else if rows.is_empty() {
        say::aside("no runner runs here; start one with `relay-runner run command -- ./agent.sh`");
    } else {
        table(&rows)?;
    }
    Ok(OK)
}

/// What there is to see of a runner.
enum Look {
    Dead,
    /// It lives, and gives no answer; why not.
    Silent(String),
    Lives {
        state: Box<Value>,
        why: Box<Value>,
    },
}

async fn look(found: &Found) -> Look {
    if !found.is_alive() {
        return Look::Dead;
    }
    let looked = async {
        let client = Client::new(&found.dir)?;
        let state = client.state().await?;
        // A runner of another version may have none.
        let why = client.get("/why").await.unwrap_or_default();
        Ok::<_, ClientError>(Look::Lives { state: Box::new(state), why: Box::new(why) })
    };
    match looked.await {
        Ok(look) => look,
        // It ended between the two looks.
        Err(_) if !found.is_alive() => Look::Dead,
        Err(error) => Look::Silent(error.to_string()),
    }
}

fn row(found: &Found, look: &Look) -> Value {
    let mut row = json!({
        "agentId": found.agent_id, "provider": found.provider, "pid": found.pid, "startedAt": found.started_at,
        "folder": found.dir, "stateDir": found.state_dir,
    });
    match look {
        Look::Dead => row["state"] = json!("dead"),
        Look::Silent(why) => {
            row["state"] = json!("silent");
            row["why"] = json!(why);
        }
        Look::Lives { state, why } => {
            let provider = state["process"]["process"]["pid"].as_u64();
            let held = state["messages"].as_array().map_or(0, Vec::len);
            row["state"] = json!(word(state));
            row["status"] = state["status"].clone();
            row["ready"] = state["ready"].clone();
            row["stateForMs"] = for_ms(state, why).into();
            row["providerPid"] = provider.into();
            row["generation"] = state["process"]["generation"].clone();
            row["exits"] = state["process"]["exits"].clone();
            row["conversation"] = state["process"]["conversation"].clone();
            row["model"] = state["model"].clone();
            row["context"] = state["context"].clone();
            row["queue"] = held.into();
            row["memoryBytes"] = memory::resident(found.pid.into()).into();
            row["providerMemoryBytes"] = provider.and_then(memory::resident).into();
        }
    }
    row
}

/// One word for what it does.
fn word(state: &Value) -> String {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let status = text(&state["status"]).unwrap_or_default();
    let unready = || {
        // Up, and not ready: then it is the relay.
        let process = text(&state["process"]["state"])?;
        Some(if matches!(&*process, "waiting" | "working") { "offline".to_owned() } else { process })
    };
    let ends = text(&state["endingPhase"]).filter(|phase| phase != "none");
    match text(&state["lifecycleAction"]).or(ends) {
        Some(action) => action,
        None if state["ready"] == true => status,
        None => unready().unwrap_or(status),
    }
}

/// Since the newest of the changes that its word may be about.
fn for_ms(state: &Value, why: &Value) -> Option<u64> {
    let ago = |part: &str| why[part]["since"]["agoMs"].as_u64();
    if state["ready"] == true { ago("status").min(ago("ready")) } else { ago("lifecycle").min(ago("ready")) }
}

const HEAD: [&str; 10] = ["AGENT", "PROVIDER", "MODEL", "STATE", "FOR", "PID", "EXITS", "QUEUE", "CONTEXT", "MEMORY"];

fn table(rows: &[Value]) -> Result<(), Failure> {
    let mut lines = vec![HEAD.map(str::to_owned)];
    lines.extend(rows.iter().map(columns));
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
    for line in &lines {
        let padded: Vec<String> = line.iter().zip(&widths).map(|(text, width)| format!("{text:<width$}")).collect();
        say::line(padded.join("  ").trim_end())?;
    }
    Ok(())
}

fn columns(row: &Value) -> [String; 10] {
    let text = |key: &str| row[key].as_str().map(say::plain);
    let number = |key: &str| row[key].as_u64();
    let shown = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let lasted = number("stateForMs").or_else(|| {
        let started = number("startedAt").filter(|_| row["state"] != "dead")?;
        Some(now().saturating_sub(started))
    });
    let held = number("memoryBytes").map(|runner| runner + number("providerMemoryBytes").unwrap_or_default());
    [
        shown(text("agentId")),
        shown(text("provider")),
        shown(state_shown::model(row)),
        shown(text("state")),
        shown(lasted.map(lasting)),
        shown(number("pid").map(|pid| pid.to_string())),
        shown(number("exits").map(|exits| exits.to_string())),
        shown(number("queue").map(|queue| queue.to_string())),
        shown(state_shown::percent(row)),
        shown(held.map(memory::shown)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_word_says_what_it_does() {
        let of = |status: &str, ready: bool, action: Option<&str>, process: &str| {
            let process = json!({"state": process});
            word(&json!({"status": status, "ready": ready, "lifecycleAction": action, "process": process}))
        };
        assert_eq!(of("busy", true, None, "working"), "busy");
        assert_eq!(of("idle", false, Some("parked"), "parked"), "parked");
        assert_eq!(of("idle", false, None, "starting"), "starting");
        assert_eq!(of("idle", false, None, "waiting"), "offline");
        let drains = json!({"status": "busy", "ready": false, "lifecycleAction": null, "endingPhase": "draining"});
        assert_eq!(word(&drains), "draining");
    }
}
