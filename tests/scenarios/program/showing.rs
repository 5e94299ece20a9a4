//! What the program shows of itself: its machines.

use super::world::World;

#[test]
fn machines_are_shown_as_diagrams_and_as_tables() {
    let world = World::without_relay();
    let all = world.ask(&["machines"]);
    assert_eq!(all.code, Some(0), "{all:?}");
    assert_eq!(all.out.matches("```mermaid\nstateDiagram-v2\n").count(), all.out.matches("\n## ").count() + 1);

    let one = world.ask(&["machines", "claim"]);
    assert!(one.out.starts_with("## claim\n") && all.out.contains(one.out.trim_end()), "{one:?}");

    let tables = world.ask(&["machines", "--json"]).json();
    let claim = world.ask(&["machines", "claim", "--json"]).json();
    assert!(tables.as_array().unwrap().contains(&claim), "{claim}");
    let granted = claim["rows"].as_array().unwrap().iter().find(|row| row["event"] == "granted" && row["to"] == "held");
    assert_eq!(granted.unwrap()["from"], "asking", "{claim}");
    assert!(claim["ignored"][0]["why"].is_string(), "{claim}");
}

#[test]
fn a_machine_that_is_not_there_is_refused_with_the_names_of_those_that_are() {
    let world = World::without_relay();
    let said = world.ask(&["machines", "perpetual", "--json"]);
    assert_eq!((said.code, said.error_code().as_str()), (Some(2), "unknown_machine"), "{said:?}");
    assert!(said.err.contains("perpetual") && said.err.contains("lifecycle"), "{said:?}");
    let said = world.ask(&["machines", "perpetual"]);
    assert!(said.code == Some(2) && said.out.is_empty() && said.err.contains("boot, link, "), "{said:?}");
}
