//! A person before codex's own terminal, on the thread that the runner keeps.

use super::world::World;
use crate::installed::Installed;
use crate::tmux::Tmux;
use crate::world::{PROGRAM, eventually};

pub(super) fn attach_shows_the_live_session(codex: &Installed) {
    let world = World::new(codex);
    let runner = world.codex(&[]);
    let (_, task) = world.task("SAY words that were said before");
    world.task_is(task, "done");
    let terminal = Tmux::start(&world, "look", &format!("{PROGRAM} attach a1; cat")).unwrap();
    eventually("what was said before is shown", || {
        terminal.shows("look").contains("words that were said before").then_some(())
    });
    let (_, task) = world.task("HOLD one");
    world.model.holds("HOLD one");
    eventually("what is said now is shown", || terminal.shows("look").contains("A first word").then_some(()));
    world.model.release("one");
    world.task_is(task, "done");
    // Who looks away ends nothing.
    drop(terminal);
    let (_, task) = world.task("SAY well");
    world.task_is(task, "done");
    world.ends(runner, 1);
}
