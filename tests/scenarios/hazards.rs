//! The hazards: situations in which runners of this kind lose work, do it twice, or hang. Each has a story of its name
//! here, `late-exit` in `fn late_exit()`; this list says what must hold, and its tests keep it honest.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// A hazard, and what must hold all the same.
type Hazard = (&'static str, &'static str);

#[rustfmt::skip]
const HAZARDS: &[Hazard] = &[
    // The provider process.
    ("exit-during-restart", "a new process that dies before its start is confirmed is known to be dead, and another follows"),
    ("late-exit", "the exit of an older generation changes nothing"),
    ("early-report", "a busy that comes before the start is confirmed is kept"),
    ("late-hook", "a hook of an older session, or of one that is over, changes nothing"),
    ("nested-provider", "the hooks of a copy that the agent runs itself end nothing of ours"),
    ("session-end-is-not-exit", "a session that ends inside a living process is neither offline nor restarted"),
    ("shutdown-during-spawn", "the process that then appears is stopped"),
    ("shutdown-during-restart", "nothing is started any more"),
    ("shutdown-during-backoff", "nothing is started any more"),
    ("restart-during-backoff", "one new process, at once, and not another when the wait would be over"),
    ("restart-during-first-spawn", "it joins the first start: one process"),
    ("restart-during-restart", "one new generation, and both have succeeded"),
    ("restart-during-shutdown", "it fails and says why"),
    ("kill-during-shutdown", "harder at once, and both get their outcome"),
    ("graceful-stop-hangs", "harder step by step, and the whole process group is gone"),
    ("spawn-fails", "the reason is in the command's outcome, in the status and behind the exit code"),
    ("crash-loop", "given up by the rule: the work goes back, and the exit code is its own"),
    ("dead-handle", "what is asked of a dead process fails clearly and reaches nothing"),
    ("runner-killed", "the next run leaves no process behind, and knows what was had: nothing lost, nothing again unmarked"),
    // Messages, claims, tasks.
    ("mark-read-fails", "what was worked is not handed over again, by this run or the next"),
    ("reconnect-replay", "a message that is sent again after a reconnect is handed over once"),
    ("already-read-replay", "a message that we have read is left alone"),
    ("busy-delivery", "the end of another turn does not finish a task that was handed over during it"),
    ("idle-before-delivery", "nor one that was only claimed by then"),
    ("died-with-task", "the next process gets it, marked; its first idle does not finish it; giving up releases it"),
    ("died-with-message", "the next process gets a plain message as well, marked"),
    ("failed-turn", "a turn that failed or was interrupted finishes nothing"),
    ("double-idle", "two ends of a turn are one report"),
    ("done-report-fails", "a report is tried until it is accepted, as the same request, and without another turn"),
    ("same-task-twice", "two messages of one task: one start, one end"),
    ("lapsed-lease", "silence past the lease, then the claim is asked for: granted, it goes on; refused, it is lost"),
    ("lost-lease", "nothing is reported for what was lost, and nobody is busy with it"),
    ("short-lease", "it is renewed in time"),
    ("renewal-revives-claim", "the answer to a renewal does not bring back a claim that has ended"),
    ("claim-answer-lost", "asked again as the same request, and handed over once"),
    ("claim-then-fail", "a claim is kept while its message is tried again, and released when that is given up"),
    ("taken-over", "what another took, or what is gone, is dropped, and nothing more is said of it"),
    ("poison-message", "eight tries, then it is set aside with the reason, and the rest flows on"),
    ("flood", "memory is bounded, the order holds, none is lost"),
    ("delivery-hangs", "an adapter that never answers holds up neither what follows nor a restart"),
    ("inject-while-delivering", "one operation on the provider at a time, and none is lost"),
    ("compact-while-delivering", "one operation on the provider at a time, and none is lost"),
    ("first-prompt-race", "one operation on the provider at a time, and none is lost"),
    ("delivery-during-restart", "nothing is handed to a process that is being stopped"),
    ("shutdown-with-claims", "claims are released within the time-out"),
    ("lost-subagent-stop", "the end of the turn, or of the session, ends what it left open"),
    ("lost-post-compact", "a compaction whose end is never said keeps nobody busy for ever"),
    ("missing-stop", "a turn whose end was not seen finishes nothing, and keeps nobody busy for ever"),
    ("id-mismatch", "an idle without an id ends the turn that has one"),
    // Commands.
    ("command-replay", "the same id again: carried out once, and the known outcome told again"),
    ("report-unreachable", "a command is carried out although its reports cannot be made"),
    ("shutdown-report-fails", "the provider is stopped all the same, and only then the runner ends"),
    ("lifecycle-clobber", "the end of one command leaves the action of another as it is"),
    ("ready-flip", "nothing makes an agent look ready while it goes down"),
    ("ghost-agent", "nothing brings an agent back that took its leave"),
    // Link and status.
    ("status-lost-in-reconnect", "what changed while the link was down is published after it"),
    ("status-writers-race", "numbers of statuses never go back, and one number never says two things"),
    ("hung-request", "a call that never ends meets its deadline"),
    ("flapping-link", "longer and longer waits, jittered and bounded; a minute without a loss makes them short again"),
    ("half-open-link", "a connection on which nothing is heard is given up in time, and nothing said on it is lost"),
    ("clock-jump", "no timer goes wild, and a lease is looked at before anything is said under it"),
    ("two-runners", "the older one stops its provider, releases its work, and ends with 76; they do not evict each other for ever"),
    // The credential.
    ("renewed-then-silent", "what a refused credential stopped starts again with a new one"),
    ("stale-401", "a refusal of an older credential changes nothing"),
    ("slept-past-expiry", "one try at once on waking; refused, it is shown as expired, and a new token can be handed in"),
    ("renewal-races-reconnect", "one live connection in the end, under the new token"),
    ("renewal-answer-lost", "the old token stays good, and the same question brings the same answer"),
    ("renewal-after-stop", "an answer after the end starts nothing"),
    ("short-token", "renewed once per half of its life, not once per second"),
    // Approvals.
    ("stale-approval", "a decision on what nobody asks any more fails clearly, and reaches no later request"),
    ("two-answers", "the first counts, and the second is told so"),
    // The control server.
    ("foreign-caller", "without the secret, under another host's name, or from a web page: refused"),
    ("bad-body", "refused with the reason, and nothing changes"),
];

/// Those that involve sockets, processes or the relay also run with the program itself.
const WITH_THE_PROGRAM: &[&str] = &[
    "exit-during-restart",
    "late-hook",
    "nested-provider",
    "session-end-is-not-exit",
    "shutdown-during-spawn",
    "shutdown-during-backoff",
    "kill-during-shutdown",
    "graceful-stop-hangs",
    "spawn-fails",
    "crash-loop",
    "runner-killed",
    "mark-read-fails",
    "done-report-fails",
    "claim-answer-lost",
    "taken-over",
    "command-replay",
    "report-unreachable",
    "shutdown-report-fails",
    "ghost-agent",
    "hung-request",
    "flapping-link",
    "half-open-link",
    "two-runners",
    "renewed-then-silent",
    "slept-past-expiry",
    "stale-approval",
    "two-answers",
    "foreign-caller",
    "bad-body",
];

/// The sources of the stories, below this folder.
fn sources(folder: &Path, all: &mut String) {
    for entry in fs::read_dir(folder).expect("the stories are there") {
        let path = entry.expect("it can be listed").path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            *all += &fs::read_to_string(&path).expect("it can be read");
        }
    }
}

/// Those of these hazards that no test below this folder has the name of.
fn without_a_story<'a>(folder: &str, hazards: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut all = String::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios").join(folder), &mut all);
    hazards.filter(|name| !all.contains(&format!("#[test]\nfn {}() {{\n", name.replace('-', "_")))).collect()
}

#[test]
fn every_hazard_has_a_story_of_its_name() {
    assert_eq!(without_a_story("", HAZARDS.iter().map(|(name, _)| *name)), [""; 0]);
}

#[test]
fn every_hazard_of_sockets_and_processes_is_met_by_the_program_as_well() {
    assert_eq!(without_a_story("program", WITH_THE_PROGRAM.iter().copied()), [""; 0]);
}

#[test]
fn no_hazard_is_listed_twice_and_each_says_what_must_hold() {
    let all: Vec<&Hazard> = HAZARDS.iter().collect();
    let names: BTreeSet<&str> = all.iter().map(|(name, _)| *name).collect();
    assert_eq!(names.len(), all.len());
    assert_eq!(all.len(), 73);
    for (name, holds) in all {
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '-' || c.is_ascii_digit()), "{name}");
        assert!(holds.contains(' ') && !holds.ends_with('.'), "{name}: {holds}");
    }
    assert!(WITH_THE_PROGRAM.iter().all(|name| names.contains(name)));
}
