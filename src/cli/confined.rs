//! Verbs that an agent calls from within a sandbox, let out of it by a rule for what speaks for that agent alone. The rule
//! sees the verb and not its options, so that here is refused what would make it speak elsewhere, or for somebody else.

use super::failure::Failure;
use super::given::Environment;
use relay_runner_shell::{AGENT_VERBS, CONFINED};
use std::ffi::OsString;

/// Options that name another relay, credential, file of settings, or agent.
const ELSEWHERE: [&str; 5] = ["--relay", "--token-file", "--config", "--agent", "--state-dir"];
/// What such a call may not say.
pub(crate) fn check(arguments: &[OsString], env: Environment<'_>) -> Result<(), Failure> {
    let verb = arguments.get(1).and_then(|verb| verb.to_str()).unwrap_or_default();
    if env.raw(CONFINED).is_none() || !AGENT_VERBS.contains(&verb) {
        return Ok(());
    }
    let said =
        arguments.iter().skip(2).take_while(|argument| *argument != "--").filter_map(|argument| argument.to_str());
    for argument in said {
        let name = argument.split_once('=').map_or(argument, |(name, _)| name);
        if ELSEWHERE.contains(&name) {
            return Err(Failure::usage(
                "confined",
                format!(
                    "{name} is not taken here: an agent may call `relay-runner {verb}` without asking, to speak for itself through \
                     its own runner; leave it out"
                ),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(line: &str, confined: bool) -> bool {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        check(&words, Environment::of(&|name| (confined && name == CONFINED).then(|| "1".into()))).is_err()
    }

    #[test]
    fn an_agent_in_a_sandbox_speaks_for_itself_and_to_its_own_relay() {
        for line in [
            "relay-runner agents --relay http://elsewhere --token-file secret",
            "relay-runner read 7 --relay=http://elsewhere",
            "relay-runner reply 7 done --agent other",
            "relay-runner status --state-dir /other",
            "relay-runner agents --json --config mine.toml",
        ] {
            assert!(refused(line, true), "{line}");
            assert!(!refused(line, false), "whoever is in no sandbox of an agent's: {line}");
        }
        for line in
            ["relay-runner reply 7 done", "relay-runner reply 7 -- --agent", "relay-runner run codex --relay http://x"]
        {
            assert!(!refused(line, true), "{line}");
        }
    }

    #[test]
    fn the_verbs_are_those_of_the_rule() {
        let rule = include_str!("../../plugins/codex/rules/relay-runner.rules");
        let (_, list) = rule.split_once("[\"relay-runner\", [").expect("the rule names its verbs");
        let (list, _) = list.split_once(']').expect("the list ends");
        let named: Vec<&str> = list.split('"').skip(1).step_by(2).collect();
        assert_eq!(named, AGENT_VERBS);
    }
}
