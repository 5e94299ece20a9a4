//! Where the relay is: one URL, for HTTP and for the bus.

use crate::error::StartError;
use reqwest::Url;
use std::fmt;

/// The relay's base URL: `http` or `https`, with a host, without credentials, query or fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayUrl {
    url: Url,
}

impl RelayUrl {
    pub fn parse(text: &str) -> Result<Self, StartError> {
        let refused = |why: &str| StartError::RelayUrl { url: without_userinfo(text), why: why.to_owned() };
        let url = Url::parse(text).map_err(|e| refused(&e.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(refused("it must begin with http:// or https://"));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(refused("it names no host"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refused("it must not hold credentials; give the token as AGENT_RELAY_TOKEN"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refused("it must have neither query nor fragment"));
        }
        Ok(Self { url })
    }

    pub(crate) fn is_secured(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// Without a slash at the end, to be followed by a path of the API.
    pub(crate) fn base(&self) -> &str {
        self.url.as_str().trim_end_matches('/')
    }

    /// The URL of a websocket at this path.
    pub(crate) fn websocket(&self, path: &str) -> String {
        let rest = self.base().trim_start_matches(self.url.scheme());
        format!("{}{rest}{path}", if self.is_secured() { "wss" } else { "ws" })
    }

    /// The host as DNS or the address parser knows it: an IPv6 address without brackets.
    pub(crate) fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
    }

    pub(crate) fn port(&self) -> u16 {
        self.url.port_or_known_default().unwrap_or(80)
    }
}

impl fmt::Display for RelayUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.base())
    }
}

/// What comes before an `@` may be a password.
fn without_userinfo(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((_, rest)) => format!("...@{rest}"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_websocket_url_follows_from_the_relays() {
        let url = RelayUrl::parse("http://127.0.0.1:4850/").unwrap();
        assert_eq!(url.websocket("/api/bus"), "ws://127.0.0.1:4850/api/bus");
        assert_eq!((url.host(), url.port(), url.base()), ("127.0.0.1", 4850, "http://127.0.0.1:4850"));
        let url = RelayUrl::parse("https://relay.example/sub").unwrap();
        assert_eq!(url.websocket("/api/bus"), "wss://relay.example/sub/api/bus");
        assert_eq!(url.port(), 443);
        assert_eq!(RelayUrl::parse("http://[::1]:1").unwrap().host(), "::1");
    }

    #[test]
    fn odd_urls_are_refused_without_showing_a_password() {
        for odd in ["", "relay", "ftp://x", "http://", "http://u:hunter2@x", "http://x?a=b", "http://x#f"] {
            let error = RelayUrl::parse(odd).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
