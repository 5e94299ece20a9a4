//! The terminal that a runner keeps, as a test looks at it and types into it; and a person who attaches to it.

use super::runner::World;
use crate::tmux::Tmux;
use crate::world::{PROGRAM, eventually, text};
use std::fs;

impl World {
    fn tmux(&self, arguments: &[&str]) -> Option<String> {
        let socket = text(&self.state().join("run/tmux.sock"));
        let arguments = [&["-u", "-S", &socket], arguments].concat();
        let said = self.other_program("tmux", &arguments, &[]).output().unwrap();
        said.status.success().then(|| String::from_utf8_lossy(&said.stdout).into_owned())
    }

    /// What is on the screen of Claude Code; nothing where there is none.
    pub(super) fn pane(&self) -> String {
        self.tmux(&["capture-pane", "-p", "-t", "%0"]).unwrap_or_default()
    }

    #[track_caller]
    pub(super) fn pane_shows(&self, words: &str) {
        eventually(&format!("{words:?} on the screen"), || self.pane().contains(words).then_some(()));
    }

    /// Pressed until the screen no longer has this: a dialog passes over the keys of its first moment.
    #[track_caller]
    pub(super) fn key_until(&self, key: &str, words: &str) {
        let mut looks = 0;
        eventually(&format!("no {words:?} after {key}"), || {
            if !self.pane().contains(words) {
                return Some(());
            }
            if looks % 50 == 0 {
                self.tmux(&["send-keys", "-t", "=claude:", key]).unwrap();
            }
            looks += 1;
            None
        });
    }

    /// All that Claude Code has written down of its conversations.
    fn written(&self) -> String {
        let folders = fs::read_dir(self.path(".claude/projects")).into_iter().flatten().flatten();
        let files = folders.flat_map(|folder| fs::read_dir(folder.path()).into_iter().flatten().flatten());
        files.filter_map(|file| fs::read_to_string(file.path()).ok()).collect()
    }

    /// Claude Code has the message, though it did not begin with it.
    pub(super) fn claude_has(&self, message: u64) {
        let heading = format!("[relay message {message} ");
        eventually(&format!("message {message} waits within Claude Code"), || {
            let has = |line: &str| line.contains("\"enqueue\"") && line.contains(&heading);
            self.written().lines().any(has).then_some(())
        });
    }

    /// A person in a terminal of another size, before that of the agent.
    pub(super) fn attaches(&self, name: &str, more: &str) -> Attached<'_> {
        let command = format!("{PROGRAM} attach a1 {more}; cat");
        Attached { tmux: Tmux::start(self, name, &command).unwrap(), name: name.to_owned() }
    }
}

#[derive(Debug)]
pub(super) struct Attached<'w> {
    tmux: Tmux<'w>,
    name: String,
}

impl Attached<'_> {
    pub(super) fn screen(&self) -> String {
        self.tmux.shows(&self.name)
    }

    #[track_caller]
    pub(super) fn shows(&self, words: &str) {
        eventually(&format!("{words:?} in the terminal"), || self.screen().contains(words).then_some(()));
    }

    pub(super) fn types(&self, words: &str) {
        self.tmux.say(&["send-keys", "-t", &self.name, "-l", words]).unwrap();
    }

    /// Another one in the agent's own server: Ctrl-b c.
    pub(super) fn opens_a_window(&self) {
        self.tmux.say(&["send-keys", "-t", &self.name, "C-b", "c"]).unwrap();
        eventually("another window", || (!self.screen().contains("Claude Code v")).then_some(()));
    }

    pub(super) fn enters(&self) {
        self.tmux.say(&["send-keys", "-t", &self.name, "Enter"]).unwrap();
    }
}
