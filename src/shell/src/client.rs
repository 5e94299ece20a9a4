//! A client of a runner's control server, over the socket in its runner folder: for the verbs that look at a runner or
//! give it a command.

use crate::http::causes;
use crate::runner_dir::CONTROL_SOCKET;
use crate::tls;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::Instant;

/// How long a look may take. Commands take as long as they take.
const LOOK_WITHIN: Duration = Duration::from_secs(5);

/// A stream that is silent for so long is broken: three heartbeats.
const SILENCE_MOST: Duration = Duration::from_secs(45);

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("no runner answers at {}; is it running?", socket.display())]
    NotRunning { socket: PathBuf },
    #[error("the runner at {} does not answer: {why}", socket.display())]
    Unreachable { socket: PathBuf, why: String },
    /// The system does not let this process connect: it is in a sandbox, or another user's.
    #[error(
        "this process may not connect to the runner at {}: a sandbox keeps it from that. Run the same command outside of the \
         sandbox, with escalated permissions",
        socket.display()
    )]
    Forbidden { socket: PathBuf },
    /// The runner said no.
    #[error("{message}")]
    Refused { status: u16, code: String, message: String },
}

#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    socket: PathBuf,
}

impl Client {
    /// A client of the runner whose folder this is.
    pub fn new(runner_dir: &Path) -> Result<Self, ClientError> {
        let socket = runner_dir.join(CONTROL_SOCKET);
        let failed = |why| ClientError::Unreachable { socket: socket.clone(), why };
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::none().map_err(failed)?)
            .unix_socket(socket.as_path())
            .build()
            .map_err(|e| failed(causes(&e)))?;
        Ok(Self { http, socket })
    }

    /// The whole state.
    pub async fn state(&self) -> Result<Value, ClientError> {
        self.get("/state").await
    }

    /// The plain facts of the state.
    pub async fn status(&self) -> Result<Value, ClientError> {
        self.get("/status").await
    }

    /// Gives a command, by its name on the wire or its short one, and waits for its outcome.
    pub async fn command(&self, name: &str, params: Map<String, Value>) -> Result<Value, ClientError> {
        self.post("/command", &json!({"type": name, "params": params})).await
    }

    pub async fn get(&self, path: &str) -> Result<Value, ClientError> {
        self.answer(self.http.get(url(path)).timeout(LOOK_WITHIN)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Result<Value, ClientError> {
        self.answer(self.http.post(url(path)).json(body)).await
    }

    /// Listens to what the agent is offered. Without `takes_over` only if nobody else does.
    pub async fn monitor(&self, takes_over: bool) -> Result<Lines, ClientError> {
        let path = if takes_over { "/monitor" } else { "/monitor?takeover=false" };
        let response = self.http.get(url(path)).send().await.map_err(|e| self.unreachable(e))?;
        if response.status().is_success() {
            return Ok(Lines { client: self.clone(), response, rest: Vec::new(), heard: Instant::now() });
        }
        Err(self.refused(response).await)
    }

    fn unreachable(&self, error: reqwest::Error) -> ClientError {
        if is_denied(&error) {
            ClientError::Forbidden { socket: self.socket.clone() }
        } else if error.is_connect() {
            ClientError::NotRunning { socket: self.socket.clone() }
        } else {
            ClientError::Unreachable { socket: self.socket.clone(), why: causes(&error.without_url()) }
        }
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> Result<Value, ClientError> {
        let response = request.send().await.map_err(|e| self.unreachable(e))?;
        if response.status().is_success() {
            return response.json().await.map_err(|e| self.unreachable(e));
        }
        Err(self.refused(response).await)
    }

    async fn refused(&self, response: reqwest::Response) -> ClientError {
        let status = response.status().as_u16();
        let answer: Value = match response.json().await {
            Ok(answer) => answer,
            Err(error) => return self.unreachable(error),
        };
        let word = |key: &str| answer["error"][key].as_str().unwrap_or("unknown").to_owned();
        ClientError::Refused { status, code: word("code"), message: word("message") }
    }
}

/// Whether the system refused it, and not whoever was called.
fn is_denied(error: &reqwest::Error) -> bool {
    let first: &dyn std::error::Error = error;
    std::iter::successors(Some(first), |error| error.source())
        .filter_map(|error| error.downcast_ref::<std::io::Error>())
        .any(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
}

/// What comes of connecting to the socket of a runner whose process cannot be seen: it may be in another namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    Yes,
    No,
    /// As [`ClientError::Forbidden`].
    Forbidden,
}

/// Whether something listens at the socket of this runner folder. A killed runner leaves a socket that nobody listens at.
pub fn answers(runner_dir: &Path) -> Answers {
    match std::os::unix::net::UnixStream::connect(runner_dir.join(CONTROL_SOCKET)) {
        Ok(_) => Answers::Yes,
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Answers::Forbidden,
        Err(_) => Answers::No,
    }
}

/// Lines of a runner, as they come.
#[derive(Debug)]
pub struct Lines {
    client: Client,
    response: reqwest::Response,
    /// What came after the last line that was given out.
    rest: Vec<u8>,
    /// When something came last: whoever looks away in between does not begin anew.
    heard: Instant,
}

impl Lines {
    /// The next one that is not blank, without its end. None: the runner has nothing more to say. Nothing is lost when
    /// this is dropped before it is done.
    pub async fn next(&mut self) -> Result<Option<String>, ClientError> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line);
                if !line.trim().is_empty() {
                    return Ok(Some(line.trim().to_owned()));
                }
                continue;
            }
            let chunk = tokio::time::timeout_at(self.heard + SILENCE_MOST, self.response.chunk()).await;
            match chunk {
                Ok(Ok(Some(chunk))) => {
                    self.heard = Instant::now();
                    self.rest.extend_from_slice(&chunk);
                }
                Ok(Ok(None)) => return Ok(None),
                Ok(Err(error)) => return Err(self.client.unreachable(error)),
                Err(_) => {
                    let why = "nothing came for too long".to_owned();
                    return Err(ClientError::Unreachable { socket: self.client.socket.clone(), why });
                }
            }
        }
    }
}

/// The host stands for nothing: the socket says where.
fn url(path: &str) -> String {
    format!("http://localhost{path}")
}
