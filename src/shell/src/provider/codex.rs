//! Codex as a provider, through its app-server: a process of our own that listens on a socket in the runner folder, so
//! that it outlives the runner, and so that a person's terminal can join the same thread.
//!
//! [`session`] decides what is said, without any I/O; [`generation`] owns the process and the connection.

mod asking;
mod generation;
mod session;
mod socket;
pub mod transcript;
mod words;

use super::living::Living;
use super::shown;
use super::{Adopt, Begin, Deed, Provider, Start};
use crate::control::terminal::Terminal;
use crate::input::Inputs;
use crate::runner_dir::{CODEX_SOCKET, INSTRUCTIONS};
use generation::{READY_WITHIN, Running, Say};
use relay_runner_core::config::{Adapter, Approval, Identity};
use relay_runner_core::event::TakenOffer;
use relay_runner_core::{Generation, OpId, StopStep, format};
use session::{Ask, Opening};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

/// Where codex has its settings, its credentials and its threads.
pub(crate) const HOME: &str = "CODEX_HOME";

/// Codex, as it is started.
#[derive(Debug, Clone)]
pub struct CodexSpec {
    /// The program, and what it is given besides.
    pub argv: Vec<OsString>,
    /// Where all that is said between runner and codex is written down, with the words of messages.
    pub transcript: Option<PathBuf>,
}

impl CodexSpec {
    /// Variables of the runner's own environment that codex needs.
    pub const NEEDS: [&str; 5] = [HOME, "CODEX_API_KEY", "OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORGANIZATION"];

    /// What the app-server can do.
    pub const fn adapter() -> Adapter {
        Adapter {
            restartable: true,
            adoptable: cfg!(target_os = "linux"),
            typed: false,
            evidence: true,
            steer: true,
            interrupt: true,
            compact: true,
            clear: true,
            inject: true,
            between_turns: true,
            attach: true,
            live: false,
        }
    }
}

/// What the adapter is given for the whole run.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub(crate) spec: CodexSpec,
    pub(crate) cwd: PathBuf,
    pub(crate) model: Option<String>,
    pub(crate) effort: Option<String>,
    pub(crate) approval: Approval,
    /// Its home, where it is not the usual one.
    pub(crate) home: Option<OsString>,
    pub(crate) runner_dir: PathBuf,
    pub(crate) state_dir: PathBuf,
    /// A folder of skills that its home does not have.
    pub(crate) skills: Option<PathBuf>,
    /// How long it may take until it is ready, from its start or from the break of its connection.
    pub(crate) ready_within: Duration,
}

impl Setting {
    pub(crate) fn new(
        spec: CodexSpec,
        identity: &Identity,
        cwd: PathBuf,
        home: Option<OsString>,
        [runner_dir, state_dir]: [PathBuf; 2],
    ) -> Self {
        let text = |text: &Option<relay_runner_core::Text>| text.as_deref().map(str::to_owned);
        let (model, effort) = (text(&identity.model), text(&identity.effort));
        let (approval, skills, ready_within) = (identity.approval, None, READY_WITHIN);
        Self { spec, cwd, model, effort, approval, home, runner_dir, state_dir, skills, ready_within }
    }

    pub(crate) fn with_skills(self, skills: Option<PathBuf>) -> Self {
        Self { skills, ..self }
    }

    fn socket(&self) -> PathBuf {
        self.runner_dir.join(CODEX_SOCKET)
    }

    fn url(&self) -> OsString {
        let mut url = OsString::from("unix://");
        url.push(self.socket());
        url
    }

    fn argv(&self) -> Vec<OsString> {
        let (program, more) =
            self.spec.argv.split_first().map_or((None, &[][..]), |(program, more)| (Some(program), more));
        let listen = ["app-server".into(), "--listen".into(), self.url()];
        program.cloned().into_iter().chain(listen).chain(more.iter().cloned()).collect()
    }

    fn opening(&self, generation: Generation, thread: Option<&str>, in_doubt: Option<Vec<TakenOffer>>) -> Opening {
        let instructions = std::fs::read_to_string(self.runner_dir.join(INSTRUCTIONS)).ok();
        Opening {
            generation: generation.0,
            cwd: self.cwd.to_string_lossy().into_owned(),
            model: self.model.clone(),
            effort: self.effort.clone(),
            approval: match self.approval {
                Approval::Open => words::Approval::Open,
                Approval::Guarded => words::Approval::Guarded,
                Approval::ReadOnly => words::Approval::ReadOnly,
            },
            instructions: instructions.filter(|text| !text.trim().is_empty()),
            thread: thread.map(str::to_owned),
            in_doubt,
            skills: self.skills.iter().map(|dir| dir.to_string_lossy().into_owned()).collect(),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Codex {
    setting: Setting,
    living: Living<Say>,
}

impl Codex {
    pub(crate) const fn new(setting: Setting, inputs: Inputs) -> Self {
        Self { setting, living: Living::new(inputs) }
    }

    fn run(&mut self, begin: Begin, opening: Opening) {
        let (setting, reporter) = (self.setting.clone(), begin.reporter().clone());
        self.living.begin(reporter, |told| Running { setting, begin, opening, told }.run());
    }
}

impl Provider for Codex {
    fn start(&mut self, start: Start) {
        let opening = self.setting.opening(start.generation, start.resume.as_deref(), None);
        self.run(Begin::Start(start), opening);
    }

    fn adopt(&mut self, adopt: Adopt) {
        let in_doubt = shown::named(adopt.offers.iter());
        let opening = self.setting.opening(adopt.generation, adopt.conversation.as_deref(), Some(in_doubt));
        self.run(Begin::Adopt(adopt), opening);
    }

    fn act(&mut self, generation: Generation, op: OpId, deed: Deed) {
        self.living.say(generation, op, Say { op, ask: ask(deed) });
    }

    fn stop(&mut self, generation: Generation, step: StopStep) {
        self.living.stop(generation, step);
    }

    fn end(self: Box<Self>, leave_adoptable: bool) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let leave = leave_adoptable && CodexSpec::adapter().adoptable;
        self.living.end(leave)
    }

    /// Codex's own, on the live thread.
    fn terminal(&self, conversation: Option<&str>) -> Option<Terminal> {
        self.living.is_begun().then_some(())?;
        let program = self.setting.spec.argv.first()?.to_string_lossy().into_owned();
        let url = self.setting.url().to_string_lossy().into_owned();
        let argv = [program, "resume".to_owned(), "--remote".to_owned(), url, conversation?.to_owned()];
        let home = self.setting.home.as_ref().map(|home| (HOME.to_owned(), home.to_string_lossy().into_owned()));
        Some(Terminal::Command { argv: argv.into(), env: home.into_iter().collect::<BTreeMap<_, _>>() })
    }
}

/// A deed in codex's terms.
fn ask(deed: Deed) -> Ask {
    match deed {
        Deed::Offer(offers) => {
            Ask::Offer { text: shown::batch(&offers), offers: shown::named(offers.iter().map(|handed| &handed.offer)) }
        }
        Deed::Prompt(text) => Ask::Prompt { text: text.to_string() },
        Deed::Inject(text) => Ask::Inject { text: text.to_string() },
        Deed::Tell { message, why } => Ask::Inject { text: format::withdrawn(message, &why) },
        Deed::Interrupt => Ask::Interrupt,
        Deed::Probe => Ask::Probe,
        Deed::Compact => Ask::Compact,
        Deed::Clear => Ask::Clear,
        Deed::Decide { approval, decision, .. } => Ask::Decide { approval: approval.to_string(), decision },
    }
}

#[cfg(test)]
mod tests;
