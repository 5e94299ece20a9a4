//! `plugin`: what a provider's own program is given to work with a runner, put into a home of it and taken away again.

use super::failure::{Done, Failure};
use super::given::Environment;
use super::profiles::Chosen;
use super::{JSON, OK, places, say};
use clap::builder::FalseyValueParser;
use relay_runner_shell::plugin::{self, Action, How, PluginError, What};
use relay_runner_shell::profile::Provider;
use relay_runner_shell::profile::home::{self, Host};
use serde_json::json;
use std::path::{Path, PathBuf};

const AFTER_HELP: &str = "\
Examples:
  relay-runner plugin list                                what there is, and what of it the user's own homes have
  relay-runner plugin install codex --user --dry-run      what would be written into CODEX_HOME, or ~/.codex
  relay-runner plugin install codex --user
  relay-runner plugin install codex --home /srv/codex     into another home of codex
  relay-runner plugin install codex --profile reviewer    into the homes that runs with this profile have
  relay-runner plugin uninstall codex --user
  relay-runner plugin install claude --user               the skills, into CLAUDE_CONFIG_DIR, or ~/.claude

`run codex` and `run claude` give their agents the skills without any of this. In a home of its own, which a profile gives
codex, they are there by themselves; in the user's own home, which nothing writes to unless it is told to, `install codex
--user` puts also the rules that let codex's sandbox through to the runner. Claude Code has its hooks and its monitor from
each run, in whatever home: only the skills can be installed, for those that are started without a runner, and no run lists
them twice. A second `install` changes nothing; a newer program brings up to date what an older one
wrote; files that somebody changed are kept and named, unless --force is given.";

/// Whose there are, in words.
const PLUGINS: &str = "codex and claude";

/// Put the skills of a provider into a home of it, or take them away
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List the plugins, their files, and where they are installed
    List(List),
    /// Put a plugin into a home of the provider
    Install(Put),
    /// Take away what install put there, and nothing else
    Uninstall(Put),
}

#[derive(Debug, clap::Args)]
struct List {
    /// Only of this provider: codex or claude
    #[arg(value_name = "PROVIDER")]
    provider: Option<String>,
    /// Answer as JSON
    #[arg(long, env = JSON, hide_env_values = true, value_parser = FalseyValueParser::new())]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct Put {
    /// codex or claude
    #[arg(value_name = "PROVIDER")]
    provider: String,
    #[command(flatten)]
    place: Place,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    /// Write over, or remove, also what somebody changed
    #[arg(long)]
    force: bool,
    /// Answer as JSON
    #[arg(long, env = JSON, hide_env_values = true, value_parser = FalseyValueParser::new())]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[group(multiple = false)]
struct Place {
    /// The user's own home of the provider: CODEX_HOME, else ~/.codex; CLAUDE_CONFIG_DIR, else ~/.claude
    #[arg(long)]
    user: bool,
    /// A home of the provider
    #[arg(long, value_name = "FOLDER")]
    home: Option<PathBuf>,
    /// The homes that runs with this profile made
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
}

pub(crate) fn run(args: &Args) -> Done {
    let env = Environment::ours();
    match &args.verb {
        Verb::List(asked) => list(asked, env)?,
        Verb::Install(asked) => {
            let program = program()?;
            put(asked, env, |dir, provider, how| plugin::install(dir, provider, &program, how))?;
        }
        Verb::Uninstall(asked) => put(asked, env, |dir, _, how| plugin::uninstall(dir, how))?,
    }
    Ok(OK)
}

fn program() -> Result<PathBuf, Failure> {
    std::env::current_exe()
        .map_err(|e| Failure::failed("program", format!("the path of this program cannot be found: {e}")))
}

/// A provider that there is a plugin for.
fn provider(name: &str) -> Result<Provider, Failure> {
    let known = Provider::named(name).ok_or_else(|| {
        Failure::usage(
            "unknown_provider",
            format!("`{}` is not a provider; there is a plugin for {PLUGINS}", say::plain(name)),
        )
    })?;
    if plugin::files(known, Path::new("")).is_empty() {
        let why = format!("there is no plugin for {name} in this version, only for {PLUGINS}");
        return Err(Failure::usage("no_plugin", why));
    }
    Ok(known)
}

fn host(env: Environment<'_>) -> Host {
    Host::of(|name| env.raw(name).map(PathBuf::from))
}

/// The folders that are meant, by what was said.
fn homes(place: &Place, provider: Provider, env: Environment<'_>) -> Result<Vec<PathBuf>, Failure> {
    let name = provider.name();
    if let Some(dir) = &place.home {
        return Ok(vec![std::path::absolute(dir).unwrap_or_else(|_| dir.clone())]);
    }
    if let Some(profile) = &place.profile {
        return of_profile(profile, provider, env);
    }
    if place.user {
        let own = host(env).folder(provider).cloned();
        let variable = home::variable(provider).unwrap_or_default();
        let why =
            || Failure::usage("plugin_home", format!("neither HOME nor {variable} is set; set one, or give --home"));
        return own.map(|home| vec![home]).ok_or_else(why);
    }
    Err(Failure::usage(
        "plugin_place",
        format!(
            "say where: --user for the user's own home of {name} (every {name} of the user sees it), --profile NAME for the \
             homes of a profile, or --home FOLDER. `run {name}` gives its agent the skills without any of them"
        ),
    ))
}

/// The homes that runs with this profile made, of whatever agent.
fn of_profile(name: &str, provider: Provider, env: Environment<'_>) -> Result<Vec<PathBuf>, Failure> {
    let chosen = Chosen::named(name, env)?;
    chosen.applied(provider.name())?;
    let refused = |why: &str| Failure::usage("plugin_profile", format!("profile {}: {why}", say::plain(&chosen.name)));
    match &chosen.document {
        None => return Err(refused("it is an entry of the older file, and has no home; use --user or --home")),
        Some(document) if document.host_globals() => {
            return Err(refused(
                "its runs use the user's own home: use --user, or set instructions.globalInstructions to false",
            ));
        }
        Some(document) if !document.relay.skills => {
            return Err(refused("it leaves the skills out, and the next run would too: set relay.skills to true"));
        }
        Some(_) if provider == Provider::Claude => {
            return Err(refused(
                "its runs have the plugin by themselves, and not in the home: there is nothing to install",
            ));
        }
        Some(_) => {}
    }
    let agents = places::state_home(env)?;
    let mut homes: Vec<PathBuf> = match std::fs::read_dir(&agents) {
        Ok(entries) => entries.flatten().map(|entry| home::of_agent(&entry.path(), provider)).collect(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            return Err(Failure::usage("state_dir", format!("{} cannot be listed: {error}", agents.display())));
        }
    };
    homes.retain(|home| home::profile_of(home).is_some_and(|of| of == chosen.name));
    homes.sort();
    Ok(homes)
}

fn put(
    asked: &Put,
    env: Environment<'_>,
    act: impl Fn(&Path, Provider, How) -> Result<Vec<Action>, PluginError>,
) -> Result<(), Failure> {
    let provider = provider(&asked.provider)?;
    let homes = homes(&asked.place, provider, env)?;
    let how = How { force: asked.force, dry_run: asked.dry_run };
    let mut done = Vec::new();
    for home in &homes {
        done.push((home, act(home, provider, how)?));
    }
    if asked.json {
        let homes: Vec<_> = done.iter().map(|(home, actions)| json!({"home": home, "actions": actions})).collect();
        return say::pretty_json(&json!({"provider": provider.name(), "dryRun": asked.dry_run, "homes": homes}));
    }
    if let (true, Some(profile)) = (homes.is_empty(), &asked.place.profile) {
        return say::line(format_args!(
            "nothing to do: no run of {} with the profile {} was here yet; its home has the skills when it is made",
            provider.name(),
            say::plain(profile)
        ));
    }
    for (home, actions) in done {
        show(home, &actions, asked.dry_run)?;
    }
    Ok(())
}

fn show(home: &Path, actions: &[Action], dry_run: bool) -> Result<(), Failure> {
    let place = say::plain(&home.to_string_lossy());
    if actions.is_empty() {
        return say::line(format_args!("{place}: nothing to do"));
    }
    say::line(format_args!("{place}:{}", if dry_run { " (nothing is written or removed: --dry-run)" } else { "" }))?;
    for Action { what, path, why } in actions {
        let word = match what {
            What::Write => "write",
            What::Replace => "replace",
            What::Remove => "remove",
            What::Keep => "keep",
        };
        let why = why.map(|why| format!("  ({why})")).unwrap_or_default();
        say::line(format_args!("  {word:<8}{}{why}", say::plain(path)))?;
    }
    Ok(())
}

fn list(asked: &List, env: Environment<'_>) -> Result<(), Failure> {
    let providers = match &asked.provider {
        Some(name) => vec![provider(name)?],
        None => vec![Provider::Codex, Provider::Claude],
    };
    let (program, host) = (program()?, host(env));
    let mut listed = Vec::new();
    for provider in providers {
        let files = plugin::files(provider, &program);
        let home = host.folder(provider);
        // Nothing to do there: all of it stands.
        let looked = home.map(|home| {
            let left = plugin::install(home, provider, &program, How { force: false, dry_run: true });
            match left {
                Ok(left) if left.is_empty() => "installed",
                Ok(left) if left.len() == files.len() && left.iter().all(|action| action.what == What::Write) => {
                    "not installed"
                }
                Ok(_) => "in part, or of another version",
                Err(PluginError::NoHome { .. }) => "no such folder",
                Err(_) => "cannot be looked at",
            }
        });
        if asked.json {
            let names: Vec<&str> = files.iter().map(|file| file.path).collect();
            listed.push(json!({"provider": provider.name(), "files": names, "userHome": home, "userState": looked}));
            continue;
        }
        say::line(format_args!("{}", provider.name()))?;
        for file in &files {
            say::line(format_args!("  {}", file.path))?;
        }
        if let (Some(home), Some(state)) = (home, looked) {
            say::line(format_args!("  {}: {state}", say::plain(&home.to_string_lossy())))?;
        }
    }
    if asked.json { say::pretty_json(&listed) } else { Ok(()) }
}

impl From<PluginError> for Failure {
    fn from(error: PluginError) -> Self {
        let code = match &error {
            PluginError::NoHome { .. } => "plugin_home",
            PluginError::Link { .. } => "plugin_link",
            PluginError::Manifest { .. } => "plugin_manifest",
            PluginError::Io { .. } => "plugin_io",
        };
        Self::usage(code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Cli;
    use super::*;
    use clap::{CommandFactory, Parser};

    /// As a shell would, of what the skills use: words, and quotes around several.
    fn words(line: &str) -> Vec<String> {
        let parts = line.split('"').enumerate();
        parts
            .flat_map(|(n, part)| match n % 2 {
                0 => part.split_whitespace().map(str::to_owned).collect::<Vec<_>>(),
                _ => vec![part.to_owned()],
            })
            .collect()
    }

    /// The command lines of the files, in blocks and within sentences.
    fn shown() -> Vec<String> {
        let texts = plugin::files(Provider::Codex, Path::new("/p")).into_iter().map(|file| file.text);
        let of = |text: String| {
            let blocks = text.split("```sh\n").skip(1).filter_map(|rest| Some(rest.split_once("```")?.0.to_owned()));
            let lines: Vec<String> = blocks.flat_map(|b| b.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
            let spans = text.split('`').skip(1).step_by(2).filter(|span| span.starts_with("relay-runner "));
            lines.into_iter().chain(spans.map(str::to_owned)).collect::<Vec<_>>()
        };
        texts.flat_map(|text| of(text.into_owned())).collect()
    }

    #[test]
    fn what_the_skills_show_is_what_the_program_knows_and_the_rules_let_through() {
        let rules = plugin::files(Provider::Codex, Path::new("/p")).pop().unwrap().text.into_owned();
        let (shown, mut whole) = (shown(), 0);
        assert!(shown.len() > 40, "{shown:?}");
        for line in &shown {
            let words = words(line);
            let verb = &words[1];
            assert!(Cli::command().find_subcommand(verb).is_some(), "{line}");
            assert!(rules.contains(&format!("\"{verb}\"")), "{line}: the sandbox would keep it");
            // Within a sentence a verb may stand alone.
            if words.len() > 2
                || !line.is_empty() && ["whoami", "agents", "tags", "label", "status"].contains(&verb.as_str())
            {
                let parsed = Cli::try_parse_from(&words);
                assert!(parsed.is_ok(), "{line}: {:?}", parsed.err());
                whole += 1;
            }
        }
        assert!(whole > 35, "{whole}");
        // What the rules let through is the agent's, and nothing that starts or stops what is not its own.
        for verb in ["run", "relay", "send", "stop", "plugin", "hook", "monitor", "upgrade", "restart", "approve"] {
            assert!(
                Cli::command().find_subcommand(verb).is_some() && !rules.contains(&format!("\"{verb}\"")),
                "{verb}"
            );
        }
    }
}
