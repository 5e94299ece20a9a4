//! The command line of `run`. Values stay text here: [`super::run_options`] reads them together with the environment.

use super::JSON;
use super::books::RelayArgs;
use super::config_keys as keys;
use super::given::{Flags, Key, key};
use clap::builder::FalseyValueParser;
use std::ffi::OsString;

const AFTER_HELP: &str = "\
Providers:
  command   any program that speaks JSON lines, named behind -- (docs/command-provider.md)
  demo      an agent built into this program, to try things with
  codex     Codex through its app-server (docs/codex-provider.md); what stands behind -- is codex's own
  claude    Claude Code in a terminal of the runner's own (tmux), on pipes, or in yours (docs/claude-provider.md)
  acp: not there yet; `command` can drive it through a program of your own

Examples:
  relay-runner run command -- ./agent.sh
  relay-runner run command --agent-id a1 --tag rust,linux -- ./agent.sh --fast
  relay-runner run command --relay https://relay.example --token-file token.txt -- ./agent.sh
  relay-runner run command --agent-id a1 --profile reviewer     with what the configuration says of a1
  relay-runner run codex --agent-id c1 --approval guarded
  relay-runner run claude --agent-id c2 --claude-mode stream
  relay-runner run claude --interactive
  relay-runner run demo --agent-id d1

Without --relay, a relay on the default port is used; when there is none, this process serves one.
TERM or Ctrl-C lets the running turn end (--drain-timeout), then stops the provider; a second one
stops it at once.
A token of --token-file that can be renewed is renewed in time; another one that is put into the
file is used from then on. The file holds the token, or the JSON of `relay-runner relay token`.
Whatever is not said here comes from AGENT_RELAY_*, then from the configuration (`relay-runner config`).
HUP has it read again. Spans are written 500ms, 30s, 2m or 1h. Exit codes: `relay-runner --help`.";

/// Keep a provider at work, and represent it on the relay
#[derive(Debug, Default, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// claude, codex, acp, command or demo
    #[arg(value_name = "PROVIDER")]
    pub(crate) provider: String,
    #[command(flatten)]
    pub(crate) options: Options,
    /// Print start and end as lines of JSON, and log as JSON
    #[arg(long, env = JSON, hide_env_values = true, value_parser = FalseyValueParser::new())]
    pub(crate) json: bool,
    /// Of `command`: the program and its arguments [default: providers.command.command of the configuration]; of `codex` and
    /// `claude`: what the program is given besides
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

/// What a run is given besides its provider.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) relay: RelayArgs,
    /// Who the agent is on the relay [env: AGENT_RELAY_ID] [default: <provider>-<machine>]
    #[arg(long, value_name = "ID", alias = "agent")]
    pub(crate) agent_id: Option<String>,
    /// A name that it can be reached by as label:NAME [env: AGENT_RELAY_LABEL]
    #[arg(long, value_name = "NAME")]
    pub(crate) label: Option<String>,
    /// A tag, or several with commas; may be repeated, and adds to the environment's [env: AGENT_RELAY_TAGS]
    #[arg(long = "tag", value_name = "TAG")]
    pub(crate) tags: Vec<String>,
    /// A capability, likewise [env: AGENT_RELAY_CAPS] [default: chat]
    #[arg(long = "cap", value_name = "CAP")]
    pub(crate) caps: Vec<String>,
    /// What the relay shows as the machine [env: AGENT_RELAY_MACHINE] [default: the host's name]
    #[arg(long, value_name = "NAME")]
    pub(crate) machine: Option<String>,
    /// Where the provider works [env: AGENT_RELAY_CWD] [default: here]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) cwd: Option<String>,
    /// Without a person: a dead provider is started again [env: AGENT_RELAY_HEADLESS] [this is the default]
    #[arg(long, conflicts_with = "interactive")]
    pub(crate) headless: bool,
    /// With a person: the runner ends with its provider, and claude has this very terminal [env: AGENT_RELAY_INTERACTIVE]
    #[arg(long)]
    pub(crate) interactive: bool,
    /// Said to the provider first, once in the agent's life [env: AGENT_RELAY_PROMPT]
    #[arg(long, value_name = "TEXT")]
    pub(crate) prompt: Option<String>,
    /// What the provider may do by itself: open, guarded or read-only [env: AGENT_RELAY_APPROVAL] [default: open]
    #[arg(long, value_name = "MODE")]
    pub(crate) approval: Option<String>,
    /// The model's name, shown on the relay and told to the provider [env: AGENT_RELAY_MODEL]
    #[arg(long, value_name = "NAME")]
    pub(crate) model: Option<String>,
    /// The effort, likewise [env: AGENT_RELAY_EFFORT]
    #[arg(long, value_name = "LEVEL")]
    pub(crate) effort: Option<String>,
    /// The agent profile: a name among `relay-runner profile list`, or a path [env: AGENT_RELAY_PROFILE]
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// The agent's own folder: journal, lock, logs [env: AGENT_RELAY_STATE_DIR]
    /// [default: $XDG_STATE_HOME/relay-runner/<agent>]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) state_dir: Option<String>,
    /// What the journal keeps of the words of messages and commands: none, their hash, or full, in files of its own
    /// beside it [env: AGENT_RELAY_BODIES] [default: hash]
    #[arg(long, value_name = "WHAT")]
    pub(crate) bodies: Option<String>,
    /// End with 69 when the relay cannot be reached for this long, 60s unless it says otherwise
    /// [env: AGENT_RELAY_FAIL_FAST]
    #[arg(long, value_name = "SPAN", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) fail_fast: Option<String>,
    /// How a message that comes during a turn is handed over: queue, steer or interrupt [env: AGENT_RELAY_DELIVER]
    /// [default: queue]
    #[arg(long, value_name = "HOW")]
    pub(crate) deliver: Option<String>,
    /// How long a running turn may go on after TERM [env: AGENT_RELAY_DRAIN_TIMEOUT] [default: 30s]
    #[arg(long, value_name = "SPAN")]
    pub(crate) drain_timeout: Option<String>,
    /// How long stopping the provider may take, from asking to killing [env: AGENT_RELAY_SHUTDOWN_TIMEOUT]
    /// [default: 30s]
    #[arg(long, value_name = "SPAN")]
    pub(crate) shutdown_timeout: Option<String>,
    /// How long a permission request of a hook waits for a decision; then it is denied, or left to the provider's own
    /// dialog when interactive [env: AGENT_RELAY_APPROVAL_TIMEOUT] [default: 595s]
    #[arg(long, value_name = "SPAN")]
    pub(crate) approval_timeout: Option<String>,
    /// The tmux session that the provider shows itself in, for `attach` [env: AGENT_RELAY_TMUX_SESSION]
    #[arg(long, value_name = "NAME")]
    pub(crate) tmux_session: Option<String>,
    /// The socket of that session's tmux server [env: AGENT_RELAY_TMUX_SOCKET] [default: the usual one]
    #[arg(long, value_name = "PATH")]
    pub(crate) tmux_socket: Option<String>,
    /// The provider listens on the unix socket AGENT_RELAY_COMMAND_SOCKET instead of using its pipes
    /// [env: AGENT_RELAY_LISTEN]
    #[arg(long)]
    pub(crate) listen: bool,
    /// Where the provider's messages go: stdin, or monitor, where `relay-runner monitor` beside it prints them
    /// [env: AGENT_RELAY_OFFERS] [default: stdin]
    #[arg(long, value_name = "WAY")]
    pub(crate) offers: Option<String>,
    /// The codex program [env: AGENT_RELAY_CODEX] [default: codex]
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) codex: Option<String>,
    /// The program of Claude Code [env: AGENT_RELAY_CLAUDE] [default: claude]
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) claude: Option<String>,
    /// How Claude Code is run headless: terminal, in a tmux server of its own, or stream, on pipes without a terminal
    /// [env: AGENT_RELAY_CLAUDE_MODE] [default: terminal]
    #[arg(long, value_name = "HOW")]
    pub(crate) claude_mode: Option<String>,
    /// Forget what earlier runs of the agent knew; their journal is moved aside [env: AGENT_RELAY_FRESH]
    #[arg(long)]
    pub(crate) fresh: bool,
}

impl Options {
    /// All that was said, by flag.
    pub(crate) fn flags(&self) -> Flags {
        let list = |items: &[String]| (!items.is_empty()).then(|| items.join(","));
        let on = |is: bool| is.then(|| "true".to_owned());
        let mut flags = self.relay.flags();
        let own = [
            (keys::AGENT_ID.flag, self.agent_id.clone()),
            (keys::LABEL.flag, self.label.clone()),
            (keys::TAGS.flag, list(&self.tags)),
            (keys::CAPS.flag, list(&self.caps)),
            (keys::MACHINE.flag, self.machine.clone()),
            (keys::CWD.flag, self.cwd.clone()),
            (HEADLESS.flag, on(self.headless)),
            (INTERACTIVE.flag, on(self.interactive)),
            (keys::PROMPT.flag, self.prompt.clone()),
            (keys::APPROVAL.flag, self.approval.clone()),
            (keys::MODEL.flag, self.model.clone()),
            (keys::EFFORT.flag, self.effort.clone()),
            (keys::PROFILE.flag, self.profile.clone()),
            (keys::STATE_DIR.flag, self.state_dir.clone()),
            (keys::BODIES.flag, self.bodies.clone()),
            (keys::FAIL_FAST.flag, self.fail_fast.clone()),
            (keys::DELIVER.flag, self.deliver.clone()),
            ("--drain-timeout", self.drain_timeout.clone()),
            ("--shutdown-timeout", self.shutdown_timeout.clone()),
            ("--approval-timeout", self.approval_timeout.clone()),
            (keys::LISTEN.flag, on(self.listen)),
            (TMUX_SESSION.flag, self.tmux_session.clone()),
            (TMUX_SOCKET.flag, self.tmux_socket.clone()),
            (keys::OFFERS.flag, self.offers.clone()),
            (keys::CODEX.flag, self.codex.clone()),
            (keys::CLAUDE.flag, self.claude.clone()),
            (keys::CLAUDE_MODE.flag, self.claude_mode.clone()),
            (FRESH.flag, on(self.fresh)),
        ];
        flags.extend(own.into_iter().filter_map(|(flag, value)| Some((flag, value?))));
        flags
    }
}

/// Not in the configuration: `mode` says both there.
pub(crate) const HEADLESS: Key = key("--headless", "AGENT_RELAY_HEADLESS");
pub(crate) const INTERACTIVE: Key = key("--interactive", "AGENT_RELAY_INTERACTIVE");
/// Not in the configuration: a session is one agent's, and of one day.
pub(crate) const TMUX_SESSION: Key = key("--tmux-session", "AGENT_RELAY_TMUX_SESSION");
pub(crate) const TMUX_SOCKET: Key = key("--tmux-socket", "AGENT_RELAY_TMUX_SOCKET");
/// Not in the configuration: it is meant for one start.
pub(crate) const FRESH: Key = key("--fresh", "AGENT_RELAY_FRESH");

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn every_flag_that_the_table_of_keys_names_is_one_and_is_told() {
        let keys = keys::all().map(|entry| entry.key).chain([HEADLESS, INTERACTIVE, TMUX_SESSION, TMUX_SOCKET, FRESH]);
        for key in keys.filter(|key| !key.flag.is_empty()) {
            let told = |more: &[&str]| {
                let line = [&["run", "command"], more].concat();
                Cli::try_parse_from(line).map(|cli| cli.args.options.flags().get(key.flag).cloned())
            };
            let on = told(&[key.flag]).ok().flatten();
            let with = told(&[&format!("{}=7s", key.flag)]).ok().flatten();
            assert!(on.as_deref() == Some("true") || with.as_deref() == Some("7s"), "{}", key.flag);
        }
    }
}
