//! The real programs that agents are, as their packages bring them, against a stand-in for their models. Where a
//! package is not installed its tests are shown as ignored, with the command that brings it;
//! `RELAY_RUNNER_PROVIDERS=require` makes that a failure.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code, reason = "it is the scenarios' own, and has more than is needed here")]
#[path = "../scenarios/program/calling.rs"]
mod calling;
#[allow(dead_code, reason = "it is the scenarios' own, and has more than is needed here")]
#[path = "../scenarios/program/tmux.rs"]
mod tmux;
#[allow(dead_code, reason = "it is the scenarios' own, and has more than is needed here")]
#[path = "../scenarios/program/world.rs"]
mod world;

mod claude;
mod codex;
mod installed;
mod model;
mod recorded;

use installed::{Installed, Missing};
use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// What a test of a provider is given.
type Test = fn(&Installed);

/// Functions as tests, by their names.
macro_rules! tests {
    ($($module:ident: $($test:ident),+ $(,)?);+ $(;)?) => {
        vec![$($((concat!(stringify!($module), "::", stringify!($test)), $module::$test as crate::Test)),+),+]
    };
}
pub(crate) use tests;

fn main() {
    let mut arguments = Arguments::from_args();
    // Each provider takes a few hundred megabytes and most of a processor.
    arguments.test_threads.get_or_insert(2);
    let mut trials = model::script::checks::trials();
    trials.extend(codex::trials());
    trials.extend(claude::trials());
    trials.extend(claude::transcript_trials());
    let codex = installed::codex();
    let seen = codex.clone().and_then(installed::with_tmux);
    trials.extend(codex::tests().into_iter().map(|(name, test)| trial("codex", name, test, codex.clone())));
    trials.extend(codex::in_a_terminal().into_iter().map(|(name, test)| trial("codex", name, test, seen.clone())));
    let claude = installed::claude();
    trials.extend(claude::tests().into_iter().map(|(name, test)| trial("claude", name, test, claude.clone())));
    let seen = claude.and_then(installed::with_tmux);
    trials.extend(claude::in_a_terminal().into_iter().map(|(name, test)| trial("claude", name, test, seen.clone())));
    libtest_mimic::run(&arguments, trials).exit();
}

fn trial(provider: &str, name: &str, test: Test, program: Result<Installed, Missing>) -> Trial {
    Trial::ignorable_test(format!("{provider}::{name}"), move || match program {
        Ok(program) => {
            test(&program);
            Ok(Completion::Completed)
        }
        Err(missing) if missing.is_an_error => Err(Failed::from(missing.to_string())),
        Err(missing) => Ok(Completion::ignored_with(missing)),
    })
}
