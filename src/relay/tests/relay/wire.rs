//! A relay and its clients, as the tests drive them.

use std::sync::Once;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use relay_runner_relay::{Config, Relay};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// After which something that should come is held not to.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// A free port of loopback, in memory.
pub(crate) fn config() -> Config {
    Config { listen: "127.0.0.1:0".parse().unwrap(), ..Config::default() }
}

pub(crate) fn http_client() -> reqwest::Client {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    reqwest::Client::new()
}

/// The HTTP side of a relay.
#[derive(Clone)]
pub(crate) struct Api {
    url: String,
    client: reqwest::Client,
}

/// An HTTP answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub status: u16,
    pub body: Value,
}

impl Answer {
    /// The body of an answer that must be a success.
    #[track_caller]
    pub(crate) fn ok(self) -> Value {
        assert!((200..300).contains(&self.status), "{} {}", self.status, self.body);
        self.body
    }

    /// Checks the status and the error's code.
    #[track_caller]
    pub(crate) fn refused(self, status: u16, code: &str) {
        let said = (self.status, self.body["error"]["code"].as_str().unwrap_or_default());
        assert_eq!(said, (status, code), "{}", self.body);
        assert!(self.body["error"]["message"].as_str().is_some_and(|m| !m.is_empty()), "{}", self.body);
    }
}

impl Api {
    pub(crate) fn at(url: &str) -> Self {
        Self { url: url.to_owned(), client: http_client() }
    }

    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Answer {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.client.request(method, format!("{}/api{path}", self.url)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = timeout(PATIENCE, request.send()).await.expect("an answer in time").unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or_else(|_| panic!("not JSON: {status} {text}"));
        Answer { status, body }
    }

    /// A request that is yet to be sent.
    pub(crate) fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("{}/api{path}", self.url))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, &[], "").await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.call("POST", path, &[], body.to_string()).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.call("PUT", path, &[], body.to_string()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.call("DELETE", path, &[], "").await
    }

    pub(crate) async fn post_once(&self, key: &str, path: &str, body: Value) -> Answer {
        self.call("POST", path, &[("Idempotency-Key", key)], body.to_string()).await
    }

    /// Registers an agent without a bus; `extra` goes into the registration. Its session.
    pub(crate) async fn register(&self, agent: &str, instance: &str, extra: Value) -> Value {
        let mut body = json!({"id": agent, "instanceId": instance});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let agent = self.post("/agents", body).await.ok();
        json!({"instanceId": instance, "epoch": agent["epoch"]})
    }

    /// Sends a message; its id.
    pub(crate) async fn send(&self, to: &str, extra: Value) -> u64 {
        let mut body = json!({"from": "sender", "to": to, "body": "text"});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        self.post("/messages", body).await.ok()["id"].as_u64().unwrap()
    }

    pub(crate) async fn unread(&self, agent: &str) -> Vec<u64> {
        let inbox = self.get(&format!("/agents/{agent}/inbox?unread=true")).await.ok();
        inbox.as_array().unwrap().iter().map(|m| m["id"].as_u64().unwrap()).collect()
    }

    pub(crate) async fn claim(&self, id: u64, agent: &str, session: &Value) -> Value {
        self.post(&format!("/messages/{id}/claim"), json!({"agentId": agent, "session": session})).await.ok()
    }

    pub(crate) async fn change(&self, id: u64, what: &str, agent: &str, session: &Value, fence: &Value) -> Answer {
        let body = json!({"agentId": agent, "session": session, "fence": fence});
        self.post(&format!("/messages/{id}/claim/{what}"), body).await
    }

    pub(crate) async fn report(&self, task: u64, status: &str, agent: &str, fence: &Value) -> Answer {
        let mut body = json!({"status": status, "agentId": agent});
        if !fence.is_null() {
            body["fence"] = fence.clone();
        }
        self.post(&format!("/tasks/{task}/status"), body).await
    }
}

/// A relay in this process.
pub(crate) struct World {
    pub(crate) relay: Relay,
    pub(crate) api: Api,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(config()).await
    }

    pub(crate) async fn with(config: Config) -> Self {
        let relay = Relay::start(config).await.unwrap();
        let api = Api::at(&relay.url());
        Self { relay, api }
    }

    pub(crate) async fn bus(&self) -> Bus {
        Bus::connect(&self.relay.url(), &[]).await.unwrap()
    }

    /// A connection that speaks for an agent.
    pub(crate) async fn agent(&self, agent: &str, instance: &str) -> Bus {
        let mut bus = self.bus().await;
        bus.register(agent, instance, json!({})).await;
        bus
    }
}

/// A connection to the bus.
pub(crate) struct Bus {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// What the last registration gave out.
    pub(crate) session: Value,
    sent: u64,
}

impl Bus {
    pub(crate) async fn connect(url: &str, headers: &[(&'static str, &str)]) -> Result<Self, tungstenite::Error> {
        let mut request = format!("{}/api/bus", url.replace("http", "ws")).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let (socket, _) = tokio_tungstenite::connect_async(request).await?;
        Ok(Self { socket, session: Value::Null, sent: 0 })
    }

    pub(crate) async fn raw(&mut self, message: Message) {
        self.socket.send(message).await.unwrap();
    }

    pub(crate) async fn send(&mut self, frame: &str, payload: Value) -> String {
        self.sent += 1;
        let id = format!("f{}", self.sent);
        self.raw(Message::text(json!({"type": frame, "id": id, "payload": payload}).to_string())).await;
        id
    }

    /// The next frame; null when the connection was closed.
    pub(crate) async fn next(&mut self) -> Value {
        loop {
            match timeout(PATIENCE, self.socket.next()).await.expect("a frame in time") {
                Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).unwrap(),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Value::Null,
                Some(Ok(_)) => {}
            }
        }
    }

    /// Waits for a ping, which is answered by reading it.
    pub(crate) async fn pinged(&mut self) {
        loop {
            match timeout(PATIENCE, self.socket.next()).await.expect("a ping in time") {
                Some(Ok(Message::Ping(_))) => return,
                Some(Ok(_)) => {}
                other => panic!("closed: {other:?}"),
            }
        }
    }

    #[track_caller]
    pub(crate) fn expect(&mut self, kind: &'static str) -> impl Future<Output = Value> {
        let place = std::panic::Location::caller();
        async move {
            let frame = self.next().await;
            assert_eq!(frame["type"], kind, "at {place}: {frame}");
            frame
        }
    }

    /// The data of the next frame, which must be this event.
    #[track_caller]
    pub(crate) fn event(&mut self, name: &'static str) -> impl Future<Output = Value> {
        let place = std::panic::Location::caller();
        async move {
            let frame = self.next().await;
            assert_eq!(frame["payload"]["event"], name, "at {place}: {frame}");
            frame["payload"]["data"].clone()
        }
    }

    pub(crate) async fn try_register(&mut self, agent: &str, instance: &str, extra: Value) -> Value {
        let mut payload = json!({"role": "provider", "componentId": agent, "agentId": agent, "instanceId": instance});
        payload.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let id = self.send("register", payload).await;
        let answer = self.next().await;
        assert_eq!(answer["id"], id, "{answer}");
        answer
    }

    pub(crate) async fn register(&mut self, agent: &str, instance: &str, extra: Value) -> Value {
        let answer = self.try_register(agent, instance, extra).await;
        assert_eq!(answer["type"], "registered", "{answer}");
        self.session = json!({"instanceId": instance, "epoch": answer["payload"]["epoch"]});
        answer["payload"].clone()
    }

    /// All that has been sent to this connection so far: what comes before the answer to a frame sent now.
    pub(crate) async fn so_far(&mut self) -> Vec<Value> {
        let id = self.send("subscribe", json!({"events": ["nothing"]})).await;
        let mut frames = Vec::new();
        loop {
            let frame = self.next().await;
            assert!(!frame.is_null(), "closed");
            if frame["type"] == "ack" && frame["payload"]["frameId"] == id {
                return frames;
            }
            frames.push(frame);
        }
    }

    /// Waits until the relay has closed the connection.
    pub(crate) async fn closed(&mut self) {
        while !self.next().await.is_null() {}
    }
}

/// The seqs of event frames.
pub(crate) fn seqs(frames: &[Value]) -> Vec<u64> {
    frames.iter().filter_map(|f| f["payload"]["seq"].as_u64()).collect()
}
