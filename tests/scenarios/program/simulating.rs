//! `simulate`: batches of seeds, plans, and failures as files.

use super::world::{Said, World, text};
use relay_runner_core::config::{Adapter, Delivery, MarkRead, Mode, OnGiveUp};
use relay_runner_core::mutant::Mutant;
use relay_runner_sim::Plan;
use relay_runner_sim::plan::{Setup, Step, What};
use serde_json::{Value, json};
use std::fs;

/// Short enough for every test run, and free of faults that a seed could draw.
const SHORT: [&str; 3] = ["simulate", "--hours", "0.01"];

#[track_caller]
fn lines(said: &Said) -> Vec<Value> {
    said.out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{said:?}"))).collect()
}

/// What is said without how long it took.
fn timeless(mut value: Value) -> Value {
    for name in ["seconds", "events_per_second", "events_per_second_per_job", "times_real_time", "jobs"] {
        value.as_object_mut().unwrap().remove(name);
    }
    value
}

/// A relay that is down, and a core whose pauses between attempts to connect do not grow: that is wrong in any world.
fn failing() -> Plan {
    let setup = Setup {
        adapter: Adapter { restartable: true, evidence: true, ..Adapter::default() },
        delivery: Delivery::Queue,
        mark_read: MarkRead::Worked,
        on_give_up: OnGiveUp::Park,
        mode: Mode::Headless,
        hooks: false,
        names_turns: true,
        first_prompt: false,
        fail_fast: false,
        held: 1_000,
        claims: 1,
        fetch: 100,
        lease: 60_000,
        token: 0,
        relay_ahead: 0,
        relay_ppm: 0,
        way: 20,
        turn: 2_000,
        runners: 1,
        mutant: Some(Mutant::NeverBacksOff),
    };
    let relabels = Step { at: 1_000, what: What::Relabels { who: 0 } };
    let goes_down = Step { at: 5_000, what: What::RelayDown { millis: 60_000 } };
    Plan { seed: 7, setup, calm: 120_000, kills: Vec::new(), steps: vec![relabels, goes_down] }
}

#[test]
fn a_batch_without_a_failure_ends_with_0_and_says_what_it_was() {
    let world = World::without_relay();
    let said = world.ask(&[&SHORT[..], &["--seed", "1", "--runs", "3"]].concat());
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.starts_with("seed 1\n3 runs, ") && said.out.contains("; none failed\n"), "{said:?}");
    assert!(said.out.contains("met: ") && said.out.contains(" events/s, ") && said.err.is_empty(), "{said:?}");

    let said = world.ask(&[&SHORT[..], &["--seed", "1", "--runs", "3", "--json"]].concat());
    let all = lines(&said);
    assert_eq!((said.code, &all[0]), (Some(0), &json!({"seed": 1})), "{said:?}");
    let last = all.last().unwrap();
    for name in ["runs", "events", "events_per_second", "simulated_hours", "failures", "seed", "jobs"] {
        assert!(last[name].is_number(), "{name}: {last}");
    }
    assert_eq!((&last["runs"], &last["failures"]), (&json!(3), &json!(0)));
    assert!(last["coverage"]["kinds"]["met"].as_u64() > Some(0), "{last}");
}

#[test]
fn the_same_seed_is_the_same_batch_however_many_jobs_there_are() {
    let world = World::without_relay();
    let batch = |jobs| {
        let said = world.ask(&[&SHORT[..], &["--seed", "1a36fc0", "--runs", "6", "--json", "--jobs", jobs]].concat());
        timeless(lines(&said).pop().unwrap())
    };
    let first = batch("1");
    assert_eq!(first["seed"], 0x01a3_6fc0);
    assert_eq!((batch("1"), batch("3")), (first.clone(), first));
}

#[test]
fn a_seed_that_is_drawn_is_said_and_time_is_kept() {
    let world = World::without_relay();
    let said = world.ask(&[&SHORT[..], &["--time", "1ms", "--json"]].concat());
    let all = lines(&said);
    let last = all.last().unwrap();
    assert!(all[0]["seed"].is_number() && all[0]["seed"] == last["seed"], "{said:?}");
    let again = world.ask(&[&SHORT[..], &["--seed", &last["seed"].to_string(), "--runs", "1"]].concat());
    assert!(again.out.starts_with(&format!("seed {}\n", last["seed"])), "{again:?}");
}

#[test]
fn the_log_of_a_run_is_told_line_by_line() {
    let world = World::without_relay();
    let run = [&SHORT[..], &["--seed", "1", "--runs", "1", "--log"]].concat();
    let said = world.ask(&run);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.contains("virtual, h:mm:ss.mmm") && said.out.contains(" r0 g1 "), "{said:?}");

    let as_json = world.ask(&[&run[..], &["--json"]].concat());
    let all = lines(&as_json);
    let told: Vec<&str> = all.iter().filter_map(|line| line["line"].as_str()).collect();
    assert!(told.len() > 10 && told.iter().all(|line| said.out.contains(line)), "{as_json:?}");
    assert_eq!(all.last().unwrap()["runs"], 1);
}

#[test]
fn a_profile_says_what_goes_wrong() {
    let world = World::without_relay();
    let profile = text(&world.path("profile.json"));
    fs::write(&profile, r#"{"weights": {"relabels": 1}, "hours": 0.01, "work": [0, 0], "faults": [5, 5]}"#).unwrap();
    let said = world.ask(&["simulate", "--seed", "1", "--runs", "4", "--json", "--profile", &profile]);
    let last = lines(&said).pop().unwrap();
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(last["coverage"]["times"]["kinds"], json!({"relabels": 20}), "{last}");
}

#[test]
fn a_failure_is_shrunk_told_saved_and_repeats_exactly() {
    let world = World::without_relay();
    let plan = text(&world.path("plan.json"));
    fs::write(&plan, failing().to_text()).unwrap();
    let said = world.ask(&["simulate", "--plan", &plan, "--save", "found", "--to-test", "found.rs"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    for words in ["seed 7 breaks invariant 9, at ", "it demands: Restarts and reconnects", "shrunk in ", "\n  at 0:0"] {
        assert!(said.out.contains(words), "{words}: {said:?}");
    }
    assert!(said.out.contains("; one failed\n") && said.err.contains("breaks invariant 9"), "{said:?}");
    let again = "relay-runner simulate --plan found/simulate-7.json";
    assert!(said.out.contains(again), "{said:?}");
    let test = fs::read_to_string(world.path("work/found.rs")).unwrap();
    assert!(test.contains("fn found_by_seed_7()") && test.contains("NeverBacksOff"), "{test}");

    let arguments: Vec<&str> = again.split(' ').skip(1).collect();
    let said = world.ask(&arguments);
    assert!(said.code == Some(1) && said.out.contains("\nrepeats exactly\n"), "{said:?}");
    let said = world.ask(&[&arguments[..], &["--json"]].concat());
    let last = lines(&said).pop().unwrap();
    assert_eq!((said.code, said.error_code().as_str()), (Some(1), "invariant_broken"), "{said:?}");
    assert_eq!((&last["repeats_exactly"], &last["failure"]["invariant"]), (&json!(true), &json!(9)), "{last}");

    let file = world.path("work/found/simulate-7.json");
    let saved: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    assert!(saved["version"].is_string() && saved["last"].as_array().unwrap().len() <= 20, "{saved}");
    assert_eq!(saved["plan"]["steps"].as_array().unwrap().len(), 2, "as it was before: {saved}");
    // A core that is right does not fail.
    let mut mended = saved;
    mended["shrunk"]["setup"].as_object_mut().unwrap().remove("mutant");
    fs::write(&file, mended.to_string()).unwrap();
    let said = world.ask(&arguments);
    assert!(said.code == Some(0) && said.out.contains("does not fail any more"), "{said:?}");
}

#[test]
fn what_cannot_be_run_is_refused_with_2() {
    let world = World::without_relay();
    let file = |name: &str, content: &str| {
        let path = text(&world.path(name));
        fs::write(&path, content).unwrap();
        path
    };
    let gremlins = file("gremlins.json", r#"{"weights": {"gremlins": 1}}"#);
    let no_plan = file("no-plan.json", r#"{"seed": 1}"#);
    let no_json = file("no-json.json", "seed 1");
    let cases: [(&[&str], &str, &str); 12] = [
        (&["--seed", "main"], "usage", "hex digits"),
        (&["--seed", "99999999999999999999"], "usage", "at most"),
        (&["--runs", "0"], "usage", "--runs"),
        (&["--runs", "1", "--time", "1s"], "usage", "cannot be used with"),
        (&["--time", "soon"], "usage", "30s"),
        (&["--jobs", "0"], "usage", "--jobs"),
        (&["--hours", "-0.5"], "hours", "above 0"),
        (&["--hours", "0"], "hours", "above 0"),
        (&["--log"], "log", "--runs 1"),
        (&["--profile", "/no/such/file"], "profile", "/no/such/file"),
        (&["--profile", &gremlins], "profile", "kills-and-disks"),
        (&["--plan", "/no/such/file"], "plan", "/no/such/file"),
    ];
    for (arguments, code, words) in cases {
        let said = world.ask(&[&["simulate", "--json"], arguments].concat());
        assert_eq!((said.code, said.error_code().as_str()), (Some(2), code), "{arguments:?}: {said:?}");
        assert!(said.err.contains(words) && said.out.is_empty(), "{arguments:?}: {said:?}");
    }
    for (plan, words) in [(&no_plan, "missing field"), (&no_json, "expected value")] {
        let said = world.ask(&["simulate", "--plan", plan]);
        assert!(said.code == Some(2) && said.err.contains(words) && said.out.is_empty(), "{said:?}");
    }
    let said = world.ask(&["simulate", "--plan", &no_plan, "--seed", "1"]);
    assert!(said.code == Some(2) && said.err.contains("cannot be used with"), "{said:?}");
}
