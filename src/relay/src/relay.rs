//! A relay as a value: it runs while the value exists.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt;
use relay_runner_protocol::token::TokenAnswer;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::artifacts::Artifacts;
use crate::config::Config;
use crate::error::Error;
use crate::rate::Rate;
use crate::store::{Asked, Store};
use crate::{App, Bounds, Pace, clock, http, upkeep};

/// What calls that are being answered have to end, when the relay is stopped.
const LAST_CALLS: Duration = Duration::from_secs(2);

/// A running relay. Dropping it ends it like a kill, but in order: connections are closed, the database is closed, and
/// nothing is lost that was answered. [`stop`](Self::stop) also lets calls end that are being answered.
#[derive(Debug)]
pub struct Relay {
    addr: SocketAddr,
    app: Arc<App>,
    stopping: watch::Sender<bool>,
    server: Option<JoinHandle<()>>,
    sweeper: JoinHandle<()>,
}

impl Relay {
    /// Opens the database, listens, and serves from then on, in tasks of the current tokio runtime (which needs its I/O
    /// and time drivers) and one thread of its own.
    ///
    /// # Errors
    /// [`Error`] says what could not be had: the address, the database, or a token where one is needed.
    pub async fn start(config: Config) -> Result<Self, Error> {
        let token = config.token.clone().filter(|token| !token.is_empty());
        if token.is_none() && !config.listen.ip().is_loopback() {
            return Err(Error::OpenToTheNetwork(config.listen));
        }
        let listener = listen(config.listen).await?;
        let addr = listener.local_addr().map_err(|source| Error::Listen { addr: config.listen, source })?;
        let store = Store::open(&config)?;
        let pace = Pace {
            heartbeat_interval_ms: clock::millis(config.heartbeat_interval),
            register_within: config.register_within,
            // A timer cannot tick at no interval at all.
            ping_interval: config.ping_interval.max(Duration::from_millis(1)),
            dead_after: config.dead_after,
        };
        let bounds = Bounds { artifact_bytes: config.artifact_bytes };
        let rate = Rate::new(config.calls_per_second, config.calls_at_once);
        let artifacts = Artifacts::beside(config.db.as_deref());
        let (stopping, mut stop) = watch::channel(false);
        let app = Arc::new(App { store, token, pace, bounds, rate, artifacts, stopping: stop.clone() });
        // A frame is small and wanted at once: it must not wait for the next one to fill a packet.
        let listener = listener.tap_io(|stream| {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "a connection keeps its delay");
            }
        });
        let service = http::router(Arc::clone(&app)).into_make_service_with_connect_info::<SocketAddr>();
        let server = axum::serve(listener, service).with_graceful_shutdown(async move {
            // An error says that the relay was dropped, which means the same.
            let _ = stop.wait_for(|stop| *stop).await;
        });
        let server = tokio::spawn(async move {
            if let Err(error) = server.await {
                tracing::error!(%error, "the relay's server ended");
            }
        });
        let sweeper = tokio::spawn(upkeep::look_after(Arc::clone(&app), config.lease, config.keep_for));
        tracing::info!(%addr, "relay listening");
        Ok(Self { addr, app, stopping, server: Some(server), sweeper })
    }

    /// Where it listens, with the port it got.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The URL for clients on this machine, without a slash at its end.
    pub fn url(&self) -> String {
        let ip = match self.addr.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            ip => ip,
        };
        format!("http://{}", SocketAddr::new(ip, self.addr.port()))
    }

    /// Makes a runtime token, for a test or for an operator: for what `POST /api/tokens/runtime` gives to whoever shows
    /// the relay's own token. The lifetime counts in whole seconds, at least one; `None` is [`Config::token_lifetime`].
    ///
    /// # Errors
    /// [`Error::Token`]: a profile without a name, a lifetime of more than a year, or a relay that is going down.
    pub async fn issue_token(&self, profile_id: &str, lifetime: Option<Duration>) -> Result<TokenAnswer, Error> {
        let (profile, parent) = (profile_id.to_owned(), self.app.token.clone().unwrap_or_default());
        let lifetime = lifetime.map(|lifetime| lifetime.as_secs().max(1));
        let answer = self.app.store.run(move |tx| tx.issue_token(&Asked::default(), &parent, &profile, lifetime));
        answer.await.map_err(|refusal| Error::Token(refusal.message))
    }

    /// Takes no more calls, lets those end that are being answered (2 s at most), and closes connections and database.
    /// The port and the file are free when this comes back.
    pub async fn stop(mut self) {
        let _ = self.stopping.send(true);
        if let Some(mut server) = self.server.take()
            && tokio::time::timeout(LAST_CALLS, &mut server).await.is_err()
        {
            server.abort();
            let _ = server.await;
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.stopping.send(true);
        self.sweeper.abort();
        if let Some(server) = &self.server {
            server.abort();
        }
        self.app.store.close();
    }
}

async fn listen(addr: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(addr).await.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => Error::PortInUse(addr),
        _ => Error::Listen { addr, source },
    })
}
