//! The plugin that a runner gives Claude Code, as the real program takes it: without a runner, since those with one are the
//! tests of each way of running it.

use crate::installed::Installed;
use crate::model::Model;
use relay_runner_shell::plugin::{self, ClaudeRun, How, write_for_claude};
use relay_runner_shell::profile::Provider;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

const WHOLE: ClaudeRun = ClaudeRun { skills: true, hooks: true, monitor: true, approval: Duration::from_secs(595) };
/// Who is called in the place of this program notes it, with what the runner's verb would find it by.
const NOTES: &str = "#!/bin/sh
printf '%s %s %s %s\\n' \"$1\" \"$2\" \"$AGENT_RELAY_RUNNER_DIR\" \"$AGENT_RELAY_PROVIDER_SESSION_ID\" >> \"$HOME/called\"
";

struct Scene {
    home: TempDir,
    model: Model,
    claude: PathBuf,
    program: PathBuf,
}

impl Scene {
    fn new(claude: &Installed) -> Self {
        let home = tempfile::Builder::new().prefix("rr-").tempdir().unwrap();
        for folder in ["work", "tmp", "it's \"here\"", ".claude"] {
            fs::create_dir(home.path().join(folder)).unwrap();
        }
        let program = home.path().join("it's \"here\"/relay-runner");
        fs::write(&program, NOTES).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Self { home, model: Model::start(), claude: claude.program.clone(), program }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// As a runner writes it at its start.
    fn plugin(&self) -> PathBuf {
        let dir = self.path("the plugin");
        write_for_claude(&dir, Some(&self.path(".claude")), &self.program, WHOLE).unwrap();
        dir
    }

    /// What it says in print mode.
    fn says(&self, plugin: &Path, prompt: &str) -> Vec<Value> {
        let mut command = Command::new(&self.claude);
        command.args(["-p", "--output-format", "stream-json", "--verbose", "--allowedTools", "Bash", "--plugin-dir"]);
        command.arg(plugin).args(["--", prompt]).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.home.path()).env("TMPDIR", self.path("tmp"));
        command.env("ANTHROPIC_BASE_URL", self.model.url()).env("ANTHROPIC_API_KEY", "a-key");
        command.env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1").env("DISABLE_AUTOUPDATER", "1");
        command.env("AGENT_RELAY_RUNNER_DIR", "/runner").env("AGENT_RELAY_PROVIDER_SESSION_ID", "s1");
        let said = command.current_dir(self.path("work")).stdin(Stdio::null()).output().unwrap();
        assert!(said.status.success(), "{said:?}");
        let said = String::from_utf8(said.stdout).unwrap();
        said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The calls of the program, since it was last asked for them.
    fn called(&self) -> Vec<String> {
        let path = self.path("called");
        let words = fs::read_to_string(&path).unwrap_or_default();
        fs::remove_file(path).unwrap();
        words.lines().map(str::to_owned).collect()
    }
}

fn hooks(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| format!("hook {name} /runner s1")).collect()
}

/// The names of ours, as it lists them.
fn skills(said: &[Value]) -> Vec<String> {
    let init = said.iter().find(|said| said["subtype"] == "init").unwrap();
    let names = init["skills"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned());
    names.filter(|name| name.contains("relay-")).collect()
}

pub(super) fn its_hooks_are_called_in_order_and_not_for_a_nested_one(claude: &Installed) {
    let scene = Scene::new(claude);
    let plugin = scene.plugin();
    let said = scene.says(&plugin, "SAY well");
    let init = said.iter().find(|said| said["subtype"] == "init").unwrap();
    assert_eq!(init["plugins"][0]["name"], "relay-runner", "{init}");
    assert_eq!(init["plugins"][0]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(scene.called(), hooks(&["SessionStart", "UserPromptSubmit", "Stop", "SessionEnd"]));
    // An agent that runs another one: only the command of the outer one is heard of.
    let nested = format!("RUN {} -p 'SAY nested' < /dev/null", scene.claude.display());
    let said = scene.says(&plugin, &nested);
    assert!(said.iter().any(|said| said["type"] == "user" && said.to_string().contains("nested")), "{said:#?}");
    assert_eq!(scene.called(), hooks(&["SessionStart", "UserPromptSubmit", "PostToolUse", "Stop", "SessionEnd"]));
}

pub(super) fn its_skills_are_listed_once_wherever_they_are(claude: &Installed) {
    let scene = Scene::new(claude);
    let listed = skills(&scene.says(&scene.plugin(), "SAY well"));
    assert_eq!(listed.len(), 11, "{listed:?}");
    assert!(listed.contains(&"relay-runner:relay-reply".to_owned()), "{listed:?}");
    // Installed into its home: the plugin of the next run is without them.
    let home = scene.path(".claude");
    let how = How::default();
    assert_eq!(plugin::install(&home, Provider::Claude, &scene.program, how).unwrap().len(), 11);
    let listed = skills(&scene.says(&scene.plugin(), "SAY well"));
    assert_eq!(listed.len(), 11, "{listed:?}");
    assert!(listed.contains(&"relay-reply".to_owned()), "{listed:?}");
    assert_eq!(plugin::uninstall(&home, how).unwrap().len(), 11);
    assert_eq!(skills(&scene.says(&scene.plugin(), "SAY well")).len(), 11);
}
