//! A client of `GET /events`.

use serde_json::Value;
use tokio::time::timeout;

use crate::wire::{Api, PATIENCE};

pub(crate) struct Feed {
    response: reqwest::Response,
    read: String,
}

/// One entry; what it does not name is empty.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Entry {
    pub(crate) id: Option<u64>,
    pub(crate) event: String,
    pub(crate) data: Value,
}

impl Feed {
    /// Opens a stream, and comes back when it is listening.
    pub(crate) async fn open(api: &Api, query: &str, headers: &[(&str, &str)]) -> Self {
        let mut request = api.request(reqwest::Method::GET, &format!("/events{query}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = timeout(PATIENCE, request.send()).await.expect("an answer in time").unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut feed = Self { response, read: String::new() };
        feed.block().await.expect("a first block");
        feed
    }

    /// Up to the next empty line, without it; none at the end of the stream.
    pub(crate) async fn block(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.read.find("\n\n") {
                let block = self.read[..end].to_owned();
                self.read.drain(..end + 2);
                return Some(block);
            }
            let chunk = timeout(PATIENCE, self.response.chunk()).await.expect("a chunk in time").ok()??;
            self.read.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// The next entry, without the comments between; none at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Entry> {
        loop {
            let block = self.block().await?;
            let mut entry = Entry::default();
            for line in block.lines() {
                match line.split_once(": ") {
                    Some(("id", id)) => entry.id = Some(id.parse().unwrap()),
                    Some(("event", name)) => name.clone_into(&mut entry.event),
                    Some(("data", data)) => entry.data = serde_json::from_str(data).unwrap(),
                    _ => {}
                }
            }
            if entry != Entry::default() {
                return Some(entry);
            }
        }
    }

    /// The next entry, which must be there.
    pub(crate) async fn entry(&mut self) -> Entry {
        self.next().await.expect("an entry")
    }
}
