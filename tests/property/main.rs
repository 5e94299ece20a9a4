//! What must hold of the core whatever happens.

mod journal;
mod marks;
mod sanity;
