//! `machines`: the core's state machines, as diagrams or as tables.

use super::JSON;
use super::failure::{Done, Failure};
use super::{OK, say};
use clap::builder::FalseyValueParser;
use relay_runner_core::machines::{self, Machine};

const AFTER_HELP: &str = "\
Examples:
  relay-runner machines                          every machine, as Mermaid for a Markdown page
  relay-runner machines claim                    one of them
  relay-runner machines claim --json | jq -r '.rows[] | \"\\(.from) \\(.event) -> \\(.to)  \\(.note)\"'

A diagram shows what leads somewhere: the event, and in brackets the condition. The tables (--json) also hold what
every state ignores, and why. What is said of a group of states holds for every state in it that says nothing else.
They are no drawings: a test drives the program's core into every state, feeds it every event, and compares.";

/// Show the state machines that decide what a runner does
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// One machine; without it, all of them
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Print the tables as JSON
    #[arg(long, env = JSON, hide_env_values = true, value_parser = FalseyValueParser::new())]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Done {
    match (&args.name, args.json) {
        (Some(name), json) => {
            let machine = find(name)?;
            if json { say::pretty_json(machine)? } else { show(machine)? }
        }
        (None, true) => say::pretty_json(&machines::ALL)?,
        (None, false) => {
            for machine in machines::ALL {
                show(machine)?;
            }
        }
    }
    Ok(OK)
}

fn find(name: &str) -> Result<&'static Machine, Failure> {
    machines::named(name).ok_or_else(|| {
        let names: Vec<_> = machines::ALL.iter().map(|machine| machine.name).collect();
        let message = format!("there is no machine `{name}`; there are: {}", names.join(", "));
        Failure::usage("unknown_machine", message)
    })
}

/// As it stands in docs/ARCHITECTURE.md.
fn show(machine: &Machine) -> Result<(), Failure> {
    say::line(format_args!("## {}\n\n{}\n\n```mermaid\n{}```\n", machine.name, machine.about, machine.mermaid()))
}
