//! The machines as they are shown: docs/ARCHITECTURE.md has every diagram as the tables draw it.

use relay_runner_core::machines::{ALL, Machine};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/ARCHITECTURE.md");
/// Set to anything, the test writes the page anew.
const UPDATE: &str = "RELAY_RUNNER_UPDATE";

#[test]
fn the_page_shows_every_machine_as_it_is() {
    let page = std::fs::read_to_string(PAGE).expect("the page can be read");
    let updated = ALL.iter().fold(page.clone(), |page, machine| with_diagram(&page, machine));
    if page != updated && std::env::var_os(UPDATE).is_some() {
        std::fs::write(PAGE, &updated).expect("the page can be written");
        return;
    }
    let stale: Vec<_> = ALL.iter().filter(|m| with_diagram(&page, m) != page).map(|m| m.name).collect();
    assert!(
        stale.is_empty(),
        "docs/ARCHITECTURE.md does not show {stale:?} as they are; draw them anew, and read again what stands around \
         them:\n  {UPDATE}=1 cargo test --test scenarios the_page_shows_every_machine"
    );
}

/// The page, with this machine's diagram as its table draws it.
fn with_diagram(page: &str, machine: &Machine) -> String {
    let mark = format!("<!-- machine: {} -->\n```mermaid\n", machine.name);
    let Some((before, rest)) = page.split_once(&mark) else { panic!("{PAGE} has no place for `{}`", machine.name) };
    let (_, after) = rest.split_once("```\n").expect("a diagram ends");
    format!("{before}{mark}{}```\n{after}", machine.mermaid())
}
