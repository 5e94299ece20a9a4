//! One test's world: the scenarios' own, with a stand-in for the model, a home for codex, and runners of `run codex`.

use super::app_server::configuration;
use crate::installed::Installed;
use crate::model::Model;
use crate::world::{Process, World as Scene, eventually, is_alive, signal, text};
use relay_runner_shell::codex_transcript;
use serde_json::Value;
use std::fs;
use std::ops::Deref;
use std::path::PathBuf;

#[derive(Debug)]
pub(super) struct World {
    scene: Scene,
    pub(super) model: Model,
    codex: String,
}

impl Deref for World {
    type Target = Scene;

    fn deref(&self) -> &Scene {
        &self.scene
    }
}

impl World {
    pub(super) fn new(codex: &Installed) -> Self {
        let model = Model::start();
        let configuration = configuration(&model.url(), 0);
        Self::of(&text(&codex.program), &configuration, model)
    }

    /// With this program as codex, and this as its configuration.
    pub(super) fn with(codex: &str, configuration: &str) -> Self {
        Self::of(codex, configuration, Model::start())
    }

    fn of(codex: &str, configuration: &str, model: Model) -> Self {
        let scene = Scene::new();
        for folder in [".codex", "tmp"] {
            fs::create_dir(scene.path(folder)).unwrap();
        }
        let world = Self { scene, model, codex: codex.to_owned() };
        world.configure(configuration);
        world.starts_within("1m");
        world
    }

    /// What codex reads at its next start.
    pub(super) fn configure(&self, configuration: &str) {
        fs::write(self.path(".codex/config.toml"), configuration).unwrap();
    }

    /// What the runner reads at its next start: a codex that is not up by then has not started.
    pub(super) fn starts_within(&self, span: &str) {
        let words = format!(
            "[environment]\nallow = [\"STAND_IN_KEY\"]\n[restart]\nunit = \"1ms\"\n[timing]\nstart = \"{span}\"\n"
        );
        fs::write(self.path("config.toml"), words).unwrap();
    }

    /// This program is codex.
    pub(super) fn uses(&mut self, codex: String) {
        self.codex = codex;
    }

    /// A runner of codex that is ready for messages.
    pub(super) fn codex(&self, more: &[&str]) -> Process {
        let runner = self.starts(more);
        self.is_ready();
        runner
    }

    pub(super) fn starts(&self, more: &[&str]) -> Process {
        let arguments = [&["run", "codex", "--agent-id", "a1"], more].concat();
        let (home, temporary) = (text(&self.path(".codex")), text(&self.path("tmp")));
        let (configuration, transcript) = (text(&self.path("config.toml")), text(&self.transcript()));
        let variables = [
            ("AGENT_RELAY_CODEX", self.codex.as_str()),
            ("AGENT_RELAY_CODEX_TRANSCRIPT", &transcript),
            ("AGENT_RELAY_CONFIG", &configuration),
            ("CODEX_HOME", &home),
            ("STAND_IN_KEY", "a key"),
            // Codex makes links to itself in its home, and not below a temporary folder.
            ("TMPDIR", &temporary),
        ];
        self.start(&arguments, &variables)
    }

    /// All that was said between runner and codex.
    pub(super) fn transcript(&self) -> PathBuf {
        self.path("transcript")
    }

    pub(super) fn status(&self) -> Value {
        self.ask(&["status", "a1", "--json"]).json()
    }

    /// The process of codex that the runner keeps.
    pub(super) fn pid(&self) -> u32 {
        let pid = eventually("codex runs", || self.ask(&["ps", "--json"]).json()[0]["providerPid"].as_u64());
        u32::try_from(pid).unwrap()
    }

    /// The request of codex that waits for a person, by its name.
    pub(super) fn asks(&self) -> String {
        eventually("codex asks", || {
            // A runner that was just started may not answer yet.
            let said = self.ask(&["status", "a1", "--json"]);
            let status: Value = serde_json::from_str(&said.out).ok()?;
            status["approvals"][0]["id"].as_str().map(str::to_owned)
        })
    }

    /// Decides by a verb of the program.
    #[track_caller]
    pub(super) fn decides(&self, decision: &[&str], request: &str) {
        let said = self.ask(&[decision, &[request, "a1"]].concat());
        assert_eq!(said.code, Some(0), "{said:?}; {}", self.log());
    }

    /// The message has got this far.
    pub(super) fn is(&self, message: u64, stage: &str) {
        eventually(&format!("message {message} is {stage}"), || {
            self.stages(message).iter().any(|(got, _)| got == stage).then_some(())
        });
    }

    /// Offered, and codex has said that it got it.
    pub(super) fn is_accepted(&self, message: u64) {
        self.is(message, "offered");
        eventually("codex has answered", || (self.status()["operations"] == 0).then_some(()));
    }

    /// How often the message has got this far.
    pub(super) fn times(&self, message: u64, stage: &str) -> usize {
        self.stages(message).iter().filter(|(got, _)| got == stage).count()
    }

    /// Ended in order: nothing is left, and journal and transcript replay exactly.
    #[track_caller]
    pub(super) fn ends(&self, runner: Process, runs: u64) {
        let codex = self.pid();
        let stopped = self.ask(&["stop", "a1"]);
        assert_eq!(stopped.code, Some(0), "{stopped:?}; {}", self.log());
        assert_eq!(runner.ends(), Some(0), "{}", self.log());
        Self::is_gone(codex);
        eventually("no process of codex is left", || self.codexes().is_empty().then_some(()));
        assert!(self.agents().is_empty());
        self.replays_exactly(runs);
        let transcript = fs::read(self.transcript()).unwrap();
        codex_transcript::replay(&*transcript).unwrap_or_else(|why| panic!("the transcript: {why}"));
    }

    pub(super) fn is_gone(pid: u32) {
        eventually(&format!("process {pid} is gone"), || (!is_alive(&pid.to_string())).then_some(()));
    }

    pub(super) fn kill(pid: u32) {
        signal(pid, "KILL");
    }

    /// The processes that work in this world's folder: codex, and the commands that it has started, with their lines.
    pub(super) fn codexes(&self) -> Vec<String> {
        let folder = self.path("work");
        let all = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
        let works_here = |process: &PathBuf| fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd == folder);
        let lines = all.filter(works_here).map(|process| {
            let line = fs::read(process.join("cmdline")).unwrap_or_default();
            format!("{}: {}", process.display(), String::from_utf8_lossy(&line).replace('\0', " ").trim_end())
        });
        lines.filter(|line| !line.contains("relay-runner ")).collect()
    }
}
