//! A client of a runner's control server, over the socket in its runner folder: for the verbs that look at a runner or
//! give it a command.

use crate::http::causes;
use crate::runner_dir::CONTROL_SOCKET;
use crate::tls;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a look may take. Commands take as long as they take.
const LOOK_WITHIN: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("no runner answers at {}; is it running?", socket.display())]
    NotRunning { socket: PathBuf },
    #[error("the runner at {} does not answer: {why}", socket.display())]
    Unreachable { socket: PathBuf, why: String },
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

    async fn answer(&self, request: reqwest::RequestBuilder) -> Result<Value, ClientError> {
        let unreachable = |e: reqwest::Error| {
            if e.is_connect() {
                ClientError::NotRunning { socket: self.socket.clone() }
            } else {
                ClientError::Unreachable { socket: self.socket.clone(), why: causes(&e.without_url()) }
            }
        };
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let answer: Value = response.json().await.map_err(unreachable)?;
        if status.is_success() {
            return Ok(answer);
        }
        let word = |key: &str| answer["error"][key].as_str().unwrap_or("unknown").to_owned();
        Err(ClientError::Refused { status: status.as_u16(), code: word("code"), message: word("message") })
    }
}

/// The host stands for nothing: the socket says where.
fn url(path: &str) -> String {
    format!("http://localhost{path}")
}
