//! A runner, its relay or its agent that is killed again and again, at any moment and under load; then the books of relay
//! and agent are compared: nothing lost, nothing done twice unmarked, no process left.
//!
//! The moments are drawn from a seed that a failure prints. `KILLS_SEED` draws the same ones again, though what happens in
//! them is not the same; `KILLS` says how many there are.

mod books;
mod chance;
mod load;
mod siege;

use books::Books;
use siege::{Agent, Siege};

/// Sends, kills and starts again, so many times.
fn kills_of_the_runner(siege: &mut Siege, agents: u32) {
    let mut agents_left = agents;
    for n in 0..siege.kills {
        siege.sends();
        if siege.chance.one_in(3) {
            siege.is_ready_again();
        }
        siege.moment();
        // Evenly over the run, as a provider that dies too often is given up.
        if agents_left > 0 && n >= siege.kills / (agents + 1) * (agents - agents_left + 1) {
            agents_left -= 1;
            siege.kill_agent();
            if siege.chance.one_in(2) {
                siege.moment();
            }
        }
        siege.kill_runner();
        if siege.chance.one_in(3) {
            siege.sends();
        }
        siege.start_runner();
    }
}

#[test]
fn a_listening_agent_does_not_notice_that_its_runner_is_killed() {
    let mut siege = Siege::begin(Agent::Listening);
    kills_of_the_runner(&mut siege, 0);
    siege.settles();
    let books = Books::of(&siege);
    books.nothing_is_lost();
    books.tasks_ended_once();
    books.nothing_is_repeated();
    siege.ends();
}

#[test]
fn what_an_agent_on_pipes_had_is_worked_again_and_marked() {
    let mut siege = Siege::begin(Agent::OnPipes);
    kills_of_the_runner(&mut siege, 0);
    siege.settles();
    let books = Books::of(&siege);
    books.nothing_is_lost();
    books.tasks_ended_once();
    books.repeats_are_marked();
    siege.ends();
}

#[test]
fn an_agent_that_is_killed_with_its_runner_gets_its_work_again_and_marked() {
    let mut siege = Siege::begin(Agent::Listening);
    kills_of_the_runner(&mut siege, 3);
    siege.settles();
    let books = Books::of(&siege);
    books.nothing_is_lost();
    books.tasks_ended_once();
    books.repeats_are_marked();
    books.agents_were_at_most(4);
    siege.ends();
}

#[test]
fn a_relay_that_is_killed_loses_nothing_and_has_nothing_done_twice() {
    let mut siege = Siege::begin(Agent::Listening);
    for _ in 0..siege.kills {
        siege.sends();
        siege.moment();
        siege.kill_relay();
        if siege.chance.one_in(3) {
            siege.moment();
        }
        siege.start_relay();
        siege.runner_looks_for_it();
    }
    siege.settles();
    let books = Books::of(&siege);
    books.nothing_is_lost();
    books.tasks_ended_once();
    books.nothing_is_repeated();
    siege.ends();
}
