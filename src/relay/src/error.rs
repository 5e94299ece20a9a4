//! Why a relay could not be started.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Everything that keeps [`Relay::start`](crate::Relay::start) from coming back with a relay.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error(
        "refusing to listen on {0} without a token: anybody on that network could give orders to agents; \
         set a token, or listen on 127.0.0.1"
    )]
    OpenToTheNetwork(SocketAddr),
    #[error(
        "cannot listen on {0}: the port is in use, perhaps by another relay; use that one, stop it, or choose another port"
    )]
    PortInUse(SocketAddr),
    #[error("cannot listen on {addr}: {source}; choose an address of this machine and a port you may use")]
    Listen { addr: SocketAddr, source: io::Error },
    #[error(
        "cannot open the relay's database {path}: {reason}; check that its folder exists and is writable, or name another file"
    )]
    Database { path: PathBuf, reason: String },
    #[error("the relay's database {path} is in use by another relay; stop that one, or name another file")]
    DatabaseInUse { path: PathBuf },
    #[error(
        "the relay's database {path} has schema {found}, and this version knows schemas up to {known}; \
         use a newer version, or name another file"
    )]
    DatabaseTooNew { path: PathBuf, found: i64, known: i64 },
    #[error("cannot make a runtime token: {0}")]
    Token(String),
    #[error("cannot start the relay's thread: {0}; the machine is short of threads or memory")]
    Thread(io::Error),
}
