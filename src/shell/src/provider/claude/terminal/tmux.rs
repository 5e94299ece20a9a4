//! A tmux server of the runner's own, with one session: never the user's.

use super::session::Keys;
use crate::info::write_whole;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// The session that Claude Code is in.
pub(crate) const SESSION: &str = "claude";
/// The pane that it is in: the first of a server of our own, whatever a person opens beside it.
const TARGET: &str = "%0";
/// What tmux is asked takes a few milliseconds; a server that does not answer is not waited for.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);
/// Columns and lines, until somebody attaches with a terminal of another size.
const SIZE: [&str; 2] = ["200", "50"];
const CONFIGURATION: &str = "tmux.conf";
const LAUNCHER: &str = "claude.sh";
/// What is pasted goes through this buffer.
const BUFFER: &str = "relay-runner";

#[derive(Debug, Clone)]
pub(crate) struct Tmux {
    program: OsString,
    runner_dir: PathBuf,
}

/// A program to be started in it.
#[derive(Debug)]
pub(super) struct Launch<'a> {
    pub(super) argv: &'a [OsString],
    pub(super) env: &'a BTreeMap<OsString, OsString>,
    pub(super) cwd: &'a Path,
    /// What it prints is added to this file.
    pub(super) log: &'a Path,
    /// Whose terminal it is, for whoever looks at it.
    pub(super) title: &'a str,
}

/// How the program in it has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dead {
    Code(i32),
    Signal(i32),
}

impl Tmux {
    pub(super) const fn new(program: OsString, runner_dir: PathBuf) -> Self {
        Self { program, runner_dir }
    }

    fn socket(&self) -> PathBuf {
        self.runner_dir.join(crate::runner_dir::TMUX_SOCKET)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("-u").arg("-S").arg(self.socket()).arg("-f").arg(self.runner_dir.join(CONFIGURATION));
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// Starts the server with its session, and gives the process that is in it. The error is for people.
    pub(super) async fn start(&self, launch: Launch<'_>) -> Result<u32, String> {
        self.end().await;
        let at = |name: &str| self.runner_dir.join(name);
        let write = |name: &str, text: &str| {
            write_whole(&at(name), text).map_err(|error| format!("cannot write {}: {error}", at(name).display()))
        };
        write(CONFIGURATION, &configuration(launch.title))?;
        // In a file: what tmux takes on its command line is short. The process keeps its number.
        write(LAUNCHER, &launcher(launch.argv)?)?;
        let mut command = self.command();
        // The server has its environment from here, and so has all that runs in it.
        command.envs(launch.env).current_dir(launch.cwd);
        command.args([
            "new-session",
            "-d",
            "-P",
            "-F",
            "#{pane_pid}",
            "-s",
            SESSION,
            "-x",
            SIZE[0],
            "-y",
            SIZE[1],
            "-c",
        ]);
        command.arg(launch.cwd).arg("sh").arg(at(LAUNCHER));
        let pid = said(command, None).await?;
        let pid = pid.trim().parse().map_err(|_| format!("tmux does not say which process it started: {pid}"))?;
        let log = quoted(launch.log.as_os_str())?.replace('#', "##").replace('%', "%%");
        if let Err(why) = self.say(&["pipe-pane", "-o", "-t", TARGET, &format!("exec cat >> {log}")]).await {
            tracing::warn!("what Claude Code's terminal shows is not logged: {why}");
        }
        Ok(pid)
    }

    async fn say(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = self.command();
        command.args(arguments);
        said(command, None).await
    }

    /// What is on its screen, with colours.
    pub(super) async fn screen(&self) -> Result<String, String> {
        self.say(&["capture-pane", "-p", "-e", "-t", TARGET]).await
    }

    /// Keys reach the program, also while somebody scrolls back.
    pub(super) async fn types(&self, keys: &Keys) -> Result<(), String> {
        let in_mode = self.say(&["display-message", "-p", "-t", TARGET, "#{pane_in_mode}"]).await?;
        if in_mode.trim() != "0" {
            self.say(&["send-keys", "-t", TARGET, "-X", "cancel"]).await?;
        }
        match keys {
            Keys::Paste(text) => {
                // What controls a terminal would end the paste, and be keys.
                let text: String = text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect();
                let mut command = self.command();
                command.args(["load-buffer", "-b", BUFFER, "-"]).stdin(Stdio::piped());
                said(command, Some(&text)).await?;
                self.say(&["paste-buffer", "-p", "-d", "-b", BUFFER, "-t", TARGET]).await?;
            }
            Keys::Enter => drop(self.say(&["send-keys", "-t", TARGET, "Enter"]).await?),
            Keys::Clear => drop(self.say(&["send-keys", "-t", TARGET, "C-u"]).await?),
            Keys::Escape => drop(self.say(&["send-keys", "-t", TARGET, "Escape"]).await?),
        }
        Ok(())
    }

    /// How the program has ended; none while tmux does not know.
    pub(super) async fn dead(&self) -> Option<Dead> {
        let format = "#{pane_dead} #{pid} #{?pane_dead_signal,s,c} #{pane_dead_status}#{pane_dead_signal}";
        let said = self.say(&["display-message", "-p", "-t", TARGET, format]).await.ok()?;
        let mut words = said.split_whitespace();
        if words.next() != Some("1") {
            return None;
        }
        let (server, by_signal) = (words.next(), words.next() == Some("s"));
        let Some(number) = words.next().and_then(|number| number.parse().ok()) else {
            // Some versions miss the signal by which they are told, and look when they get another.
            let server = server.and_then(|pid| Pid::from_raw(pid.parse().ok()?));
            if let Some(Err(error)) = server.map(|server| kill_process(server, Signal::CHILD)) {
                tracing::debug!("tmux cannot be told that its program has ended: {error}");
            }
            return None;
        };
        Some(if by_signal { Dead::Signal(number) } else { Dead::Code(number) })
    }

    /// The server is gone, with all that is in it.
    pub(super) async fn end(&self) {
        // Refused where there is none.
        let _ = self.say(&["kill-server"]).await;
        for name in [CONFIGURATION, LAUNCHER, crate::runner_dir::TMUX_SOCKET] {
            let _ = std::fs::remove_file(self.runner_dir.join(name));
        }
    }
}

async fn said(mut command: Command, input: Option<&str>) -> Result<String, String> {
    let asked = async {
        let mut child = command.spawn()?;
        if let (Some(text), Some(mut stdin)) = (input, child.stdin.take()) {
            stdin.write_all(text.as_bytes()).await?;
        }
        child.wait_with_output().await
    };
    let said = tokio::time::timeout(ANSWERS_WITHIN, asked).await;
    let said = said.map_err(|_| format!("tmux does not answer within {} s", ANSWERS_WITHIN.as_secs()))?;
    let said = said.map_err(|error| format!("cannot run tmux: {error}"))?;
    if said.status.success() {
        Ok(String::from_utf8_lossy(&said.stdout).into_owned())
    } else {
        Err(format!("tmux: {}", String::from_utf8_lossy(&said.stderr).trim()))
    }
}

fn configuration(title: &str) -> String {
    let title: String = title.chars().filter(|c| c.is_alphanumeric() || "-_. ".contains(*c)).collect();
    let options = [
        "history-limit 10000",
        "remain-on-exit on",
        "escape-time 20",
        "default-terminal screen-256color",
        "status-left ''",
        "status-left-length 0",
        "window-status-format ''",
        "window-status-current-format ''",
        "status-right-length 80",
    ];
    let title = format!("status-right ' {title} · Ctrl-b d leaves this terminal, and the agent goes on '");
    let lines = options.into_iter().chain([title.as_str()]);
    lines.flat_map(|option| ["set -g ", option, "\n"]).collect()
}

/// A script that becomes the program.
fn launcher(argv: &[OsString]) -> Result<String, String> {
    // Whatever the agent does with tmux is about no server of ours.
    let mut line = "unset TMUX TMUX_PANE\nexec".to_owned();
    for word in argv {
        line.push(' ');
        line += &quoted(word)?;
    }
    Ok(line + "\n")
}

/// A word for the shell.
fn quoted(word: &OsStr) -> Result<String, String> {
    let text =
        word.to_str().ok_or_else(|| format!("`{}` is no UTF-8, which a shell script cannot hold", word.display()))?;
    Ok(format!("'{}'", text.replace('\'', "'\\''")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_reach_the_program_as_they_are() {
        let argv = ["it's", "$HOME", "two words", "line\nline", ""].map(OsString::from);
        let script = launcher(&[&["printf".into(), "%s|".into()], &argv[..]].concat()).unwrap();
        let said = std::process::Command::new("sh").arg("-c").arg(script).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&said.stdout), "it's|$HOME|two words|line\nline||");
    }

    #[test]
    fn a_title_breaks_no_configuration() {
        let text = configuration("a'1\n; #{x}");
        assert!(text.ends_with(" a1 x · Ctrl-b d leaves this terminal, and the agent goes on '\n"), "{text}");
    }
}
