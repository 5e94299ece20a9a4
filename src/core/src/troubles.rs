//! Which troubles were said lately, so that the same is not said again and again (behaviour 11).

use alloc::collections::BTreeMap;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::config::Config;
use crate::time::Mono;

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Troubles {
    /// By the digest of what was said; when.
    said: BTreeMap<u64, Mono>,
}

/// What a failed call of the relay counts as: its HTTP status where there was one, else its whole text.
pub(crate) fn key_of_call(text: &str) -> &str {
    const STATUS: usize = "HTTP 000".len();
    match text.find("HTTP ").and_then(|at| text.get(at..at + STATUS)) {
        Some(status) if status.bytes().skip(5).all(|b| b.is_ascii_digit()) => status,
        Some(_) | None => text,
    }
}

impl Troubles {
    /// Whether this was said within the last minutes. If not, it is said now.
    pub(crate) fn said(&mut self, what: &str, now: Mono, config: &Config) -> bool {
        let key = xxh3_64(what.as_bytes());
        let repeat = config.timing.log_repeat;
        if self.said.get(&key).is_some_and(|at| now.saturating_sub(*at) < repeat) {
            return true;
        }
        if self.said.len() >= config.limits.log_keys && !self.said.contains_key(&key) {
            self.said.retain(|_, at| now.saturating_sub(*at) < repeat);
        }
        if self.said.len() >= config.limits.log_keys {
            // Full of fresh ones: the oldest makes room.
            if let Some(oldest) = self.said.iter().min_by_key(|(_, at)| **at).map(|(key, _)| *key) {
                self.said.remove(&oldest);
            }
        }
        self.said.insert(key, now);
        false
    }

    pub(crate) fn forget(&mut self) {
        self.said.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Adapter, Identity};

    #[test]
    fn calls_that_fail_with_the_same_status_are_the_same_trouble() {
        assert_eq!(key_of_call("HTTP 503 busy: later"), "HTTP 503");
        assert_eq!(key_of_call("the relay said HTTP 401"), "HTTP 401");
        for other in ["connection reset", "HTTP 5xx later", "HTTP 50", "HTTP "] {
            assert_eq!(key_of_call(other), other);
        }
    }

    #[test]
    fn the_same_is_said_once_in_a_while() {
        let config = Config::new(Identity::default(), Adapter::default(), 1);
        let repeat = config.timing.log_repeat;
        let mut troubles = Troubles::default();
        assert!(!troubles.said("refused", 1_000, &config), "for the first time");
        assert!(troubles.said("refused", 1_000 + repeat - 1, &config));
        assert!(!troubles.said("reset", 1_000, &config), "something else");
        assert!(!troubles.said("refused", 1_000 + repeat, &config), "again, after a while");
        troubles.forget();
        assert!(!troubles.said("reset", 1_001, &config));
    }

    #[test]
    fn when_too_much_was_said_the_oldest_is_forgotten() {
        let config = Config::new(Identity::default(), Adapter::default(), 1);
        let most = u64::try_from(config.limits.log_keys).unwrap();
        let mut troubles = Troubles::default();
        for at in 0..=most {
            assert!(!troubles.said(&alloc::format!("trouble {at}"), at, &config));
        }
        assert_eq!(troubles.said.len(), config.limits.log_keys);
        assert!(troubles.said(&alloc::format!("trouble {most}"), most, &config));
        assert!(troubles.said("trouble 1", most, &config));
        assert!(!troubles.said("trouble 0", most, &config), "it made room");
        // What is long ago makes room first.
        let later = most + config.timing.log_repeat;
        assert!(!troubles.said("something new", later, &config));
        assert!(troubles.said.len() <= 2, "{}", troubles.said.len());
    }
}
