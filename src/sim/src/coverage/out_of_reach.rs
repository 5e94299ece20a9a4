//! Pairs of the tables that no run of the world meets, by how things are. The stories meet them by hand. What stands
//! neither here nor in what a batch has met is missing.

use relay_runner_core::machines::{self, Pair};

/// Pairs of one machine, and why nobody meets them.
struct Group {
    machine: &'static str,
    why: &'static str,
    /// All pairs of these states and events.
    pairs: &'static [(&'static [&'static str], &'static [&'static str])],
}

const UNKNOWN: &str = "an instance is what something is known of: there is none that could hear it";
const UNARMED: &str = "a deadline that is not armed is never due";
const UNASKED: &str = "nothing was asked that this could be the answer to";
const SILENT: &str = "the world closes a connection before it says anything of it, and says nothing of one that is not";

const GROUPS: &[Group] = &[
    Group { machine: "boot", why: UNASKED, pairs: &[(&["new"], &["started", "failed", "overdue"])] },
    Group {
        machine: "boot",
        why: "a process of the world boots once, and its control server is answered for once; what is said again says yes",
        pairs: &[(&["control", "running"], &["boot"]), (&["running"], &["failed", "overdue"])],
    },
    Group {
        machine: "link",
        why: SILENT,
        pairs: &[
            (&["down"], &["opened", "failed", "refused", "registered", "not registered", "superseded", "pruned"]),
            (&["waiting", "closed"], &["registered", "not registered"]),
            (&["connecting"], &["registered", "not registered"]),
            (&["registering", "up"], &["opened", "failed"]),
        ],
    },
    Group {
        machine: "link",
        why: "the relay of the world refuses a token when it is connected to, never by a frame",
        pairs: &[(&["registering", "up"], &["refused"])],
    },
    Group {
        machine: "link",
        why: UNARMED,
        pairs: &[
            (&["down", "up", "closed"], &["overdue", "retry"]),
            (&["connecting", "registering"], &["retry"]),
            (&["waiting"], &["overdue"]),
        ],
    },
    Group {
        machine: "link",
        why: "nothing is asked of the relay, and no token is in use, before the control server is up; and it is up once",
        pairs: &[
            (&["down"], &["renewal failed"]),
            (&["connecting", "registering", "up", "waiting", "closed"], &["control up"]),
        ],
    },
    Group { machine: "credential", why: UNARMED, pairs: &[(&["fixed", "renewing", "expired"], &["due"])] },
    Group {
        machine: "credential",
        why: "the world's tokens can all be renewed, or there is none; and a renewal that was asked for is waited for",
        pairs: &[(&["fixed", "expired"], &["renewed", "renewal failed"])],
    },
    Group {
        machine: "credential",
        why: "a process boots once",
        pairs: &[(&["planned", "renewing", "expired"], &["boot"])],
    },
    Group {
        machine: "lifecycle",
        why: "what a process has to say it says before its exit, and the exit of one is said once",
        pairs: &[(&["idle", "parked", "cooling"], &["spawn failed", "ready", "busy", "idle"])],
    },
    Group {
        machine: "lifecycle",
        why: UNARMED,
        pairs: &[
            (&["idle", "parked", "cooling"], &["start overdue", "step overdue"]),
            (&["idle", "parked", "draining", "terminating", "killing"], &["cooled"]),
            (&["adopting", "starting"], &["step overdue", "cooled"]),
            (&["waiting", "working"], &["start overdue", "step overdue", "cooled"]),
            (&["draining", "terminating", "killing"], &["start overdue"]),
        ],
    },
    Group {
        machine: "lifecycle",
        why: "a run takes something up at its beginning, or never",
        pairs: &[(
            &["parked", "cooling", "adopting", "starting", "waiting", "working", "draining", "terminating", "killing"],
            &["adopt"],
        )],
    },
    Group {
        machine: "lifecycle",
        why: "the world's adapter says that it is up once, and after the answer to the spawn",
        pairs: &[
            (&["waiting", "working"], &["ready", "spawned", "spawn failed"]),
            (&["terminating"], &["spawn failed"]),
        ],
    },
    Group {
        machine: "prompt",
        why: UNASKED,
        pairs: &[
            (&["pending"], &["handed over", "failed", "overdue"]),
            (&["said"], &["handed over", "failed"]),
            (&["done"], &["handed over", "failed", "overdue"]),
        ],
    },
    Group {
        machine: "prompt",
        why: "the world's adapter says that it is up once, and takes the prompt at once",
        pairs: &[(&["saying"], &["provider up", "failed", "overdue"])],
    },
    Group {
        machine: "message",
        why: UNKNOWN,
        pairs: &[(
            &["none"],
            &[
                "granted",
                "refused",
                "gate opens",
                "handed over",
                "not ready",
                "offer fails",
                "missed",
                "no answer",
                "taken",
                "not taken",
                "turn begins",
                "turn ends",
                "turn fails",
                "makes way",
                "turn doubted",
                "sign of life",
                "interrupted",
                "exit",
                "accepted",
                "end refused",
                "taken over",
                "deleted",
                "long in doubt",
                "given back",
                "another relay",
                "runner restarted",
            ],
        )],
    },
    Group {
        machine: "message",
        why: "an offer that fails does so before anything is taken, and once",
        pairs: &[
            (
                &["held", "claimed", "ambiguous", "worked", "settled", "set aside"],
                &["handed over", "not ready", "offer fails"],
            ),
            (&["taken"], &["not ready", "offer fails"]),
        ],
    },
    Group {
        machine: "message",
        why: "what was missed is missed once, before anything else is known of it",
        pairs: &[(&["held", "claimed", "worked", "settled", "set aside"], &["missed"])],
    },
    Group {
        machine: "message",
        why: "a claim that was granted once and is refused is lost: the message hears that as `taken over`",
        pairs: &[
            (&["claimed", "offered", "taken", "ambiguous", "worked", "set aside"], &["refused"]),
            (&["settled"], &["granted", "refused"]),
        ],
    },
    Group {
        machine: "message",
        why: "the end of a task is reported of what was worked, or set aside",
        pairs: &[(&["held", "claimed", "offered", "taken", "ambiguous", "settled"], &["end refused"])],
    },
    Group {
        machine: "claim",
        why: UNKNOWN,
        pairs: &[(
            &["none"],
            &[
                "due",
                "claimed by another",
                "taken over",
                "registered again",
                "settled",
                "given back",
                "another relay",
                "runner restarted",
            ],
        )],
    },
    Group {
        machine: "claim",
        why: "that a batch would need it, if it had not been asked for, shows nowhere",
        pairs: &[(&["asking", "held", "renewing", "lapsed"], &["wanted"])],
    },
    Group { machine: "claim", why: UNARMED, pairs: &[(&["asking"], &["due"])] },
    Group {
        machine: "claim",
        why: "one question at a time: its answer, or the deadline, comes before anything else is asked, and no later",
        pairs: &[
            (&["held", "renewing", "lapsed"], &["granted", "refused", "no answer"]),
            (&["held"], &["renewed", "not renewed", "renewal refused", "renewal expired"]),
        ],
    },
    Group {
        machine: "command",
        why: UNKNOWN,
        pairs: &[(
            &["new"],
            &[
                "provider up",
                "exit",
                "stop failed",
                "registered",
                "turn free",
                "done",
                "refused",
                "no answer",
                "restart comes",
                "shutdown comes",
                "kill comes",
                "runner restarted",
            ],
        )],
    },
    Group {
        machine: "command",
        why: UNASKED,
        pairs: &[
            (&["for generation", "for registration", "for the end", "queued"], &["done", "refused", "no answer"]),
            (&["succeeded", "failed"], &["no answer"]),
            (&["succeeded"], &["refused"]),
        ],
    },
    Group {
        machine: "command",
        why: "nothing is asked of a provider that is not up, and none comes up in the end",
        pairs: &[(&["at provider", "for the end"], &["provider up"])],
    },
    Group {
        machine: "approval",
        why: UNKNOWN,
        pairs: &[(
            &["new"],
            &["confirmed", "not confirmed", "answered elsewhere", "turn ends", "exit", "time over", "runner restarted"],
        )],
    },
    Group {
        machine: "approval",
        why: UNASKED,
        pairs: &[(&["held", "asked", "decided", "process ended", "late"], &["confirmed", "not confirmed"])],
    },
    Group {
        machine: "approval",
        why: "every question of the world has a name of its own, and is withdrawn once",
        pairs: &[
            (
                &["held", "asked", "deciding", "decided", "elsewhere", "turn ended", "process ended", "late"],
                &["is asked"],
            ),
            (&["elsewhere"], &["answered elsewhere"]),
        ],
    },
    Group {
        machine: "ending",
        why: UNARMED,
        pairs: &[
            (&["none", "stopping"], &["drain over", "time over"]),
            (&["draining"], &["time over"]),
            (&["reporting", "leaving"], &["drain over"]),
        ],
    },
    Group {
        machine: "ending",
        why: "the last word is said when it is said",
        pairs: &[(&["none", "draining", "stopping", "reporting"], &["farewell said", "farewell failed"])],
    },
    Group {
        machine: "ending",
        why: "the one part of the world's shell that fails for good is the control server, at the beginning",
        pairs: &[(&["draining", "stopping", "reporting", "leaving"], &["fault"])],
    },
    Group {
        machine: "ending",
        why: "a drain asks nothing of the provider, and without a provider that is being stopped no stop fails",
        pairs: &[(&["draining", "reporting", "leaving"], &["stop failed"])],
    },
    Group {
        machine: "ending",
        why: "a process of the world hears nothing after its end",
        pairs: &[(
            &["over"],
            &[
                "term",
                "quit",
                "shutdown",
                "kill",
                "superseded",
                "step aside",
                "fault",
                "turn ends",
                "turn doubted",
                "drain over",
                "exit",
                "stop failed",
                "accepted",
                "time over",
                "farewell said",
                "farewell failed",
            ],
        )],
    },
];

/// All of them, and why.
pub fn all() -> impl Iterator<Item = (Pair, &'static str)> {
    GROUPS.iter().flat_map(|group| {
        let pairs = group
            .pairs
            .iter()
            .flat_map(|(states, events)| states.iter().flat_map(|state| events.iter().map(|event| (*state, *event))));
        pairs.map(|(state, event)| (Pair { machine: group.machine, state, event }, group.why))
    })
}

/// Every pair that is not out of reach.
pub(super) fn reachable() -> impl Iterator<Item = Pair> {
    let out: std::collections::BTreeSet<Pair> = all().map(|(pair, _)| pair).collect();
    machines::ALL.into_iter().flat_map(machines::Machine::pairs).filter(move |pair| !out.contains(pair))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_reach_stands_in_the_tables_and_is_said_once() {
        let tables: Vec<Pair> = machines::ALL.into_iter().flat_map(machines::Machine::pairs).collect();
        let mut seen = std::collections::BTreeSet::new();
        for (pair, why) in all() {
            assert!(tables.contains(&pair), "{}: no such pair", pair.name());
            assert!(seen.insert(pair), "{}: twice", pair.name());
            assert!(!why.is_empty());
        }
    }
}
