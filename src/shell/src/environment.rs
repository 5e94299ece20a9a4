//! The provider's environment (behaviour 3): a pure function of ours, the policy, and the run.

use relay_runner_core::TokenRecord;
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

const PREFIX: &[u8] = b"AGENT_RELAY_";

/// What every program needs to find itself at home.
const ALLOWED: [&str; 26] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "TERM",
    "COLORTERM",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TMPDIR",
    "SSH_AUTH_SOCK",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO",
];
const ALLOWED_PREFIXES: [&[u8]; 2] = [b"LC_", b"XDG_"];

/// What of our own environment a provider gets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Inherit {
    #[default]
    Listed,
    All,
}

#[derive(Clone)]
pub struct EnvironmentPolicy {
    pub inherit: Inherit,
    /// Further names that are passed on.
    pub also: Vec<String>,
    /// Variables of the provider's configuration.
    pub set: BTreeMap<String, String>,
    /// Whether the profile lets them through.
    pub host_globals: bool,
    /// Whether the token itself is in the provider's environment.
    pub export_token: bool,
    /// Passed through; none: all.
    pub channels: Option<Vec<String>>,
}

/// Configured values may be secrets: only their names are shown.
impl std::fmt::Debug for EnvironmentPolicy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EnvironmentPolicy")
            .field("inherit", &self.inherit)
            .field("also", &self.also)
            .field("set", &self.set.keys())
            .field("host_globals", &self.host_globals)
            .field("export_token", &self.export_token)
            .field("channels", &self.channels)
            .finish_non_exhaustive()
    }
}

impl Default for EnvironmentPolicy {
    fn default() -> Self {
        Self {
            inherit: Inherit::Listed,
            also: Vec::new(),
            set: BTreeMap::new(),
            host_globals: true,
            export_token: true,
            channels: None,
        }
    }
}

impl EnvironmentPolicy {
    /// Values that the provider is given and that are likely to be secrets, by their names.
    pub(crate) fn secrets(&self, ours: impl Fn(&str) -> Option<String>) -> Vec<SecretString> {
        const NAMES: [&str; 4] = ["KEY", "TOKEN", "SECRET", "PASSWORD"];
        let passed_on = self.also.iter().filter_map(|name| Some((name, ours(name)?)));
        let set = self.set.iter().map(|(name, value)| (name, value.clone()));
        let is_secret = |name: &str| NAMES.iter().any(|part| name.to_ascii_uppercase().contains(part));
        passed_on.chain(set).filter(|(name, _)| is_secret(name)).map(|(_, value)| SecretString::from(value)).collect()
    }
}

/// What the run adds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Additions<'a> {
    pub(crate) runner_dir: &'a OsStr,
    /// The control server's port, once it listens.
    pub(crate) runner_port: Option<u16>,
    pub(crate) runner_id: &'a str,
    pub(crate) agent_id: &'a str,
    pub(crate) relay_url: &'a str,
    pub(crate) approval: &'a str,
    pub(crate) token: Option<&'a str>,
    /// What is known of the token.
    pub(crate) record: Option<&'a TokenRecord>,
    pub(crate) provider_session: &'a str,
    pub(crate) model: Option<&'a str>,
    pub(crate) effort: Option<&'a str>,
    /// What the agent is told first.
    pub(crate) instructions: Option<&'a OsStr>,
    /// The variable of the profile's home, and the home.
    pub(crate) home: Option<(&'a str, &'a OsStr)>,
}

pub(crate) fn build(
    ours: impl IntoIterator<Item = (OsString, OsString)>,
    policy: &EnvironmentPolicy,
    add: &Additions<'_>,
) -> BTreeMap<OsString, OsString> {
    let mut env: BTreeMap<OsString, OsString> =
        ours.into_iter().filter(|(name, _)| policy.inherit == Inherit::All || is_allowed(name, policy)).collect();
    if policy.host_globals {
        env.extend(policy.set.iter().map(|(name, value)| (name.into(), value.into())));
    }
    env.retain(|name, _| !name.as_encoded_bytes().starts_with(PREFIX));

    if let Some((name, home)) = add.home {
        env.insert(name.into(), home.to_owned());
    }
    let mut put = |name: &str, value: &OsStr| env.insert(format!("AGENT_RELAY_{name}").into(), value.to_owned());
    put("RUNNER_DIR", add.runner_dir);
    put("RUNNER_ID", add.runner_id.as_ref());
    put("PROVIDER_SESSION_ID", add.provider_session.as_ref());
    put("ID", add.agent_id.as_ref());
    put("URL", add.relay_url.as_ref());
    put("APPROVAL", add.approval.as_ref());
    if let Some(channels) = &policy.channels {
        put("CHANNELS", channels.join(",").as_ref());
    }
    let told = [("MODEL", add.model), ("EFFORT", add.effort)];
    for (name, value) in told.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        put(name, value.as_ref());
    }
    if let Some(path) = add.instructions {
        put("INSTRUCTIONS_FILE", path);
    }
    if let Some(port) = add.runner_port {
        put("RUNNER_PORT", port.to_string().as_ref());
    }
    if let Some(token) = add.token.filter(|_| policy.export_token) {
        put("TOKEN", token.as_ref());
        if let Some(jti) = add.record.and_then(|record| record.jti.as_deref()) {
            put("TOKEN_JTI", jti.as_ref());
        }
        if let Some(profile) = add.record.and_then(|record| record.profile.as_deref()) {
            put("TOKEN_PROFILE", profile.as_ref());
        }
        if let Some(expires) = add.record.and_then(|record| record.expires_at) {
            put("TOKEN_EXPIRES_AT", expires.to_string().as_ref());
        }
    }
    env
}

fn is_allowed(name: &OsStr, policy: &EnvironmentPolicy) -> bool {
    ALLOWED.iter().any(|allowed| name == *allowed)
        || ALLOWED_PREFIXES.iter().any(|prefix| name.as_encoded_bytes().starts_with(prefix))
        || policy.also.iter().any(|allowed| name == allowed.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours() -> Vec<(OsString, OsString)> {
        ["PATH=/bin", "LC_ALL=C", "XDG_DATA_HOME=/d", "AWS_SECRET=x", "AGENT_RELAY_TOKEN=old", "AGENT_RELAY_CAPS=c"]
            .iter()
            .map(|pair| pair.split_once('=').unwrap())
            .map(|(name, value)| (name.into(), value.into()))
            .collect()
    }

    fn additions() -> Additions<'static> {
        Additions {
            runner_dir: OsStr::new("/run/r"),
            runner_port: Some(4711),
            runner_id: "r1",
            agent_id: "a1",
            relay_url: "http://127.0.0.1:4850",
            approval: "guarded",
            token: Some("tok"),
            record: None,
            provider_session: "session",
            model: None,
            effort: None,
            instructions: None,
            home: None,
        }
    }

    fn lines(env: &BTreeMap<OsString, OsString>) -> Vec<String> {
        env.iter().map(|(n, v)| format!("{}={}", n.display(), v.display())).collect()
    }

    #[test]
    fn only_what_is_listed_is_inherited_and_the_runs_own_words_are_set() {
        let env = build(ours(), &EnvironmentPolicy::default(), &additions());
        assert_eq!(
            lines(&env),
            [
                "AGENT_RELAY_APPROVAL=guarded",
                "AGENT_RELAY_ID=a1",
                "AGENT_RELAY_PROVIDER_SESSION_ID=session",
                "AGENT_RELAY_RUNNER_DIR=/run/r",
                "AGENT_RELAY_RUNNER_ID=r1",
                "AGENT_RELAY_RUNNER_PORT=4711",
                "AGENT_RELAY_TOKEN=tok",
                "AGENT_RELAY_URL=http://127.0.0.1:4850",
                "LC_ALL=C",
                "PATH=/bin",
                "XDG_DATA_HOME=/d",
            ]
        );
    }

    #[test]
    fn no_inherited_word_of_the_relay_gets_through_in_any_way() {
        let policy = EnvironmentPolicy {
            inherit: Inherit::All,
            also: vec!["AGENT_RELAY_CAPS".to_owned()],
            set: BTreeMap::from([("AGENT_RELAY_CAPS".to_owned(), "c".to_owned()), ("MINE".to_owned(), "1".to_owned())]),
            export_token: false,
            ..EnvironmentPolicy::default()
        };
        let env = lines(&build(ours(), &policy, &additions()));
        assert!(env.contains(&"AWS_SECRET=x".to_owned()) && env.contains(&"MINE=1".to_owned()));
        assert!(!env.iter().any(|line| line.contains("CAPS") || line.contains("TOKEN")), "{env:?}");
    }

    #[test]
    fn a_profile_that_turns_host_globals_off_keeps_configured_variables_out() {
        let set = BTreeMap::from([("MINE".to_owned(), "1".to_owned())]);
        let policy = EnvironmentPolicy { set, host_globals: false, ..EnvironmentPolicy::default() };
        let home = Some(("CODEX_HOME", OsStr::new("/h")));
        let env = lines(&build(ours(), &policy, &Additions { home, ..additions() }));
        assert!(!env.iter().any(|line| line.starts_with("MINE")), "{env:?}");
        assert!(env.contains(&"CODEX_HOME=/h".to_owned()), "{env:?}");
    }

    #[test]
    fn what_the_run_knows_of_its_agent_is_told() {
        let channels = Some(vec!["x".to_owned(), "y".to_owned()]);
        let policy = EnvironmentPolicy { channels, ..EnvironmentPolicy::default() };
        let instructions = Some(OsStr::new("/i"));
        let told = Additions { model: Some("m"), effort: Some("high"), instructions, ..additions() };
        let env = lines(&build(ours(), &policy, &told));
        for line in ["CHANNELS=x,y", "MODEL=m", "EFFORT=high", "INSTRUCTIONS_FILE=/i"] {
            assert!(env.contains(&format!("AGENT_RELAY_{line}")), "{line}: {env:?}");
        }
    }

    #[test]
    fn names_of_the_configuration_are_passed_on_and_the_tokens_facts_go_with_it() {
        let policy = EnvironmentPolicy { also: vec!["AWS_SECRET".to_owned()], ..EnvironmentPolicy::default() };
        let record = TokenRecord { jti: Some("j".into()), profile: Some("p".into()), expires_at: Some(9) };
        let env = lines(&build(ours(), &policy, &Additions { record: Some(&record), ..additions() }));
        for line in
            ["AWS_SECRET=x", "AGENT_RELAY_TOKEN_JTI=j", "AGENT_RELAY_TOKEN_PROFILE=p", "AGENT_RELAY_TOKEN_EXPIRES_AT=9"]
        {
            assert!(env.contains(&line.to_owned()), "{line}: {env:?}");
        }
        let none = build(ours(), &policy, &Additions { token: None, runner_port: None, ..additions() });
        assert!(!lines(&none).iter().any(|line| line.contains("TOKEN") || line.contains("PORT")));
    }
}
