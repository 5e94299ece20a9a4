//! Calls of HTTP without any code of ours in between: to the relay, and to a runner's control server.

use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// A request that is written out, byte for byte.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    /// With their names.
    pub(super) headers: &'a [&'a str],
    pub(super) body: &'a str,
}

/// Status, and the body as JSON where it is.
pub(super) type Answer = (u16, Value);

impl<'a> Call<'a> {
    pub(super) const fn get(path: &'a str) -> Self {
        Self { method: "GET", path, headers: &[], body: "" }
    }

    pub(super) const fn post(path: &'a str, body: &'a str) -> Self {
        Self { method: "POST", path, headers: &["Content-Type: application/json"], body }
    }

    /// To `host:port`; a `Host` of its own among the headers takes the place of that.
    pub(super) fn to(&self, address: &str) -> Answer {
        self.over(&mut TcpStream::connect(address).unwrap(), address)
    }

    pub(super) fn to_socket(&self, socket: &Path) -> Answer {
        self.over(&mut UnixStream::connect(socket).unwrap(), "localhost")
    }

    fn over(&self, stream: &mut (impl Read + Write), host: &str) -> Answer {
        let Self { method, path, headers, body } = self;
        let first = format!("{method} {path} HTTP/1.1");
        let (host, length) = (format!("Host: {host}"), format!("Content-Length: {}", body.len()));
        let mut lines = vec![first.as_str(), "Connection: close", &length];
        if !headers.iter().any(|header| header.starts_with("Host:")) {
            lines.push(&host);
        }
        lines.extend_from_slice(headers);
        // Who refuses a body may close before all of it was sent.
        let _ = stream.write_all(format!("{}\r\n\r\n{body}", lines.join("\r\n")).as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer to {self:?}: {answer}"));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        (status.unwrap_or_else(|| panic!("{head}")), serde_json::from_str(body).unwrap_or(Value::Null))
    }
}
