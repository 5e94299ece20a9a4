//! The control server (protocol 4): for hooks and tools on this machine, on a unix socket in the runner folder and on
//! a loopback port with a secret. It asks the loop, and holds no state of its own.

mod events;
mod guard;
mod hook;
pub(crate) mod metrics;
mod monitoring;
mod permission;
mod report;
pub(crate) mod routes;
pub(crate) mod terminal;
mod unheard;
mod verbs;
pub(crate) mod why;

use crate::hooked::Hooked;
use crate::http::Relay;
use crate::input::{Inputs, Task};
use crate::monitor::Monitor;
use crate::runner_dir::CONTROL_SOCKET;
use crate::secret;
use axum::Router;
use axum::serve::ListenerExt;
use guard::Peer;
use secrecy::SecretString;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long answers that are on their way may take at the end.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// What some routes reach besides the loop.
#[derive(Debug, Clone)]
pub(crate) struct Beside {
    /// With the token in force.
    pub(crate) relay: watch::Receiver<Relay>,
    pub(crate) monitor: Monitor,
    pub(crate) hooked: Hooked,
    /// A permission that a hook asks for is given without a question.
    pub(crate) allows_all: bool,
}

/// The running server. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) port: u16,
    pub(crate) socket: PathBuf,
    /// In the info file, and nowhere else.
    pub(crate) secret: SecretString,
    ending: watch::Sender<bool>,
    tasks: [Task; 2],
}

impl Control {
    /// Listens on both. The error is for people.
    pub(crate) fn start(runner_dir: &Path, inputs: &Inputs, beside: &Beside) -> Result<Self, String> {
        let socket = runner_dir.join(CONTROL_SOCKET);
        let unix = listen_unix(&socket)?;
        let tcp = listen_tcp().map_err(|e| format!("cannot listen on a port of 127.0.0.1: {e}"))?;
        let port = tcp.local_addr().map_err(|e| format!("the port of the control server is unknown: {e}"))?.port();
        let secret = SecretString::from(secret::random_hex::<32>().map_err(|e| e.to_string())?);
        let (ending, ended) = watch::channel(false);
        let on_unix = guard::by_user(routes::router(inputs, beside));
        let on_tcp = guard::by_secret(routes::router(inputs, beside), Arc::new(secret.clone()));
        let tasks = [
            Task::start("the control server", inputs, serve_unix(unix, on_unix, ended.clone())),
            Task::start("the control server", inputs, serve_tcp(tcp, on_tcp, ended)),
        ];
        Ok(Self { port, socket, secret, ending, tasks })
    }

    /// Answers what is on its way, and is gone.
    pub(crate) async fn end(self) {
        self.ending.send_replace(true);
        let [unix, tcp] = self.tasks;
        tokio::join!(unix.end_within(LAST_ANSWERS), tcp.end_within(LAST_ANSWERS));
        match std::fs::remove_file(&self.socket) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!("cannot remove {}: {error}", self.socket.display()),
        }
    }
}

/// A socket file that nobody answers at is left over, and replaced.
fn listen_unix(path: &Path) -> Result<tokio::net::UnixListener, String> {
    let cannot = |why: String| format!("cannot listen on {}: {why}", path.display());
    if path.exists() {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(cannot("another runner of this agent answers there; stop that one first".to_owned()));
        }
        std::fs::remove_file(path).map_err(|e| cannot(format!("the socket left there cannot be removed: {e}")))?;
    }
    tokio::net::UnixListener::bind(path).map_err(|e| cannot(e.to_string()))
}

fn listen_tcp() -> io::Result<tokio::net::TcpListener> {
    let listener = std::net::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}

async fn serve_unix(listener: tokio::net::UnixListener, router: Router, ended: watch::Receiver<bool>) {
    let service = router.into_make_service_with_connect_info::<Peer>();
    if let Err(error) = axum::serve(listener, service).with_graceful_shutdown(is_over(ended)).await {
        tracing::warn!("the control socket is over: {error}");
    }
}

async fn serve_tcp(listener: tokio::net::TcpListener, router: Router, ended: watch::Receiver<bool>) {
    let listener = listener.tap_io(|stream| {
        // Only slower without it.
        let _ = stream.set_nodelay(true);
    });
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(is_over(ended)).await {
        tracing::warn!("the control port is over: {error}");
    }
}

async fn is_over(mut ended: watch::Receiver<bool>) {
    // The sender is gone only when the server is being dropped.
    let _ = ended.wait_for(|over| *over).await;
}

#[cfg(test)]
mod tests;
