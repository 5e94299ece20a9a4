//! The journal's form: how inputs and what followed from them are written, sealed, read and run again.
//!
//! Lines of JSON. A *header* opens a segment; a *record* holds one event, written before the step that handles it,
//! together with the effects of the step before; a *mark* holds the whole core, and seals the effects of the last
//! step. Each line ends with a 64-bit chain hash over all lines before it and its own text, so that whatever is
//! changed later is found, and named by its line. There is no I/O here: the shell writes the lines, and hands them in.

mod changes;
mod difference;
mod line;
mod replay;
mod until;
mod upcast;
mod what_if;

pub use changes::{Change, ChangeError, Changes};
pub use difference::{Compared, Difference, Length, said, sides};
pub use line::{Composer, Damage, Header, KeptBodies, Line, Reader, Start};
pub use replay::{Replay, ReplayError};
pub use until::Until;
pub use upcast::SCHEMA;
pub use what_if::{Departure, How, WhatIf, WhatIfError};
