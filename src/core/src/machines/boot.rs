//! Coming up, as a table.

use super::{Machine, event, ignored, row, state, when};

pub(super) const MACHINE: Machine = Machine {
    name: "boot",
    about: "In which order a run comes up: the control server first, since without it nobody could stop the run.",
    initial: "new",
    states: &[
        state("new", "nothing was done yet"),
        state("control", "the control server is being started"),
        state("running", "the link has been asked for; all else follows from that"),
    ],
    events: &[
        event("boot", "the first event of every process"),
        event("started", "the control server listens"),
        event("failed", "it could not be started"),
        event("overdue", "no word of it within the deadline"),
    ],
    rows: &[
        row("new", "boot", "control"),
        row("control", "started", "running"),
        when("control", "failed", "the run ends with 1", "running"),
        when("control", "overdue", "the run ends with 1", "running"),
    ],
    ignored: &[
        ignored(&["new"], &["started", "failed", "overdue"], "nothing was asked for"),
        ignored(&["control", "running"], &["boot"], "a process boots once"),
        ignored(&["running"], &["started", "failed", "overdue"], "it was answered already"),
    ],
};
