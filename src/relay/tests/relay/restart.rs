//! What outlives the relay: its own end, and its being killed.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use relay_runner_relay::{Config, Error, Relay};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::wire::{Api, Bus, PATIENCE, World, config, seqs};

/// Names the database of the relay that [`a_kill_loses_nothing`] kills, to the process that is to be that relay.
const DATABASE: &str = "RELAY_TEST_DATABASE";

async fn on(db: &Path) -> World {
    World::with(Config { db: Some(db.to_path_buf()), ..config() }).await
}

/// Something of everything: a claimed message, a task in work, a plain message, a command, an answer under a key.
struct Before {
    session: Value,
    fence: Value,
    agent: Value,
    message: Value,
    task: Value,
    command: Value,
    answer: Value,
    delivery: Value,
    frames: Vec<Value>,
}

const KEYED: &str = r#"{"from": "s", "to": "a", "body": "once"}"#;

async fn fill(api: &Api, url: &str) -> Before {
    let mut bus = Bus::connect(url, &[]).await.unwrap();
    bus.register("old", "i0", json!({})).await;
    bus.register("a", "i0", json!({})).await;
    let mut bus = Bus::connect(url, &[]).await.unwrap();
    bus.register("a", "i1", json!({"tags": ["t"], "meta": {"k": 1}})).await;
    bus.send("status", json!({"agentStatus": "busy", "ready": true, "statusSeq": 7})).await;
    bus.expect("ack").await;
    let session = bus.session.clone();
    assert_eq!(session["epoch"], 2);
    api.post("/tasks", json!({"title": "T", "target": "tag:t"})).await.ok();
    let fence = api.claim(1, "a", &session).await["fence"].clone();
    api.report(1, "in_progress", "a", &fence).await.ok();
    let answer = api.call("POST", "/messages", &[("Idempotency-Key", "k")], KEYED).await.ok();
    let stage = json!({"agentId": "a", "session": session, "stage": "held", "attempt": 1});
    api.post("/messages/1/delivery", stage).await.ok();
    let command = api.post("/commands", json!({"type": "agent.compact", "target": "a"})).await.ok();
    Before {
        agent: api.get("/agents/a").await.ok(),
        message: api.get("/messages/1").await.ok(),
        task: api.get("/tasks/1").await.ok(),
        command: api.get(&format!("/commands/{}", command["id"].as_str().unwrap())).await.ok(),
        delivery: api.get("/messages/1/delivery").await.ok(),
        frames: bus.so_far().await,
        session,
        fence,
        answer,
    }
}

async fn check(api: &Api, url: &str, before: &Before) {
    let mut agent = api.get("/agents/a").await.ok();
    agent["lastSeen"] = before.agent["lastSeen"].clone();
    assert_eq!(agent, before.agent);
    assert_eq!(api.get("/messages/1").await.ok(), before.message);
    assert_eq!(api.get("/tasks/1").await.ok(), before.task);
    assert_eq!(api.get("/messages/1/delivery").await.ok(), before.delivery);
    let command = api.get(&format!("/commands/{}", before.command["id"].as_str().unwrap())).await.ok();
    assert_eq!(command, before.command);
    assert_eq!(api.call("POST", "/messages", &[("Idempotency-Key", "k")], KEYED).await.ok(), before.answer);
    assert_eq!(api.unread("a").await, [1, 2]);

    let mut bus = Bus::connect(url, &[]).await.unwrap();
    let registered = bus.register("a", "i1", json!({"tags": ["t"]})).await;
    let (events, commands): (Vec<Value>, Vec<Value>) =
        before.frames.iter().cloned().partition(|f| f["type"] == "event");
    assert_eq!((&registered["epoch"], registered["cursor"].as_u64()), (&json!(2), seqs(&events).last().copied()));
    assert_eq!(bus.expect("command").await, commands[0], "not acknowledged yet");
    bus.send("resume", json!({"since": 0})).await;
    assert_eq!(bus.expect("replayed").await["payload"]["gap"], false);
    for event in &events {
        assert_eq!(&bus.expect("event").await, event);
    }
    assert_eq!(bus.so_far().await, Vec::<Value>::new());

    // The claim goes on under its fence, and later fences are higher.
    assert_eq!(api.change(1, "renew", "a", &before.session, &before.fence).await.ok()["ok"], true);
    api.report(1, "done", "a", &before.fence).await.ok();
    let id = api.send("a", json!({"claimable": true})).await;
    assert_eq!(id, 3);
    assert!(api.claim(id, "a", &before.session).await["fence"].as_u64() > before.fence.as_u64());
}

#[tokio::test]
async fn a_restart_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("relay.db");
    let world = on(&db).await;
    let before = fill(&world.api, &world.relay.url()).await;
    let addr = world.relay.addr();
    world.relay.stop().await;
    // The port is free again as well.
    let world = World::with(Config { db: Some(db.clone()), listen: addr, ..config() }).await;
    check(&world.api, &world.relay.url(), &before).await;
}

#[tokio::test]
async fn dropping_a_relay_loses_nothing_and_frees_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("relay.db");
    let world = on(&db).await;
    let before = fill(&world.api, &world.relay.url()).await;
    drop(world);
    let world = on(&db).await;
    check(&world.api, &world.relay.url(), &before).await;
}

#[tokio::test]
async fn a_kill_loses_nothing() {
    if let Some(db) = std::env::var_os(DATABASE) {
        return be_the_relay(Path::new(&db)).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("relay.db");
    let (mut process, url) = start_process(&db).await;
    let before = fill(&Api::at(&url), &url).await;
    // SIGKILL, amid its work.
    process.kill().await.unwrap();
    let (mut process, url) = start_process(&db).await;
    check(&Api::at(&url), &url, &before).await;
    process.kill().await.unwrap();
}

/// A relay that can be killed: this very test again, in a process of its own.
async fn start_process(db: &Path) -> (Child, String) {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "restart::a_kill_loses_nothing", "--nocapture"])
        .env(DATABASE, db)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    loop {
        let line = timeout(PATIENCE, lines.next_line()).await.expect("a line in time").unwrap().expect("a URL");
        if let Some(at) = line.find("http://") {
            return (process, line[at..].to_owned());
        }
    }
}

#[expect(clippy::print_stdout, reason = "whoever started this process reads the URL there")]
async fn be_the_relay(db: &Path) {
    let relay = Relay::start(Config { db: Some(db.to_owned()), ..config() }).await.unwrap();
    println!("{}", relay.url());
    // Should whoever is to kill it not live to do so.
    let _ = timeout(Duration::from_mins(1), std::future::pending::<()>()).await;
}

#[tokio::test]
async fn a_second_relay_on_the_same_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("relay.db");
    let world = on(&db).await;
    let error = Relay::start(Config { db: Some(db.clone()), ..config() }).await.unwrap_err();
    assert!(matches!(error, Error::DatabaseInUse { .. }), "{error}");
    world.api.get("/agents").await.ok();
}

#[cfg(unix)]
#[tokio::test]
async fn the_file_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("relay.db");
    let _world = on(&db).await;
    assert_eq!(std::fs::metadata(&db).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_lease_that_ended_while_the_relay_was_down_frees_its_message() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("relay.db");
    let short = Config { db: Some(db.clone()), lease: Duration::from_millis(1), ..config() };
    let world = World::with(short).await;
    let session = world.api.register("a", "i1", json!({})).await;
    let id = world.api.send("a", json!({"claimable": true})).await;
    let first = world.api.claim(id, "a", &session).await;
    world.relay.stop().await;
    let world = on(&db).await;
    world.api.change(id, "renew", "a", &session, &first["fence"]).await.refused(410, "lease_ended");
    assert!(world.api.claim(id, "a", &session).await["fence"].as_u64() > first["fence"].as_u64());
}
