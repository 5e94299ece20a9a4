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

/// How long something lasts: `1.5 s`, `5 min`.
pub(crate) fn lasting(millis: u64) -> String {
    let seconds = millis / 1_000;
    match seconds {
        0..=9 => format!("{seconds}.{} s", millis % 1_000 / 100),
        10..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
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
        assert_eq!([lasting(90), lasting(1_550), lasting(119_999)], ["0.0 s", "1.5 s", "119 s"]);
        assert_eq!([lasting(120_000), lasting(86_400_000), lasting(864_000_000)], ["2 min", "24 h", "10 days"]);
    }
}
