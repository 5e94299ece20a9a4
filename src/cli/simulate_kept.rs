//! What `simulate` makes of a failure: a shorter plan, a file, a test.

use super::failure::Failure;
use super::progress::Progress;
use super::say;
use super::simulate::{self, Args};
use super::simulate_shown::Report;
use relay_runner_sim::batch::Failed;
use relay_runner_sim::saved::{Saved, to_test};
use relay_runner_sim::shrink::{Shrunk, shrink_telling};
use relay_runner_sim::{Wanted, invariant};
use std::path::{Path, PathBuf};

/// Runs that are spent on making a failing plan shorter.
const SHRINKING: u64 = 3_000;
/// Lines of the log that a failure shows.
const LAST: usize = 20;

/// Known before hours of runs, rather than behind them.
pub(super) fn can_be_written(args: &Args) -> Result<(), Failure> {
    std::fs::create_dir_all(&args.save).map_err(|error| {
        Failure::usage("save", format!("--save: cannot make the folder {}: {error}", args.save.display()))
    })?;
    let folder = args.to_test.as_ref().and_then(|file| file.parent()).filter(|folder| !folder.as_os_str().is_empty());
    match folder {
        Some(folder) if !folder.is_dir() => {
            Err(Failure::usage("to_test", format!("--to-test: there is no folder {}", folder.display())))
        }
        _ => Ok(()),
    }
}

pub(super) fn shrunk(failed: &Failed) -> Option<Shrunk> {
    let mut progress = Progress::begin();
    shrink_telling(&failed.plan, SHRINKING, &mut |runs, plan| {
        progress.at(runs, SHRINKING, format_args!("shrinking: {} steps are left", plan.steps.len()));
    })
}

/// What there is to say of a failure, which is saved first unless it comes from such a file.
pub(super) fn report(args: &Args, failed: &Failed, shrunk: Option<Shrunk>) -> Report {
    let shrinking = shrunk.as_ref().map(|shrunk| shrunk.runs);
    let (plan, broken) = match shrunk {
        Some(shrunk) => (shrunk.plan, shrunk.broken),
        None => (failed.plan.clone(), failed.broken.clone()),
    };
    let mut last = relay_runner_sim::run(&plan, Wanted { told: true, ..Wanted::default() }).told;
    last.drain(..last.len().saturating_sub(LAST));
    let by_seed = args.plan.is_none().then(|| by_seed(args, failed.seed));
    let mut report = Report { failed: failed.clone(), plan, broken, shrinking, last, by_seed, file: None };
    if shrinking.is_some() {
        report.file = save(args, &report);
    } else {
        report.file.clone_from(&args.plan);
    }
    report
}

/// What makes the same plan of this seed again.
fn by_seed(args: &Args, seed: u64) -> String {
    let hours = args.hours.map(|hours| format!(" --hours {hours}")).unwrap_or_default();
    let profile = args.profile.as_ref().map(|file| format!(" --profile {}", quoted(file))).unwrap_or_default();
    format!("relay-runner simulate --seed {seed} --runs 1{hours}{profile}")
}

/// As a shell takes it.
pub(super) fn quoted(file: &Path) -> String {
    let text = file.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+=:@%".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// A failure that cannot be saved is still one that can be told.
fn save(args: &Args, report: &Report) -> Option<PathBuf> {
    let seed = report.failed.seed;
    let mut file = args.save.join(format!("simulate-{seed}.json"));
    let is_ours = |plan: &PathBuf| plan.canonicalize().ok().is_some_and(|plan| Some(plan) == file.canonicalize().ok());
    if args.plan.as_ref().is_some_and(is_ours) {
        file = args.save.join(format!("simulate-{seed}-shrunk.json"));
    }
    let saved = Saved {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: option_env!("RELAY_RUNNER_COMMIT").map(str::to_owned),
        seed,
        broken: report.broken.clone(),
        demands: invariant::demands(report.broken.invariant).to_owned(),
        command: format!("relay-runner simulate --plan {}", quoted(&file)),
        last: report.last.clone(),
        shrunk: report.plan.clone(),
        plan: report.failed.plan.clone(),
    };
    match std::fs::write(&file, saved.to_text()) {
        Ok(()) => Some(file),
        Err(error) => {
            say::aside(format_args!("--save: cannot write {}: {error}", file.display()));
            None
        }
    }
}

/// The test that was written: of the failure, or of the plan that was asked for.
pub(super) fn as_test<'a>(args: &'a Args, report: Option<&Report>) -> Result<Option<&'a Path>, Failure> {
    let Some(file) = &args.to_test else { return Ok(None) };
    let text = match (report, &args.plan) {
        (Some(report), _) => to_test(&report.plan),
        (None, Some(plan)) => to_test(simulate::read(plan)?.plan()),
        (None, None) => return Ok(None),
    };
    std::fs::write(file, text)
        .map_err(|error| Failure::failed("to_test", format!("--to-test: cannot write {}: {error}", file.display())))?;
    Ok(Some(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_quoted_for_a_shell_where_that_is_needed() {
        assert_eq!(quoted(Path::new("./simulate-7.json")), "./simulate-7.json");
        assert_eq!(quoted(Path::new("it's here")), r"'it'\''s here'");
    }
}
