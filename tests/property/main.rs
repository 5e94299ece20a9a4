//! What must hold of the core whatever happens.

use proptest::prelude::ProptestConfig;

mod arbitrary;
mod books;
mod canaries;
mod commands;
mod coverage;
mod credential;
mod frames;
mod golden;
mod inbox;
mod invariants;
mod journal;
mod leases;
mod marks;
mod restart;
mod restore;
mod sanity;
mod search;
mod segments;
mod status;
mod what_if;
mod world;

/// This many cases, unless the environment asks for another number (CONTRIBUTING.md).
fn depth(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    if std::env::var_os("PROPTEST_CASES").is_some() { default } else { ProptestConfig { cases, ..default } }
}
