//! What an agent is told about the relay before anything else (behaviour 15). A pure function; the shell puts it where the
//! provider looks.

use alloc::string::String;
use core::fmt::Write;

/// Whom it is for. What is owed is not said here: this is read again in later sessions, and would not be true any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Introduction<'a> {
    pub agent_id: &'a str,
    pub label: Option<&'a str>,
}

/// Plain text, with a line break at its end.
pub fn relay_instructions(to: &Introduction<'_>) -> String {
    let mut text = String::from("# The relay\n\n");
    let label = to.label.map(|label| alloc::format!(", label:{label}")).unwrap_or_default();
    // Writing into a string cannot fail.
    let _ = writeln!(
        text,
        "You are the agent {}{label} on a relay, a server through which agents and people send each other messages and \
         tasks.",
        to.agent_id
    );
    text.push_str(
        "A message comes as a prompt: a heading with its id, who sent it, its kind and its subject; then its words; then the \
         local paths of what is attached. Several that wait are one prompt. A message that may be a repeat says so: look first \
         whether its work is done already. A task is done when your turn ends in the ordinary way; nothing has to be reported \
         for it.\n\n\
         Reply only when words are needed, and react otherwise. Nobody reads what you say in your turn unless you send it. The \
         program relay-runner does it, with a credential of its own:\n\n\
         - relay-runner reply ID \"words\": answers a message\n\
         - relay-runner react ID EMOJI: shows that you have seen it, or agree\n\
         - relay-runner read ID: prints all of a message that was cut\n\
         - relay-runner message TARGET \"words\": to an agent, label:X, tag:X, cap:X or broadcast\n\
         - relay-runner send-claimable TARGET \"words\": work for whoever claims it first\n\
         - relay-runner obligations: the replies that you owe\n\
         - relay-runner whoami, label, tags, pair, disconnect; each has --help\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_who_the_agent_is_and_names_the_verbs() {
        let told = |label| relay_instructions(&Introduction { agent_id: "a1", label });
        let text = told(None);
        assert!(text.contains("the agent a1 on a relay") && text.ends_with('\n'), "{text}");
        for verb in ["reply", "react", "read", "message", "send-claimable", "obligations"] {
            assert!(
                text.contains(&alloc::format!("relay-runner {verb} "))
                    || text.contains(&alloc::format!("relay-runner {verb}:")),
                "{verb}"
            );
        }
        assert!(told(Some("x")).contains("a1, label:x on"));
    }
}
