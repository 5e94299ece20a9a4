//! The credential, as two tables: how it is kept from ending, and what the relay thinks of it.

use super::{Machine, STAYS, event, ignored, row, state, when};

const RENEWABLE: &str = "it can be renewed";
const FIXED: &str = "without an end to come, or of another profile";
const ENDED: &str = "has ended, not taken";

pub(super) const CREDENTIAL: Machine = Machine {
    name: "credential",
    about: "The runtime token: renewed before it ends, replaced by what is handed in.",
    initial: "fixed",
    states: &[
        state("fixed", "no token, or one that cannot be renewed"),
        state("planned", "its renewal has its time"),
        state("renewing", "a new one was asked for; the old one stays good until its own end"),
        state("expired", "it has ended, and the relay did not renew it: another has to be handed in"),
    ],
    events: &[
        event("boot", "the first event of every process"),
        event("due", "the time of renewal, on whichever clock says so first"),
        event("doubted", "a call under it was refused with 401 or 403"),
        event("renewed", "the relay gave another"),
        event("renewal failed", "it did not"),
        event("handed in", "another, from the control server or its file"),
        event("run leaves", "the last word is being said"),
    ],
    rows: &[
        when("fixed", "boot", RENEWABLE, "planned"),
        when("fixed", "boot", FIXED, STAYS),
        row("planned", "due", "renewing"),
        when("planned", "doubted", "for the first time, a renewal decides", "renewing"),
        when("planned", "doubted", "after a renewal was refused", STAYS),
        when("renewing", "doubted", "the renewal decides", STAYS),
        when("renewing", "renewed", RENEWABLE, "planned"),
        when("renewing", "renewed", FIXED, "fixed"),
        when("renewing", "renewal failed", "before its end, or nobody said no", "planned"),
        when("renewing", "renewal failed", "refused after its end", "expired"),
        when("fixed", "handed in", RENEWABLE, "planned"),
        when("fixed", "handed in", FIXED, STAYS),
        when("fixed", "handed in", ENDED, STAYS),
        when("planned", "handed in", RENEWABLE, STAYS),
        when("planned", "handed in", FIXED, "fixed"),
        when("planned", "handed in", ENDED, STAYS),
        when("renewing", "handed in", RENEWABLE, "planned"),
        when("renewing", "handed in", FIXED, "fixed"),
        when("renewing", "handed in", ENDED, STAYS),
        when("expired", "handed in", RENEWABLE, "planned"),
        when("expired", "handed in", FIXED, "fixed"),
        when("expired", "handed in", ENDED, STAYS),
    ],
    ignored: &[
        ignored(&["planned", "renewing", "expired"], &["boot"], "a process boots once"),
        ignored(&["fixed", "renewing", "expired"], &["due"], "no deadline is armed"),
        ignored(&["fixed", "expired"], &["doubted"], "there is nothing to try; the doubt counts all the same"),
        ignored(&["fixed", "planned", "expired"], &["renewed", "renewal failed"], "not what was asked last"),
        ignored(&["fixed", "planned", "renewing", "expired"], &["run leaves"], "its deadline is gone"),
    ],
};

pub(super) const STANDING: Machine = Machine {
    name: "standing",
    about: "What the relay thinks of the credential in force, as far as that is known.",
    initial: "good",
    states: &[
        state("good", "nothing speaks against it"),
        state("suspect", "a call was refused; a renewal is to show whose fault it was, and nothing else is asked"),
        state("refused", "it was the credential: liveness pauses, and status says so"),
    ],
    events: &[
        event("doubted", "a call or a connection under it was refused with 401 or 403"),
        event("late refusal", "of a call or a connection under an older one"),
        event("new credential", "renewed, or handed in"),
        event("renewal failed", "the relay, or the way to it"),
        event("registered", "the relay takes it"),
    ],
    rows: &[
        when("good", "doubted", "it can be renewed", "suspect"),
        when("good", "doubted", "it cannot", "refused"),
        row("suspect", "renewal failed", "refused"),
        row("suspect", "new credential", "good"),
        row("suspect", "registered", "good"),
        row("refused", "new credential", "good"),
        row("refused", "registered", "good"),
        when("good", "new credential", "another one", STAYS),
    ],
    ignored: &[
        ignored(&["good", "suspect", "refused"], &["late refusal"], "that one is not in force any more"),
        ignored(&["good"], &["renewal failed"], "it was to be renewed in good time, and still is"),
        ignored(&["good"], &["registered"], "nobody doubted it"),
        ignored(&["suspect", "refused"], &["doubted"], "it is doubted already"),
        ignored(&["refused"], &["renewal failed"], "it is refused already"),
    ],
};
