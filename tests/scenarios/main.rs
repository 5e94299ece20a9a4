//! Stories: events in and effects out, told to the core; and the program itself with real processes and sockets.

#[path = "../support/story.rs"]
mod story;

mod accepting;
mod adopting;
mod after_a_restart;
mod approvals;
mod attachments;
mod bad_links;
mod being_seen;
mod bounds;
mod coming_up;
mod commanding;
mod credential;
mod delivering;
mod doubts;
mod ends;
mod ends_of_turns;
mod ends_that_race;
mod found_by_search;
mod gates;
mod giving_up;
mod hazards;
mod hooks;
mod lost_and_taken_over;
mod machines;
mod mutants;
mod offering;
mod one_process_one_operation;
mod program;
mod replaying;
mod restarting;
mod settings;
mod shown;
mod silent_turns;
mod stopping;
mod superseded;
mod tasks_and_turns;
mod turns;
mod under_a_fence;
mod unread;
mod urgent;
mod what_is_owed;
mod what_the_log_says;
mod work_shown;
