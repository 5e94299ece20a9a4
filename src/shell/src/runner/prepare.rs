//! Before the loop: the folders, the lock, what the last run knew, and the journal.

use super::Runner;
use super::introducing::{ProfileHome, claude_plugin, profile_home, skills};
use crate::asked::Asked;
use crate::attachments::Attachments;
use crate::bodies::Bodies;
use crate::bus::{BusTarget, BusTiming};
use crate::clock::Clock;
use crate::error::StartError;
use crate::handle::Handle;
use crate::hooked::Hooked;
use crate::http::{Http, Relay};
use crate::info::InfoFile;
use crate::input::Inputs;
use crate::journal::{self, BodyOf, Journal, Opening};
use crate::lock::Lock;
use crate::monitor::Monitor;
use crate::observed::Observed;
use crate::options::{Options, ProviderSpec};
use crate::provider::Provider;
use crate::provider::claude::{self, ClaudeSpec, ClaudeWay, profiled};
use crate::provider::codex::{self, Codex, CodexSpec, Setting};
use crate::provider::command::{Command, CommandSpec};
use crate::provider::leftover::{Noted, kill_leftover, kill_rest, kill_unknown};
use crate::runner_dir::{self, Places};
use crate::secret::random_id;
use crate::tokens::Tokens;
use relay_runner_core::body::BodyRef;
use relay_runner_core::facts::ProviderFact;
use relay_runner_core::ids::provider_session;
use relay_runner_core::journal::KeptBodies;
use relay_runner_core::{Core, DurableFacts, Effects};
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::watch;

pub(super) fn prepare(mut options: Options) -> Result<(Runner, Handle), StartError> {
    let clock = Clock::start();
    let (ProviderSpec::Command(CommandSpec { argv, .. })
    | ProviderSpec::Codex(CodexSpec { argv, .. })
    | ProviderSpec::Claude(ClaudeSpec { argv, .. })) = &options.provider;
    if argv.is_empty() {
        return Err(StartError::NoCommand);
    }
    let state_dir = std::path::absolute(&options.state_dir).map_err(state_dir_error("find", &options.state_dir))?;
    runner_dir::make_private(&state_dir).map_err(state_dir_error("make", &state_dir))?;
    let lock = Lock::take(&state_dir)?;

    options.first_prompt = options.first_prompt.map(|p| p.trim().to_owned()).filter(|p| !p.is_empty());
    options.config.first_prompt = options.first_prompt.as_deref().map(BodyRef::of);
    options.config.adapter = options.provider.adapter();
    options.config.launch = options.launch();
    let identity = &options.config.identity;
    let agent_id = identity.agent_id.clone();
    let runner_dir = runner_folder(&options, &agent_id, &state_dir)?;
    if let ProviderSpec::Claude(ClaudeSpec { way: ClaudeWay::Terminal, .. }) = &options.provider {
        let socket = runner_dir.join(runner_dir::TMUX_SOCKET);
        options.config.identity.tmux_session = Some(claude::SESSION.into());
        options.config.identity.tmux_socket = Some(socket.to_string_lossy().into());
    }
    let profile_home = profile_home(&options, &state_dir)?;
    if matches!(options.provider, ProviderSpec::Claude(_)) {
        let written = profiled::write(options.profile.as_ref(), &runner_dir);
        written.map_err(|e| StartError::RunnerDir { why: format!("the profile cannot be written there: {e}") })?;
    }
    let (tokens, record) =
        Tokens::begin(&state_dir, options.token.take(), options.config.credential.take(), clock.stamp().wall);
    options.config.credential = record;
    let relay = Relay::new(&options.relay, tokens.current(), agent_id.clone())?;

    let folder = journal::folder(&state_dir);
    let mut facts = facts(&folder, &agent_id, options.fresh)?;
    if options.bodies == KeptBodies::None {
        facts.forget_digests();
        options.config.first_prompt = options.config.first_prompt.map(BodyRef::without_digest);
    }
    clean_up(&facts, &options, &state_dir, &runner_dir);
    let at = clock.stamp();
    let (program, bodies) = (&options.program, options.bodies);
    let opening = Opening { folder, program, config: &options.config, facts: &facts, at, bodies };
    let mut journal = Journal::open(opening).map_err(StartError::NoJournal)?;
    if let Some(prompt) = &options.first_prompt {
        journal.keep_body(BodyOf::FirstPrompt(true), prompt);
    }
    let core = Core::new(options.config.clone(), facts, at);

    let observed = Observed::new(at, core.glance(), options.config.identity.started_at);
    let (inputs, waiting) = Inputs::channel();
    let hooked = Hooked::new();
    let (monitor, monitor_words) = Monitor::new(options.provider.is_monitored());
    let states = Arc::new(watch::channel(Arc::from("")).0);
    let handle = Handle {
        inputs: inputs.clone(),
        states: Arc::clone(&states),
        journal: journal.path().to_owned(),
        runner_dir: runner_dir.clone(),
    };
    let bus_target = BusTarget {
        relay: options.relay.clone(),
        token: tokens.current().cloned(),
        agent_id,
        timing: BusTiming::default(),
    };
    let runner = Runner {
        clock,
        core,
        fx: Effects::new(),
        journal,
        waiting,
        own: VecDeque::new(),
        bodies: Bodies::default(),
        attachments: Attachments::new(&state_dir),
        observed,
        tokens,
        token_file: None,
        bus_target,
        bus: None,
        farewell: None,
        http: Http::new(relay, inputs.clone()),
        provider: provider(&options, &profile_home, [&runner_dir, &state_dir], &inputs, (&monitor, &hooked)),
        monitor,
        hooked,
        monitor_words: Some(monitor_words),
        monitoring: None,
        fetches: BTreeMap::new(),
        control: None,
        info: InfoFile::new(&runner_dir, options.info_file.as_deref()),
        requests: BTreeMap::new(),
        asked: Asked::default(),
        last_request: 0,
        states,
        _lock: lock,
        options,
        runner_dir,
        profile_home,
        state_dir,
        inputs,
    };
    Ok((runner, handle))
}

/// What the last run left and this one does not take up goes, before anything new is started: also where nothing else is
/// known of that run, as with `--fresh`.
fn clean_up(facts: &DurableFacts, options: &Options, state_dir: &Path, runner_dir: &Path) {
    let config = &options.config;
    if facts.adoptable(config).is_some() {
        return;
    }
    let known = facts.provider.as_ref().and_then(|ProviderFact { generation, process, launch }| match process {
        Some(process) => {
            let killed = kill_leftover(process, runner_dir);
            if killed && config.adapter.adoptable && *launch != config.launch {
                tracing::warn!(
                    "the provider that still ran was started with another command, folder, relay or approval mode; it is \
                     replaced"
                );
            }
            killed.then_some(process.pid)
        }
        None => kill_unknown(&provider_session(&facts.run_id, *generation), runner_dir),
    });
    // A child of any command may leave its group to survive; with codex and Claude Code, every command does.
    let has_sessions = matches!(options.provider, ProviderSpec::Codex(_) | ProviderSpec::Claude(_));
    // A tmux server that an earlier run of this agent had, as another provider, keeps a terminal whose program is dead.
    if (has_sessions || runner_dir.join(runner_dir::TMUX_SOCKET).exists())
        && let Some(ProviderFact { generation, .. }) = &facts.provider
    {
        kill_rest(&provider_session(&facts.run_id, *generation), runner_dir);
    }
    let noted = Noted::read(state_dir);
    let noted = noted.and_then(|noted| kill_leftover(&noted.process, &noted.runner_dir).then_some(noted.process.pid));
    for pid in known.into_iter().chain(noted) {
        tracing::warn!("the provider of the last run (process {pid}) had left processes; they were killed");
    }
}

fn provider(
    options: &Options,
    home: &ProfileHome,
    [runner_dir, state_dir]: [&Path; 2],
    inputs: &Inputs,
    (monitor, hooked): (&Monitor, &Hooked),
) -> Box<dyn Provider> {
    let (runner_dir, state_dir) = (runner_dir.to_owned(), state_dir.to_owned());
    match &options.provider {
        ProviderSpec::Codex(spec) => {
            let home =
                home.as_ref().map(|(_, dir)| dir.clone().into_os_string()).or_else(|| std::env::var_os(codex::HOME));
            let (identity, cwd) = (&options.config.identity, options.cwd.clone());
            let skills = skills(options, home.as_deref().map(Path::new), &runner_dir);
            let setting = Setting::new(spec.clone(), identity, cwd, home, [runner_dir, state_dir]).with_skills(skills);
            Box::new(Codex::new(setting, inputs.clone()))
        }
        ProviderSpec::Claude(spec) => {
            let home =
                home.as_ref().map(|(_, dir)| dir.clone()).or_else(|| std::env::var_os(claude::HOME).map(PathBuf::from));
            let plugin = claude_plugin(options, home.as_deref(), &runner_dir);
            let identity = &options.config.identity;
            let setting = claude::Setting {
                spec: spec.clone(),
                model: identity.model.as_deref().map(str::to_owned),
                effort: identity.effort.as_deref().map(str::to_owned),
                approval: identity.approval,
                profile: options.profile.clone(),
                home,
                runner_dir,
                state_dir,
                plugin,
                ready_within: claude::READY_WITHIN,
            };
            claude::provider(setting, inputs.clone(), monitor.clone(), hooked.clone())
        }
        ProviderSpec::Command(spec) => {
            Box::new(Command::new(spec.clone(), runner_dir, state_dir, inputs.clone(), monitor.clone()))
        }
    }
}

fn runner_folder(options: &Options, agent_id: &str, state_dir: &Path) -> Result<PathBuf, StartError> {
    if let Some(dir) = &options.runner_dir {
        let dir = std::path::absolute(dir).map_err(state_dir_error("find", dir))?;
        runner_dir::make_private(&dir).map_err(|e| StartError::RunnerDir { why: format!("{}: {e}", dir.display()) })?;
        return Ok(dir);
    }
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_dir());
    let temporary = std::env::temp_dir();
    runner_dir::prepare(&Places { agent_id, state_dir, runtime: runtime.as_deref(), temporary: &temporary })
}

fn facts(folder: &Path, agent: &str, fresh: bool) -> Result<DurableFacts, StartError> {
    if fresh {
        if let Some(aside) = journal::move_aside(folder)? {
            tracing::info!("the old journal is now {}", aside.display());
        }
    } else if journal::is_broken(folder)? {
        tracing::warn!("the last run could not write its journal to the end; what it knew is not taken up");
        journal::move_aside(folder)?;
    } else if let Some(facts) = journal::last_facts(folder, agent)? {
        return Ok(facts);
    }
    Ok(DurableFacts::new(random_id()?.into(), random_id()?.into()))
}

fn state_dir_error(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> StartError + use<> {
    let path = path.to_owned();
    move |source| StartError::StateDir { doing, path, source }
}
