//! What a failed turn of Claude Code means, by the classes that it gives its failures.

use relay_runner_core::event::TurnEnd;

/// How somebody logs in.
pub(super) const LOG_IN: &str = "log in with `claude` and `/login` (with the same CLAUDE_CONFIG_DIR), then `relay-runner \
                                 restart`; or start the runner with ANTHROPIC_API_KEY or CLAUDE_CODE_OAUTH_TOKEN";
/// The kind of a failure that is the usage limit of a plan.
pub(super) const USAGE_LIMIT: &str = "usage_limit_reached";

/// What the end of a turn means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Turn(TurnEnd),
    /// Nothing goes on before the usage limit ends.
    Limit {
        why: String,
    },
    /// The credentials are no good, or the account is not.
    Refused {
        why: String,
    },
}

/// Of a turn that failed, in its own words, with its class, and more closely its kind, where they are known.
pub(super) fn meaning(words: &str, class: Option<&str>, kind: Option<&str>) -> Meaning {
    let why = match (words.trim(), kind.or(class)) {
        ("", name) => name.unwrap_or("the turn failed").to_owned(),
        (words, Some(name)) => format!("{words} ({name})"),
        (words, None) => words.to_owned(),
    };
    if kind == Some(USAGE_LIMIT) {
        return Meaning::Limit { why: format!("the usage limit is reached: {why}") };
    }
    match class {
        Some("authentication_failed") => Meaning::Refused { why: format!("{why}; {LOG_IN}") },
        Some("billing_error") => {
            Meaning::Refused { why: format!("{why}; see to the account, then `relay-runner restart`") }
        }
        _ => Meaning::Turn(TurnEnd::Failed { error: why.into() }),
    }
}
