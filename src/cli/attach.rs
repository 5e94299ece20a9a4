//! `attach`: puts a person before the provider's own terminal.

use super::failure::{Done, Failure};
use super::given::Environment;
use super::program;
use super::{JSON, OK, local, say};
use clap::builder::FalseyValueParser;
use relay_runner_shell::client::ClientError;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

const AFTER_HELP: &str = "\
Examples:
  relay-runner attach              look at the provider of the runner on this machine
  relay-runner attach a1 --drive   type into it as well
  relay-runner attach a1 --json    how that is done, without doing it

In tmux, the prefix and `d` (Ctrl-b d) leave the terminal again; the provider goes on.
Claude Code, headless, runs in a tmux server of its runner's own. Codex has a terminal of its own, which
joins the live thread: whoever is in it types to the agent, with or without --drive; leave it with /quit
or Ctrl-C. `run command` has one when --tmux-session names its tmux session.";

/// Look at the provider's own terminal, or drive it
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The agent; not needed while one runner runs here
    #[arg(value_name = "AGENT")]
    agent: Option<String>,
    /// The state folder, where the runner was given one
    #[arg(long, value_name = "FOLDER")]
    state_dir: Option<PathBuf>,
    /// Type into it as well; without this a tmux session is only looked at
    #[arg(long)]
    drive: bool,
    /// Print what would be run, as JSON
    #[arg(long, env = JSON, hide_env_values = true, value_parser = FalseyValueParser::new())]
    json: bool,
}

/// What the runner says of the terminal. `argv` drives it.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
enum Terminal {
    Tmux {
        #[serde(default)]
        socket: Option<String>,
        session: String,
        argv: Vec<String>,
    },
    Command {
        argv: Vec<String>,
        #[serde(default)]
        env: BTreeMap<String, String>,
    },
}

pub(crate) async fn run(args: &Args) -> Done {
    let env = Environment::ours();
    let (found, client) = local::living(env, args.agent.as_deref(), args.state_dir.as_deref())?;
    let said = match client.get("/terminal").await {
        Err(ClientError::NotRunning { .. }) => return Err(found.dead()),
        answered => answered?,
    };
    let terminal: Terminal = serde_json::from_value(said).map_err(|e| {
        Failure::failed(
            "unknown_terminal",
            format!("{}: its runner names a terminal of an unknown kind: {e}", found.agent_id),
        )
    })?;
    let line = command_line(&terminal, args.drive)?;
    if args.json {
        let set = match &terminal {
            Terminal::Command { env, .. } => env.clone(),
            Terminal::Tmux { .. } => BTreeMap::new(),
        };
        say::json(&serde_json::json!({"agent": found.agent_id, "drive": args.drive, "argv": line, "env": set}))?;
        return Ok(OK);
    }
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        return Err(Failure::usage(
            "no_tty",
            "attach needs a terminal of its own on standard input and output; `attach --json` says what it would run",
        ));
    }
    let words: Vec<OsString> = line.iter().map(OsString::from).collect();
    let words = program::found(&words, "the terminal's program", env).map_err(|_| {
        Failure::failed(
            "terminal_program_missing",
            format!(
                "the terminal of {} is reached by `{}`, which is not installed here",
                found.agent_id,
                words[0].display()
            ),
        )
    })?;
    there(&terminal, &words[0], &found.agent_id)?;
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    match &terminal {
        // Within tmux it would refuse to nest; whoever asks for it knows.
        Terminal::Tmux { .. } => command.env_remove("TMUX"),
        Terminal::Command { env, .. } => command.envs(env),
    };
    // It only comes back when it could not be done.
    let error = command.exec();
    Err(Failure::failed("attach_failed", format!("cannot run {}: {error}", words[0].display())))
}

/// What is run for it: to look at the terminal only, or to drive it.
fn command_line(terminal: &Terminal, drive: bool) -> Result<Vec<String>, Failure> {
    let mut argv = match terminal {
        Terminal::Tmux { argv, .. } | Terminal::Command { argv, .. } if !argv.is_empty() => argv.clone(),
        Terminal::Tmux { .. } | Terminal::Command { .. } => {
            return Err(Failure::failed(
                "unknown_terminal",
                "the runner names a terminal without saying how it is reached",
            ));
        }
    };
    match terminal {
        _ if drive => {}
        Terminal::Tmux { .. } => {
            let at = argv.iter().rposition(|word| word == "attach").map_or(argv.len(), |at| at + 1);
            argv.insert(at, "-r".to_owned());
        }
        // A program of the provider's own: whoever is in it drives.
        Terminal::Command { .. } => {}
    }
    Ok(argv)
}

/// Whether the session is there: tmux itself says less.
fn there(terminal: &Terminal, tmux: &OsString, agent: &str) -> Result<(), Failure> {
    let Terminal::Tmux { socket, session, .. } = terminal else { return Ok(()) };
    let mut ask = Command::new(tmux);
    if let Some(socket) = socket {
        ask.args(["-S", socket]);
    }
    let said = ask.args(["has-session", "-t", &format!("={session}")]).stdin(Stdio::null()).output();
    match said {
        Ok(said) if said.status.success() => Ok(()),
        Ok(said) => Err(Failure::failed(
            "terminal_gone",
            format!(
                "the tmux session `{}` of {agent} is not there: {}",
                say::plain(session),
                say::plain(String::from_utf8_lossy(&said.stderr).trim())
            ),
        )),
        Err(error) => Err(Failure::failed("attach_failed", format!("cannot run {}: {error}", tmux.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn terminal(value: Value) -> Terminal {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_terminal_is_looked_at_unless_it_is_to_be_driven() {
        let argv = json!(["tmux", "-S", "attach", "attach", "-t", "=work"]);
        let tmux = terminal(json!({"kind": "tmux", "socket": "s", "session": "work", "argv": argv}));
        assert_eq!(command_line(&tmux, true).unwrap(), ["tmux", "-S", "attach", "attach", "-t", "=work"]);
        let plain = json!(["tmux", "attach", "-t", "=work"]);
        let tmux = terminal(json!({"kind": "tmux", "socket": null, "session": "work", "argv": plain}));
        assert_eq!(command_line(&tmux, false).unwrap(), ["tmux", "attach", "-r", "-t", "=work"]);
    }

    #[test]
    fn a_program_of_the_providers_own_is_run_as_it_is() {
        let command = terminal(json!({"kind": "command", "argv": ["codex", "resume"], "env": {"A": "b"}}));
        assert_eq!(command_line(&command, false).unwrap(), ["codex", "resume"]);
        assert_eq!(command_line(&command, true).unwrap(), ["codex", "resume"]);
        let none = terminal(json!({"kind": "command", "argv": []}));
        assert_eq!(command_line(&none, true).unwrap_err().code, "unknown_terminal");
    }
}
