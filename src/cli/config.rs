//! `config`: the configuration file printed, checked, and shown as it is in force.

use super::config_file::{self, File};
use super::config_keys as keys;
use super::config_shown;
use super::failure::{Done, Failure, in_words};
use super::given::{Environment, Given};
use super::profiles::Chosen;
use super::run_args::Options;
use super::{JSON, OK, core_settings, identity, say};
use clap::builder::FalseyValueParser;
use relay_runner_core::Config;
use relay_runner_core::config::{Adapter, Identity};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const AFTER_HELP: &str = "\
Examples:
  relay-runner config default > ~/.config/relay-runner/config.toml   every key with its default, to be changed
  relay-runner config check                                          every fault at once, with its line
  relay-runner config show --origin --agent a1                       what a run of a1 would get, and from where
  relay-runner config show --drain-timeout 5s --json                 the same flags as `run`

The order is: built-in < file < profile < the file's [agents.NAME] < AGENT_RELAY_* < command line.
`kill -HUP` has a headless run read it again.";

/// The configuration file: print, check, show
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Print a file with every key, its default, unit and meaning
    Default,
    /// Look for faults; all are told at once, and end it with 2
    Check(Check),
    /// Show the values in force
    Show(Box<Show>),
    /// Print where the file lies
    Path(Place),
}

#[derive(Debug, clap::Args)]
struct Check {
    /// Instead of the one that a run would read
    #[arg(value_name = "FILE")]
    file: Option<String>,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
struct Place {
    /// The configuration file [env: AGENT_RELAY_CONFIG] [default: $XDG_CONFIG_HOME/relay-runner/config.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<String>,
    /// Answer as JSON
    #[arg(long, env = JSON, hide_env_values = true, value_parser = FalseyValueParser::new())]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Show {
    /// Say where each value comes from
    #[arg(long)]
    origin: bool,
    #[command(flatten)]
    options: Options,
    /// Print all of it as JSON, with its origin
    #[arg(long, env = JSON, hide_env_values = true, value_parser = FalseyValueParser::new())]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Done {
    let env = Environment::ours();
    match &args.verb {
        Verb::Default => say::line(config_shown::default_file().trim_end())?,
        Verb::Check(asked) => check(asked, env)?,
        Verb::Show(asked) => show(asked, env)?,
        Verb::Path(asked) => place(asked, env)?,
    }
    Ok(OK)
}

fn nowhere() -> Failure {
    Failure::usage(
        "configuration",
        "there is no place for a configuration: neither XDG_CONFIG_HOME nor HOME is set; set one, or give --config",
    )
}

fn place(asked: &Place, env: Environment<'_>) -> Result<(), Failure> {
    let (path, _) = config_file::place(asked.config.as_deref(), env).ok_or_else(nowhere)?;
    let path = std::path::absolute(&path).unwrap_or(path);
    if asked.json { say::json(&json!({"path": path, "exists": path.is_file()})) } else { say::line(path.display()) }
}

fn check(asked: &Check, env: Environment<'_>) -> Result<(), Failure> {
    let flag = asked.file.as_deref().or(asked.place.config.as_deref());
    let file = File::find(flag, env)?;
    let path = file.path.clone().ok_or_else(nowhere)?;
    let agents: Vec<String> = file.agents.keys().cloned().collect();
    let set = file.values.len() + file.agents.values().map(std::collections::BTreeMap::len).sum::<usize>();
    let is_there = file.is_there;
    let faults = faults(&Arc::new(file), env);
    if !faults.is_empty() {
        return Err(Failure::usage("configuration", faults.join("\n")));
    }
    if asked.place.json {
        return say::json(&json!({"path": path, "exists": is_there, "keys": set, "agents": agents}));
    }
    let path = path.display();
    if !is_there {
        return say::line(format_args!("{path} is not there: every value is the one that is built in"));
    }
    let keys = if set == 1 { "1 key is set".to_owned() } else { format!("{set} keys are set") };
    let tables = if agents.is_empty() { String::new() } else { format!("; tables of {}", agents.join(", ")) };
    say::line(format_args!("{path} is in order: {keys}{tables}"))
}

/// What no line shows by itself: paths that lead nowhere, rules that contradict each other; for everybody and for each agent
/// that has a table. Without variables: it is the file that is looked at.
fn faults(file: &Arc<File>, env: Environment<'_>) -> Vec<String> {
    let mut faults = Vec::new();
    let mut told = |failure: Failure| {
        let text = failure.error.as_ref().map(in_words).unwrap_or_default();
        if !faults.contains(&text) {
            faults.push(text);
        }
    };
    for agent in std::iter::once(None).chain(file.agents.keys().map(Some)) {
        let agent = agent.map(|agent| Arc::from(agent.as_str()));
        let given =
            Given { agent, ..Given::new(Environment::none(), std::collections::BTreeMap::new(), Arc::clone(file)) };
        let mut config = Config::new(Identity::default(), Adapter::default(), 0);
        if let Err(failure) = core_settings::read(&mut config, &given) {
            told(failure);
        }
        for entry in keys::all() {
            // Nothing but a broken variable could fail, and there are none.
            let Ok(Some((path, source))) = given.text(entry.key) else { continue };
            let is = match entry.kind {
                keys::Kind::Path(keys::Must::BeFolder) if !Path::new(&path).is_dir() => "folder",
                keys::Kind::Path(keys::Must::BeFile) if !Path::new(&path).is_file() => "file",
                _ => continue,
            };
            told(super::given::wrong(&source, &format!("there is no {is} {path}")));
        }
        if let Ok(Some((name, source))) = given.text(keys::PROFILE)
            && let Err(failure) = Chosen::named(&name, env)
        {
            told(super::given::wrong(&source, &failure.error.as_ref().map(in_words).unwrap_or_default()));
        }
    }
    faults
}

fn show(asked: &Show, env: Environment<'_>) -> Result<(), Failure> {
    let file = Arc::new(File::find(asked.options.relay.config.as_deref(), env)?);
    let mut given = Given::new(env, asked.options.flags(), file);
    let named = given.text(keys::AGENT_ID)?;
    if let Some((id, source)) = named {
        if let Some(why) = identity::id_fault(&id) {
            return Err(super::given::wrong(&source, &why));
        }
        given.agent = Some(id.into());
    }
    let profile = Chosen::find(&given)?;
    given.profile = Arc::new(profile.as_ref().map(Chosen::layer).unwrap_or_default());
    // What a run would refuse is refused here as well.
    core_settings::read(&mut Config::new(Identity::default(), Adapter::default(), 0), &given)?;
    let values = config_shown::in_force(&given)?;
    if asked.json {
        let path: Option<&PathBuf> = given.file.path.as_ref();
        return say::pretty_json(&json!({
            "file": path, "exists": given.file.is_there, "agent": given.agent, "values": values,
        }));
    }
    if given.agent.is_none() && !given.file.agents.is_empty() {
        let agents: Vec<&str> = given.file.agents.keys().map(String::as_str).collect();
        say::aside(format_args!("no agent is named, so no table of one counts (--agent {})", agents.join(", ")));
    }
    values.iter().try_for_each(|value| say::line(value.line(asked.origin)))
}
