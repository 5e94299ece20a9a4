//! Whom a message is for.

use alloc::string::{String, ToString};
use core::fmt;

/// The forms an address (`to`) can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target<'a> {
    Agent(&'a str),
    Broadcast,
    Label(&'a str),
    Tag(&'a str),
    Capability(&'a str),
    Policy(&'a str),
}

impl<'a> Target<'a> {
    /// Reads an address. Whatever has none of the known prefixes is an agent id.
    pub fn parse(to: &'a str) -> Self {
        if to == "broadcast" {
            return Self::Broadcast;
        }
        match to.split_once(':') {
            Some(("label", rest)) => Self::Label(rest),
            Some(("tag", rest)) => Self::Tag(rest),
            Some(("cap", rest)) => Self::Capability(rest),
            Some(("policy", rest)) => Self::Policy(rest),
            Some(_) | None => Self::Agent(to),
        }
    }
}

impl fmt::Display for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Agent(id) => f.write_str(id),
            Self::Broadcast => f.write_str("broadcast"),
            Self::Label(x) => write!(f, "label:{x}"),
            Self::Tag(x) => write!(f, "tag:{x}"),
            Self::Capability(x) => write!(f, "cap:{x}"),
            Self::Policy(x) => write!(f, "policy:{x}"),
        }
    }
}

impl From<Target<'_>> for String {
    fn from(target: Target<'_>) -> Self {
        target.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_and_written_the_same() {
        for to in ["a1", "broadcast", "label:dev", "tag:x", "cap:chat", "policy:p", "odd:thing", "label:"] {
            assert_eq!(Target::parse(to).to_string(), to);
        }
        assert_eq!(Target::parse("odd:thing"), Target::Agent("odd:thing"));
        assert_eq!(Target::parse("label:a:b"), Target::Label("a:b"));
    }
}
