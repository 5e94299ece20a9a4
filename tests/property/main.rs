//! What must hold of the core whatever happens.

mod invariants;
mod journal;
mod marks;
mod sanity;
