//! Places in a recorded run as people write them: the number of a record, a time of day, or a span from the beginning.

use super::span;
use jiff::Timestamp;
use relay_runner_core::journal::Until;

/// `120`, `10m`, or `2026-11-22T10:00:00Z`.
pub(crate) fn until(text: &str) -> Result<Until, String> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return record(text).map(Until::Record);
    }
    if text.contains(['-', ':']) {
        return time(text).map(Until::Wall);
    }
    let wrong = "write the number of a record, a span such as 10m, or a time such as 2026-11-22T10:00:00Z";
    span::any(text).map(|span| Until::Mono(span::millis(span))).map_err(|_| wrong.to_owned())
}

/// Milliseconds since the epoch: a time, or a span before `now`.
pub(crate) fn since(text: &str, now: u64) -> Result<u64, String> {
    let text = text.trim();
    if text.contains(['-', ':']) {
        return time(text);
    }
    let wrong = "write a span such as 10m, or a time such as 2026-11-22T10:00:00Z";
    span::any(text).map(|span| now.saturating_sub(span::millis(span))).map_err(|_| wrong.to_owned())
}

/// Records are counted from 1.
pub(crate) fn record(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(0) => Err("records are counted from 1".to_owned()),
        Ok(number) => Ok(number),
        Err(_) => Err("write the number of a record, as the journal's lines have it (\"n\")".to_owned()),
    }
}

fn time(text: &str) -> Result<u64, String> {
    let wrong = |why: String| format!("{why}; write a time as 2026-11-22T10:00:00Z or 2026-11-22T11:00:00+01:00");
    let time: Timestamp = text.parse().map_err(|e: jiff::Error| wrong(e.to_string()))?;
    u64::try_from(time.as_millisecond()).map_err(|_| "times before 1970 are in no journal".to_owned())
}

/// Milliseconds since the epoch as a time of day, in UTC.
pub(crate) fn shown(wall: u64) -> String {
    let time = i64::try_from(wall).ok().and_then(|wall| Timestamp::from_millisecond(wall).ok());
    time.map_or_else(|| format!("{wall} ms since 1970"), |time| format!("{time:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_record_a_span_or_a_time() {
        assert_eq!(until("120"), Ok(Until::Record(120)));
        assert_eq!(until("10m"), Ok(Until::Mono(600_000)));
        assert_eq!(until("3d"), Ok(Until::Mono(3 * 86_400_000)));
        assert_eq!(until("1970-01-01T00:00:01.5Z"), Ok(Until::Wall(1_500)));
        assert_eq!(until("1970-01-01T01:00:01+01:00"), Ok(Until::Wall(1_000)));
        for wrong in ["", "0", "soon", "10 m", "1969-12-31T23:59:59Z", "2026-11-22", "2026-11-22T10:00:00", "-5"] {
            assert!(until(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn since_is_a_span_before_now_or_a_time() {
        assert_eq!(since("10m", 700_000), Ok(100_000));
        assert_eq!(since("30", 40_000), Ok(10_000), "seconds");
        assert_eq!(since("1h", 5), Ok(0), "all there is");
        assert_eq!(since("1970-01-01T00:00:01.5Z", 9), Ok(1_500));
        for wrong in ["", "soon", "10 m", "-5", "2026-11-22"] {
            assert!(since(wrong, 0).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_time_is_shown_as_it_is_read() {
        assert_eq!(shown(1_500), "1970-01-01T00:00:01.500Z");
        assert_eq!(until(&shown(1_795_000_000_123)), Ok(Until::Wall(1_795_000_000_123)));
        assert!(shown(u64::MAX).contains("since 1970"));
    }
}
