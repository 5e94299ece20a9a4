//! The one place that prints.

use super::failure::Failure;
use serde::Serialize;
use std::fmt::Display;
use std::io::{ErrorKind, Write};

/// A line on standard output.
pub(crate) fn line(text: impl Display) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(|error| match error.kind() {
        // Whoever read it has seen enough.
        ErrorKind::BrokenPipe => Failure::silent("output_closed"),
        _ => Failure::failed("output", format!("cannot write to standard output: {error}")),
    })
}

/// A value as one line of JSON on standard output.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value)
        .map_err(|e| Failure::failed("output", format!("the answer has no JSON form: {e}")))?;
    line(text)
}

/// A value as JSON over several lines.
pub(crate) fn pretty_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|e| Failure::failed("output", format!("the answer has no JSON form: {e}")))?;
    line(text)
}

/// Something for a person who waits, on standard error: it is no part of the answer.
pub(crate) fn aside(text: impl Display) {
    // A closed standard error leaves nobody to tell.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Others' text on one line of a terminal: without what could move the cursor or colour the rest.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if drives(c) { ' ' } else { c }).collect()
}

/// Others' text over several lines: line ends and tabs stay, escape sequences do not.
pub(crate) fn plain_lines(text: &str) -> String {
    text.chars().filter(|c| !drives(*c) || matches!(c, '\n' | '\t')).collect()
}

/// A word of a command line that a person may copy into a shell.
pub(crate) fn word(text: &str) -> String {
    let plain = plain(text);
    let harmless = |c: char| c.is_alphanumeric() || "-_.,:/@%+=".contains(c);
    if !plain.is_empty() && plain.chars().all(harmless) { plain } else { format!("'{}'", plain.replace('\'', r"'\''")) }
}

/// What moves, colours or turns round the text after it.
fn drives(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_text_cannot_drive_the_terminal() {
        assert_eq!(plain("a\u{1b}[31mb\nc"), "a [31mb c");
        assert_eq!(plain_lines("a\u{1b}[31mb\nc\td\r"), "a[31mb\nc\td");
        assert_eq!(plain("a\u{202e}b"), "a b");
    }

    #[test]
    fn words_of_a_command_line_stay_one_word() {
        assert_eq!(word("a1"), "a1");
        assert_eq!(word("a b"), "'a b'");
        assert_eq!(word("it's"), r"'it'\''s'");
        assert_eq!([word(""), word("$(x)")], ["''", "'$(x)'"]);
    }
}
