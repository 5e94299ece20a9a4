//! What waits to be written on one connection, bounded in frames and in bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::ws::Utf8Bytes;
use relay_runner_protocol::frame::ServerFrame;
use tokio::sync::{mpsc, oneshot};

/// Frames that may wait for one connection.
pub(crate) const FRAMES: usize = 1024;
/// Bytes that may wait for one connection.
const BYTES: usize = 16 << 20;

/// What the task of a connection is told to write.
#[derive(Debug)]
pub(crate) enum Out {
    Frame(Utf8Bytes),
    /// Fetch the events after this position page by page, and write them before anything that is queued behind.
    Replay(u64),
    /// The last frame before the connection is closed. What it carries keeps the connection alive until it is written.
    Last(Utf8Bytes, Option<Alive>),
}

/// While this exists the connection may live; dropping it ends the connection at once, even amid a write.
pub(crate) type Alive = oneshot::Sender<()>;

/// The sending half of a connection's queue, bounded in frames and in bytes.
#[derive(Debug, Clone)]
pub(crate) struct Outbox {
    queue: mpsc::Sender<Out>,
    waiting: Arc<AtomicUsize>,
}

/// The receiving half.
#[derive(Debug)]
pub(crate) struct Queue {
    queue: mpsc::Receiver<Out>,
    waiting: Arc<AtomicUsize>,
}

pub(crate) fn queue() -> (Outbox, Queue) {
    let (sender, receiver) = mpsc::channel(FRAMES);
    let waiting = Arc::new(AtomicUsize::new(0));
    (Outbox { queue: sender, waiting: Arc::clone(&waiting) }, Queue { queue: receiver, waiting })
}

impl Outbox {
    /// False: the connection is too slow, or gone. It then resumes from its own position, on a new connection.
    #[must_use]
    pub(crate) fn push(&self, out: Out) -> bool {
        let size = out.size();
        // A single frame may be larger than what may wait: it passes when nothing else does.
        let before = self.waiting.fetch_add(size, Ordering::Relaxed);
        if before > 0 && before + size > BYTES {
            return false;
        }
        self.queue.try_send(out).is_ok()
    }

    #[must_use]
    pub(crate) fn frame(&self, frame: &ServerFrame) -> bool {
        self.push(Out::Frame(text(frame)))
    }
}

impl Queue {
    pub(crate) async fn next(&mut self) -> Option<Out> {
        let out = self.queue.recv().await?;
        self.waiting.fetch_sub(out.size(), Ordering::Relaxed);
        Some(out)
    }
}

impl Out {
    fn size(&self) -> usize {
        match self {
            Self::Frame(text) | Self::Last(text, _) => text.len(),
            Self::Replay(_) => 0,
        }
    }
}

/// A frame as it stands on the wire. The frames are plain data with string keys, which always have a JSON form.
pub(crate) fn text(frame: &ServerFrame) -> Utf8Bytes {
    serde_json::to_string(frame).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_bounded_in_bytes_but_one_large_frame_passes() {
        let (outbox, _queue) = queue();
        let large = "x".repeat(BYTES + 1);
        assert!(outbox.push(Out::Frame(large.into())));
        assert!(!outbox.push(Out::Frame("x".into())));
    }
}
