//! `attach`: a person before the provider's own terminal, here a tmux session that shows a program which says what is
//! typed.

use super::calling::Call;
use super::operating::socket;
use super::tmux::Tmux;
use super::world::{PATIENT, PROGRAM, Process, World, eventually};
use serde_json::json;

#[test]
fn a_person_looks_at_the_providers_terminal_and_drives_it_only_when_asked_to() {
    let world = World::new();
    let Some(inside) = Tmux::start(&world, "work", "echo the provider is here; exec cat") else { return };
    let runner = world.agent(PATIENT, &["--tmux-session", "work", "--tmux-socket", &inside.socket]);
    let (status, terminal) = Call::get("/terminal").to_socket(&socket(&world));
    let argv = json!(["tmux", "-S", inside.socket, "attach", "-t", "=work"]);
    assert_eq!(
        (status, terminal),
        (200, json!({"kind": "tmux", "socket": inside.socket, "session": "work", "argv": argv}))
    );
    let agent = world.get("/agents/a1");
    assert_eq!((&agent["meta"]["tmuxSession"], &agent["meta"]["tmuxSocket"]), (&json!("work"), &json!(inside.socket)));
    let looks = json!(["tmux", "-S", inside.socket, "attach", "-r", "-t", "=work"]);
    assert_eq!(
        world.ask(&["attach", "--json"]).json(),
        json!({"agent": "a1", "drive": false, "argv": looks, "env": {}})
    );
    assert_eq!(world.ask(&["attach", "a1", "--drive", "--json"]).json()["argv"], argv);

    let clients = || inside.say(&["list-clients"]).unwrap_or_default().lines().count();
    let looking = Tmux::start(&world, "look", &format!("{PROGRAM} attach a1; cat")).unwrap();
    eventually("it is shown", || looking.shows("look").contains("the provider is here").then_some(()));
    eventually("somebody looks", || (clients() == 1).then_some(()));
    let driving = Tmux::start(&world, "drive", &format!("{PROGRAM} attach a1 --drive; cat")).unwrap();
    eventually("it is shown", || driving.shows("drive").contains("the provider is here").then_some(()));
    eventually("somebody drives", || (clients() == 2).then_some(()));
    // What is typed before counts for nothing where it is only looked at.
    looking.say(&["send-keys", "-t", "look", "in vain", "Enter"]).unwrap();
    driving.say(&["send-keys", "-t", "drive", "to the point", "Enter"]).unwrap();
    eventually("it was typed", || inside.shows("work").contains("to the point\nto the point").then_some(()));
    assert!(!inside.shows("work").contains("in vain"), "{}", inside.shows("work"));
    eventually("both see it", || looking.shows("look").contains("to the point").then_some(()));

    // Gone, but for one with another name.
    inside.say(&["new-session", "-d", "-s", "workshop", "cat"]).unwrap();
    inside.say(&["kill-session", "-t", "=work"]).unwrap();
    let nobody = Tmux::start(&world, "late", &format!("{PROGRAM} attach a1; cat")).unwrap();
    eventually("it is said", || nobody.shows("late").contains("`work` of a1 is not there").then_some(()));
    assert_eq!(clients(), 0);
    stops(&world, runner);
}

#[test]
fn what_cannot_be_attached_to_is_said() {
    let world = World::new();
    let runner = world.agent(PATIENT, &[]);
    for arguments in [&["attach"][..], &["attach", "a1", "--drive"]] {
        let said = world.ask(&[arguments, &["--json"]].concat());
        assert_eq!((said.code, said.error_code().as_str()), (Some(1), "no_terminal"), "{said:?}");
        assert!(said.err.contains("--tmux-session"), "{said:?}");
    }
    stops(&world, runner);
    // It has one, and we have none.
    let runner = world.agent(PATIENT, &["--tmux-session", "work"]);
    let said = world.ask(&["attach"]);
    assert!(said.code == Some(2) && said.err.contains("needs a terminal of its own"), "{said:?}");
    assert_eq!(world.ask(&["attach", "--json"]).json()["argv"], json!(["tmux", "attach", "-r", "-t", "=work"]));
    // A person who has no tmux.
    let script = format!("PATH=/nowhere {PROGRAM} attach a1; read -r line");
    if let Some(late) = Tmux::start(&world, "late", &script) {
        eventually("it is said", || late.shows("late").contains("`tmux`, which is not installed").then_some(()));
    }
    stops(&world, runner);
    for (arguments, variable) in [
        (&["--tmux-socket", "/s"][..], None),
        (&["--tmux-session", "a:b"], None),
        (&[], Some(("AGENT_RELAY_TMUX_SESSION", "a.b"))),
    ] {
        let arguments = [&["run", "command", "--json"], arguments, &["--", "/bin/true"]].concat();
        let said = world.ask_with(&arguments, variable.as_slice());
        assert_eq!((said.code, said.error_code().as_str()), (Some(2), "configuration"), "{said:?}");
    }
}

fn stops(world: &World, runner: Process) {
    assert_eq!(world.ask(&["stop"]).code, Some(0));
    assert_eq!(runner.ends(), Some(0));
}
