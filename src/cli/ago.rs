//! Times for people: how long ago, and how far into a story.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since the epoch. The program's only look at the wall clock; the runner's is in the shell.
#[expect(clippy::disallowed_methods, reason = "for people only: nothing is decided by it")]
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, super::span::millis)
}

/// `3 s ago`, `5 min ago`.
pub(crate) fn ago(then: u64, now: u64) -> String {
    let seconds = now.saturating_sub(then) / 1_000;
    match seconds {
        0..=1 => "now".to_owned(),
        2..=119 => format!("{seconds} s ago"),
        120..=7_199 => format!("{} min ago", seconds / 60),
        7_200..=172_799 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

/// Seconds with two decimals.
pub(crate) fn seconds(millis: u64) -> String {
    format!("{}.{:02}", millis / 1_000, millis % 1_000 / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_people_say_them() {
        assert_eq!(ago(1_000, 1_500), "now");
        assert_eq!(ago(0, 61_000), "61 s ago");
        assert_eq!(ago(0, 600_000), "10 min ago");
        assert_eq!(ago(5, 0), "now", "clocks may differ");
        assert_eq!(seconds(12_349), "12.34");
    }
}
