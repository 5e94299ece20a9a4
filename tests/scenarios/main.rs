//! Stories: events in and effects out, told to the core; and the program itself with real processes and sockets.

#[path = "../support/story.rs"]
mod story;

mod being_seen;
mod coming_up;
mod commands_and_ends;
mod delivering;
mod program;
mod tasks_and_turns;
