//! Verbs that an agent calls from within a sandbox, let out of it by a rule for what speaks for that agent alone. The rule
//! sees the verb and not its options, so that here is refused what would make it speak elsewhere, or for somebody else.

use super::failure::Failure;
use super::given::Environment;
use relay_runner_shell::{AGENT_VERBS, CONFINED};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Options that name another relay, credential, file of settings, or agent.
const ELSEWHERE: [&str; 5] = ["--relay", "--token-file", "--config", "--agent", "--state-dir"];
/// Options that name a file which is sent.
const FILES: [&str; 2] = ["--file", "--attach"];

/// Wherever links lead.
fn is_within(path: &Path, folder: &Path) -> bool {
    let real = |path: &Path| std::fs::canonicalize(path).ok();
    // One that is not there is refused as that, by the verb itself.
    real(folder).is_some_and(|folder| real(path).is_none_or(|path| path.starts_with(folder)))
}

/// What such a call may not say.
pub(crate) fn check(arguments: &[OsString], env: Environment<'_>) -> Result<(), Failure> {
    let verb = arguments.get(1).and_then(|verb| verb.to_str()).unwrap_or_default();
    if env.raw(CONFINED).is_none() || !AGENT_VERBS.contains(&verb) {
        return Ok(());
    }
    let folder = env.raw(CONFINED).map(PathBuf::from).unwrap_or_default();
    let mut words = arguments.iter().skip(2).take_while(|argument| *argument != "--").peekable();
    while let Some(word) = words.next() {
        let (name, value) = word.to_str().map_or(("", None), |word| {
            word.split_once('=').map_or((word, None), |(name, value)| (name, Some(OsString::from(value))))
        });
        if FILES.contains(&name) {
            let path = value.or_else(|| words.peek().map(|value| (*value).clone())).unwrap_or_default();
            if path != "-" && !is_within(Path::new(&path), &folder) {
                return Err(Failure::usage(
                    "confined",
                    format!(
                        "{name}: {} is not in {}, the folder that this agent works in; an agent may send what is there, without asking, \
                         and nothing else",
                        path.display(),
                        folder.display()
                    ),
                ));
            }
        }
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
    fn an_agent_in_a_sandbox_sends_files_of_its_folder_only() {
        let folder = tempfile::tempdir().unwrap();
        let work = folder.path().join("work");
        std::fs::create_dir(&work).unwrap();
        for file in ["secret", "work/own"] {
            std::fs::write(folder.path().join(file), "x").unwrap();
        }
        std::os::unix::fs::symlink(folder.path().join("secret"), work.join("link")).unwrap();
        let refused = |option: &str, file: &str| {
            let path = work.join(file).display().to_string();
            let by_two = [option.to_owned(), path.clone()].to_vec();
            let by_one = [format!("{option}={path}")].to_vec();
            let says = |more: Vec<String>| {
                let line = ["relay-runner".to_owned(), "reply".to_owned(), "7".to_owned()].into_iter().chain(more);
                let words: Vec<OsString> = line.map(OsString::from).collect();
                let lookup = |name: &str| (name == CONFINED).then(|| work.clone().into_os_string());
                check(&words, Environment::of(&lookup)).is_err()
            };
            let (one, two) = (says(by_one), says(by_two));
            assert_eq!(one, two, "{option} {file}");
            one
        };
        for option in FILES {
            assert!(refused(option, "../secret") && refused(option, "link"), "{option}");
            assert!(!refused(option, "own") && !refused(option, "not-there"), "{option}");
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
