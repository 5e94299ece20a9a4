//! Claude Code: what it does by itself, and that the stand-in is a model to it.

mod both;
mod facts;
mod headless;
mod interactive;
mod pane;
mod plugin;
mod print;
mod recording;
mod runner;
mod stream;
mod stream_ends;
mod terminal;
mod transcripts;
mod tui;

use crate::Test;
use crate::installed::Installed;
use crate::model::Model;
pub(crate) use recording::trials;
use std::fs;
use std::process::{Command, Stdio};
pub(crate) use transcripts::trials as transcript_trials;

/// What holds in this way of running it, under the way's name.
macro_rules! in_mode {
    ($way:literal, $mode:expr) => {
        in_mode![$way, $mode;
            a_task_is_worked_and_done_and_nothing_is_left,
            the_first_prompt_is_said_once_and_before_any_message,
            the_model_is_that_of_the_options,
            a_command_that_asks_waits_until_it_is_approved,
            a_denial_tells_the_model_why_and_its_turn_goes_on,
            where_all_is_allowed_nobody_is_asked,
            what_may_only_read_writes_nothing,
            the_context_is_compacted_and_cleared,
            a_nested_claude_ends_nothing,
            the_end_of_a_turn_is_held_once_while_a_reply_is_owed,
            a_killed_claude_resumes_its_conversation_and_gets_the_message_again,
            the_commands_of_a_killed_claude_end_with_it,
            a_kill_leaves_nothing,
            a_stop_interrupts_what_runs_and_leaves_nothing,
            where_the_conversation_is_gone_another_is_begun,
            a_model_that_refuses_fails_the_task_after_its_tries,
            the_end_of_a_usage_limit_is_waited_for,
            a_refused_key_parks_and_its_work_is_done_after_it_is_mended,
            a_restart_keeps_the_conversation
        ]
    };
    ($way:literal, $mode:expr; $($test:ident),+) => {
        [$((concat!($way, "::", stringify!($test)), (|claude| both::$test(claude, $mode)) as Test)),+]
    };
}

pub(crate) fn tests() -> Vec<(&'static str, Test)> {
    let mut tests = vec![("print::a_command_runs_and_the_model_is_told", a_command_runs_and_the_model_is_told as Test)];
    tests.extend(crate::tests![
        facts:
            a_turn_begins_with_the_receipt_of_our_message_and_ends_with_it,
            initialize_tells_who_it_is_before_any_message,
            a_message_while_it_speaks_is_a_turn_of_its_own,
            a_message_while_it_asks_joins_its_turn,
            a_request_names_the_call_and_what_would_allow_more,
            an_interrupt_cancels_its_turn_and_keeps_what_waits,
            a_failed_turn_names_its_class_and_the_session_lives,
            a_usage_limit_of_a_plan_says_when_it_ends,
            what_is_tried_again_says_so,
            a_connection_that_breaks_fails_the_turn,
            who_does_not_listen_fails_the_turn,
            compaction_and_a_cleared_context_are_turns_without_a_reason,
            a_subagent_has_a_task_and_a_turn_follows_its_end,
            who_was_killed_in_its_turn_is_resumed_under_its_id,
            it_ends_by_its_input_by_a_signal_and_by_what_it_cannot_read;
        plugin:
            its_hooks_are_called_in_order_and_not_for_a_nested_one,
            its_skills_are_listed_once_wherever_they_are;
        stream:
            what_is_approved_for_the_session_is_not_asked_for_again,
            an_abort_ends_the_turn,
            a_question_of_the_models_own_is_sent_back,
            a_message_while_a_permission_is_open_approves_nothing_and_is_taken_afterwards,
            a_message_while_it_speaks_is_a_turn_of_its_own,
            an_urgent_message_interrupts_the_turn,
            what_is_injected_reaches_the_model_with_the_next_message,
            a_subagent_is_shown_and_ends_and_a_turn_follows;
        stream_ends:
            a_killed_runner_leaves_nothing_and_its_work_is_done_once,
            who_is_not_logged_in_is_told_how,
            a_model_that_is_away_is_waited_for,
            a_claude_that_is_not_there_is_told_where_to_get,
            a_claude_without_such_a_print_mode_is_too_old,
            a_mode_that_it_refuses_is_named,
            a_claude_that_ends_at_once_is_given_up_with_its_words,
            a_claude_that_never_answers_is_given_up;
    ]);
    tests.extend(in_mode!("stream", runner::STREAM));
    tests
}

/// Those that need a terminal as well.
pub(crate) fn in_a_terminal() -> Vec<(&'static str, Test)> {
    let mut tests = crate::tests![
        terminal:
            what_is_pasted_is_one_prompt_and_its_hooks_follow,
            a_hook_answers_while_the_dialog_is_shown,
            a_person_who_says_no_ends_the_turn_without_a_hook,
            an_escape_is_only_in_the_transcript,
            a_line_of_the_monitor_is_a_prompt_of_at_most_500_characters,
            a_line_while_a_dialog_is_open_waits_and_joins_the_turn,
            first_questions_are_known_by_their_words;
        recording:
            hooks_can_be_recorded_anew;
        transcripts:
            what_is_recorded_can_be_made_anew;
        headless:
            a_person_in_the_terminal_says_yes,
            a_person_in_the_terminal_says_no,
            a_message_while_the_dialog_is_open_approves_nothing_and_is_taken_afterwards,
            a_long_message_is_read_whole_by_the_agent_itself,
            a_killed_runner_finds_its_claude_at_work_and_the_work_is_done_once,
            a_turn_that_ended_while_no_runner_was_there_is_worked,
            a_dialog_outlives_its_runner_and_is_answered_at_the_next,
            an_upgrade_leaves_it_at_work,
            who_is_not_logged_in_is_told_what_to_do,
            a_folder_that_nobody_trusts_is_told_and_not_trusted,
            subagents_show_and_end,
            what_is_injected_reaches_the_model,
            an_urgent_message_interrupts_the_turn_and_what_made_way_comes_again,
            its_terminal_can_be_looked_at_and_driven,
            a_failed_turn_leaves_an_input_that_can_be_typed_into_and_a_refused_command_says_why,
            without_its_monitor_messages_are_typed,
            what_a_person_opens_beside_it_is_left_alone;
        interactive:
            a_person_looks_on_while_messages_are_worked,
            a_killed_one_leaves_the_terminal_to_the_shell_and_is_resumed,
            a_dialog_is_answered_by_a_verb_or_by_the_person,
            a_request_that_nobody_decides_is_left_to_the_person;
    ];
    tests.extend(in_mode!("headless", runner::TERMINAL));
    tests
}

fn a_command_runs_and_the_model_is_told(claude: &Installed) {
    let model = Model::start();
    let home = tempfile::Builder::new().prefix("rr-").tempdir().unwrap();
    let (work, temporary) = (home.path().join("work"), home.path().join("tmp"));
    for folder in [&work, &temporary] {
        fs::create_dir(folder).unwrap();
    }
    let mut command = Command::new(&claude.program);
    command.args(["-p", "--allowedTools", "Bash", "--", "RUN echo $((6 * 7))\nSAY it is done"]).env_clear();
    command
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home.path())
        .env("TMPDIR", &temporary);
    command.env("ANTHROPIC_BASE_URL", model.url()).env("ANTHROPIC_API_KEY", "a-key");
    command.env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1").env("DISABLE_AUTOUPDATER", "1");
    let said = command.current_dir(&work).stdin(Stdio::null()).output().unwrap();
    assert!(said.status.success(), "{said:?}");
    assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), "it is done");
    let told = model.asked().into_iter().find(|asked| asked.body.to_string().contains("tool_result")).unwrap();
    assert!(told.path == "/v1/messages" && told.prompt().contains("RUN echo"), "{:#?}", told.prompts);
    let result = told.body["messages"].as_array().unwrap().last().unwrap().to_string();
    assert!(result.contains("42"), "{result}");
}
