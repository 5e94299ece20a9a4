//! Terminals, as a person has them.

use super::world::{World, eventually, text};
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

/// A person before a shell of their own.
#[derive(Debug)]
pub(super) struct Person<'w> {
    pub(super) tmux: Tmux<'w>,
}

impl<'w> Person<'w> {
    /// The mode of a terminal that echoes lines: what a shell leaves to the programs that it runs.
    pub(super) const COOKED: &'static str = "stty -a | grep -c -e ' icanon .* echo '";

    /// None where tmux is not installed. The shell has these variables besides what every program here has.
    pub(super) fn sits_down(world: &'w World, variables: &[(&str, &str)]) -> Option<Self> {
        let set = variables.iter().map(|(name, value)| format!("{name}='{value}' ")).collect::<Vec<_>>().concat();
        let shell = format!("exec env {set} PS1='now> ' bash --norc --noprofile -i");
        let person = Self { tmux: Tmux::start(world, "p", &shell)? };
        person.sees("now>");
        Some(person)
    }

    pub(super) fn types(&self, line: &str) {
        self.keys(&["-l", line]);
        self.keys(&["Enter"]);
    }

    pub(super) fn keys(&self, keys: &[&str]) {
        self.tmux.say(&[&["send-keys", "-t", "p"], keys].concat()).unwrap();
    }

    /// The window of the terminal has another size.
    pub(super) fn resizes(&self, width: &str, height: &str) {
        self.tmux.say(&["resize-window", "-t", "p", "-x", width, "-y", height]).unwrap();
    }

    /// What the shell answers to this: it has the terminal, and echoes what is typed. `$code` is that of what ran before.
    #[track_caller]
    pub(super) fn asks_the_shell(&self, command: &str, answer: &str) {
        let line = format!("code=$?; clear; {command}");
        self.types(&line);
        eventually(&format!("{answer:?} of {command}: {}", self.screen()), || {
            let shown = self.screen();
            // What was typed is gone with the rest.
            (!shown.contains(&line) && shown.contains(answer) && shown.contains("now>")).then_some(())
        });
    }

    pub(super) fn screen(&self) -> String {
        self.tmux.say(&["capture-pane", "-p", "-J", "-t", "p"]).unwrap_or_default()
    }

    /// With what has left the screen.
    pub(super) fn all_that_was_shown(&self) -> String {
        self.tmux.say(&["capture-pane", "-p", "-J", "-S", "-", "-t", "p"]).unwrap_or_default()
    }

    #[track_caller]
    pub(super) fn sees(&self, words: &str) -> String {
        eventually(&format!("{words:?} on the screen"), || Some(self.screen()).filter(|shown| shown.contains(words)))
    }
}

impl Drop for Person<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the screen:\n{}", self.screen());
        }
    }
}
