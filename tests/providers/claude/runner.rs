//! One test's world: the scenarios' own, with a stand-in for the model, a home for Claude Code, and runners of
//! `run claude`, in whichever way of running it.

use crate::installed::Installed;
use crate::model::Model;
use crate::world::{Process, Said, World as Scene, eventually, is_alive, signal, text};
use relay_runner_shell::claude_stream_transcript::{self, Replayed};
use relay_runner_shell::claude_terminal_transcript;
use serde_json::{Value, json};
use std::fs;
use std::ops::Deref;
use std::path::PathBuf;

/// In a terminal that the runner keeps.
pub(super) const TERMINAL: &str = "terminal";
/// On pipes.
pub(super) const STREAM: &str = "stream";
/// What it logs in with, where nothing else is said.
pub(super) const KEY: (&str, &str) = ("ANTHROPIC_API_KEY", "a-key");

#[derive(Debug)]
pub(super) struct World {
    scene: Scene,
    pub(super) model: Model,
    claude: String,
    /// The value of `--claude-mode`.
    mode: &'static str,
    login: Option<(&'static str, &'static str)>,
    url: String,
    /// How often its model is asked again before a turn fails: by default it would be so for minutes.
    tries: u32,
    /// Where the runner's folder is, where it is not in its state.
    runtime: Option<String>,
}

impl Deref for World {
    type Target = Scene;

    fn deref(&self) -> &Scene {
        &self.scene
    }
}

impl World {
    pub(super) fn new(claude: &Installed, mode: &'static str) -> Self {
        Self::of(text(&claude.program), mode)
    }

    /// With this program as Claude Code.
    pub(super) fn with(claude: &str, mode: &'static str) -> Self {
        Self::of(claude.to_owned(), mode)
    }

    /// Where this script is Claude Code.
    pub(super) fn fake(script: &str, mode: &'static str) -> Self {
        let mut world = Self::of(String::new(), mode);
        world.claude = world.script("claude", script);
        world
    }

    fn of(claude: String, mode: &'static str) -> Self {
        let (scene, model) = (Scene::new(), Model::start());
        fs::create_dir(scene.path("tmp")).unwrap();
        let url = model.url();
        let world = Self { scene, model, claude, mode, login: Some(KEY), url, tries: 0, runtime: None };
        // Its first questions are answered, the folder is trusted and the key as well.
        let project = json!({"hasTrustDialogAccepted": true, "hasCompletedProjectOnboarding": true});
        let seed = json!({"hasCompletedOnboarding": true, "theme": "dark",
            "customApiKeyResponses": {"approved": [KEY.1], "rejected": []},
            "projects": {text(&world.path("work")): project}});
        fs::write(world.path(".claude.json"), seed.to_string()).unwrap();
        world.starts_within("1m");
        world
    }

    /// What the runner reads at its next start: a Claude Code that is not up by then has not started.
    pub(super) fn starts_within(&self, span: &str) {
        let words = format!("[restart]\nunit = \"1ms\"\n[timing]\nstart = \"{span}\"\n");
        fs::write(self.path("config.toml"), words).unwrap();
    }

    /// The runner's folder, which the journal names where Claude Code is in a terminal, is in this one from its next start on.
    pub(super) fn runs_in(&mut self, folder: &str) {
        self.runtime = Some(folder.to_owned());
    }

    pub(super) fn ask(&self, arguments: &[&str]) -> Said {
        self.scene.ask_with(arguments, &self.runtime().into_iter().collect::<Vec<_>>())
    }

    fn runtime(&self) -> Option<(&str, &str)> {
        self.runtime.as_deref().map(|folder| ("XDG_RUNTIME_DIR", folder))
    }

    /// The folder, and all below it, is trusted.
    pub(super) fn trusts(&self, folder: &str) {
        let path = self.path(".claude.json");
        let mut seed: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        seed["projects"][folder] = json!({"hasTrustDialogAccepted": true, "hasCompletedProjectOnboarding": true});
        fs::write(path, seed.to_string()).unwrap();
    }

    /// With this variable it logs in from its next start on; with none, nobody is logged in.
    pub(super) fn logs_in_with(&mut self, login: Option<(&'static str, &'static str)>) {
        self.login = login;
    }

    /// Where its model is from its next start on.
    pub(super) fn has_its_model_at(&mut self, url: String) {
        self.url = url;
    }

    pub(super) fn tries_again(&mut self, times: u32) {
        self.tries = times;
    }

    /// A runner that is ready for messages.
    pub(super) fn claude(&self, more: &[&str]) -> Process {
        let runner = self.starts(more);
        self.is_ready();
        runner
    }

    pub(super) fn starts(&self, more: &[&str]) -> Process {
        let arguments =
            [&["run", "claude", "--agent-id", "a1", "--headless", "--claude-mode", self.mode], more].concat();
        let (temporary, configuration) = (text(&self.path("tmp")), text(&self.path("config.toml")));
        let (transcript, tries) = (text(&self.transcript()), self.tries.to_string());
        let mut variables = vec![
            ("AGENT_RELAY_CLAUDE", self.claude.as_str()),
            ("AGENT_RELAY_CLAUDE_TRANSCRIPT", &transcript),
            ("AGENT_RELAY_CONFIG", &configuration),
            ("ANTHROPIC_BASE_URL", &self.url),
            ("CLAUDE_CODE_MAX_RETRIES", &tries),
            ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
            ("TMPDIR", &temporary),
        ];
        variables.extend(self.login);
        variables.extend(self.runtime());
        self.start(&arguments, &variables)
    }

    /// All that was said between runner and Claude Code.
    pub(super) fn transcript(&self) -> PathBuf {
        self.path("transcript")
    }

    pub(super) fn status(&self) -> Value {
        self.ask(&["status", "a1", "--json"]).json()
    }

    /// The process of Claude Code that the runner keeps.
    pub(super) fn pid(&self) -> u32 {
        let pid = eventually("Claude Code runs", || {
            // A runner that was just started may not answer yet.
            let listed: Value = serde_json::from_str(&self.ask(&["ps", "--json"]).out).ok()?;
            listed[0]["providerPid"].as_u64()
        });
        u32::try_from(pid).unwrap()
    }

    /// The request that waits for a person, by its name.
    pub(super) fn asks(&self) -> String {
        eventually("Claude Code asks", || {
            let status: Value = serde_json::from_str(&self.ask(&["status", "a1", "--json"]).out).ok()?;
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
        eventually(&format!("message {message} is {stage}"), || (self.times(message, stage) > 0).then_some(()));
    }

    /// How often the message has got this far.
    pub(super) fn times(&self, message: u64, stage: &str) -> usize {
        self.stages(message).iter().filter(|(got, _)| got == stage).count()
    }

    /// What a person is shown has all of these words, sooner or later.
    #[track_caller]
    pub(super) fn shows(&self, verb: &str, words: &[&str]) -> String {
        eventually(&format!("`{verb} a1` shows {words:?}"), || {
            let said = self.ask(&[verb, "a1"]).out;
            words.iter().all(|word| said.contains(word)).then_some(said)
        })
    }

    /// Ended in order: nothing is left, and journal and transcript replay exactly.
    #[track_caller]
    pub(super) fn ends(&self, runner: Process, runs: u64) {
        let claude = self.pid();
        let stopped = self.ask(&["stop", "a1"]);
        assert_eq!(stopped.code, Some(0), "{stopped:?}; {}", self.log());
        assert_eq!(runner.ends(), Some(0), "{}", self.log());
        Self::is_gone(claude);
        self.is_left_alone();
        assert!(self.agents().is_empty());
        self.replays_exactly(runs);
        let transcript = fs::read(self.transcript()).unwrap();
        goes_through(self.mode, &transcript).unwrap_or_else(|why| panic!("the transcript: {why}"));
    }

    /// Neither Claude Code nor one of its commands is there any more.
    #[track_caller]
    pub(super) fn is_left_alone(&self) {
        eventually("no process of Claude Code is left", || self.claudes().is_empty().then_some(()));
    }

    pub(super) fn is_gone(pid: u32) {
        eventually(&format!("process {pid} is gone"), || (!is_alive(&pid.to_string())).then_some(()));
    }

    pub(super) fn kill(pid: u32) {
        signal(pid, "KILL");
    }

    /// The processes that work in this world's folder: Claude Code, and the commands that it has started, with their lines.
    pub(super) fn claudes(&self) -> Vec<String> {
        // A process that nobody has waited for yet has no line.
        let is_ours = |line: &String| line.contains("relay-runner ") || line.ends_with(": ");
        self.working().into_iter().filter(|line| !is_ours(line)).collect()
    }

    /// The same, and this program where Claude Code has started it.
    pub(super) fn working(&self) -> Vec<String> {
        let folder = self.path("work");
        let all = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
        let works_here = |process: &PathBuf| fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd == folder);
        let lines = all.filter(works_here).map(|process| {
            let line = fs::read(process.join("cmdline")).unwrap_or_default();
            format!("{}: {}", process.display(), String::from_utf8_lossy(&line).replace('\0', " ").trim_end())
        });
        lines.collect()
    }
}

/// Today's adapter says the same.
pub(super) fn goes_through(mode: &str, transcript: &[u8]) -> Result<Replayed, String> {
    if mode == STREAM {
        claude_stream_transcript::replay(transcript)
    } else {
        claude_terminal_transcript::replay(transcript)
    }
}
