//! How Claude Code is started: its command line and its environment, the same in every way of running it.

use super::{ClaudeWay, Setting, profiled};
use crate::error::StartError;
use crate::provider::{AGENT_VERBS, CONFINED};
use crate::runner_dir::INSTRUCTIONS;
use crate::secret::random_id;
use relay_runner_core::config::Approval;
use relay_runner_core::event::ProcessRef;
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

/// Tools that change something, by the names that Claude Code gives them; allowed without a question where everything is.
const ALLOWED_WHERE_OPEN: &str =
    "Bash,Edit,Write,NotebookEdit,WebFetch,WebSearch,Skill,Task,Agent,TodoWrite,KillShell,BashOutput,mcp__*";
const DENIED_WHERE_READ_ONLY: &str = "Edit,Write,NotebookEdit";

/// The conversation that a process is started in. Claude Code takes an id of ours for a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Conversation {
    New(String),
    Resumed(String),
}

impl Conversation {
    /// One that has no transcript is not there any more; and one in which nothing was said, as where it was killed before its first prompt
    /// was written down, cannot be resumed: Claude Code ends at once.
    pub(super) fn of(resume: Option<&str>, setting: &Setting) -> Result<Self, StartError> {
        match resume {
            Some(id) if transcript(&home(setting), id).is_some_and(|path| has_words(&path)) => {
                Ok(Self::Resumed(id.to_owned()))
            }
            Some(_) | None => random_id().map(Self::New),
        }
    }

    pub(super) fn id(&self) -> &str {
        match self {
            Self::New(id) | Self::Resumed(id) => id,
        }
    }

    fn arguments(&self) -> [OsString; 2] {
        match self {
            Self::New(id) => ["--session-id".into(), id.into()],
            Self::Resumed(id) => ["--resume".into(), id.into()],
        }
    }
}

/// Where Claude Code keeps its transcripts.
pub(super) fn home(setting: &Setting) -> PathBuf {
    let usual = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".claude")).unwrap_or_default();
    setting.home.clone().unwrap_or_else(usual)
}

/// The transcript of a conversation. Its folder is named by the working directory, in Claude Code's own way.
pub(super) fn transcript(home: &Path, conversation: &str) -> Option<PathBuf> {
    let name = format!("{conversation}.jsonl");
    let folders = std::fs::read_dir(home.join("projects")).ok()?;
    folders.flatten().map(|folder| folder.path().join(&name)).find(|path| path.is_file())
}

/// Whether something was said in a conversation, by its transcript.
fn has_words(transcript: &Path) -> bool {
    let Ok(file) = File::open(transcript) else { return false };
    let said = |line: Vec<u8>| {
        let line: Value = serde_json::from_slice(&line).unwrap_or_default();
        (line["type"] == "user" || line["type"] == "assistant") && line["message"].is_object()
    };
    BufReader::new(file).split(b'\n').map_while(Result::ok).any(said)
}

/// The conversation that a process was started in, by its command line.
pub(super) fn started_in(process: &ProcessRef) -> Option<String> {
    let line = std::fs::read(format!("/proc/{}/cmdline", process.pid)).ok()?;
    let mut words = line.split(|byte| *byte == 0);
    words.find(|word| matches!(*word, b"--session-id" | b"--resume"))?;
    String::from_utf8(words.next()?.to_vec()).ok()
}

/// The whole command line.
pub(super) fn argv(setting: &Setting, conversation: &Conversation) -> Vec<OsString> {
    let (program, more) =
        setting.spec.argv.split_first().map_or((None, &[][..]), |(program, more)| (Some(program), more));
    let mut argv: Vec<OsString> = program.cloned().into_iter().collect();
    let mut add = |words: &[&OsStr]| argv.extend(words.iter().map(|word| (*word).to_owned()));
    let word = |text: &'static str| OsStr::new(text);
    if setting.spec.way == ClaudeWay::Stream {
        for text in ["-p", "--input-format", "stream-json", "--output-format", "stream-json", "--verbose"] {
            add(&[word(text)]);
        }
        add(&[word("--replay-user-messages"), word("--permission-prompt-tool"), word("stdio")]);
    }
    let id = conversation.arguments();
    add(&[&id[0], &id[1]]);
    for (flag, value) in [("--model", &setting.model), ("--effort", &setting.effort)] {
        if let Some(value) = value {
            add(&[word(flag), OsStr::new(value)]);
        }
    }
    let (asks, allowed) = match setting.approval {
        Approval::Open => ("acceptEdits", Some(ALLOWED_WHERE_OPEN)),
        Approval::Guarded => ("manual", None),
        Approval::ReadOnly => ("dontAsk", None),
    };
    // It could neither read a long message nor reply without them.
    let verbs = AGENT_VERBS.iter().map(|verb| format!("Bash(relay-runner {verb}:*)"));
    let allowed = verbs.chain(allowed.map(str::to_owned)).collect::<Vec<_>>().join(",");
    add(&[word("--permission-mode"), word(asks), word("--allowedTools"), OsStr::new(&allowed)]);
    if setting.approval == Approval::ReadOnly {
        add(&[word("--disallowedTools"), word(DENIED_WHERE_READ_ONLY)]);
    }
    if let Some(instructions) = instructions(setting) {
        add(&[word("--append-system-prompt"), OsStr::new(&instructions)]);
    }
    if let Some(plugin) = &setting.plugin {
        add(&[word("--plugin-dir"), plugin.as_os_str()]);
    }
    if let Some(profile) = &setting.profile {
        add(&profiled::arguments(profile, &setting.runner_dir).iter().map(OsString::as_os_str).collect::<Vec<_>>());
    }
    add(&more.iter().map(OsString::as_os_str).collect::<Vec<_>>());
    argv
}

/// What the agent is told of the relay, and by its profile.
fn instructions(setting: &Setting) -> Option<String> {
    let text = std::fs::read_to_string(setting.runner_dir.join(INSTRUCTIONS)).ok()?;
    Some(text).filter(|text| !text.trim().is_empty())
}

/// What is changed in the environment that every provider gets.
pub(super) fn environment(
    mut env: BTreeMap<OsString, OsString>,
    way: ClaudeWay,
    cwd: &Path,
) -> BTreeMap<OsString, OsString> {
    // It stands in the system prompt, so that no hook need say it again.
    env.remove(OsStr::new("AGENT_RELAY_INSTRUCTIONS_FILE"));
    // A program that replaces itself under way is another one at the next start.
    env.entry("DISABLE_AUTOUPDATER".into()).or_insert_with(|| "1".into());
    if way == ClaudeWay::Terminal {
        // What it would suggest in its input is nobody's words.
        env.entry("CLAUDE_CODE_ENABLE_PROMPT_SUGGESTION".into()).or_insert_with(|| "false".into());
    }
    env.insert(CONFINED.into(), cwd.as_os_str().to_owned());
    // Where its instructions and skills find this program.
    let ours = std::env::current_exe().ok().and_then(|path| Some(path.parent()?.to_owned()));
    let path = env.get(OsStr::new("PATH")).cloned().unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(ours);
    if let Ok(path) = std::env::join_paths(folders) {
        env.insert("PATH".into(), path);
    }
    // The terminal that the runner was started in is not the one that it runs in, unless that was handed over.
    if way != ClaudeWay::Interactive {
        for name in ["TMUX", "TMUX_PANE"] {
            env.remove(OsStr::new(name));
        }
    }
    env
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_in_which_nothing_was_said_has_no_words() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.jsonl");
        assert!(!has_words(&path), "it is not there");
        let queued = r#"{"type":"queue-operation","operation":"enqueue","content":"\"type\":\"user\" message"}"#;
        std::fs::write(&path, format!("{{\"type\":\"mode\"}}\n{queued}\n{{\"type\":\"user\"")).unwrap();
        assert!(!has_words(&path), "it was killed before its first prompt was written down");
        let prompt = r#"{"type":"user","message":{"role":"user","content":"go"}}"#;
        std::fs::write(&path, format!("{queued}\n{prompt}\n")).unwrap();
        assert!(has_words(&path));
    }
}
