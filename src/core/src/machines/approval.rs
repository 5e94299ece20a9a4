//! A question of the provider, as a table.

use super::{Machine, STAYS, event, ignored, inner, row, state, when};

const HOOK: &str = "by a hook, which waits at the control server";
const ADAPTER: &str = "by the adapter";
const LATE: &str = "the decision that was on its way fails";

pub(super) const MACHINE: Machine = Machine {
    name: "approval",
    about: "A question of the provider that waits for a person: the first answer counts, and reaches no other question.",
    initial: "new",
    states: &[
        state("new", "nobody has asked it, or it was asked of an earlier run"),
        state("open", "it waits for a decision"),
        inner("open", "held", "its caller waits at the control server"),
        inner("open", "asked", "the adapter asked it, and the provider waits"),
        inner("open", "deciding", "a decision was passed on to the adapter, and is not confirmed yet"),
        state("over", "remembered for a while, so that whoever decides too late is told why"),
        inner("over", "decided", "the decision reached whoever asked"),
        inner("over", "elsewhere", "a person answered in the provider itself, or it was withdrawn"),
        inner("over", "turn ended", "the turn that asked is over"),
        inner("over", "process ended", "the process that asked is over"),
        inner("over", "late", "nobody decided in time"),
    ],
    events: &[
        event("is asked", "with a name for it"),
        event("decision", "`agent.permissionDecision`, from the relay or from this machine"),
        event("confirmed", "the adapter has passed the decision on"),
        event("not confirmed", "it could not, or said nothing within the deadline"),
        event("answered elsewhere", "the provider does not ask any more"),
        event("turn ends", "the turn that asked, however"),
        event("exit", "the provider process is over"),
        event("time over", "the hook's time, which is shorter than its own"),
        event("runner restarted", "the next run goes on with the facts of this one"),
    ],
    rows: &[
        when("new", "is asked", HOOK, "held"),
        when("new", "is asked", ADAPTER, "asked"),
        when("new", "is asked", "by a hook of another session, or one too many", STAYS),
        when("open", "is asked", "by a hook, which is told so", STAYS),
        when("over", "is asked", "another question of the same name, by a hook", "held"),
        when("over", "is asked", "another question of the same name, by the adapter", "asked"),
        when("new", "decision", "it fails, nobody asked that", STAYS),
        row("held", "decision", "decided"),
        row("asked", "decision", "deciding"),
        when("deciding", "decision", "it fails, the first one counts", STAYS),
        when("over", "decision", "it fails, and says what became of the question", STAYS),
        row("deciding", "confirmed", "decided"),
        row("deciding", "not confirmed", "asked"),
        when("elsewhere", "confirmed", LATE, STAYS),
        when("elsewhere", "not confirmed", LATE, STAYS),
        when("elsewhere", "exit", LATE, STAYS),
        when("turn ended", "exit", LATE, STAYS),
        when("turn ended", "confirmed", LATE, STAYS),
        when("turn ended", "not confirmed", LATE, STAYS),
        row("open", "answered elsewhere", "elsewhere"),
        row("open", "turn ends", "turn ended"),
        row("open", "exit", "process ended"),
        row("held", "time over", "late"),
        row("open", "runner restarted", "new"),
        row("over", "runner restarted", "new"),
    ],
    ignored: &[
        ignored(
            &["new"],
            &["confirmed", "not confirmed", "answered elsewhere", "turn ends", "exit", "time over", "runner restarted"],
            "nothing is known of it",
        ),
        ignored(&["held", "asked"], &["confirmed", "not confirmed"], "no decision is under way"),
        ignored(
            &["decided", "process ended", "late"],
            &["confirmed", "not confirmed"],
            "no decision is under way any more",
        ),
        ignored(&["asked", "deciding"], &["time over"], "the provider itself knows how long it waits"),
        ignored(&["over"], &["answered elsewhere", "turn ends", "exit", "time over"], "it is over"),
    ],
};
