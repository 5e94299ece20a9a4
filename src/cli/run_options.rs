//! What a run is given (behaviour 1): the command line and the environment, checked before anything starts.

use super::failure::Failure;
use super::given::{Environment, Key, Source, boolean, key, word, wrong};
use super::identity::identity;
use super::run_args::Args;
use super::{books, places, program, span};
use relay_runner_core::config::{Adapter, Delivery, Mode, Timing};
use relay_runner_core::journal::KeptBodies;
use relay_runner_core::{Config, Text, TokenRecord};
use relay_runner_shell::{CommandSpec, EnvironmentPolicy, Options, Program, ProviderSpec, RelayUrl};
use secrecy::SecretString;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

const CWD: Key = key("--cwd", "AGENT_RELAY_CWD");
const HEADLESS: Key = key("--headless", "AGENT_RELAY_HEADLESS");
const INTERACTIVE: Key = key("--interactive", "AGENT_RELAY_INTERACTIVE");
const PROMPT: Key = key("--prompt", "AGENT_RELAY_PROMPT");
const STATE_DIR: Key = key("--state-dir", "AGENT_RELAY_STATE_DIR");
const BODIES: Key = key("--bodies", "AGENT_RELAY_BODIES");
const FAIL_FAST: Key = key("--fail-fast", "AGENT_RELAY_FAIL_FAST");
const DELIVER: Key = key("--deliver", "AGENT_RELAY_DELIVER");
const DRAIN: Key = key("--drain-timeout", "AGENT_RELAY_DRAIN_TIMEOUT");
const SHUTDOWN: Key = key("--shutdown-timeout", "AGENT_RELAY_SHUTDOWN_TIMEOUT");
const APPROVAL: Key = key("--approval-timeout", "AGENT_RELAY_APPROVAL_TIMEOUT");
const LISTEN: Key = key("--listen", "AGENT_RELAY_LISTEN");
const FRESH: Key = key("--fresh", "AGENT_RELAY_FRESH");

/// Which provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Command,
    Demo,
}

impl Kind {
    fn parse(name: &str) -> Result<Self, Failure> {
        match name {
            "command" => Ok(Self::Command),
            "demo" => Ok(Self::Demo),
            "claude" | "codex" | "acp" => Err(Failure::usage(
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
}

impl Asked {
    pub(crate) fn read(args: &Args, env: Environment<'_>) -> Result<Self, Failure> {
        let kind = Kind::parse(&args.provider)?;
        let listen = env.switch(args.listen, LISTEN)?;
        let provider = provider(kind, &args.command, listen, env)?;
        let relay = args.relay.url(env)?;
        let given = args.relay.token(env)?;
        let credential = given.as_ref().map(|given| credential(&given.token.record, env)).transpose()?;
        let (token, token_file) = given.map_or((None, None), |given| (Some(given.token.secret), given.file));
        let cwd = cwd(args, env)?;
        let identity = identity(kind.name(), mode(args, env)?, args, env, &cwd)?;
        let state = env.text(args.state_dir.as_deref(), STATE_DIR)?;
        let usual_state = state.is_none();
        let state_dir = match state {
            Some((path, _)) => PathBuf::from(path),
            None => places::state_dir(env, &identity.agent_id)?,
        };
        let fail_fast = env.parsed(args.fail_fast.as_deref(), FAIL_FAST, fail_fast)?.flatten();
        Ok(Self {
            relay,
            token,
            token_file,
            state_dir,
            usual_state,
            provider,
            config: Config {
                mode: mode(args, env)?,
                delivery: deliver(args, env)?,
                fail_fast: fail_fast.is_some(),
                timing: timing(args, env, fail_fast)?,
                credential,
                // The adapter and the first prompt are filled in by the shell.
                ..Config::new(identity, Adapter::default(), seed()?)
            },
            environment: EnvironmentPolicy::default(),
            cwd,
            prompt: env.text(args.prompt.as_deref(), PROMPT)?.map(|(text, _)| text),
            info_file: env.raw("AGENT_RELAY_RUNNER_INFO_FILE").map(PathBuf::from),
            bodies: bodies(args, env)?,
            fresh: env.switch(args.fresh, FRESH)?,
        })
    }

    pub(crate) fn agent_id(&self) -> &str {
        &self.config.identity.agent_id
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
            settings: None,
            bodies: self.bodies,
            fresh: self.fresh,
            signals: true,
        }
    }
}

fn provider(kind: Kind, command: &[OsString], listen: bool, env: Environment<'_>) -> Result<ProviderSpec, Failure> {
    let argv = match kind {
        Kind::Command => program::found(command, env)?,
        Kind::Demo if !command.is_empty() => {
            return Err(Failure::usage(
                "configuration",
                "the provider `demo` is built in and takes no command behind --; `run command` does",
            ));
        }
        Kind::Demo => demo_agent(&[])?,
    };
    Ok(ProviderSpec::Command(CommandSpec::new(argv, listen)))
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

fn cwd(args: &Args, env: Environment<'_>) -> Result<PathBuf, Failure> {
    let Some((path, source)) = env.text(args.cwd.as_deref(), CWD)? else {
        return std::env::current_dir().map_err(|e| {
            Failure::usage("configuration", format!("the working directory is gone ({e}); give one with --cwd"))
        });
    };
    let folder = std::fs::canonicalize(&path).map_err(|e| wrong(source, &format!("there is no folder {path}: {e}")))?;
    if folder.is_dir() { Ok(folder) } else { Err(wrong(source, &format!("{path} is not a folder"))) }
}

fn mode(args: &Args, env: Environment<'_>) -> Result<Mode, Failure> {
    if args.headless || args.interactive {
        return Ok(if args.interactive { Mode::Interactive } else { Mode::Headless });
    }
    match (env.switch(false, HEADLESS)?, env.switch(false, INTERACTIVE)?) {
        (true, true) => {
            Err(wrong(Source::Variable(INTERACTIVE.variable), "AGENT_RELAY_HEADLESS is set as well; choose one"))
        }
        (_, true) => Ok(Mode::Interactive),
        (_, false) => Ok(Mode::Headless),
    }
}

fn deliver(args: &Args, env: Environment<'_>) -> Result<Delivery, Failure> {
    const WAYS: [(&str, Delivery); 3] =
        [("queue", Delivery::Queue), ("steer", Delivery::Steer), ("interrupt", Delivery::Interrupt)];
    Ok(env.parsed(args.deliver.as_deref(), DELIVER, word(&WAYS))?.unwrap_or_default())
}

fn bodies(args: &Args, env: Environment<'_>) -> Result<KeptBodies, Failure> {
    const KEPT: [(&str, KeptBodies); 3] =
        [("none", KeptBodies::None), ("hash", KeptBodies::Hash), ("full", KeptBodies::Full)];
    Ok(env.parsed(args.bodies.as_deref(), BODIES, word(&KEPT))?.unwrap_or_default())
}

fn timing(args: &Args, env: Environment<'_>, fail_fast: Option<Duration>) -> Result<Timing, Failure> {
    let mut timing = Timing::default();
    if let Some(span) = env.parsed(args.drain_timeout.as_deref(), DRAIN, span::parse)? {
        timing.drain = span::millis(span);
    }
    if let Some(span) = env.parsed(args.shutdown_timeout.as_deref(), SHUTDOWN, span::parse)? {
        timing.shutdown = span::millis(span);
    }
    if let Some(span) = env.parsed(args.approval_timeout.as_deref(), APPROVAL, span::parse)? {
        timing.approval = span::millis(span);
    }
    if let Some(span) = fail_fast {
        timing.fail_fast = span::millis(span);
    }
    Ok(timing)
}

/// Yes or no, or how long.
fn fail_fast(text: &str) -> Result<Option<Duration>, String> {
    match boolean(text) {
        Ok(yes) => Ok(yes.then(|| Duration::from_millis(Timing::default().fail_fast))),
        Err(_) => span::parse(text).map(Some).map_err(|why| format!("{why}, or true or false")),
    }
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
