//! The relay under test, and what a test says to it.

use relay_runner_protocol::ServerFrame;
use relay_runner_relay::{Config, Relay};
use serde_json::{Value, json};

use crate::document::Document;
use crate::wire::{Answer, Api, Bus, config};

const URL: &str = "CONFORMANCE_RELAY_URL";
const TOKEN: &str = "CONFORMANCE_RELAY_TOKEN";
const OWN_TOKEN: &str = "of-the-embedded-relay";

pub(super) struct Subject {
    pub(super) api: Api,
    pub(super) url: String,
    pub(super) token: Option<String>,
    document: Document,
    /// What makes the names of one test its own.
    run: String,
    _embedded: Option<Relay>,
}

impl Subject {
    pub(super) async fn new() -> Self {
        let given = std::env::var(URL).ok().filter(|url| !url.is_empty());
        let (url, token, embedded) = if let Some(url) = given {
            (url.trim_end_matches('/').to_owned(), std::env::var(TOKEN).ok(), None)
        } else {
            let config = Config { token: Some(OWN_TOKEN.into()), ..config() };
            let relay = Relay::start(config).await.unwrap();
            (relay.url(), Some(OWN_TOKEN.to_owned()), Some(relay))
        };
        let mut random = [0; 8];
        getrandom::fill(&mut random).unwrap();
        let run = format!("conf-{:016x}", u64::from_be_bytes(random));
        Self { api: Api::at(&url), url, token, document: Document::own(), run, _embedded: embedded }
    }

    /// A name that nobody else has.
    pub(super) fn name(&self, what: &str) -> String {
        format!("{}-{what}", self.run)
    }

    /// A call, held against the document: what is said when it is taken, and what is answered in any case.
    pub(super) async fn call(&self, method: &str, path: &str, body: Value, key: Option<&str>) -> Answer {
        let mut headers = self.headers();
        headers.push(("Content-Type", "application/json"));
        headers.extend(key.map(|key| ("Idempotency-Key", key)));
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.api.call(method, path, &headers, text).await;
        let operation = self.document.operation(method, path).unwrap_or_else(|| panic!("no {method} {path}"));
        let fault = self.document.fault_in_answer(&operation, answer.status, &answer.body);
        assert_eq!(fault, None, "the answer of {method} {path}");
        if answer.status < 300 && !body.is_null() {
            assert_eq!(self.document.fault_in_request(&operation, &body), None, "the body of {method} {path}");
        }
        answer
    }

    pub(super) fn headers(&self) -> Vec<(&'static str, &str)> {
        self.token.iter().map(|token| ("x-agent-relay-token", token.as_str())).collect()
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, Value::Null, None).await
    }

    pub(super) async fn post(&self, path: &str, body: Value) -> Answer {
        self.call("POST", path, body, None).await
    }

    /// Registers an agent over HTTP; its session.
    pub(super) async fn register(&self, agent: &str, instance: &str, extra: Value) -> Value {
        let body = with(json!({"id": agent, "instanceId": instance}), extra);
        let agent = self.post("/agents", body).await.ok();
        json!({"instanceId": instance, "epoch": agent["epoch"]})
    }

    pub(super) async fn send(&self, to: &str, extra: Value) -> u64 {
        let body = with(json!({"from": self.name("sender"), "to": to, "body": "text"}), extra);
        self.post("/messages", body).await.ok()["id"].as_u64().unwrap()
    }

    pub(super) async fn unread(&self, agent: &str) -> Vec<u64> {
        ids(&self.get(&format!("/agents/{agent}/inbox?unread=true")).await.ok(), "id")
    }

    pub(super) async fn claim(&self, id: u64, agent: &str, session: &Value) -> Value {
        self.post(&format!("/messages/{id}/claim"), json!({"agentId": agent, "session": session})).await.ok()
    }

    pub(super) async fn change(&self, id: u64, what: &str, agent: &str, session: &Value, fence: &Value) -> Answer {
        let body = json!({"agentId": agent, "session": session, "fence": fence});
        self.post(&format!("/messages/{id}/claim/{what}"), body).await
    }

    pub(super) async fn bus(&self) -> Bus {
        Bus::connect(&self.url, &self.headers()).await.unwrap()
    }

    /// A connection that speaks for an agent.
    pub(super) async fn agent(&self, agent: &str, instance: &str, extra: Value) -> Bus {
        let mut bus = self.bus().await;
        bus.register(agent, instance, extra).await;
        bus
    }
}

/// The next frame that is an event of this name, as a frame that a runner can read; others may come between.
pub(super) async fn event(bus: &mut Bus, name: &str) -> Value {
    loop {
        let frame = bus.next().await;
        assert!(!frame.is_null(), "closed, and no {name}");
        serde_json::from_value::<ServerFrame>(frame.clone()).unwrap_or_else(|e| panic!("{e} in {frame}"));
        if frame["payload"]["event"] == name {
            return frame;
        }
    }
}

pub(super) fn with(mut body: Value, extra: Value) -> Value {
    if let (Value::Object(body), Value::Object(extra)) = (&mut body, extra) {
        body.extend(extra);
    }
    body
}

pub(super) fn ids(list: &Value, key: &str) -> Vec<u64> {
    list.as_array().unwrap().iter().map(|item| item[key].as_u64().unwrap()).collect()
}

/// The status only: the codes in the body are each relay's own.
#[track_caller]
pub(super) fn refused(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{}", answer.body);
}
