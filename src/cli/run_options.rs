//! What a run is given (behaviour 1): command line, environment, profile and configuration, checked before anything starts.

use super::config_file::File;
use super::config_keys as keys;
use super::failure::Failure;
use super::given::{Environment, Given, Source, key, word, wrong};
use super::profiles::Chosen;
use super::run_args::{Args, FRESH, HEADLESS, INTERACTIVE};
use super::{books, core_settings, identity, places, program, reload};
use relay_runner_core::config::{Adapter, Mode};
use relay_runner_core::journal::KeptBodies;
use relay_runner_core::{Config, Text, TokenRecord};
use relay_runner_shell::profile::Profile;
use relay_runner_shell::{
    ClaudeSpec, ClaudeWay, CodexSpec, CommandSpec, EnvironmentPolicy, Inherit, Options, Program, ProviderSpec,
    RelayUrl, SettingsSource,
};
use secrecy::SecretString;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Whether messages go through the monitor.
const OFFERS: [(&str, bool); 2] = [("stdin", false), ("monitor", true)];

/// How long a person may take until a provider in their terminal has begun its session, in milliseconds.
const ANSWERED_WITHIN: u64 = 24 * 60 * 60 * 1_000;

/// Which provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Claude,
    Codex,
    Command,
    Demo,
}

impl Kind {
    fn parse(name: &str) -> Result<Self, Failure> {
        match name {
            "claude" => Ok(Self::Claude),
            "codex" => Ok(Self::Codex),
            "command" => Ok(Self::Command),
            "demo" => Ok(Self::Demo),
            "acp" => Err(Failure::usage(
                "provider_not_there_yet",
                format!(
                    "the provider `{name}` is not there yet in this version; until then `relay-runner run command -- COMMAND` \
                     runs any program that speaks the JSON lines of docs/command-provider.md, and can drive {name} for you"
                ),
            )),
            _ => Err(Failure::usage(
                "unknown_provider",
                format!(
                    "PROVIDER on the command line: `{name}` is not known; known are claude, codex, acp, command and demo"
                ),
            )),
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Claude => "claude",
            Self::Codex => "codex",
            Self::Command => "command",
            Self::Demo => "demo",
        }
    }
}

/// What was asked for, checked. The relay may still have to be found.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) relay: Option<RelayUrl>,
    pub(crate) token: Option<SecretString>,
    token_file: Option<PathBuf>,
    pub(crate) state_dir: PathBuf,
    /// The state folder is the one that agents of this machine have unless told otherwise.
    pub(crate) usual_state: bool,
    provider: ProviderSpec,
    config: Config,
    environment: EnvironmentPolicy,
    cwd: PathBuf,
    prompt: Option<String>,
    info_file: Option<PathBuf>,
    bodies: KeptBodies,
    fresh: bool,
    profile: Option<Profile>,
    settings: Option<SettingsSource>,
    /// How much the run says, where the configuration says so.
    pub(crate) log: Option<String>,
}

impl Asked {
    pub(crate) fn read(args: &Args, env: Environment<'_>) -> Result<Self, Failure> {
        let kind = Kind::parse(&args.provider)?;
        let file = Arc::new(File::find(args.options.relay.config.as_deref(), env)?);
        let mut given = Given::new(env, args.options.flags(), file);
        let agent_id = identity::agent_id(kind.name(), &given)?;
        given.agent = Some(agent_id.as_str().into());
        let profile = Chosen::find(&given)?;
        given.profile = Arc::new(profile.as_ref().map(Chosen::layer).unwrap_or_default());
        let relay = books::relay(&given)?;
        let token = books::token(&given)?;
        let credential = token.as_ref().map(|token| credential(&token.token.record, env)).transpose()?;
        let (token, token_file) = token.map_or((None, None), |given| (Some(given.token.secret), given.file));
        let cwd = cwd(&given)?;
        let mode = mode(&given)?;
        let provider = provider(kind, &args.command, mode, &given)?;
        if kind == Kind::Codex && mode == Mode::Interactive {
            return Err(Failure::usage(
                "configuration",
                "codex has no terminal of the runner's: run it without --interactive, and join its thread from any \
                 terminal with `relay-runner attach`",
            ));
        }
        let mut identity = identity::identity(kind.name(), &agent_id, mode, &given, &cwd)?;
        if let Some(profile) = &profile {
            identity.profile = Some(profile.name.as_str().into());
            identity.agent_profile = profile.applied(kind.name())?.map(Into::into);
        }
        let state = given.text(keys::STATE_DIR)?;
        let usual_state = state.is_none();
        let state_dir = match state {
            Some((path, _)) => PathBuf::from(path),
            None => places::state_dir(env, &agent_id)?,
        };
        let mut config = Config { mode, credential, ..Config::new(identity, Adapter::default(), seed()?) };
        core_settings::read(&mut config, &given)?;
        if provider.is_in_terminal() {
            // A person may have to answer its first questions, and takes the time that takes.
            config.timing.start_timeout = config.timing.start_timeout.max(ANSWERED_WITHIN);
        }
        let log = match env.raw(keys::LOG.variable) {
            // What the environment asks for is in force already.
            Some(_) => None,
            None => given.text(keys::LOG)?.map(|(level, _)| level),
        };
        Ok(Self {
            relay,
            token,
            token_file,
            state_dir,
            usual_state,
            provider,
            config,
            environment: environment(
                kind,
                mode,
                &given,
                profile.as_ref().and_then(|profile| profile.document.as_ref()),
            )?,
            cwd,
            prompt: given.text(keys::PROMPT)?.map(|(text, _)| text),
            info_file: given.text(keys::INFO_FILE)?.map(|(path, _)| PathBuf::from(path)),
            bodies: bodies(&given)?,
            fresh: given.switch(FRESH)?.unwrap_or(false),
            profile: profile.and_then(|profile| profile.document),
            settings: reload::settings(&given),
            log,
        })
    }

    pub(crate) fn agent_id(&self) -> &str {
        &self.config.identity.agent_id
    }

    /// The terminal is handed over to the provider.
    pub(crate) fn is_in_terminal(&self) -> bool {
        self.provider.is_in_terminal()
    }

    pub(crate) fn fail_fast(&self) -> Option<Duration> {
        self.config.fail_fast.then(|| Duration::from_millis(self.config.timing.fail_fast))
    }

    /// What the shell is given, once the relay is known.
    pub(crate) fn options(self, relay: RelayUrl) -> Options {
        Options {
            config: self.config,
            relay,
            token: self.token,
            token_file: self.token_file,
            state_dir: self.state_dir,
            runner_dir: None,
            provider: self.provider,
            environment: self.environment,
            cwd: self.cwd,
            first_prompt: self.prompt,
            info_file: self.info_file,
            program: Program {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                commit: option_env!("RELAY_RUNNER_COMMIT").map(str::to_owned),
            },
            profile: self.profile,
            settings: self.settings,
            bodies: self.bodies,
            fresh: self.fresh,
            signals: true,
        }
    }
}

fn provider(kind: Kind, command: &[OsString], mode: Mode, given: &Given<'_>) -> Result<ProviderSpec, Failure> {
    let argv = match kind {
        Kind::Claude => return claude(command, mode, given),
        Kind::Codex => return codex(command, given),
        Kind::Command if command.is_empty() => match given.said(keys::COMMAND)? {
            Some((configured, source)) => {
                let argv: Vec<OsString> = configured.into_list().into_iter().map(OsString::from).collect();
                program::found(&argv, &source.to_string(), given.env)?
            }
            None => program::found(&[], program::BEHIND, given.env)?,
        },
        Kind::Command => program::found(command, program::BEHIND, given.env)?,
        Kind::Demo if !command.is_empty() => {
            return Err(Failure::usage(
                "configuration",
                "the provider `demo` is built in and takes no command behind --; `run command` does",
            ));
        }
        Kind::Demo => demo_agent(&[])?,
    };
    let listen = given.switch(keys::LISTEN)?.unwrap_or(false);
    let monitor = given.parsed(keys::OFFERS, word(&OFFERS))?.unwrap_or(false);
    Ok(ProviderSpec::Command(CommandSpec { monitor, ..CommandSpec::new(argv, listen) }))
}

fn codex(more: &[OsString], given: &Given<'_>) -> Result<ProviderSpec, Failure> {
    let (program, whence) = match given.text(keys::CODEX)? {
        Some((program, source)) => (program, source.to_string()),
        None => ("codex".to_owned(), "the provider `codex`".to_owned()),
    };
    let argv = program::found(&[program.into()], &whence, given.env).map_err(|failure| {
        failure.and("codex comes with `npm install -g @openai/codex`; --codex names one that is elsewhere")
    })?;
    let transcript = given.text(keys::CODEX_TRANSCRIPT)?.map(|(path, _)| PathBuf::from(path));
    Ok(ProviderSpec::Codex(CodexSpec { argv: argv.into_iter().chain(more.iter().cloned()).collect(), transcript }))
}

fn claude(more: &[OsString], run_as: Mode, given: &Given<'_>) -> Result<ProviderSpec, Failure> {
    const MODES: [(&str, ClaudeWay); 2] = [("terminal", ClaudeWay::Terminal), ("stream", ClaudeWay::Stream)];
    let (program, whence) = match given.text(keys::CLAUDE)? {
        Some((program, source)) => (program, source.to_string()),
        None => ("claude".to_owned(), "the provider `claude`".to_owned()),
    };
    let argv = program::found(&[program.into()], &whence, given.env).map_err(|failure| {
        failure
            .and("claude comes with `npm install -g @anthropic-ai/claude-code`; --claude names one that is elsewhere")
    })?;
    let headless = given.parsed(keys::CLAUDE_MODE, word(&MODES))?.unwrap_or(ClaudeWay::Terminal);
    let way = if run_as == Mode::Interactive { ClaudeWay::Interactive } else { headless };
    let tmux = if way == ClaudeWay::Terminal {
        let found = program::found(&["tmux".into()], "the provider `claude` in a terminal", given.env);
        found.map_err(|failure| failure.and("install tmux, or run without a terminal: --claude-mode stream"))?.pop()
    } else {
        None
    };
    let transcript = given.text(keys::CLAUDE_TRANSCRIPT)?.map(|(path, _)| PathBuf::from(path));
    let argv = argv.into_iter().chain(more.iter().cloned()).collect();
    Ok(ProviderSpec::Claude(ClaudeSpec { argv, way, tmux, transcript }))
}

/// The command line of the built-in agent.
pub(crate) fn demo_agent(more: &[OsString]) -> Result<Vec<OsString>, Failure> {
    let ours = std::env::current_exe().map_err(|e| {
        Failure::failed("program", format!("cannot find this program's own file, to start the demo agent: {e}"))
    })?;
    let mut argv = vec![ours.into_os_string(), "demo-agent".into()];
    argv.extend_from_slice(more);
    Ok(argv)
}

fn cwd(given: &Given<'_>) -> Result<PathBuf, Failure> {
    let Some((path, source)) = given.text(keys::CWD)? else {
        return std::env::current_dir().map_err(|e| {
            Failure::usage("configuration", format!("the working directory is gone ({e}); give one with --cwd"))
        });
    };
    let folder =
        std::fs::canonicalize(&path).map_err(|e| wrong(&source, &format!("there is no folder {path}: {e}")))?;
    if folder.is_dir() { Ok(folder) } else { Err(wrong(&source, &format!("{path} is not a folder"))) }
}

pub(crate) fn mode(given: &Given<'_>) -> Result<Mode, Failure> {
    const MODES: [(&str, Mode); 2] = [("headless", Mode::Headless), ("interactive", Mode::Interactive)];
    if given.flags.contains_key(INTERACTIVE.flag) {
        return Ok(Mode::Interactive);
    }
    if given.flags.contains_key(HEADLESS.flag) {
        return Ok(Mode::Headless);
    }
    match (given.switch(HEADLESS)?, given.switch(INTERACTIVE)?) {
        (Some(true), Some(true)) => {
            Err(wrong(&Source::Variable(INTERACTIVE.variable), "AGENT_RELAY_HEADLESS is set as well; choose one"))
        }
        (_, Some(true)) => Ok(Mode::Interactive),
        (Some(true), _) => Ok(Mode::Headless),
        _ => Ok(given.parsed(keys::MODE, word(&MODES))?.unwrap_or_default()),
    }
}

fn bodies(given: &Given<'_>) -> Result<KeptBodies, Failure> {
    const KEPT: [(&str, KeptBodies); 3] =
        [("none", KeptBodies::None), ("hash", KeptBodies::Hash), ("full", KeptBodies::Full)];
    Ok(given.parsed(keys::BODIES, word(&KEPT))?.unwrap_or_default())
}

fn environment(
    kind: Kind,
    mode: Mode,
    given: &Given<'_>,
    profile: Option<&Profile>,
) -> Result<EnvironmentPolicy, Failure> {
    const WAYS: [(&str, Inherit); 2] = [("listed", Inherit::Listed), ("all", Inherit::All)];
    let needs: &[&str] = match kind {
        Kind::Claude => &ClaudeSpec::NEEDS,
        Kind::Codex => &CodexSpec::NEEDS,
        Kind::Command | Kind::Demo => &[],
    };
    let allowed = given.items(keys::ALLOW)?.into_iter().flat_map(|(names, _)| names);
    let of_terminal: &[&str] =
        if (kind, mode) == (Kind::Claude, Mode::Interactive) { &ClaudeSpec::OF_A_TERMINAL } else { &[] };
    let also = allowed.chain(needs.iter().chain(of_terminal).map(|name| (*name).to_owned())).collect();
    Ok(EnvironmentPolicy {
        inherit: given.parsed(keys::INHERIT, word(&WAYS))?.unwrap_or_default(),
        also,
        set: given.map(keys::SET),
        host_globals: profile.is_none_or(Profile::host_globals),
        export_token: given.switch(keys::EXPORT_TOKEN)?.unwrap_or(true),
        channels: given.said(keys::CHANNELS)?.map(|(what, _)| what.into_list()),
    })
}

/// What is known of the token: what its own file says, else the environment.
fn credential(read: &TokenRecord, env: Environment<'_>) -> Result<TokenRecord, Failure> {
    const EXPIRES: &str = "AGENT_RELAY_TOKEN_EXPIRES_AT";
    let seconds = |text: &str| text.parse().map_err(|_| "write seconds since the epoch".to_owned());
    let text = |name| Ok::<_, Failure>(env.variable(name)?.map(Text::from));
    Ok(TokenRecord {
        jti: read.jti.clone().or(text("AGENT_RELAY_TOKEN_JTI")?),
        profile: read.profile.clone().or(text("AGENT_RELAY_TOKEN_PROFILE")?),
        expires_at: read.expires_at.or(env.parsed(None, key("", EXPIRES), seconds)?),
    })
}

fn seed() -> Result<u64, Failure> {
    // The lower half is as random as the whole.
    #[expect(clippy::cast_possible_truncation, reason = "half of the bits are wanted")]
    books::random().map(|number| number as u64)
}
