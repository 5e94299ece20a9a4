//! The provider process.

use relay_runner_core::event::{Event, ExitClass, Order, ReportStatus, StatusReport};
use relay_runner_core::ids::provider_session;
use relay_runner_core::{Effect, Note, ProviderReport, StopStep, TimerKey};

use super::Detector;
use crate::coverage::step::{Ordered, Step};

pub(super) const ALL: &[Detector] = &[
    ("exit-during-restart", exit_during_restart),
    ("late-exit", late_exit),
    ("early-report", early_report),
    ("late-hook", late_hook),
    ("nested-provider", nested_provider),
    ("session-end-is-not-exit", session_end_is_not_exit),
    ("shutdown-during-spawn", shutdown_during_spawn),
    ("shutdown-during-restart", shutdown_during_restart),
    ("shutdown-during-backoff", shutdown_during_backoff),
    ("restart-during-backoff", restart_during_backoff),
    ("restart-during-first-spawn", restart_during_first_spawn),
    ("restart-during-restart", restart_during_restart),
    ("restart-during-shutdown", restart_during_shutdown),
    ("kill-during-shutdown", kill_during_shutdown),
    ("graceful-stop-hangs", graceful_stop_hangs),
    ("spawn-fails", spawn_fails),
    ("crash-loop", crash_loop),
    ("dead-handle", dead_handle),
    ("runner-killed", runner_killed),
];

/// A restart waits for the process that has just ended while it was starting.
fn exit_during_restart(step: &Step<'_>) -> bool {
    step.exits && step.before.process == "starting" && step.before.waits("agent.restart")
}

/// The exit names a generation that another has followed.
fn late_exit(step: &Step<'_>) -> bool {
    matches!(step.event, Event::Provider(of, ProviderReport::Exit(_)) if *of < step.before.generation)
}

/// A turn begins of a process that has not said that it is up.
fn early_report(step: &Step<'_>) -> bool {
    step.before.process == "starting" && step.turn_report(ReportStatus::Busy).is_some()
}

/// A hook, and whether it names the session of the newest process.
fn hook<'a>(step: &Step<'a>) -> Option<(&'a StatusReport, bool)> {
    let Event::Order(Order::Report { report, .. }) = step.event else { return None };
    let session = provider_session(step.core.run_id(), step.before.generation);
    Some((report, report.session.as_deref() == Some(session.as_str())))
}

/// The hook names an older session, or there is no process that it could be of.
fn late_hook(step: &Step<'_>) -> bool {
    hook(step).is_some_and(|(_, newest)| !newest || !step.before.is_alive())
}

/// The session is the living one's, and the process is another.
fn nested_provider(step: &Step<'_>) -> bool {
    let other = |report: &StatusReport| report.pid.is_some() && report.pid != step.before.pid;
    step.before.pid.is_some() && hook(step).is_some_and(|(report, newest)| newest && other(report))
}

/// A session of the living process ends or begins, by its hook, and the process goes on.
fn session_end_is_not_exit(step: &Step<'_>) -> bool {
    step.lives && step.status().is_some_and(StatusReport::begins_a_session)
}

/// The run's end was asked for in this step.
fn is_shut_down(step: &Step<'_>) -> bool {
    !step.before.ends() && step.after.ends()
}

/// The process was asked for, and has not come up.
fn shutdown_during_spawn(step: &Step<'_>) -> bool {
    is_shut_down(step) && step.before.process == "starting" && !step.exits
}

/// A restart has not come to its end.
fn shutdown_during_restart(step: &Step<'_>) -> bool {
    is_shut_down(step) && step.before.waits("agent.restart")
}

/// The next process waits for its time.
fn shutdown_during_backoff(step: &Step<'_>) -> bool {
    is_shut_down(step) && step.before.process == "cooling"
}

/// The same, and somebody asks for it at once.
fn restart_during_backoff(step: &Step<'_>) -> bool {
    step.orders("agent.restart") && step.before.process == "cooling"
}

/// No process of this run was up yet.
fn restart_during_first_spawn(step: &Step<'_>) -> bool {
    let first = matches!(step.before.process, "idle" | "starting");
    step.orders("agent.restart") && first && !step.books.was_up && !step.before.ends()
}

/// One restart after another, before the first has succeeded.
fn restart_during_restart(step: &Step<'_>) -> bool {
    step.orders("agent.restart") && step.before.waits("agent.restart")
}

/// Nothing is started any more.
fn restart_during_shutdown(step: &Step<'_>) -> bool {
    step.orders("agent.restart") && step.before.ends()
}

/// It is to be harder than it was asked for.
fn kill_during_shutdown(step: &Step<'_>) -> bool {
    step.orders("agent.kill") && step.before.waits("agent.shutdown") && step.before.is_stopping()
}

/// A step of stopping had its time, and a harder one follows.
fn graceful_stop_hangs(step: &Step<'_>) -> bool {
    let harder = |effect: &Effect| matches!(effect, Effect::Stop { step, .. } if *step > StopStep::Ask);
    step.is_due(TimerKey::Stop) && step.fx.effects.iter().any(harder)
}

/// There is no process, and the answer says why.
fn spawn_fails(step: &Step<'_>) -> bool {
    step.answers.iter().any(|answer| {
        matches!(answer.asked.effect, Effect::Spawn { .. }) && answer.result.is_some() && answer.failure().is_some()
    })
}

/// One exit too many in the window: that is neither a refusal nor a provider that is never started again.
fn crash_loop(step: &Step<'_>) -> bool {
    let refused = step.notes(|note| matches!(note, Note::Exited { class: ExitClass::Refused, .. }));
    let parked = step.notes(|note| matches!(note, Note::Parked { .. }));
    parked && !refused && step.core.config().adapter.restartable
}

/// Something is asked of a process that is dead, known to be so or not.
fn dead_handle(step: &Step<'_>) -> bool {
    let unknown = step.acts().next().is_some() && !step.lives;
    let known = step.order.as_ref().is_some_and(Ordered::is_adapters) && step.books.was_up && !step.before.is_alive();
    unknown || known
}

/// A run begins with the facts of one that did not come to its end, and had started a process.
fn runner_killed(step: &Step<'_>) -> bool {
    *step.event == Event::Boot && step.books.lives > 1 && !step.books.finished && step.before.generation.0 > 0
}
