//! Codex: what it does by itself, measured through its app-server, and what a runner makes of it.

mod app_server;
mod dying;
mod facts;
mod failing;
mod recording;
mod seeing;
mod working;
mod world;

use crate::Test;
pub(crate) use recording::trials;

pub(crate) fn tests() -> Vec<(&'static str, Test)> {
    crate::tests![
        facts:
            a_turn_works_and_the_client_id_of_its_message_comes_back,
            a_command_runs_and_its_output_reaches_the_model,
            a_command_that_asks_waits_for_its_answer,
            a_turn_is_held_released_and_interrupted,
            a_failed_turn_names_its_class,
            what_is_tried_again_says_so,
            what_is_steered_during_a_question_is_lost_by_an_interrupt,
            compaction_is_a_turn_with_an_item_of_its_own,
            who_does_not_listen_is_waited_for;
        working:
            a_task_is_worked_and_done_and_nothing_is_left,
            the_first_prompt_is_said_once_and_before_any_message,
            the_model_and_the_effort_are_those_of_the_options,
            a_command_that_asks_waits_until_it_is_approved,
            a_command_that_is_denied_does_not_run_and_its_turn_goes_on,
            where_all_is_allowed_nobody_is_asked,
            what_may_only_read_writes_nothing,
            the_context_is_compacted_and_cleared,
            what_is_injected_reaches_the_model,
            a_message_during_a_turn_is_steered_into_it,
            what_codex_loses_is_offered_again_and_reaches_the_model_once,
            an_urgent_message_interrupts_the_turn;
        dying:
            a_killed_codex_resumes_its_thread_and_gets_the_message_again,
            a_codex_whose_runner_was_killed_is_adopted_with_its_turn,
            a_turn_that_ends_without_a_runner_is_done_once,
            what_waits_for_a_decision_outlives_its_runner,
            a_restart_keeps_the_thread,
            a_new_run_resumes_the_agents_last_thread,
            a_kill_leaves_nothing,
            a_kill_while_a_command_starts_leaves_nothing,
            the_commands_of_a_killed_codex_end_with_it,
            an_approved_command_of_a_killed_codex_ends_with_it,
            an_approved_command_ends_with_a_stop;
        failing:
            who_is_not_logged_in_is_told_how,
            a_broken_configuration_of_codex_is_named_with_its_line,
            a_key_that_was_not_let_through_is_named,
            a_refused_key_parks_and_its_work_is_done_after_it_is_mended,
            the_end_of_a_usage_limit_is_waited_for,
            a_model_that_fails_fails_the_task_after_its_tries,
            a_model_that_is_away_is_waited_for,
            a_codex_that_is_not_there_is_told_where_to_get,
            a_codex_without_an_app_server_is_too_old,
            an_app_server_that_never_listens_is_given_up,
            an_app_server_that_ends_at_once_is_given_up_with_its_words;
        recording:
            what_is_recorded_can_be_made_anew;
    ]
}

/// Those that need a terminal as well.
pub(crate) fn in_a_terminal() -> Vec<(&'static str, Test)> {
    crate::tests![
        seeing: attach_shows_the_live_session;
    ]
}
