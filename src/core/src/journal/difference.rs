//! Where today's core departs from the recorded one, and how that is shown.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;

use crate::event::Event;
use crate::time::Stamp;

/// Where today's core departs from the recorded one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Line, counted from 1 over all that was replayed, of the event after which they differ.
    pub line: u64,
    /// Number of that event; 0 when a mark differs from the start.
    pub number: u64,
    pub at: Stamp,
    pub event: Option<Box<Event>>,
    pub what: Compared,
    pub recorded: String,
    pub today: String,
}

/// What of the two cores was compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compared {
    /// The effects of one event.
    Effects,
    /// The whole core, at a mark.
    Core,
}

/// How much of two long sides is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// For one difference.
    Full,
    /// For a list of them.
    Brief,
}

impl Length {
    /// Bytes up to which both sides are shown whole; how much is shown before the place where they part; and in all.
    const fn figures(self) -> (usize, usize, usize) {
        match self {
            Self::Full => (2_000, 200, 600),
            Self::Brief => (240, 60, 200),
        }
    }
}

/// Both sides, near the place where they part: whole cores are long.
pub fn sides(recorded: &str, today: &str, length: Length) -> (String, String) {
    let (whole, before, most) = length.figures();
    if recorded.len() <= whole && today.len() <= whole {
        return (recorded.to_string(), today.to_string());
    }
    if recorded == today {
        let said = "(the same text: they differ in something that is not written)".to_string();
        return (said.clone(), said);
    }
    let same = recorded.chars().zip(today.chars()).take_while(|(a, b)| a == b).count();
    let skipped = same.saturating_sub(before);
    let part = |text: &str| {
        let mut rest = text.chars().skip(skipped);
        let part: String = rest.by_ref().take(most).collect();
        let head = if skipped > 0 { "..." } else { "" };
        let tail = if rest.next().is_some() { "..." } else { "" };
        format!("{head}{part}{tail}")
    };
    (part(recorded), part(today))
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.what {
            Compared::Effects => "is followed by other effects today",
            Compared::Core => "leaves another core today than the mark after it holds",
        };
        writeln!(f, "line {}: event {} at {} ms {what}", self.line, self.number, self.at.mono)?;
        if let Some(event) = &self.event {
            writeln!(f, "  event:    {event:?}")?;
        }
        writeln!(f, "  recorded: {}", said(&self.recorded))?;
        write!(f, "  today:    {}", said(&self.today))
    }
}

/// One side of a difference, in words.
pub fn said(effects: &str) -> &str {
    if effects.is_empty() { "(nothing)" } else { effects }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_sides_are_shown_where_they_part() {
        let long = "x".repeat(5_000);
        for length in [Length::Full, Length::Brief] {
            let (recorded, today) = sides(&format!("{long}one{long}"), &format!("{long}two{long}"), length);
            assert!(recorded.contains("one") && today.contains("two") && recorded.len() < 1_000);
            assert!(recorded.starts_with("...") && recorded.ends_with("..."));
            assert!(sides(&long, &long, length).0.contains("same text"));
        }
        assert_eq!(sides("a", "b", Length::Brief), ("a".to_string(), "b".to_string()));
        let (recorded, today) = sides("", &long, Length::Brief);
        assert_eq!((recorded.as_str(), today.len()), ("", 203));
    }
}
