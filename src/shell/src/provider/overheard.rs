//! What a program prints beside what it says: its standard error, and the last words that tell why it ended.

use super::lines::{Line, Lines};
use super::reporter::Reporter;
use tokio::io::AsyncRead;

/// The longest line of standard error that is logged.
const LOG_MOST: usize = 8 * 1024;

/// Logs standard error, and hands on its lines, which may be wanted for the exit's report.
pub(crate) async fn overhear(from: impl AsyncRead + Unpin, reporter: &Reporter, mut heard: impl FnMut(String)) {
    let generation = reporter.generation().0;
    let mut lines = Lines::new(from, LOG_MOST);
    loop {
        match lines.next().await {
            Ok(Some(Line::Text(text))) if !text.trim().is_empty() => {
                let line = reporter.text(text);
                tracing::info!(generation, "provider: {line}");
                heard(line);
            }
            Ok(Some(Line::Text(_))) => {}
            Ok(Some(Line::TooLong(bytes))) => tracing::info!(generation, "provider: (a line of {bytes} bytes)"),
            Ok(Some(Line::NotUtf8)) => tracing::info!(generation, "provider: (a line that is not UTF-8)"),
            Ok(None) | Err(_) => return,
        }
    }
}

/// A reason, and the last that a program printed.
pub(crate) fn with(why: &str, tail: &str) -> String {
    let lines: Vec<String> = tail.lines().map(plain).filter(|line| !line.is_empty()).collect();
    // The first line of a refusal says what is wrong; hints and usage follow. Else the last two, as either may be the hint.
    let refusal = lines.iter().find(|line| line.starts_with("error:")).cloned();
    let told = refusal.unwrap_or_else(|| lines[lines.len().saturating_sub(2)..].join(" | "));
    if told.is_empty() { why.to_owned() } else { format!("{why}: {told}") }
}

/// Without colours.
fn plain(line: &str) -> String {
    let mut parts = line.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    let rest = parts.map(|part| part.split_once('m').map_or(part, |(_, text)| text));
    rest.fold(first, |line, part| line + part).trim().to_owned()
}
