//! Terminals, as a person has them.

use super::world::{World, text};
use std::process::Command;

/// A tmux server of the test's own.
#[derive(Debug)]
pub(super) struct Tmux<'w> {
    world: &'w World,
    pub(super) socket: String,
}

impl<'w> Tmux<'w> {
    /// None where tmux is not installed.
    pub(super) fn start(world: &'w World, name: &str, command: &str) -> Option<Self> {
        Command::new("tmux").arg("-V").output().ok()?;
        let tmux = Self { world, socket: text(&world.path(&format!("tmux-{name}"))) };
        let made = tmux.say(&["new-session", "-d", "-x", "80", "-y", "24", "-s", name, command]);
        assert!(made.is_some(), "a session of tmux");
        Some(tmux)
    }

    /// What tmux answers; none when it refuses.
    pub(super) fn say(&self, arguments: &[&str]) -> Option<String> {
        let arguments = [&["-f", "/dev/null", "-S", &self.socket], arguments].concat();
        let said =
            self.world.other_program("tmux", &arguments, &[("TERM", "xterm"), ("LANG", "C.UTF-8")]).output().unwrap();
        said.status.success().then(|| String::from_utf8_lossy(&said.stdout).into_owned())
    }

    pub(super) fn shows(&self, name: &str) -> String {
        self.say(&["capture-pane", "-p", "-t", name]).unwrap_or_default()
    }
}

impl Drop for Tmux<'_> {
    fn drop(&mut self) {
        self.say(&["kill-server"]);
    }
}
