//! What a prompt has the stand-in do: words at the beginnings of lines, so that headings and notes around a message's
//! own words do not matter.

use std::time::Duration;

/// What is done in one answer of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// `SAY words`: these words. Without any step it answers that it heard.
    Say(String),
    /// `RUN command`: one shell command.
    Run(String),
    /// `ASK command`: one that the provider asks a person about.
    Ask(String),
    /// `USE tool {json}`: one call of a tool, with these arguments; what is no JSON is its free text.
    Use { tool: String, arguments: String },
    /// `HOLD name`: a first word, and no end until the test releases that name.
    Hold(String),
    /// `BREAK`: a first word, then the connection is gone.
    Break,
    /// `FAIL status [code] [seconds]`: refused. A status of 200 fails within the stream.
    Fail(Failure),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) status: u16,
    pub(crate) code: Option<String>,
    /// After which it may be tried again.
    pub(crate) retry: Option<Duration>,
}

impl Step {
    pub(crate) const fn calls_a_tool(&self) -> bool {
        matches!(self, Self::Run(_) | Self::Ask(_) | Self::Use { .. })
    }

    fn of(line: &str) -> Option<Self> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.trim();
        Some(match word {
            "SAY" => Self::Say(rest.to_owned()),
            "RUN" => Self::Run(rest.to_owned()),
            "ASK" => Self::Ask(rest.to_owned()),
            "USE" => {
                let (tool, arguments) = rest.split_once(' ').unwrap_or((rest, "{}"));
                Self::Use { tool: tool.to_owned(), arguments: arguments.replace("\\n", "\n") }
            }
            "HOLD" => Self::Hold(rest.to_owned()),
            "BREAK" => Self::Break,
            "FAIL" => {
                let mut words = rest.split(' ');
                Self::Fail(Failure {
                    status: words.next()?.parse().ok()?,
                    code: words.next().map(str::to_owned),
                    retry: words.next().and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs),
                })
            }
            _ => return None,
        })
    }
}

/// The step that is next: each tool that was called since the prompt has done one.
pub(crate) fn next(prompt: &str, called: usize) -> Step {
    let steps: Vec<Step> = prompt.lines().filter_map(Step::of).collect();
    let tools = steps.iter().take_while(|step| step.calls_a_tool()).count();
    match steps.get(called.min(tools)) {
        Some(step) => step.clone(),
        None if called > 0 => Step::Say("The tools have answered.".to_owned()),
        None => Step::Say("I have heard it.".to_owned()),
    }
}

pub(crate) mod checks {
    use super::{Failure, Step, next};
    use libtest_mimic::Trial;
    use std::time::Duration;

    /// They need no package.
    pub(crate) fn trials() -> Vec<Trial> {
        let all: [(&str, fn()); 2] = [
            ("the_steps_of_a_prompt_follow_each_other", the_steps_of_a_prompt_follow_each_other),
            ("a_failure_has_its_status_code_and_time", a_failure_has_its_status_code_and_time),
        ];
        let trial = |(name, check): (&str, fn())| {
            let run = move || {
                check();
                Ok(())
            };
            Trial::test(format!("model::{name}"), run)
        };
        all.into_iter().map(trial).collect()
    }

    fn the_steps_of_a_prompt_follow_each_other() {
        let prompt = "[message 4 from operator]\nRUN touch x\nplease\nASK rm -r y\nHOLD one\nSAY never";
        let steps: Vec<Step> = (0..4).map(|called| next(prompt, called)).collect();
        let hold = Step::Hold("one".to_owned());
        assert_eq!(steps, [Step::Run("touch x".into()), Step::Ask("rm -r y".into()), hold.clone(), hold]);
        assert!(matches!(next("RUN ls", 1), Step::Say(_)) && matches!(next("do not RUN ls", 0), Step::Say(_)));
    }

    fn a_failure_has_its_status_code_and_time() {
        let expected =
            Failure { status: 429, code: Some("usage_limit_reached".to_owned()), retry: Some(Duration::from_mins(1)) };
        assert_eq!(next("FAIL 429 usage_limit_reached 60", 0), Step::Fail(expected));
        assert_eq!(next("FAIL 500", 0), Step::Fail(Failure { status: 500, code: None, retry: None }));
    }
}
