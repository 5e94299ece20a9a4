//! Spans of time as people write them: `500ms`, `30s`, `2m`, `1h`; a bare number means seconds.

use std::time::Duration;

/// No setting is served by more than a day.
const MOST: Duration = Duration::from_hours(24);

pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let wrong = || "write it as 500ms, 30s, 2m or 1h".to_owned();
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let millis = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    let span = number.checked_mul(millis).map(Duration::from_millis).filter(|span| *span <= MOST);
    span.ok_or_else(|| "at most 24h".to_owned())
}

/// In milliseconds, as the core counts.
pub(crate) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_units() {
        for (text, millis) in [("0", 0), ("7", 7_000), ("500ms", 500), ("2m", 120_000), (" 1h ", 3_600_000)] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for wrong in ["", "s", "-1", "1.5s", "1 s", "25h", "99999999999999999999", "18446744073709551615h"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
