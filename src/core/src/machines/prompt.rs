//! The first prompt, as a table.

use super::{Machine, event, ignored, row, state};

pub(super) const MACHINE: Machine = Machine {
    name: "prompt",
    about: "The first prompt: said once in the agent's life, and before any message.",
    initial: "pending",
    states: &[
        state("pending", "there is one, and no provider has had it"),
        state("saying", "it was handed to the provider; no message is offered meanwhile"),
        state("done", "it was said, or it failed, or there is none; remembered across restarts"),
    ],
    events: &[
        event("provider up", "a provider takes messages from now on"),
        event("said", "the adapter has handed it over"),
        event("failed", "the adapter could not"),
        event("overdue", "no word of it within 30 s"),
        event("exit", "the provider process is over"),
    ],
    rows: &[
        row("pending", "provider up", "saying"),
        row("saying", "said", "done"),
        row("saying", "failed", "done"),
        row("saying", "overdue", "done"),
        row("saying", "exit", "pending"),
    ],
    ignored: &[
        ignored(&["pending"], &["said", "failed", "overdue"], "nothing was asked for"),
        ignored(&["pending"], &["exit"], "the next provider hears it"),
        ignored(&["saying"], &["provider up"], "the same provider says again that it is up"),
        ignored(&["done"], &["provider up", "said", "failed", "overdue", "exit"], "it is said once"),
    ],
};
