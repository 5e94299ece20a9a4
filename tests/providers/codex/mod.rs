//! Codex: what it does by itself, measured through its app-server, and what a runner makes of it.

mod app_server;
mod facts;

use crate::Test;

pub(crate) fn tests() -> Vec<(&'static str, Test)> {
    crate::tests![
        facts: a_turn_works_and_the_client_id_of_its_message_comes_back,
            a_command_runs_and_its_output_reaches_the_model,
            a_command_that_asks_waits_for_its_answer,
            a_turn_is_held_released_and_interrupted,
            a_failed_turn_names_its_class,
            what_is_tried_again_says_so,
            who_does_not_listen_is_waited_for,
            what_is_steered_during_a_question_is_lost_by_an_interrupt,
            compaction_is_a_turn_with_an_item_of_its_own;
    ]
}
