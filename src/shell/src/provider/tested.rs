//! For the tests of the adapters, with real processes.

use super::Handed;
use super::leftover::reference;
use crate::attachments::Files;
use relay_runner_core::Offer;
use relay_runner_core::effect::Repeat;
use relay_runner_core::event::ProcessRef;
use relay_runner_core::ids::Nonce;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Duration;

/// What does not come to pass within this never does.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);
/// That of every offer.
pub(crate) const NONCE: Nonce = Nonce(7);

/// A process of nobody in the test: alive, in a group of its own, and ended whatever becomes of the test.
pub(crate) struct Agent(pub(crate) Child);

impl Agent {
    pub(crate) fn start() -> Self {
        Self::of(Command::new("sleep").arg("1000"))
    }

    pub(crate) fn of(command: &mut Command) -> Self {
        Self(command.process_group(0).spawn().unwrap())
    }

    pub(crate) fn is(&self) -> ProcessRef {
        reference(self.0.id())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // With what it started. It may be gone already.
        let _ = rustix::process::kill_process_group(
            rustix::process::Pid::from_child(&self.0),
            rustix::process::Signal::KILL,
        );
        let _ = self.0.wait();
    }
}

pub(crate) fn message(id: u64) -> Handed {
    let message = serde_json::json!({"id": id, "from": "alice", "to": "a1", "body": "Do it.", "createdAt": 0});
    let offer = Offer { message: id, attempt: 1, nonce: NONCE, repeat: Repeat::First };
    Handed { offer, message: Arc::new(serde_json::from_value(message).unwrap()), files: Files::default() }
}

/// Waits until no process has this number; signal 0 only asks.
pub(crate) async fn gone(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    let check = async {
        let mut looks = tokio::time::interval(Duration::from_millis(5));
        loop {
            looks.tick().await;
            let zombie = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()))
                .is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')));
            if zombie || rustix::process::test_kill_process(pid).is_err() {
                return;
            }
        }
    };
    tokio::time::timeout(LIMIT, check).await.unwrap_or_else(|_| panic!("{pid:?} still lives"));
}

/// Waits until there is a line in the file.
pub(crate) async fn written(path: &std::path::Path) -> String {
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    let check = async {
        loop {
            looks.tick().await;
            match std::fs::read_to_string(path) {
                Ok(text) if text.ends_with('\n') => return text,
                Ok(_) | Err(_) => {}
            }
        }
    };
    tokio::time::timeout(LIMIT, check).await.unwrap()
}
