//! What a core is given (behaviour 1), and every figure that it decides with, by name and with its default.
//!
//! There is no secret in it: the whole of it stands in the journal's header.

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

use crate::body::BodyRef;
use crate::event::TokenRecord;
use crate::flags::Flags;
use crate::ids::Text;
use crate::time::{HOUR, MINUTE, Millis, SECOND};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    pub identity: Identity,
    pub mode: Mode,
    /// What the adapter of the chosen provider can do.
    pub adapter: Adapter,
    /// Stands for all that a provider is started with and cannot be told later (its command, its folder, ...): a process
    /// that was started with something else is not taken up.
    #[serde(default)]
    pub launch: u64,
    pub delivery: Delivery,
    /// When a message is marked as read on the relay.
    pub mark_read: MarkRead,
    /// What happens when the provider cannot be kept alive (behaviour 10).
    pub on_give_up: OnGiveUp,
    /// Wait for the end of a usage limit without counting the exit.
    #[serde(default = "yes")]
    pub wait_for_usage_limit: bool,
    /// End with 69 when the relay cannot be reached within [`Timing::fail_fast`].
    pub fail_fast: bool,
    /// Whether messages to everybody, and to tags and capabilities, are for this agent.
    pub relay_context: bool,
    /// Trimmed and not empty; said once in the agent's life.
    pub first_prompt: Option<BodyRef>,
    /// What is known of the runtime token that the run begins with; none: the relay wants none, or nothing is known.
    #[serde(default)]
    pub credential: Option<TokenRecord>,
    /// Seed of every draw of the core.
    pub seed: u64,
    pub timing: Timing,
    pub limits: Limits,
    /// The changes of behaviour in force.
    pub flags: Flags,
    /// In which way this core is wrong, in tests of tests.
    #[cfg(feature = "mutants")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mutant: Option<crate::mutant::Mutant>,
}

impl Config {
    /// A headless agent with every figure at its default, and all that this program can do.
    pub fn new(identity: Identity, adapter: Adapter, seed: u64) -> Self {
        Self {
            identity,
            mode: Mode::default(),
            adapter,
            launch: 0,
            delivery: Delivery::default(),
            mark_read: MarkRead::default(),
            on_give_up: OnGiveUp::default(),
            wait_for_usage_limit: true,
            fail_fast: false,
            relay_context: true,
            first_prompt: None,
            credential: None,
            seed,
            timing: Timing::default(),
            limits: Limits::default(),
            flags: Flags::all(),
            #[cfg(feature = "mutants")]
            mutant: None,
        }
    }
}

const fn yes() -> bool {
    true
}

/// What a configuration that is read again may change (behaviour 18, HUP): how messages are delivered, when a provider
/// is restarted or given up, and every span.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    pub delivery: Delivery,
    pub mark_read: MarkRead,
    pub on_give_up: OnGiveUp,
    pub wait_for_usage_limit: bool,
    /// [`Limits::restart_exits`].
    pub restart_exits: usize,
    pub timing: Timing,
}

impl Settings {
    /// Those that a configuration has.
    pub fn of(config: &Config) -> Self {
        Self {
            delivery: config.delivery,
            mark_read: config.mark_read,
            on_give_up: config.on_give_up,
            wait_for_usage_limit: config.wait_for_usage_limit,
            restart_exits: config.limits.restart_exits,
            timing: config.timing.clone(),
        }
    }
}

/// Who the agent is, and what its registration says about it (behaviour 2). Passed through, never interpreted,
/// except for the ids, the label, the tags and the capabilities.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub agent_id: Text,
    pub runner_id: Text,
    pub provider: Text,
    pub machine: Text,
    /// Name and version of the program.
    pub package: Package,
    pub label: Option<Text>,
    /// Without repeats, in the order in which they are registered.
    pub tags: Vec<Text>,
    pub capabilities: Vec<Text>,
    pub model: Option<Text>,
    pub effort: Option<Text>,
    pub profile: Option<Text>,
    /// What the applied profile says of itself (behaviour 15). Canonical JSON text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_profile: Option<Text>,
    pub approval: Approval,
    pub cwd: Text,
    pub workspace_mode: Option<Text>,
    /// Canonical JSON text.
    pub workspace: Option<Text>,
    /// The terminal session that the provider runs in, where whoever started the runner made one.
    pub tmux_session: Option<Text>,
    /// The socket of its tmux server; none: the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tmux_socket: Option<Text>,
    pub policy_name: Option<Text>,
    pub spawn_request_id: Option<Text>,
    pub automation_id: Option<Text>,
    pub automation_run_id: Option<Text>,
    /// No runtime token was given, and a root token stands in for it.
    #[serde(default)]
    pub root_token_fallback: bool,
    /// When the runner was started, in milliseconds since the epoch.
    pub started_at: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    pub name: Text,
    pub version: Text,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Approval {
    #[default]
    Open,
    Guarded,
    ReadOnly,
}

impl Approval {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Guarded => "guarded",
            Self::ReadOnly => "read-only",
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    #[default]
    Headless,
    /// The provider has the person's terminal; the runner ends with it.
    Interactive,
}

/// What an adapter can do, as it declares it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adapter {
    /// A dead provider may be started anew without a person.
    pub restartable: bool,
    /// A provider that outlived the runner can be taken up again.
    pub adoptable: bool,
    /// Messages are typed into a terminal, so nothing may be offered while an approval is open.
    pub typed: bool,
    /// The provider shows by itself that it has a message; without it, "handed over" is all there is to know.
    pub evidence: bool,
    /// A message can be handed over during a turn.
    pub steer: bool,
    pub interrupt: bool,
    pub compact: bool,
    pub clear: bool,
    pub inject: bool,
    /// Compacting or clearing during a turn would break it off: both wait for its end.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub between_turns: bool,
    /// A person can open a terminal of the provider's own on the live conversation.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub attach: bool,
    /// The provider runs in a terminal that a person can look at, and type into.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub live: bool,
}

/// What happens to a message that arrives during a turn (behaviour 6).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Delivery {
    /// It waits for the end of the turn.
    #[default]
    Queue,
    /// It is handed over at once where the adapter can.
    Steer,
    /// An urgent one interrupts the turn.
    Interrupt,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MarkRead {
    Taken,
    #[default]
    Worked,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnGiveUp {
    #[default]
    Exit,
    Park,
}

/// Every span that the core decides with. Milliseconds. The defaults are those of the contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Timing {
    /// The clocks are compared at least this often.
    pub tick: Millis,
    /// Between two heartbeats on the bus, unless the relay says otherwise.
    pub heartbeat: Millis,
    /// Between two rounds of HTTP liveness (behaviour 11).
    pub liveness: Millis,
    pub liveness_deadline: Millis,
    /// Deadline of claims, renewals and reports.
    pub call_deadline: Millis,
    /// Deadline of an operation of the shell itself: control server, info file.
    pub shell_deadline: Millis,
    /// A headless provider is started without a relay after this.
    pub start_without_relay: Millis,
    /// With `fail_fast`: how long the first registration may take.
    pub fail_fast: Millis,
    pub register_deadline: Millis,
    pub reconnect_min: Millis,
    pub reconnect_max: Millis,
    /// A link that held this long starts its backoff anew.
    pub link_stable: Millis,
    /// A provider that is not up by then is a failed start.
    pub start_timeout: Millis,
    /// How long the first prompt may hold up the first offer.
    pub first_prompt: Millis,
    /// Handing a batch to the adapter.
    pub offer_deadline: Millis,
    /// An offer that is not taken by then is ambiguous, or offered again (behaviour 6).
    pub take_timeout: Millis,
    /// After this an ambiguous message's task is reported as blocked.
    pub ambiguous_limit: Millis,
    /// After a message was taken while idle, the turn is expected to begin within this; until then nothing more is
    /// offered.
    pub turn_grace: Millis,
    pub report_retry_min: Millis,
    pub report_retry_max: Millis,
    pub offer_retry_min: Millis,
    pub offer_retry_max: Millis,
    /// Between two renewals of a claim at most.
    pub renew_max: Millis,
    /// Between two questions for a lapsed claim, or one whose answer did not come.
    pub claim_retry: Millis,
    /// How long a running turn may go on after TERM.
    pub drain: Millis,
    /// Stopping the provider, from asking to giving up on it, when a restart or a signal asks for it.
    pub shutdown: Millis,
    /// The time-out of a shutdown or kill command that names none, or an invalid one.
    pub shutdown_command: Millis,
    pub shutdown_command_max: Millis,
    /// What is left at least for the last reports once the provider is gone.
    pub final_reports: Millis,
    /// An operation of the adapter: compact, clear, inject.
    pub adapter_deadline: Millis,
    /// Fetching an attachment.
    pub attachments: Millis,
    /// How long a permission request that is held waits for a decision. Then a headless agent is denied; an interactive
    /// one is left with its own dialog.
    pub approval: Millis,
    /// A turn without a sign of life for this long is probed.
    pub turn_probe: Millis,
    pub restart_unit: Millis,
    pub restart_max: Millis,
    /// A usage limit is waited for at most this long at a time.
    pub usage_limit_max: Millis,
    /// The first wait for a usage limit whose end is not known, or has passed already; each further one is twice as long.
    pub usage_limit_retry_min: Millis,
    pub usage_limit_retry_max: Millis,
    /// Exits are counted over this window.
    pub restart_window: Millis,
    /// A provider that lived at least this long is never given up on.
    pub restart_stable: Millis,
    /// A refused message claim is asked for again on the relay's next unread list, not sooner than this.
    pub command_memory: Millis,
    /// The same trouble is said once in this span.
    pub log_repeat: Millis,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            tick: 15 * SECOND,
            heartbeat: 30 * SECOND,
            liveness: 20 * SECOND,
            liveness_deadline: 10 * SECOND,
            call_deadline: 15 * SECOND,
            shell_deadline: 10 * SECOND,
            start_without_relay: 10 * SECOND,
            fail_fast: 60 * SECOND,
            register_deadline: 10 * SECOND,
            reconnect_min: 500,
            reconnect_max: 30 * SECOND,
            link_stable: 60 * SECOND,
            start_timeout: 60 * SECOND,
            first_prompt: 30 * SECOND,
            offer_deadline: 30 * SECOND,
            take_timeout: 30 * SECOND,
            ambiguous_limit: 30 * MINUTE,
            turn_grace: SECOND,
            report_retry_min: SECOND,
            report_retry_max: 30 * SECOND,
            offer_retry_min: SECOND,
            offer_retry_max: 60 * SECOND,
            renew_max: 5 * MINUTE,
            claim_retry: 5 * SECOND,
            drain: 30 * SECOND,
            shutdown: 30 * SECOND,
            shutdown_command: 10 * SECOND,
            shutdown_command_max: 60 * SECOND,
            final_reports: 2 * SECOND,
            adapter_deadline: 5 * MINUTE,
            attachments: 60 * SECOND,
            approval: 10 * MINUTE - 5 * SECOND,
            turn_probe: 10 * MINUTE,
            restart_unit: 500,
            restart_max: 10 * SECOND,
            usage_limit_max: 24 * HOUR,
            usage_limit_retry_min: MINUTE,
            usage_limit_retry_max: 30 * MINUTE,
            restart_window: 2 * MINUTE,
            restart_stable: 30 * SECOND,
            command_memory: 24 * HOUR,
            log_repeat: 5 * MINUTE,
        }
    }
}

/// Every bound of a container, so that memory is bounded by the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Messages held; the rest stays unread on the relay.
    pub held: usize,
    /// Messages asked for at a time.
    pub fetch: u32,
    /// Claims held at a time.
    pub claims: usize,
    /// Messages in a batch.
    pub batch: usize,
    /// Bytes in a batch, counting what each message shows of its body.
    pub batch_bytes: u64,
    /// Failed offers after which a message is set aside.
    pub offer_tries: u32,
    /// Offers again after a turn that failed or was interrupted.
    pub failed_turns: u32,
    /// Exits in the window after which a short-lived provider is given up.
    pub restart_exits: usize,
    /// Timeline entries that wait to be published.
    pub timeline: usize,
    /// Commands whose outcome is remembered.
    pub commands: usize,
    /// Ids of settled and set-aside messages that are remembered.
    pub settled: usize,
    /// Items that keep the agent busy.
    pub work: usize,
    /// Reports that wait for the relay.
    pub reports: usize,
    /// Reports that are under way at a time.
    pub reports_under_way: usize,
    /// Approvals that are open at a time.
    pub approvals: usize,
    /// Troubles of which it is remembered when they were last said.
    pub log_keys: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            held: 1_000,
            fetch: 100,
            claims: 1,
            batch: 10,
            batch_bytes: 32 * 1024,
            offer_tries: 8,
            failed_turns: 2,
            restart_exits: 3,
            timeline: 256,
            commands: 1_024,
            settled: 1_024,
            work: 1_024,
            reports: 4_096,
            reports_under_way: 64,
            approvals: 64,
            log_keys: 64,
        }
    }
}
