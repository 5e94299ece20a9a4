//! The tables in themselves. Whether the core does as they say is tested where the core can be driven.

use super::*;

#[test]
fn every_name_in_a_table_is_one_of_its_own() {
    for machine in ALL {
        let is_state = |name: &str| machine.states.iter().any(|s| s.name == name);
        let is_event = |name: &str| machine.events.iter().any(|e| e.name == name);
        assert!(is_state(machine.initial) && !machine.is_group(machine.initial), "{}", machine.name);
        for row in machine.rows {
            assert!(is_state(row.from) && is_event(row.event), "{}: {row:?}", machine.name);
            assert!(row.to == STAYS || is_state(row.to) && !machine.is_group(row.to), "{}: {row:?}", machine.name);
        }
        for ignored in machine.ignored {
            assert!(ignored.states.iter().all(|s| is_state(s)), "{}: {ignored:?}", machine.name);
            assert!(ignored.events.iter().all(|e| is_event(e)), "{}: {ignored:?}", machine.name);
        }
        for state in machine.states {
            assert!(state.within.is_none_or(is_state), "{}: {state:?}", machine.name);
            assert_eq!(machine.states.iter().filter(|s| s.name == state.name).count(), 1, "{}", state.name);
        }
        for event in machine.events {
            assert_eq!(machine.events.iter().filter(|e| e.name == event.name).count(), 1, "{}", event.name);
        }
    }
}

#[test]
fn every_pair_has_one_answer_and_every_answer_a_pair() {
    for machine in ALL {
        let mut used = Vec::new();
        for pair in machine.pairs() {
            match machine.says(pair.state, pair.event) {
                Said::Leads(rows) => {
                    let mut notes: Vec<_> = rows.iter().map(|row| row.note).collect();
                    assert!(rows.len() == 1 || !notes.contains(&""), "{}: which of them?", pair.name());
                    notes.sort_unstable();
                    notes.dedup();
                    assert_eq!(notes.len(), rows.len(), "{}: the same condition twice", pair.name());
                    assert!(
                        !machine
                            .ignored
                            .iter()
                            .any(|i| i.states.contains(&rows[0].from) && i.events.contains(&pair.event)),
                        "{}: handled and ignored",
                        pair.name()
                    );
                    used.extend(rows);
                }
                Said::Ignored(_) => {}
                Said::Nothing => panic!("{}: neither handled nor ignored", pair.name()),
            }
        }
        for row in machine.rows {
            assert!(used.contains(&row), "{}: no state gets to {row:?}", machine.name);
        }
    }
}

#[test]
fn a_table_can_be_drawn() {
    for machine in ALL {
        for row in machine.rows {
            // Mermaid has no arrow from a group to what lies in it, and ends a label at these.
            let inside = row.to != STAYS && row.from != row.to && machine.lies_in(row.to, row.from);
            assert!(!inside, "{}: {row:?}", machine.name);
            assert!(!row.note.contains([':', ';', '#']) && !row.event.contains([':', ';', '#']), "{row:?}");
        }
        let text = machine.mermaid();
        assert!(text.starts_with("stateDiagram-v2\n") && text.contains("  [*] --> "), "{text}");
    }
    let lifecycle = named("lifecycle").unwrap().mermaid();
    assert!(
        lifecycle.contains("  state alive {\n    adopting\n    starting\n    state up {\n      waiting\n"),
        "{lifecycle}"
    );
}
