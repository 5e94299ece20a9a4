//! One process at a time, and one operation on it at a time: none of either is lost or doubled.

use relay_runner_core::event::{ExitClass, Params, ProviderReport};
use relay_runner_core::{BodyRef, OpResult};

use crate::story::{Story, config, facts, plain};

#[test]
fn a_spawn_whose_answer_is_lost_is_not_repeated_while_the_process_lives() {
    let mut story = Story::with(config(), facts());
    story.boot();
    story.registers();
    story.expects("spawn(");
    story.provider(ProviderReport::Ready);
    story.busy();
    story.after(200_000);
    story.expects_no("spawn(");
    assert_eq!(story.core.view().process.state, "working");
}

#[test]
fn a_restart_asked_for_while_a_failed_start_is_stopped_succeeds() {
    let mut story = Story::with(config(), facts());
    story.boot();
    story.registers();
    story.spawns();
    story.after(60_000);
    story.expects("stop(g1,Kill)");
    story.command("c1", "agent.restart");
    story.exits(ExitClass::Signal);
    story.after(1_000);
    story.provider_comes_up();
    story.expects("command,c1,succeeded");
    assert_eq!(story.times("spawn("), 2);
}

#[test]
fn inject_while_delivering() {
    let mut story = Story::up();
    story.message(plain(1));
    let params = Params { content: Some(BodyRef::of("remember this")), ..Params::default() };
    story.command_with("c1", "agent.injectContext", params);
    story.expects_no(",inject,");
    story.hands_over(1);
    let inject = story.expects(",inject,");
    story.answers(inject, OpResult::Ok);
    story.expects("command,c1,succeeded");
    story.takes(1);
    story.busy().idle();
    story.expects("read,m1");
}

#[test]
fn first_prompt_race() {
    let mut with_prompt = config();
    with_prompt.first_prompt = Some(BodyRef::of("begin"));
    let mut story = Story::with(with_prompt, facts());
    story.boot();
    story.registers();
    story.provider_comes_up();
    story.command("c1", "agent.compact");
    story.expects_no(",compact)");
    let prompt = story.expects("prompt");
    story.answers(prompt, OpResult::Ok);
    story.busy().idle();
    let compact = story.expects(",compact)");
    story.answers(compact, OpResult::Ok);
    story.expects("command,c1,succeeded");
}

#[test]
fn an_operation_that_waited_is_not_handed_to_a_dying_process() {
    let mut story = Story::up();
    story.message(plain(1));
    let offer = story.expects("offer,m1/");
    story.command("c1", "agent.compact");
    story.command("c2", "agent.restart");
    story.expects("stop(g1,Ask)");
    story.answers(offer, OpResult::Ok);
    story.never(",compact)");
    story.exits(ExitClass::Clean);
    story.expects("command,c1,failed");
}
