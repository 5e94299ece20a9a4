//! The info file (behaviour 4): how others on this machine, of the same user, find the runner.

use crate::runner_dir::INFO_FILE;
use serde::Serialize;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// What it says. It holds the secret of the control server, and is readable for its owner only.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Info<'a> {
    pub(crate) agent_id: &'a str,
    pub(crate) runner_id: &'a str,
    pub(crate) provider: &'a str,
    pub(crate) control_url: String,
    pub(crate) control_socket: &'a Path,
    pub(crate) secret: &'a str,
    pub(crate) pid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tmux_session: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tmux_socket: Option<&'a str>,
    /// The agent's own folder: a runner that is dead is read there.
    pub(crate) state_dir: &'a Path,
    pub(crate) started_at: u64,
}

/// Where it is written, and taken away from at a clean end.
#[derive(Debug)]
pub(crate) struct InfoFile {
    paths: Vec<PathBuf>,
    /// What was never written is not ours to remove: another runner of the agent may be there.
    written: bool,
}

impl InfoFile {
    pub(crate) fn new(runner_dir: &Path, further: Option<&Path>) -> Self {
        let mut paths = vec![runner_dir.join(INFO_FILE)];
        paths.extend(further.map(Path::to_owned));
        Self { paths, written: false }
    }

    /// Writes it whole, in every place. All places are tried; the first failure is given back.
    pub(crate) fn write(&mut self, info: &Info<'_>) -> Result<(), String> {
        let mut text =
            serde_json::to_string_pretty(info).map_err(|e| format!("the info file has no JSON form: {e}"))?;
        text.push('\n');
        self.written = true;
        let mut first = Ok(());
        for path in &self.paths {
            if let Err(error) = write_whole(path, &text) {
                first = first.and(Err(format!("cannot write the info file {}: {error}", path.display())));
            }
        }
        first
    }

    /// At a clean end.
    pub(crate) fn remove(&self) {
        if !self.written {
            return;
        }
        for path in &self.paths {
            match std::fs::remove_file(path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => tracing::warn!("cannot remove the info file {}: {error}", path.display()),
            }
        }
    }
}

/// Written beside and renamed, readable for its owner only.
pub(crate) fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    // Left over from a process with our number that was killed in between.
    let _ = std::fs::remove_file(&temporary);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn it_is_written_whole_for_its_owner_only_and_goes_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let further = dir.path().join("further.json");
        let mut file = InfoFile::new(dir.path(), Some(&further));
        let info = Info {
            agent_id: "a1",
            runner_id: "r1",
            provider: "command",
            control_url: "http://127.0.0.1:1".to_owned(),
            control_socket: &dir.path().join("control.sock"),
            secret: "s",
            pid: 7,
            tmux_session: None,
            tmux_socket: None,
            state_dir: dir.path(),
            started_at: 9,
        };
        file.write(&info).unwrap();
        file.write(&info).unwrap();
        let path = dir.path().join(INFO_FILE);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("{\n  \"agentId\": \"a1\",") && text.ends_with("}\n"), "{text}");
        assert!(!text.contains("tmuxSession"));
        assert_eq!(std::fs::metadata(&further).unwrap().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "no temporary file is left");
        InfoFile::new(dir.path(), Some(&further)).remove();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "a runner that came too late takes nothing away");
        file.remove();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
