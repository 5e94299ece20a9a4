//! The text of a message: from the command line, a file, or standard input.

use super::failure::Failure;
use std::io::{IsTerminal, Read};
use std::path::Path;

/// What is read at most; more than any relay takes, so that what is too much can be said with its size.
const READ_MOST: u64 = 16 << 20;

/// `-`, or nothing, reads standard input.
pub(crate) fn text(given: Option<&str>, file: Option<&Path>) -> Result<String, Failure> {
    let text = match (given, file) {
        (_, Some(file)) => read(file)?,
        (Some(text), None) if text != "-" => text.to_owned(),
        (given, None) => {
            let stdin = std::io::stdin();
            if given.is_none() && stdin.is_terminal() {
                let message = "there is no TEXT; give it as an argument, with --file, or on standard input";
                return Err(Failure::usage("no_text", message));
            }
            bounded(stdin.lock())
                .map_err(|e| Failure::failed("input", format!("cannot read the text from standard input: {e}")))?
        }
    };
    if text.trim().is_empty() {
        return Err(Failure::usage("empty_text", "TEXT is empty; say what the message is to say"));
    }
    Ok(text)
}

fn read(file: &Path) -> Result<String, Failure> {
    std::fs::File::open(file)
        .and_then(bounded)
        .map_err(|e| Failure::usage("bad_file", format!("cannot read the text from {}: {e}", file.display())))
}

fn bounded(from: impl Read) -> std::io::Result<String> {
    let mut text = String::new();
    from.take(READ_MOST).read_to_string(&mut text)?;
    Ok(text)
}
