//! Secrets: made from the operating system's randomness, compared in constant time, kept out of texts.

use crate::error::StartError;
use secrecy::{ExposeSecret, SecretString};
use std::fmt::Write;
use subtle::ConstantTimeEq;

/// Bytes of randomness as hexadecimal digits.
pub(crate) fn random_hex<const N: usize>() -> Result<String, StartError> {
    let mut bytes = [0_u8; N];
    getrandom::fill(&mut bytes).map_err(|e| StartError::Randomness { why: e.to_string() })?;
    Ok(hex(&bytes))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A random id in the form of a UUID, version 4.
pub(crate) fn random_id() -> Result<String, StartError> {
    let hex = random_hex::<16>()?;
    let variant = match hex.as_bytes()[16] {
        b'0' | b'4' | b'8' | b'c' => '8',
        b'1' | b'5' | b'9' | b'd' => '9',
        b'2' | b'6' | b'a' | b'e' => 'a',
        _ => 'b',
    };
    Ok(format!("{}-{}-4{}-{variant}{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..]))
}

pub(crate) fn same(given: &str, secret: &SecretString) -> bool {
    given.as_bytes().ct_eq(secret.expose_secret().as_bytes()).into()
}

/// Takes secrets out of text that others wrote, before it becomes an event or a log line.
#[derive(Debug, Clone, Default)]
pub(crate) struct Redactor {
    secrets: std::sync::Arc<[SecretString]>,
}

impl Redactor {
    pub(crate) fn new(secrets: impl IntoIterator<Item = SecretString>) -> Self {
        // A very short "secret" would tear ordinary text apart, and hides nothing.
        Self { secrets: secrets.into_iter().filter(|s| s.expose_secret().len() >= 6).collect() }
    }

    /// The same, and this secret as well. The oldest of many are forgotten.
    pub(crate) fn with(&self, secret: SecretString) -> Self {
        const MOST: usize = 8;
        let skip = (self.secrets.len() + 1).saturating_sub(MOST);
        Self::new(self.secrets.iter().skip(skip).cloned().chain([secret]))
    }

    pub(crate) fn clean(&self, text: &str) -> String {
        let mut clean = text.to_owned();
        for secret in &*self.secrets {
            if clean.contains(secret.expose_secret()) {
                clean = clean.replace(secret.expose_secret(), "[secret]");
            }
        }
        clean
    }
}

/// At most so many characters of a text, on one line.
pub(crate) fn cut(text: &str, most: usize) -> String {
    let mut line: String = text.trim().chars().take(most).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.trim().chars().nth(most).is_some() {
        line.push_str("...");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_random_id_has_the_form_of_a_uuid_and_never_repeats() {
        let id = random_id().unwrap();
        assert_eq!(id.len(), 36);
        assert_eq!(id.as_bytes()[14], b'4');
        assert!(b"89ab".contains(&id.as_bytes()[19]));
        assert_ne!(id, random_id().unwrap());
    }

    #[test]
    fn secrets_are_taken_out_of_text() {
        let redactor = Redactor::new([SecretString::from("s3cr3t-token"), SecretString::from("a")]);
        assert_eq!(redactor.clean("bad s3cr3t-token, a pity"), "bad [secret], a pity");
    }

    #[test]
    fn only_the_secret_itself_is_the_same() {
        let secret = SecretString::from("0123");
        assert!(same("0123", &secret) && !same("012", &secret) && !same("01234", &secret) && !same("", &secret));
    }

    #[test]
    fn a_cut_text_is_one_line() {
        assert_eq!(cut(" a\nb ", 10), "a b");
        assert_eq!(cut("abcdef", 3), "abc...");
    }
}
