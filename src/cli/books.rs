//! A relay's books, read and written over its HTTP API.

use super::config_file::File;
use super::config_keys::{RELAY, TOKEN_FILE};
use super::failure::Failure;
use super::given::{Environment, Flags, Given, Source, wrong};
use relay_runner_core::TokenRecord;
use relay_runner_protocol::error::ErrorBody;
use relay_runner_protocol::http::{ARTIFACTS, HEALTH, IDEMPOTENCY_HEADER, TOKEN_HEADER};
use relay_runner_protocol::message::Attachment;
use relay_runner_protocol::{Agent, DEFAULT_URL};
use relay_runner_shell::{ExitCode, Outgoing, RelayUrl, Token, causes, tls};
use reqwest::StatusCode;
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long one call may take.
const WITHIN: Duration = Duration::from_secs(10);
/// How long a file may take.
const FILE_WITHIN: Duration = Duration::from_mins(1);
/// How long a look at whether there is a relay may take.
const HEALTH_WITHIN: Duration = Duration::from_secs(2);

/// What every relay takes in one body.
const LARGE: usize = 1 << 20;

/// Which relay, and what to show at its door.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct RelayArgs {
    /// The relay's URL [env: AGENT_RELAY_URL] [default: http://127.0.0.1:4850]
    #[arg(long, value_name = "URL")]
    relay: Option<String>,
    /// A file that holds the relay's token; there is no flag for the token itself, since others can see command lines
    /// [env: AGENT_RELAY_TOKEN (the token), AGENT_RELAY_TOKEN_FILE]
    #[arg(long, value_name = "FILE")]
    token_file: Option<String>,
    /// The configuration file [env: AGENT_RELAY_CONFIG] [default: $XDG_CONFIG_HOME/relay-runner/config.toml]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<String>,
}

impl RelayArgs {
    pub(crate) fn flags(&self) -> Flags {
        let flags = [(RELAY.flag, &self.relay), (TOKEN_FILE.flag, &self.token_file)];
        flags.into_iter().filter_map(|(flag, value)| Some((flag, value.clone()?))).collect()
    }

    /// Whether the command line names one.
    pub(crate) const fn is_named(&self) -> bool {
        self.relay.is_some() || self.token_file.is_some()
    }

    /// With the configuration file, for verbs that ask it for nothing but the relay.
    fn given<'a>(&self, env: Environment<'a>) -> Result<Given<'a>, Failure> {
        Ok(Given::new(env, self.flags(), Arc::new(File::find(self.config.as_deref(), env)?)))
    }

    /// The relay that was named or is the default, to be asked.
    pub(crate) fn books(&self, env: Environment<'_>) -> Result<Books, Failure> {
        let given = self.given(env)?;
        let url = relay(&given)?.map_or_else(default_relay, Ok)?;
        Books::new(&url, token(&given)?.map(|given| given.token.secret).as_ref())
    }
}

/// The relay that was named; none when there is only the default.
pub(crate) fn relay(given: &Given<'_>) -> Result<Option<RelayUrl>, Failure> {
    // The value itself is not shown: there may be a password in it, which the parser's own words leave out.
    let Some((text, source)) = given.text(RELAY)? else { return Ok(None) };
    RelayUrl::parse(&text).map(Some).map_err(|e| wrong(&source, &e.to_string()))
}

pub(crate) fn default_relay() -> Result<RelayUrl, Failure> {
    Ok(RelayUrl::parse(DEFAULT_URL)?)
}

/// A token, and the file that it came from.
#[derive(Debug, Clone)]
pub(crate) struct TokenOf {
    pub(crate) token: Token,
    pub(crate) file: Option<PathBuf>,
}

/// The token itself, where it is not in a file.
pub(crate) const TOKEN: &str = "AGENT_RELAY_TOKEN";

/// `--token-file` before `AGENT_RELAY_TOKEN` before `AGENT_RELAY_TOKEN_FILE` before the configuration.
pub(crate) fn token(given: &Given<'_>) -> Result<Option<TokenOf>, Failure> {
    if !given.flags.contains_key(TOKEN_FILE.flag)
        && let Some(token) = given.env.variable(TOKEN)?
    {
        let token = Token::new(&token, TokenRecord::default()).map_err(|why| wrong(&Source::Variable(TOKEN), &why))?;
        return Ok(Some(TokenOf { token, file: None }));
    }
    let Some((path, source)) = given.text(TOKEN_FILE)? else { return Ok(None) };
    let text = std::fs::read_to_string(Path::new(&path))
        .map_err(|e| wrong(&source, &format!("cannot read the token from {path}: {e}")))?;
    let token = Token::read(&text).map_err(|why| wrong(&source, &format!("the token of {path}: {why}")))?;
    Ok(Some(TokenOf { token, file: Some(PathBuf::from(path)) }))
}

/// The token that a relay itself is to want: the configuration's is an agent's, and none of its business.
pub(crate) fn token_of_relay(file: Option<&str>, env: Environment<'_>) -> Result<Option<SecretString>, Failure> {
    let flags = file.map(|file| (TOKEN_FILE.flag, file.to_owned())).into_iter().collect();
    Ok(token(&Given::new(env, flags, Arc::default()))?.map(|given| given.token.secret))
}

/// A client of one relay.
#[derive(Debug, Clone)]
pub(crate) struct Books {
    http: reqwest::Client,
    base: String,
}

/// Whether something that speaks like a relay is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Health {
    /// It is, perhaps behind a door.
    Relay,
    /// Nothing listens.
    Nobody,
    /// Something else listens.
    Stranger(String),
}

impl Books {
    pub(crate) fn new(url: &RelayUrl, token: Option<&SecretString>) -> Result<Self, Failure> {
        let base = url.to_string();
        let failed = |why: String| Failure::failed("client", format!("cannot set up a client of {base}: {why}"));
        let mut headers = reqwest::header::HeaderMap::new();
        if let Some(token) = token {
            let mut value = HeaderValue::from_str(token.expose_secret())
                .map_err(|_| Failure::from(relay_runner_shell::StartError::Token))?;
            value.set_sensitive(true);
            headers.insert(TOKEN_HEADER, value);
        }
        let tls = tls::of(base.starts_with("https:")).map_err(failed)?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .default_headers(headers)
            // The token goes to the relay, and nowhere that the relay points to.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(WITHIN)
            .build()
            .map_err(|e| failed(causes(&e)))?;
        Ok(Self { http, base })
    }

    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.answer(self.http.get(format!("{}{path}", self.base)), "GET", path).await
    }

    /// A write. Under its own idempotency key, so that a proxy that sends it twice does it once.
    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Failure> {
        let request =
            self.http.post(format!("{}{path}", self.base)).header(IDEMPOTENCY_HEADER, random_key()?).json(body);
        let bytes = serde_json::to_vec(body).map_or(0, |text| text.len());
        match self.answer(request, "POST", path).await {
            // A relay that refuses so much may hang up before it has read all of it.
            Err(failure)
                if failure.code == "relay_unreachable" && bytes > LARGE && self.health().await == Health::Relay =>
            {
                let text = format!(
                    "the relay at {} hung up on POST {path} with {bytes} bytes: that may be more than it takes (the embedded \
                     relay takes {LARGE})",
                    self.base
                );
                Err(Failure::failed("too_large", text))
            }
            answered => answered,
        }
    }

    /// Sends a file; what a message names it by.
    pub(crate) async fn upload(&self, file: &Outgoing) -> Result<Attachment, Failure> {
        let request = file
            .request(&self.http, &self.base, &random_key()?)
            .await
            .map_err(|why| Failure::usage("bad_file", why))?
            .timeout(FILE_WITHIN);
        let artifact: Attachment = self.answer(request, "POST", ARTIFACTS).await?;
        if file.is(&artifact) {
            return Ok(artifact);
        }
        let text = format!("the relay at {} was sent {}, and says that it has something else", self.base, file.name);
        Err(Failure::failed("relay_answer", text))
    }

    /// An agent; none when the relay does not have it.
    pub(crate) async fn agent(&self, id: &str) -> Result<Option<Agent>, Failure> {
        match self.get(&relay_runner_protocol::http::agent(id)).await {
            Ok(agent) => Ok(Some(agent)),
            Err(failure) if failure.code == "not_found" || failure.code == "agent_gone" => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    pub(crate) async fn health(&self) -> Health {
        let answer = self.http.get(format!("{}{HEALTH}", self.base)).timeout(HEALTH_WITHIN).send().await;
        match answer {
            Err(error) if error.is_connect() => Health::Nobody,
            Err(error) => Health::Stranger(causes(&error.without_url())),
            Ok(answer) if matches!(answer.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => Health::Relay,
            Ok(answer) => {
                let status = answer.status();
                match answer.json::<relay_runner_protocol::health::Health>().await {
                    Ok(health) if health.ok => Health::Relay,
                    Ok(_) | Err(_) => {
                        Health::Stranger(format!("it answers GET {HEALTH} with HTTP {}", status.as_u16()))
                    }
                }
            }
        }
    }

    async fn answer<T: DeserializeOwned>(
        &self,
        request: reqwest::RequestBuilder,
        method: &str,
        path: &str,
    ) -> Result<T, Failure> {
        let base = &self.base;
        let unreachable = |e: reqwest::Error| {
            let why = causes(&e.without_url());
            Failure::new(
                ExitCode::RelayUnreachable,
                "relay_unreachable",
                format!(
                    "the relay at {base} cannot be reached ({method} {path}: {why}); start one with `relay-runner relay`, \
                     or name another with --relay or AGENT_RELAY_URL"
                ),
            )
        };
        let answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(unreachable)?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|e| {
                Failure::failed("relay_answer", format!("the answer of {base} to {method} {path} cannot be read: {e}"))
            });
        }
        Err(self.refused(status, &body, method, path))
    }

    fn refused(&self, status: StatusCode, body: &[u8], method: &str, path: &str) -> Failure {
        let base = &self.base;
        let said = serde_json::from_slice::<ErrorBody>(body).ok().map(|body| body.error);
        let words = said.as_ref().map_or_else(|| format!("HTTP {}", status.as_u16()), |said| said.message.clone());
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            let text = format!(
                "the relay at {base} does not let us in: {words}; give the right token with --token-file or AGENT_RELAY_TOKEN"
            );
            return Failure::new(ExitCode::CredentialRefused, "credential_refused", text);
        }
        let code = match (&said, status) {
            (_, StatusCode::NOT_FOUND) => "not_found".to_owned(),
            (Some(said), _) => said.code.clone(),
            (None, _) => format!("http_{}", status.as_u16()),
        };
        Failure::failed(code, format!("the relay at {base} refused {method} {path}: {words}"))
    }
}

fn random_key() -> Result<String, Failure> {
    random().map(|number| format!("cli-{number:032x}"))
}

pub(crate) fn random() -> Result<u128, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|e| Failure::failed("randomness", format!("the operating system gave no randomness: {e}")))?;
    Ok(u128::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;

    #[test]
    fn a_token_that_is_none_is_refused_where_it_was_given() {
        let given = |text: &'static str| {
            let read = move |name: &str| (name == "AGENT_RELAY_TOKEN").then(|| OsString::from(text));
            let given = Given::new(Environment::of(&read), Flags::new(), Arc::default());
            token(&given).map(|token| token.map(|t| t.token.secret.expose_secret().to_owned()))
        };
        assert_eq!(given(" abc\n").unwrap().as_deref(), Some("abc"));
        assert_eq!(given("").unwrap(), None, "an empty variable is none");
        for wrong in ["  ", "a\nb", "schlüssel"] {
            let error = format!("{:#}", given(wrong).unwrap_err().error.unwrap());
            assert!(
                error.contains("AGENT_RELAY_TOKEN") && (wrong.trim().is_empty() || !error.contains(wrong)),
                "{error}"
            );
        }
    }
}
