//! Claude Code in a terminal, as a person has it, with hooks that write down what they are given.

use crate::installed::Installed;
use crate::model::Model;
use crate::tmux::Tmux;
use crate::world::{World, eventually, text};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

/// The hooks that may concern an adapter. Notification is none of them: whether it comes depends on the time.
const HOOKS: [&str; 14] = [
    "SessionStart",
    "UserPromptSubmit",
    "PreToolUse",
    "PermissionRequest",
    "PostToolUse",
    "PostToolUseFailure",
    "PostToolBatch",
    "Stop",
    "StopFailure",
    "SubagentStart",
    "SubagentStop",
    "PreCompact",
    "PostCompact",
    "SessionEnd",
];

/// A hook writes down its input in one piece. That of a permission then waits for a decision, and notes a signal.
const HOOK: &str = "#!/bin/bash
cd \"$(dirname \"$0\")\" && IFS= read -r -d '' said
printf '%s\\n' \"${said%$'\\n'}\" >> hooks
if [ \"$1\" = PermissionRequest ] && [ -e wait ]; then
    trap 'echo \"{\\\"signal\\\":\\\"TERM\\\"}\" >> hooks; exit' TERM
    read -r decided < decision && printf '%s\\n' \"$decided\"
fi
exit 0
";

/// Reads lines from a pipe and says them; notes that it runs, and where.
const MONITOR: &str = "#!/bin/bash
cd \"$(dirname \"$0\")\"
printf '{\"cwd\":\"%s\",\"session\":\"%s\"}\\n' \"$OLDPWD\" \"$CLAUDE_CODE_SESSION_ID\" >> monitor
while :; do cat lines; done
";

#[derive(Debug)]
pub(super) struct Scene {
    pub(super) world: World,
    pub(super) model: Model,
    claude: String,
}

impl Scene {
    /// `seed` is what it has been told in earlier sessions, in its file in the home.
    pub(super) fn new(claude: &Installed, seed: &Value) -> Self {
        let world = World::without_relay();
        for folder in ["home", "tmp", "plugin/.claude-plugin", "plugin/monitors"] {
            fs::create_dir_all(world.path(folder)).unwrap();
        }
        let write = |name: &str, words: &str| fs::write(world.path(name), words).unwrap();
        write("home/.claude.json", &seed.to_string());
        write("plugin/.claude-plugin/plugin.json", &json!({"name": "a-plugin", "version": "0.0.1"}).to_string());
        let monitor =
            json!([{"name": "lines", "command": "bash ${CLAUDE_PLUGIN_ROOT}/monitor.sh", "description": "lines"}]);
        write("plugin/monitors/monitors.json", &monitor.to_string());
        write("plugin/monitor.sh", MONITOR);
        write("hook.sh", HOOK);
        for pipe in ["decision", "plugin/lines"] {
            let made = std::process::Command::new("mkfifo").arg(world.path(pipe)).status().unwrap();
            assert!(made.success());
        }
        let hook = |name: &str| {
            let command = format!("bash {} {name}", text(&world.path("hook.sh")));
            (name.to_owned(), json!([{"hooks": [{"type": "command", "command": command, "timeout": 60}]}]))
        };
        let hooks: serde_json::Map<_, _> = HOOKS.into_iter().map(hook).collect();
        write("settings.json", &json!({"hooks": hooks}).to_string());
        Self { world, model: Model::start(), claude: text(&claude.program) }
    }

    /// All first questions answered.
    pub(super) fn answered(claude: &Installed) -> Self {
        let scene = Self::new(claude, &Value::Null);
        fs::write(scene.world.path("home/.claude.json"), scene.seed().to_string()).unwrap();
        scene
    }

    pub(super) fn seed(&self) -> Value {
        let project = json!({"hasTrustDialogAccepted": true, "hasCompletedProjectOnboarding": true});
        json!({"hasCompletedOnboarding": true, "theme": "dark",
            "customApiKeyResponses": {"approved": ["a-key"], "rejected": []},
            "projects": {text(&self.world.path("work")): project}})
    }

    pub(super) fn start(&self, more: &str) -> Tui<'_> {
        let path = |name: &str| text(&self.world.path(name));
        let environment = format!(
            "HOME={} TMPDIR={} ANTHROPIC_BASE_URL={} ANTHROPIC_API_KEY=a-key CLAUDE_CODE_MAX_RETRIES=0 \
             CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1 DISABLE_AUTOUPDATER=1",
            path("home"),
            path("tmp"),
            self.model.url()
        );
        let command = format!(
            "trap : TERM; cd {} && env {environment} {} --permission-mode manual --settings {} --plugin-dir {} {more}; \
             echo ENDED $?; exec sleep 60",
            path("work"),
            self.claude,
            path("settings.json"),
            path("plugin")
        );
        Tui { scene: self, tmux: Tmux::start(&self.world, "c", &command).unwrap() }
    }

    pub(super) fn write(&self, name: &str, words: &str) {
        fs::write(self.world.path(name), words).unwrap();
    }

    /// What the hook of a permission waits for: `allow`, or `deny` with a reason.
    pub(super) fn decide(&self, behavior: &str) {
        let decision = json!({"behavior": behavior, "message": "not today"});
        let answer = json!({"hookSpecificOutput": {"hookEventName": "PermissionRequest", "decision": decision}});
        self.write("decision", &format!("{answer}\n"));
    }
}

#[derive(Debug)]
pub(super) struct Tui<'s> {
    scene: &'s Scene,
    tmux: Tmux<'s>,
}

impl Tui<'_> {
    fn noted(&self, file: &str) -> Vec<Value> {
        let words = fs::read_to_string(self.scene.world.path(file)).unwrap_or_default();
        words.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// What the hooks were given, in order.
    pub(super) fn hooks(&self) -> Vec<Value> {
        self.noted("hooks")
    }

    pub(super) fn names(&self, since: usize) -> Vec<String> {
        let name = |hook: &Value| hook["hook_event_name"].as_str().or(hook["signal"].as_str()).unwrap().to_owned();
        self.hooks()[since..].iter().map(name).collect()
    }

    pub(super) fn monitor(&self) -> Value {
        eventually("the monitor runs", || self.noted("plugin/monitor").first().cloned())
    }

    #[track_caller]
    pub(super) fn hook(&self, since: usize, name: &str) -> Value {
        eventually(&format!("the hook {name}"), || {
            let is = |hook: &&Value| hook["hook_event_name"] == name || hook["signal"] == name;
            self.hooks().get(since..)?.iter().find(is).cloned()
        })
    }

    /// What this finds in what the hooks were given since then.
    #[track_caller]
    pub(super) fn until(&self, since: usize, what: &str, look: impl Fn(&[Value]) -> Option<Value>) -> Value {
        eventually(what, || look(self.hooks().get(since..)?))
    }

    #[track_caller]
    pub(super) fn shows(&self, words: &str) -> String {
        eventually(&format!("{words:?} on the screen"), || {
            Some(self.tmux.shows("c")).filter(|shown| shown.contains(words))
        })
    }

    /// The screen no longer has this.
    #[track_caller]
    pub(super) fn hides(&self, words: &str) {
        eventually(&format!("no {words:?} on the screen"), || (!self.tmux.shows("c").contains(words)).then_some(()));
    }

    pub(super) fn key(&self, key: &str) {
        self.tmux.say(&["send-keys", "-t", "c", key]).unwrap();
    }

    /// Escape, until the screen no longer has this: a dialog passes over the keys of its first moment. Not at every
    /// look: a second one at once after one that was heeded opens another dialog.
    #[track_caller]
    pub(super) fn escape(&self, words: &str) {
        let mut looks = 0;
        eventually(&format!("no {words:?} after Escape"), || {
            if !self.tmux.shows("c").contains(words) {
                return Some(());
            }
            if looks % 50 == 0 {
                self.key("Escape");
            }
            looks += 1;
            None
        });
    }

    /// Pastes, waits until it is in the input, and enters it.
    #[track_caller]
    pub(super) fn enter(&self, words: &str) {
        let file: PathBuf = self.scene.world.path("pasted");
        fs::write(&file, words).unwrap();
        self.tmux.say(&["load-buffer", "-b", "p", &text(&file)]).unwrap();
        self.tmux.say(&["paste-buffer", "-p", "-d", "-b", "p", "-t", "c"]).unwrap();
        let last = words.split_whitespace().last().unwrap();
        eventually(&format!("{last:?} in the input"), || {
            // Earlier prompts are above it, with the same mark.
            let shown = self.tmux.shows("c");
            shown.rsplit('❯').next()?.contains(last).then_some(())
        });
        self.key("Enter");
    }

    /// It is ready for a prompt.
    pub(super) fn is_ready(&self) -> Value {
        let started = self.hook(0, "SessionStart");
        self.monitor();
        self.shows("manual mode on");
        started
    }

    /// A line of the monitor.
    pub(super) fn line(&self, words: &str) {
        fs::write(self.scene.world.path("plugin/lines"), format!("{words}\n")).unwrap();
    }
}

impl Tui<'_> {
    /// Claude Code has ended, and writes nothing more: it would make its folders again.
    fn ends(&self) {
        if self.tmux.shows("c").contains("ENDED") {
            return;
        }
        let pid = self.tmux.say(&["display-message", "-p", "-t", "c", "#{pane_pid}"]).unwrap();
        let group = rustix::process::Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
        rustix::process::kill_process_group(group, rustix::process::Signal::TERM).unwrap();
        self.shows("ENDED");
    }
}

impl Drop for Tui<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the hooks: {:?}\nthe screen:\n{}", self.names(0), self.tmux.shows("c"));
        } else {
            self.ends();
        }
    }
}
