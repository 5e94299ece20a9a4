//! The verbs of the program, one file each, and what they share.
//!
//! - `given` reads flags, `AGENT_RELAY_*` variables and the configuration, so that every error names where a value came from;
//!   `config_keys` and `config_table` have the configuration's keys, `config_file` reads it, `reload` reads it again, `profiles` finds
//!   profiles; `places` says where state lies; `failure` is how a verb ends badly; `say` is the one place that prints.
//! - `agent` is what the agent's own verbs share (`reply` to `monitor`), `text` reads what a message is to say.
//! - `books` asks a relay, `local` finds runners on this machine, `follow` watches a message on its way.
//! - `ps`, `status`, `why` and `logs` show what runners do; `state_shown` and `logs_shown` are what they print, `memory` is what
//!   the system knows of a process.
//! - `run_args`, `run_options`, `core_settings` and `identity` turn a command line into what the shell is given; `run` and `demo` hand it
//!   over. `demo_*` are parts of the demonstration, `replay_shown` is what `replay` prints, `simulate_shown` what
//!   `simulate` does, and `simulate_kept` what that makes of a failure.

mod agent;
mod agents;
mod ago;
mod attach;
mod books;
mod completions;
mod config;
mod config_file;
mod config_keys;
mod config_shown;
mod config_table;
mod confined;
mod core_settings;
mod decide;
mod demo;
mod demo_agent;
mod demo_books;
mod demo_story;
mod diagnostics;
mod disconnect;
mod embedded;
mod failure;
mod follow;
mod given;
mod hook;
mod identity;
mod label;
mod local;
mod log_file;
mod logs;
mod logs_shown;
mod machines;
mod man;
mod memory;
mod message;
mod moment;
mod monitor;
mod obligations;
mod order;
mod pair;
mod places;
mod plugin;
mod profile;
mod profiles;
mod program;
mod progress;
mod ps;
mod react;
mod read;
mod relay;
mod relay_token;
mod reload;
mod replay;
mod replay_shown;
mod reply;
mod restart;
mod run;
mod run_args;
mod run_options;
mod say;
mod schema;
mod send;
mod send_claimable;
mod simulate;
mod simulate_kept;
mod simulate_shown;
mod span;
mod state_shown;
mod status;
mod stop;
mod tags;
mod text;
mod upgrade;
mod wait;
mod whoami;
mod why;

use clap::{CommandFactory, Parser, Subcommand};
use failure::{Done, Failure};
use relay_runner_shell::ExitCode;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::Duration;

const AFTER_HELP: &str = "\
Examples:
  relay-runner demo                                     see all of it at work, in some seconds
  relay-runner relay                                    a relay on 127.0.0.1:4850
  relay-runner run command --agent-id a1 -- ./agent.sh  represent a program on it, keep it alive
  relay-runner send a1 \"hello\" --task --wait            give it a task, see what becomes of it
  relay-runner logs a1 -f                               what it does, as it happens

Exit codes:
  0 ended as asked; 1 failed; 2 usage or configuration; 69 relay unreachable;
  70 gave up on the provider; 75 temporary: start again; 76 superseded by a newer instance;
  77 credential refused

Every flag of `run` has an AGENT_RELAY_* variable and a key in the configuration file
(`relay-runner config default`); the command line wins.
RELAY_RUNNER_LOG=debug shows more of what goes on.";

/// Keeps a coding agent at work, and represents it on a relay that agents talk through.
#[derive(Debug, Parser)]
#[command(name = "relay-runner", version, after_help = AFTER_HELP, propagate_version = true, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Run(Box<run_args::Args>),
    Relay(relay::Args),
    Send(send::Args),
    Agents(agents::Args),
    Status(status::Args),
    Ps(ps::Args),
    Logs(logs::Args),
    Why(why::Args),
    Attach(attach::Args),
    Stop(stop::Args),
    Restart(restart::Args),
    Upgrade(upgrade::Args),
    Approve(decide::Approve),
    Deny(decide::Deny),
    Reply(reply::Args),
    React(react::Args),
    Read(read::Args),
    Obligations(obligations::Args),
    Hook(hook::Args),
    Message(message::Args),
    SendClaimable(send_claimable::Args),
    Pair(pair::Args),
    Label(label::Args),
    Tags(tags::Args),
    Whoami(whoami::Args),
    Disconnect(disconnect::Args),
    Monitor(monitor::Args),
    Replay(replay::Args),
    Machines(machines::Args),
    Config(config::Args),
    Profile(profile::Args),
    Plugin(plugin::Args),
    Schema(schema::Args),
    Completions(completions::Args),
    Man(man::Args),
    Simulate(Box<simulate::Args>),
    Demo(demo::Args),
    #[command(hide = true)]
    DemoAgent(demo_agent::Args),
}

impl Verb {
    /// What is logged unless `RELAY_RUNNER_LOG` says otherwise.
    fn level(&self) -> &'static str {
        match self {
            Self::Run(_) | Self::Relay(_) => diagnostics::RUN_LEVEL,
            // The demonstration tells its story itself, faults that it brings about included.
            Self::Demo(_) => "error",
            _ => "warn",
        }
    }

    async fn carry_out(self) -> Done {
        match self {
            Self::Run(args) => run::run(&args).await,
            Self::Relay(args) => relay::run(&args).await,
            Self::Send(args) => send::run(&args).await,
            Self::Agents(args) => agents::run(&args).await,
            Self::Status(args) => status::run(&args).await,
            Self::Ps(args) => ps::run(&args).await,
            Self::Logs(args) => logs::run(&args).await,
            Self::Why(args) => why::run(&args).await,
            Self::Attach(args) => attach::run(&args).await,
            Self::Stop(args) => stop::run(&args).await,
            Self::Restart(args) => restart::run(&args).await,
            Self::Upgrade(args) => upgrade::run(&args).await,
            Self::Approve(args) => decide::approve(&args).await,
            Self::Deny(args) => decide::deny(&args).await,
            Self::Reply(args) => reply::run(&args).await,
            Self::React(args) => react::run(&args).await,
            Self::Read(args) => read::run(&args).await,
            Self::Obligations(args) => obligations::run(&args).await,
            Self::Hook(args) => hook::run(&args).await,
            Self::Message(args) => message::run(&args).await,
            Self::SendClaimable(args) => send_claimable::run(&args).await,
            Self::Pair(args) => pair::run(&args).await,
            Self::Label(args) => label::run(&args).await,
            Self::Tags(args) => tags::run(&args).await,
            Self::Whoami(args) => whoami::run(&args).await,
            Self::Disconnect(args) => disconnect::run(&args).await,
            Self::Monitor(args) => monitor::run(&args).await,
            Self::Replay(args) => replay::run(&args),
            Self::Machines(args) => machines::run(&args),
            Self::Config(args) => config::run(&args),
            Self::Profile(args) => profile::run(&args),
            Self::Plugin(args) => plugin::run(&args),
            Self::Schema(args) => schema::run(&args),
            Self::Completions(args) => completions::run(&args),
            Self::Man(args) => man::run(&args),
            Self::Simulate(args) => simulate::run(&args),
            Self::Demo(args) => demo::run(&args).await,
            Self::DemoAgent(args) => demo_agent::run(&args),
        }
    }
}

pub(crate) fn main() -> std::process::ExitCode {
    let arguments = by_name(std::env::args_os().collect());
    let json = wants_json(&arguments);
    let hook = hook::is_called(&arguments);
    let confined = confined::check(&arguments, given::Environment::ours());
    let ended = match Cli::try_parse_from(arguments) {
        Ok(cli) => {
            diagnostics::start(cli.verb.level(), json);
            confined.and_then(|()| on_a_runtime(cli.verb))
        }
        // A provider that calls a newer version's hooks goes on.
        Err(_) if hook => return std::process::ExitCode::SUCCESS,
        Err(error) if error.use_stderr() && json => {
            Err(Failure::usage("usage", error.render().to_string().trim_end().to_owned()))
        }
        Err(error) => {
            // Help and version go to standard output, errors to standard error. Nobody is left to tell if that fails.
            let _ = error.print();
            return std::process::ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    if hook {
        return std::process::ExitCode::SUCCESS;
    }
    let code = ended.unwrap_or_else(|failure| {
        failure.tell(json);
        failure.exit
    });
    std::process::ExitCode::from(code as u8)
}

/// The program's command line, for what is made of it.
fn command() -> clap::Command {
    Cli::command()
}

/// Called by the name of a provider's own program, it runs that provider.
fn by_name(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let provider = match arguments.first().map(Path::new).and_then(Path::file_name).and_then(OsStr::to_str) {
        Some("claude-relay") => "claude",
        Some("codex-relay") => "codex",
        Some(_) | None => return arguments,
    };
    arguments.splice(0..1, ["relay-runner", "run", provider].map(OsString::from));
    arguments
}

/// One thread: a runner waits for most of its life, and threads would only hold memory.
fn on_a_runtime(verb: Verb) -> Done {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Made when they are needed: files on a disk that hangs must not keep the journal from its own.
        .max_blocking_threads(16)
        .thread_keep_alive(Duration::from_secs(1))
        .build()
        .map_err(|e| Failure::failed("runtime", format!("cannot set up the program's event loop: {e}")))?;
    let ended = runtime.block_on(verb.carry_out());
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended
}

/// Whether errors are to be JSON: known before the command line is understood, since that may be the error.
fn wants_json(arguments: &[OsString]) -> bool {
    arguments.iter().take_while(|argument| *argument != "--").any(|argument| argument == "--json")
        || std::env::var(JSON).is_ok_and(|value| !value.is_empty() && given::boolean(&value).unwrap_or(true))
}

/// Asks for JSON as `--json` does.
const JSON: &str = "AGENT_RELAY_JSON";

/// The end of a verb that did what it was asked.
const OK: ExitCode = ExitCode::Ok;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn json_of_the_providers_own_command_line_is_not_ours() {
        let words = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
        assert!(wants_json(&words("relay-runner run dance --json")));
        assert!(!wants_json(&words("relay-runner run command -- agent --json")));
    }

    #[test]
    fn the_name_of_a_providers_program_runs_that_provider() {
        let called = |text: &str| by_name(text.split(' ').map(OsString::from).collect());
        assert_eq!(
            called("/bin/codex-relay --model m -- x"),
            ["relay-runner", "run", "codex", "--model", "m", "--", "x"]
        );
        assert_eq!(called("claude-relay"), ["relay-runner", "run", "claude"]);
        assert_eq!(called("./relay-runner ps"), ["./relay-runner", "ps"]);
        assert_eq!(called("claude-relay-x ps"), ["claude-relay-x", "ps"]);
    }
}
