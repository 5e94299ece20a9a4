//! Calls of the relay's HTTP API: one queue per lane, lanes side by side.
//!
//! A call's deadline runs from the moment at which it was asked for, also while it waits behind others.

use crate::clock;
use crate::error::StartError;
use crate::input::{Input, Inputs, Task, caught};
use crate::relay_url::RelayUrl;
use crate::secret::Redactor;
use crate::tls;
use crate::upload::Outgoing;
use relay_runner_core::event::{Failure, FailureKind};
use relay_runner_core::time::Millis;
use relay_runner_core::wire::{self, Answered, Method, Request};
use relay_runner_core::{Call, Lane, OpId, OpResult, Text};
use relay_runner_protocol::Message;
use relay_runner_protocol::http::{IDEMPOTENCY_HEADER, TOKEN_HEADER, artifact, message};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, InvalidHeaderValue, RANGE, RETRY_AFTER};
use secrecy::{ExposeSecret, SecretString};
use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Requests on their way at a time, over all lanes.
const AT_A_TIME: usize = 32;
/// The largest answer that is read.
const ANSWER_MOST: usize = 8 * 1024 * 1024;
/// How long a message that an offer needs may take to come.
const FETCH_DEADLINE: Duration = Duration::from_secs(15);

/// The relay, as a client sees it.
#[derive(Debug, Clone)]
pub(crate) struct Relay {
    client: reqwest::Client,
    token: Option<HeaderValue>,
    base: Text,
    agent_id: Text,
    redactor: Redactor,
}

#[derive(Debug)]
pub(crate) struct Http {
    /// With the newest token; others look on.
    relay: watch::Sender<Relay>,
    inputs: Inputs,
    lanes: BTreeMap<Lane, Waiting>,
    /// Lanes that could go on if fewer requests were on their way.
    ready: VecDeque<Lane>,
    running: usize,
}

/// A call that somebody beside the core makes.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) method: reqwest::Method,
    /// Path and query.
    pub(crate) path: &'a str,
    /// JSON.
    pub(crate) body: Option<String>,
    /// Idempotency key.
    pub(crate) key: Option<&'a str>,
}

#[derive(Debug, Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    running: Option<Task>,
}

#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) op: OpId,
    pub(crate) call: Call,
    pub(crate) request: Request,
    pub(crate) deadline: Instant,
}

impl Relay {
    pub(crate) fn new(url: &RelayUrl, token: Option<&SecretString>, agent_id: Text) -> Result<Self, StartError> {
        let header = token.map(header).transpose().map_err(|_| StartError::Token)?;
        let tls = tls::of(url.is_secured());
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls.map_err(StartError::Client)?)
            // The token goes to the relay, and nowhere that the relay points to.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .tcp_nodelay(true)
            .pool_max_idle_per_host(2)
            .build()
            .map_err(|e| StartError::Client(format!("cannot set up the client of {url}: {}", causes(&e))))?;
        let redactor = Redactor::new(token.cloned());
        Ok(Self { client, token: header, base: url.base().into(), agent_id, redactor })
    }

    /// A message by its id, for an offer whose words are no longer at hand.
    pub(crate) async fn message(&self, id: u64) -> Result<Message, Failure> {
        let request = Request { method: Method::Get, path: message(id), body: None, idempotency_key: None };
        let (status, _, body) = self.send(&request, clock::after(FETCH_DEADLINE)).await?;
        let failed = |kind, why: String| Failure { kind, text: format!("GET {}: {why}", request.path).into() };
        match status {
            200..=299 => serde_json::from_slice(&body).map_err(|e| {
                failed(FailureKind::Server, format!("the answer cannot be read ({:?} error)", e.classify()))
            }),
            401 | 403 => Err(failed(FailureKind::Unauthorized, format!("HTTP {status}"))),
            404 => Err(failed(FailureKind::NotFound, "HTTP 404: the relay has no such message".to_owned())),
            _ => Err(failed(FailureKind::Server, format!("HTTP {status}"))),
        }
    }

    /// The bytes of an artifact, to be read as they come; or why there are none.
    pub(crate) async fn artifact(&self, id: &str) -> Result<reqwest::Response, String> {
        let request = self.client.get(format!("{}{}", self.base, artifact(id)));
        let response = self.authorised(request).send().await.map_err(|e| causes(&e.without_url()))?;
        match response.status().as_u16() {
            200 => Ok(response),
            status @ (401 | 403) => Err(format!("the relay refuses it (HTTP {status})")),
            404 => Err("the relay does not have it".to_owned()),
            status => Err(format!("the relay answers with HTTP {status}")),
        }
    }

    /// The bytes from this one on, where the relay can do that: the answer's status says so.
    pub(crate) async fn artifact_from(&self, id: &str, byte: u64) -> Result<reqwest::Response, String> {
        let request = self.client.get(format!("{}{}", self.base, artifact(id))).header(RANGE, format!("bytes={byte}-"));
        self.authorised(request).send().await.map_err(|e| causes(&e.without_url()))
    }

    /// Who asks.
    pub(crate) fn agent_id(&self) -> &Text {
        &self.agent_id
    }

    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// What others wrote, without the tokens that we know of.
    pub(crate) fn clean(&self, text: &str) -> String {
        self.redactor.clean(text)
    }

    /// One call of the HTTP API, whatever comes of it: status and body.
    pub(crate) async fn ask(&self, asked: Asked<'_>, deadline: Instant) -> Result<(u16, Vec<u8>), Failure> {
        let Asked { method, path, body, key } = asked;
        let (status, _, body) = self.exchange(method, path, body, key, deadline).await?;
        Ok((status, body))
    }

    /// Sends a file; status and body.
    pub(crate) async fn upload(&self, file: &Outgoing, key: &str, deadline: Instant) -> Result<(u16, Vec<u8>), String> {
        let upload = async {
            let request = file.request(&self.client, &self.base, key).await?;
            let response = self.authorised(request).send().await.map_err(|e| causes(&e.without_url()))?;
            let status = response.status().as_u16();
            Ok((status, read_whole(response).await?))
        };
        match tokio::time::timeout_at(deadline, upload).await {
            Ok(answer) => answer,
            Err(_) => Err("it was not taken within the deadline".to_owned()),
        }
    }

    fn authorised(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match &self.token {
            Some(token) => request.header(TOKEN_HEADER, token.clone()),
            None => request,
        }
    }

    async fn call(&self, job: &Job) -> Answered {
        let (status, retry_after, body) = match self.send(&job.request, job.deadline).await {
            Ok(answer) => answer,
            Err(failure) => return OpResult::Failed(failure).into(),
        };
        let mut answer = wire::answer(&job.call, &self.agent_id, status, retry_after, &body);
        if let OpResult::Failed(failure) = &mut answer.result {
            // A relay may quote the token that it refuses.
            failure.text = self.redactor.clean(&failure.text).into();
        }
        if answer.token.as_ref().is_some_and(|token| HeaderValue::from_str(&token.0).is_err()) {
            let text = "the new token is no line of printable ASCII characters".into();
            return OpResult::Failed(Failure { kind: FailureKind::Server, text }).into();
        }
        answer
    }

    async fn send(&self, request: &Request, deadline: Instant) -> Result<(u16, Option<Millis>, Vec<u8>), Failure> {
        let method = match request.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
            Method::Delete => reqwest::Method::DELETE,
        };
        let key = request.idempotency_key.as_deref();
        self.exchange(method, &request.path, request.body.clone(), key, deadline).await
    }

    async fn exchange(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<String>,
        key: Option<&str>,
        deadline: Instant,
    ) -> Result<(u16, Option<Millis>, Vec<u8>), Failure> {
        let what = format!("{method} {}", path.split('?').next().unwrap_or_default());
        let failed = |kind, why: String| Failure { kind, text: format!("{what}: {why}").into() };
        let exchange = async {
            let mut builder = self.authorised(self.client.request(method, format!("{}{path}", self.base)));
            if let Some(key) = key {
                builder = builder.header(IDEMPOTENCY_HEADER, key);
            }
            if let Some(body) = body {
                builder = builder.header(CONTENT_TYPE, "application/json").body(body);
            }
            let unreachable = |e: reqwest::Error| failed(FailureKind::Unreachable, causes(&e.without_url()));
            let mut response = builder.send().await.map_err(unreachable)?;
            let status = response.status().as_u16();
            let retry_after = retry_after(response.headers());
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
                if body.len() + chunk.len() > ANSWER_MOST {
                    return Err(failed(FailureKind::Server, format!("the answer is larger than {ANSWER_MOST} bytes")));
                }
                body.extend_from_slice(&chunk);
            }
            Ok((status, retry_after, body))
        };
        match tokio::time::timeout_at(deadline, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(failed(FailureKind::TimedOut, "no answer within the deadline".to_owned())),
        }
    }
}

impl Http {
    pub(crate) fn new(relay: Relay, inputs: Inputs) -> Self {
        let relay = watch::Sender::new(relay);
        Self { relay, inputs, lanes: BTreeMap::new(), ready: VecDeque::new(), running: 0 }
    }

    /// As of now.
    pub(crate) fn relay(&self) -> Relay {
        self.relay.borrow().clone()
    }

    /// Whoever asks by himself, and always with the token in force.
    pub(crate) fn watch(&self) -> watch::Receiver<Relay> {
        self.relay.subscribe()
    }

    /// What is sent from now on is sent with this token.
    pub(crate) fn use_token(&mut self, token: &SecretString) {
        self.relay.send_modify(|relay| {
            // It was checked when it came.
            relay.token = header(token).ok();
            relay.redactor = relay.redactor.with(token.clone());
        });
    }

    /// Queues a call. Its answer comes as an input, which is to be followed by [`Http::answered`].
    pub(crate) fn ask(&mut self, job: Job) {
        let lane = job.call.lane();
        let waiting = self.lanes.entry(lane.clone()).or_default();
        waiting.jobs.push_back(job);
        if waiting.running.is_none() && waiting.jobs.len() == 1 {
            self.ready.push_back(lane);
            self.go_on();
        }
    }

    /// The lane's call is over: the next may go.
    pub(crate) fn answered(&mut self, lane: &Lane) {
        self.running -= 1;
        if let Some(waiting) = self.lanes.get_mut(lane) {
            waiting.running = None;
            if waiting.jobs.is_empty() {
                self.lanes.remove(lane);
            } else {
                self.ready.push_back(lane.clone());
            }
        }
        self.go_on();
    }

    fn go_on(&mut self) {
        while self.running < AT_A_TIME {
            let Some(lane) = self.ready.pop_front() else { return };
            let Some(waiting) = self.lanes.get_mut(&lane) else { continue };
            let Some(job) = waiting.jobs.pop_front() else { continue };
            self.running += 1;
            let (relay, inputs) = (self.relay.borrow().clone(), self.inputs.clone());
            waiting.running = Some(Task::start("HTTP", &self.inputs, async move {
                let op = job.op;
                let Answered { result, messages, token } = match caught(relay.call(&job)).await {
                    Ok(answer) => answer,
                    Err(what) => {
                        inputs.fault(format!("an HTTP call panicked: {what}")).await;
                        let text = "the call was broken off by a fault of the runner".into();
                        OpResult::Failed(Failure { kind: FailureKind::Server, text }).into()
                    }
                };
                let token = token.map(|token| SecretString::from(token.0));
                inputs.send(Input::Answered { lane, op, result, messages, token }).await;
            }));
        }
    }
}

async fn read_whole(mut response: reqwest::Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| causes(&e.without_url()))? {
        if body.len() + chunk.len() > ANSWER_MOST {
            return Err(format!("the answer is larger than {ANSWER_MOST} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn header(token: &SecretString) -> Result<HeaderValue, InvalidHeaderValue> {
    let mut value = HeaderValue::from_str(token.expose_secret())?;
    value.set_sensitive(true);
    Ok(value)
}

/// In seconds; the form with a date is not used by relays.
fn retry_after(headers: &HeaderMap) -> Option<Millis> {
    let seconds: u64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(seconds.saturating_mul(1_000))
}

/// An error with all its causes, on one line.
pub fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
