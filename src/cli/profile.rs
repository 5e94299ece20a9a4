//! `profile`: agent profiles listed, checked, and shown as a provider would get them.

use super::failure::{Done, Failure};
use super::given::Environment;
use super::profiles::{self, Chosen};
use super::{JSON, OK, say};
use clap::builder::FalseyValueParser;
use relay_runner_shell::profile::home::{self, Host};
use relay_runner_shell::profile::{self, Projected, Provider};
use serde_json::json;
use std::path::PathBuf;

const AFTER_HELP: &str = "\
Examples:
  relay-runner profile list
  relay-runner profile check ./reviewer.json
  relay-runner profile show reviewer --for codex              what of it reaches codex, and how
  relay-runner profile show reviewer --for claude --home /tmp/h   makes the home that claude would have, to look at
  relay-runner profile schema > profile.schema.json           for an editor

Profiles are NAME.json (or NAME.toml) in $XDG_CONFIG_HOME/relay-runner/profiles, and the entries of the older
~/.config/agent-relay/profiles.json (AGENT_RELAY_PROFILES_FILE). `run --profile NAME` uses one. docs/profiles.md has it all.";

/// Agent profiles: list, check, show
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List the profiles that there are
    List(List),
    /// Look for faults in a profile and its bases
    Check(Check),
    /// Show what of a profile reaches a provider
    Show(Show),
    /// Print the JSON Schema of a profile
    Schema,
}

#[derive(Debug, clap::Args)]
struct List {
    /// Answer as JSON
    #[arg(long, env = JSON, hide_env_values = true, value_parser = FalseyValueParser::new())]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Check {
    /// A document; a word without a slash that is no file here is the name of a profile
    #[arg(value_name = "FILE")]
    file: String,
    /// Answer as JSON
    #[arg(long, env = JSON, hide_env_values = true, value_parser = FalseyValueParser::new())]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Show {
    /// A name, or the path of a document
    #[arg(value_name = "NAME")]
    name: String,
    /// claude, codex, acp or command
    #[arg(long = "for", value_name = "PROVIDER")]
    provider: String,
    /// Make the provider's home in this folder, to look at; credentials in it are links
    #[arg(long, value_name = "FOLDER")]
    home: Option<PathBuf>,
    /// Answer as JSON
    #[arg(long, env = JSON, hide_env_values = true, value_parser = FalseyValueParser::new())]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Done {
    let env = Environment::ours();
    match &args.verb {
        Verb::List(asked) => list(asked, env)?,
        Verb::Check(asked) => check(asked, env)?,
        Verb::Show(asked) => show(asked, env)?,
        Verb::Schema => say::line(profile::SCHEMA.trim_end())?,
    }
    Ok(OK)
}

fn list(asked: &List, env: Environment<'_>) -> Result<(), Failure> {
    let mut listed = Vec::new();
    let names = profiles::names(env)?;
    if let (true, Some(folder)) = (names.is_empty(), profiles::folder(env)) {
        say::aside(format_args!("there are no profiles yet; put one into {} as NAME.json", folder.display()));
    }
    for name in names {
        let found = Chosen::named(&name, env);
        if asked.json {
            listed.push(match &found {
                Ok(chosen) => json!({
                    "name": name, "files": chosen.files(), "provider": chosen.document.as_ref().map(|d| d.provider.name()),
                    "base": chosen.document.as_ref().and_then(|d| d.base.as_deref()), "error": null,
                }),
                Err(failure) => json!({"name": name, "error": failure.error.as_ref().map(ToString::to_string)}),
            });
            continue;
        }
        match found {
            Ok(chosen) => {
                let files: Vec<String> = chosen.files().iter().map(|path| path.display().to_string()).collect();
                say::line(format_args!("{}  {}", say::plain(&name), files.join(", ")))?;
            }
            Err(failure) => {
                let why = failure.error.as_ref().map(ToString::to_string).unwrap_or_default();
                say::line(format_args!("{}  cannot be used: {}", say::plain(&name), say::plain(&why)))?;
            }
        }
    }
    if asked.json { say::json(&listed) } else { Ok(()) }
}

fn check(asked: &Check, env: Environment<'_>) -> Result<(), Failure> {
    let is_file = std::path::Path::new(&asked.file).is_file();
    let name = if is_file && !asked.file.contains('/') { format!("./{}", asked.file) } else { asked.file.clone() };
    let chosen = Chosen::named(&name, env)?;
    if asked.json {
        return say::json(&json!({"name": chosen.name, "chain": chosen.chain, "files": chosen.files()}));
    }
    let made = if chosen.chain.len() > 1 {
        format!(", made from {}", chosen.chain[1..].join(", then "))
    } else {
        String::new()
    };
    say::line(format_args!("profile {} is in order{made}", say::plain(&chosen.name)))
}

fn show(asked: &Show, env: Environment<'_>) -> Result<(), Failure> {
    let provider = Provider::named(&asked.provider).ok_or_else(|| {
        let why = format!("--for: `{}` is not known; known are claude, codex, acp and command", asked.provider);
        Failure::usage("unknown_provider", why)
    })?;
    let chosen = Chosen::named(&asked.name, env)?;
    // Fails where it is for another provider, as a run does.
    let applied = chosen.applied(&asked.provider)?;
    let Some(document) = &chosen.document else { return legacy(asked, &chosen) };
    let home = match &asked.home {
        None => None,
        Some(dir) => {
            let host = Host::of(|name| env.raw(name).map(PathBuf::from));
            let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.clone());
            home::make(&dir, document, provider, &host)
                .map_err(|e| Failure::usage("profile_home", format!("the home cannot be made: {e}")))?;
            Some(dir)
        }
    };
    if asked.json {
        let applied: serde_json::Value = applied.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        return say::pretty_json(&json!({
            "for": asked.provider, "chain": chosen.chain, "files": chosen.files(), "profile": applied, "home": home,
        }));
    }
    let base = document.base.as_ref().map(|base| format!(", on {}", say::plain(base))).unwrap_or_default();
    say::line(format_args!("{}{base}, for {}", say::plain(&chosen.name), asked.provider))?;
    for projected in profile::projection(document, provider) {
        let Projected { feature, state, how, reason } = projected;
        let words: Vec<String> = how.into_iter().chain(reason).collect();
        say::line(format_args!("  {feature:<32} {:<12} {}", state.as_str(), words.join("; ")))?;
    }
    home.map_or(Ok(()), |dir| say::line(format_args!("  its home is {}", dir.display())))
}

/// The older file has nothing that a provider would get.
fn legacy(asked: &Show, chosen: &Chosen) -> Result<(), Failure> {
    if asked.home.is_some() {
        let why = format!("{} has no document, only an entry of the older file: there is no home to make", chosen.name);
        return Err(Failure::usage("profile_home", why));
    }
    if asked.json {
        return say::pretty_json(&json!({
            "for": asked.provider, "chain": [], "files": chosen.files(), "profile": null, "home": null,
        }));
    }
    let why = "an entry of the older file: it changes what is registered, and nothing of the provider";
    say::line(format_args!("{}, for {}\n  {why}", say::plain(&chosen.name), asked.provider))
}
