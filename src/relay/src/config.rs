//! What a relay is started with.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use relay_runner_protocol::DEFAULT_PORT;

/// The settings of one relay. [`Config::default`] listens on the default port of 127.0.0.1, in memory, without a token.
#[derive(Clone)]
pub struct Config {
    /// Where to listen; port 0 takes a free one. Anything but loopback needs a `token`.
    pub listen: SocketAddr,
    /// The file that holds the state, made when it is not there (its folder must be). None: in memory, gone at the end.
    pub db: Option<PathBuf>,
    /// What clients have to show; none: everybody on this machine is let in.
    pub token: Option<String>,
    /// How long a claim lasts, from each claim and renewal. Default 10 min: a runner renews after half of it, so that a
    /// relay that restarts costs nobody a claim, and a dead runner's work is free again within these ten minutes.
    pub lease: Duration,
    /// How often an agent is to send a heartbeat; told at registration. Default 30 s.
    pub heartbeat_interval: Duration,
    /// An agent without a connection that was not heard from for this long is shown as offline and not ready. Default
    /// 90 s, three heartbeats.
    pub offline_after: Duration,
    /// An agent without a connection that was not heard from for this long is forgotten: its claims are released, and
    /// its heartbeats are answered with `ok: false` until it registers again. Default 24 h, since a runner may leave its
    /// agent registered on purpose while it is being upgraded or waits for a person.
    pub prune_after: Duration,
    /// After taking an agent over from another instance, an instance cannot take the same agent over again for this
    /// long: two runners do not evict each other for ever. Default 60 s.
    pub takeover_pause: Duration,
    /// Within which a connection of the bus has to register. Default 10 s.
    pub register_within: Duration,
    /// How often a connection of the bus is pinged. Default 15 s.
    pub ping_interval: Duration,
    /// A connection of the bus from which nothing came for this long, not even a pong, is dead. Default 45 s, three pings.
    pub dead_after: Duration,
    /// How long a runtime token lasts that is made without saying so, and every renewed one; in whole seconds, at least
    /// one. Default 24 h.
    pub token_lifetime: Duration,
    /// How many calls, and frames of the bus, a client may make in a second: each runtime token, and each address of those
    /// who show none. 0: no limit. Default 10,000, which no agent comes near: it is there against one that runs wild.
    pub calls_per_second: u32,
    /// How many of them may come at once. Default 50,000, at least 1.
    pub calls_at_once: u32,
    /// Bytes of one artifact. Default 64 MiB.
    pub artifact_bytes: u64,
    /// Bytes of all artifacts together. Default 4 GiB. They are files in a folder beside `db`, named like it with
    /// `.artifacts` behind.
    pub keep_artifact_bytes: u64,
    /// How many of the newest events are kept for connections that resume. Default 10,000, at least 1.
    pub keep_events: u64,
    /// How long messages and commands are kept, and tasks that have ended. Work that has not ended is kept. Default 30
    /// days.
    pub keep_for: Duration,
    /// How many of the newest messages are kept, and commands; of the older ones what has not ended. Default 100,000.
    pub keep_messages: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT)),
            db: None,
            token: None,
            lease: Duration::from_mins(10),
            heartbeat_interval: Duration::from_secs(30),
            offline_after: Duration::from_secs(90),
            prune_after: Duration::from_hours(24),
            takeover_pause: Duration::from_mins(1),
            register_within: Duration::from_secs(10),
            ping_interval: Duration::from_secs(15),
            dead_after: Duration::from_secs(45),
            token_lifetime: Duration::from_hours(24),
            calls_per_second: 10_000,
            calls_at_once: 50_000,
            artifact_bytes: 64 << 20,
            keep_artifact_bytes: 4 << 30,
            keep_events: 10_000,
            keep_for: Duration::from_hours(30 * 24),
            keep_messages: 100_000,
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("listen", &self.listen)
            .field("db", &self.db)
            // A token must not reach a log by way of `{:?}`.
            .field("token", &self.token.as_ref().map(|_| "(set)"))
            .field("lease", &self.lease)
            .field("heartbeat_interval", &self.heartbeat_interval)
            .field("offline_after", &self.offline_after)
            .field("prune_after", &self.prune_after)
            .field("takeover_pause", &self.takeover_pause)
            .field("register_within", &self.register_within)
            .field("ping_interval", &self.ping_interval)
            .field("dead_after", &self.dead_after)
            .field("token_lifetime", &self.token_lifetime)
            .field("calls_per_second", &self.calls_per_second)
            .field("calls_at_once", &self.calls_at_once)
            .field("artifact_bytes", &self.artifact_bytes)
            .field("keep_artifact_bytes", &self.keep_artifact_bytes)
            .field("keep_events", &self.keep_events)
            .field("keep_for", &self.keep_for)
            .field("keep_messages", &self.keep_messages)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_printed() {
        let config = Config { token: Some("planted-secret".into()), ..Config::default() };
        assert!(!format!("{config:?}").contains("planted-secret"));
    }
}
