//! A plan: everything that happens in a run besides the runners' own doing, written down.
//!
//! A plan is what runs, not a seed: so that a part of it can be left out, and the rest stays what it was. Whatever the
//! plan does not say (how long an answer takes, how long a turn) is drawn from its seed by what it is about, and not
//! by how much was drawn before.

use relay_runner_core::config::{Adapter, Delivery, MarkRead, Mode, OnGiveUp};
use serde::{Deserialize, Serialize};

/// Milliseconds of virtual time.
pub type Millis = u64;

/// One run, from its beginning to rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Plan {
    /// Of everything that the plan does not say.
    pub seed: u64,
    pub setup: Setup,
    /// From then on nothing goes wrong any more, what was broken is mended, and the world must come to rest.
    pub calm: Millis,
    /// The first runner is killed between two effects: after so many, counted over the whole run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kills: Vec<u64>,
    /// In the order of their time.
    pub steps: Vec<Step>,
}

/// What the world is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Setup {
    pub adapter: Adapter,
    pub delivery: Delivery,
    pub mark_read: MarkRead,
    pub on_give_up: OnGiveUp,
    pub mode: Mode,
    /// The provider reports by hooks at the control server.
    #[serde(default)]
    pub hooks: bool,
    /// Its reports of a turn name it.
    #[serde(default)]
    pub names_turns: bool,
    pub first_prompt: bool,
    pub fail_fast: bool,
    /// Messages held, and claims, at most.
    pub held: usize,
    pub claims: usize,
    /// Messages fetched at a time.
    pub fetch: u32,
    /// The relay's leases.
    pub lease: Millis,
    /// Seconds that a runtime token lives; 0: none is needed.
    pub token: u64,
    /// How far the relay's clock is ahead, and how much faster it runs, in millionths.
    pub relay_ahead: i64,
    pub relay_ppm: i64,
    /// How long something takes on its way at most.
    pub way: Millis,
    /// How long a turn takes at most.
    pub turn: Millis,
    /// Runners: the first, and others that share its label.
    pub runners: usize,
    /// In which way the cores are wrong, in tests of the simulator.
    #[cfg(feature = "mutants")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mutant: Option<relay_runner_core::mutant::Mutant>,
}

/// Something that happens at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    pub at: Millis,
    #[serde(rename = "do")]
    pub what: What,
}

/// What can happen. `nth` counts what there is of its kind, from 0, and begins again behind the last; `who` counts
/// runners in the same way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub enum What {
    // What people and other agents do.
    /// So many messages are sent.
    Message {
        to: To,
        #[serde(default)]
        claim: bool,
        /// The messages of one task have the same number.
        #[serde(default)]
        task: Option<u64>,
        #[serde(default)]
        urgent: bool,
        /// No adapter can hand it over.
        #[serde(default)]
        poison: bool,
        #[serde(default)]
        attachments: u32,
        count: u64,
    },
    Command {
        name: Verb,
        here: bool,
        who: u64,
    },
    /// The relay says a command again.
    CommandAgain {
        nth: u64,
    },
    Decide {
        nth: u64,
        approve: bool,
        here: bool,
    },
    Signal {
        signal: Signal,
        who: u64,
    },
    /// Another token is handed in, which lives so many seconds.
    Token {
        lives: u64,
        who: u64,
    },
    /// Somebody starts a runner that has ended.
    Start {
        fresh: bool,
        who: u64,
    },
    /// Another instance of the first agent is started, on another machine.
    Rival,

    // What happens to messages and agents on the relay.
    Claims {
        nth: u64,
    },
    Releases {
        nth: u64,
    },
    Finishes {
        nth: u64,
    },
    Deletes {
        nth: u64,
    },
    Cancels {
        nth: u64,
    },
    Relabels {
        who: u64,
    },
    RelayDown {
        millis: Millis,
    },
    /// It answers 503, with how long to wait.
    RelayBusy {
        millis: Millis,
        retry: Millis,
    },
    /// It answers 500.
    RelayErrs {
        millis: Millis,
    },
    /// It forgets the agents that it knows.
    Prunes,
    /// It begins anew, with an empty database.
    AnotherRelay,
    /// It forgets the events so far.
    ForgetsEvents,
    /// The token that a runner uses is refused from now on.
    Revokes {
        who: u64,
    },
    /// All tokens are refused.
    Refuses {
        millis: Millis,
    },

    // The network.
    Breaks {
        who: u64,
    },
    /// The connection is dead, and nobody says so.
    HalfOpen {
        who: u64,
    },
    /// Nothing comes through.
    Cut {
        way: Way,
        millis: Millis,
        who: u64,
    },
    /// Everything takes longer, by up to this much.
    Slow {
        extra: Millis,
        millis: Millis,
    },
    /// Something happens to the next calls of this kind.
    Calls {
        kind: CallKind,
        fate: Fate,
        times: u64,
    },
    /// Something happens to the next frames of the relay.
    Frames {
        fate: FrameFate,
        times: u64,
        who: u64,
    },

    // The provider.
    Dies {
        class: Class,
        who: u64,
    },
    Starts {
        how: Start,
        times: u64,
    },
    Turns {
        how: Turn,
        times: u64,
    },
    Offers {
        how: Offering,
        times: u64,
    },
    /// Operations of the provider besides offers: refused, or never answered.
    Acts {
        hang: bool,
        times: u64,
    },
    /// The next reports of this kind are lost.
    Loses {
        report: Report,
        times: u64,
    },
    /// The next reports of this kind are late.
    Delays {
        report: Report,
        millis: Millis,
        times: u64,
    },
    /// It asks for a decision, in its next turn.
    Asks {
        hook: bool,
        who: u64,
    },
    /// A person answers in its own terminal.
    Answers {
        who: u64,
    },
    /// The living process does nothing of what it is told but die when it is killed, and its exit shows late.
    Ignores {
        terminate: bool,
        late: Millis,
        who: u64,
    },
    /// It says so many things at once.
    Floods {
        count: u64,
        who: u64,
    },
    /// Something late, made up, or of somebody else.
    Says {
        what: Noise,
        who: u64,
    },

    // The machine.
    /// A runner is killed in the middle of its next step that does something, after so many of its effects; and started
    /// again.
    Killed {
        after: u64,
        back: Millis,
        who: u64,
    },
    /// The power fails: what was not forced to the disk is lost, but for so many records.
    PowerFails {
        kept: u64,
        back: Millis,
        who: u64,
    },
    DiskFull {
        who: u64,
    },
    ControlFails {
        hang: bool,
    },
    ClockSet {
        by: i64,
        who: u64,
    },
    Drifts {
        ppm: i64,
        who: u64,
    },
    Jitters {
        most: Millis,
        who: u64,
    },
    Sleeps {
        millis: Millis,
        who: u64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum To {
    Agent,
    Label,
    Everybody,
    Tag,
    Nobody,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    Restart,
    Reconnect,
    Compact,
    Clear,
    Inject,
    Shutdown,
    Kill,
    /// A name that nobody knows.
    Dance,
    /// For another agent.
    Foreign,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signal {
    Term,
    Quit,
    Hup,
    Usr2,
}

/// Seen from the runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    Up,
    Down,
    Both,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CallKind {
    Any,
    Claim,
    Renew,
    Release,
    Task,
    Read,
    Stage,
    Command,
    Liveness,
    Token,
    Farewell,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// It never reaches the relay.
    Lost,
    /// It is carried out, and the answer is lost.
    AnswerLost,
    /// The connection breaks after it was carried out.
    Broken,
    /// It reaches the relay twice, some seconds apart.
    Twice,
    /// It comes after everybody has stopped waiting.
    TooLate,
    /// The answer comes some seconds late.
    Slow,
    Busy,
    Errs,
    Unauthorized,
    NotFound,
    Conflict,
    Expired,
    Invalid,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FrameFate {
    Lost,
    Twice,
    /// It is overtaken by those behind it.
    Late,
    Garbled,
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    Clean,
    Crash,
    Signal,
    Hang,
    StartTimeout,
    Refused,
    /// With an end that is known, in some minutes.
    UsageLimit,
    UsageLimitOpen,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    Fails,
    /// No word of it.
    Hangs,
    Slow,
    /// There is a process, and it never gets ready.
    Never,
    /// It dies before the start is confirmed.
    Stillborn,
    /// It is at work before the start is confirmed.
    Early,
    /// It dies soon after it was ready.
    Short,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Turn {
    Fails,
    /// A person stops it in the provider's own terminal.
    Interrupted,
    Long,
    Hangs,
    Short,
    /// With an agent of its own, and a compaction.
    Busy,
    /// It never begins although the message was taken.
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Offering {
    Fails,
    NotReady,
    /// It fails although it arrived.
    Broken,
    /// Nobody ever says what became of it; it arrived.
    Hangs,
    /// Nobody ever says what became of it; it did not.
    HangsLost,
    /// The adapter finds out that it did not arrive.
    Missed,
    /// It is never shown to be taken.
    Silent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Report {
    Busy,
    Idle,
    Taken,
    Exit,
    Subagent,
    Compaction,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Noise {
    /// A hook of the session before says idle.
    LateHook,
    /// A hook of a copy that the agent runs itself says idle.
    Nested,
    /// The exit of the process before is said once more.
    LateExit,
    /// A hook says that a session ended and another began, in the living process.
    SessionEnds,
    /// Evidence for an offer that never was.
    Evidence,
    /// A line that nobody can read.
    Babble,
    Alive,
    /// An answer to an operation of long ago.
    OldAnswer,
    /// A word of a connection of long ago.
    OldFrame,
    /// The idle is said twice.
    IdleAgain,
}

impl What {
    /// The name of what this is, as coverage counts it: the variant, and in which way.
    pub fn kind(&self) -> String {
        let value = serde_json::to_value(self).unwrap_or_default();
        let serde_json::Value::Object(map) = value else { return value.as_str().unwrap_or("?").to_owned() };
        let Some((name, fields)) = map.into_iter().next() else { return "?".to_owned() };
        let mut kind = name;
        for key in ["fate", "how", "class", "report", "what", "signal", "name", "way"] {
            if let Some(word) = fields.get(key).and_then(serde_json::Value::as_str) {
                kind.push(' ');
                kind.push_str(word);
            }
        }
        kind
    }

    /// Whether this is what people want, rather than something that goes wrong.
    pub const fn is_work(&self) -> bool {
        matches!(
            self,
            Self::Message { poison: false, .. }
                | Self::Command { .. }
                | Self::Decide { .. }
                | Self::Token { .. }
                | Self::Start { .. }
        )
    }
}

impl Setup {
    /// Whether a user could have it so.
    pub const fn is_sensible(&self) -> bool {
        self.lease >= 5_000
            && self.fetch >= 1
            && self.held >= 1
            && self.claims >= 1
            && self.way >= 1
            && self.turn >= 1
            && self.runners >= 1
            && self.runners <= 3
            && (self.token == 0 || self.token >= 30)
    }
}

impl Plan {
    /// Whether the runners could do what is asked of them. Whose reports of turns may be lost, or late, has to name its
    /// turns: nobody could tell one from another otherwise.
    pub fn is_sensible(&self) -> bool {
        let names = |what: &What| match what {
            What::Loses { report, .. } | What::Delays { report, .. } => {
                self.setup.names_turns || !matches!(report, Report::Busy | Report::Idle)
            }
            _ => true,
        };
        self.setup.is_sensible() && self.steps.iter().all(|step| names(&step.what))
    }

    /// As JSON, for a file.
    pub fn to_text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// How many faults it has.
    pub fn faults(&self) -> usize {
        self.kills.len() + self.steps.iter().filter(|step| !step.what.is_work()).count()
    }
}
