//! Spans of time as people write them: `500ms`, `30s`, `2m`, `1h`; a bare number means seconds.

use std::time::Duration;

/// No setting of a run is served by more than a day.
const MOST: Duration = Duration::from_hours(24);
/// What a relay keeps, and what it hands out, lasts longer.
const LONG: Duration = Duration::from_hours(24 * 365);

pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let span = parsed(text)?;
    if span <= MOST { Ok(span) } else { Err("at most 24h".to_owned()) }
}

/// However long: a recorded run may have lasted for days.
pub(crate) fn any(text: &str) -> Result<Duration, String> {
    parsed(text)
}

/// At least a second, and without a fraction of one; days are longer spans.
pub(crate) fn whole_seconds(text: &str) -> Result<u64, String> {
    let span = parsed(text).map_err(|why| format!("{why}, or 30d"))?;
    match (span.as_secs(), span.subsec_nanos()) {
        (0, _) | (_, 1..) => Err("whole seconds, at least one".to_owned()),
        (_, 0) if span > LONG => Err("at most 365d".to_owned()),
        (seconds, 0) => Ok(seconds),
    }
}

fn parsed(text: &str) -> Result<Duration, String> {
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
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    Ok(Duration::from_millis(number.saturating_mul(millis)))
}

/// In milliseconds, as the core counts.
pub(crate) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// As people write it, in the largest unit that holds it exactly.
pub(crate) fn words(millis: u64) -> String {
    let units = [(3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    let unit = units.iter().find(|(unit, _)| millis > 0 && millis.is_multiple_of(*unit));
    unit.map_or_else(|| format!("{millis}ms"), |(unit, name)| format!("{}{name}", millis / unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_relay_keeps_is_kept_for_whole_seconds() {
        assert_eq!(whole_seconds("30d"), Ok(30 * 86_400));
        assert_eq!(whole_seconds("8h"), Ok(8 * 3_600));
        assert!(whole_seconds("0").is_err() && whole_seconds("1500ms").is_err());
        assert!(whole_seconds("99999999d").is_err() && whole_seconds("soon").is_err());
        assert!(parse("2d").is_err(), "a run has nothing that lasts for days");
    }

    #[test]
    fn a_span_is_shown_as_it_is_read() {
        for (millis, text) in
            [(0, "0ms"), (500, "500ms"), (1_500, "1500ms"), (90_000, "90s"), (120_000, "2m"), (86_400_000, "24h")]
        {
            assert_eq!(words(millis), text);
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)));
        }
    }

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
