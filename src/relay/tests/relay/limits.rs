//! Too much at once, and the end of a relay.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use relay_runner_relay::Config;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::wire::{Bus, World, config};

/// Two calls at once, and then one in a minute: no test waits for it.
fn narrow() -> Config {
    Config { token: Some("t0k".into()), calls_per_second: 1, calls_at_once: 2, ..config() }
}

#[tokio::test]
async fn whoever_calls_too_often_is_told_when_to_come_back_and_others_are_served() {
    let world = World::with(narrow()).await;
    let tokens = [0, 1].map(|_| world.relay.issue_token("operator", None));
    for token in tokens {
        let token = token.await.unwrap().token;
        let call = async || {
            let request = world.api.request(reqwest::Method::GET, "/agents");
            request.header("X-Agent-Relay-Token", &token).send().await.unwrap()
        };
        let mut refused = call().await;
        for _ in 0..9 {
            if refused.status() == 429 {
                break;
            }
            refused = call().await;
        }
        assert_eq!(refused.status(), 429);
        assert_eq!(refused.headers()["retry-after"], "1");
        let body: serde_json::Value = serde_json::from_str(&refused.text().await.unwrap()).unwrap();
        assert_eq!(body["error"]["code"], "rate_limited");
    }
    // Whether a relay is there may be asked at any time.
    for _ in 0..9 {
        world.api.get("/health").await.ok();
    }
}

#[tokio::test]
async fn guessing_tokens_is_limited_as_well() {
    let world = World::with(narrow()).await;
    let mut statuses = Vec::new();
    for _ in 0..9 {
        statuses.push(world.api.call("GET", "/agents", &[("X-Agent-Relay-Token", "guess")], "").await.status);
    }
    assert!(statuses[0] == 401 && statuses.contains(&429), "{statuses:?}");
}

#[tokio::test]
async fn frames_beyond_the_rate_are_refused_and_the_connection_stays() {
    let world = World::with(Config { calls_at_once: 5, ..narrow() }).await;
    let token = world.relay.issue_token("provider-agent", None).await.unwrap().token;
    let mut bus = Bus::connect(&world.relay.url(), &[("x-agent-relay-token", &token)]).await.unwrap();
    bus.register("a", "i1", json!({})).await;
    let mut refused = serde_json::Value::Null;
    for seq in 0..20 {
        let id = bus.send("status", json!({"agentStatus": "idle", "statusSeq": seq})).await;
        refused = bus.next().await;
        if refused["type"] == "error" {
            assert_eq!(refused["id"], id);
            break;
        }
    }
    assert_eq!(refused["payload"]["code"], "rate_limited");
}

#[tokio::test]
async fn a_call_that_is_not_whole_when_the_relay_goes_down_is_told_to_come_back() {
    let world = World::new().await;
    let body = json!({"from": "s", "to": "a", "body": "b"}).to_string();
    let mut socket = TcpStream::connect(world.relay.addr()).await.unwrap();
    let head = format!(
        "POST /api/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        body.len()
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut go_on = [0; 12];
    socket.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100");

    let mut stop = Box::pin(world.relay.stop());
    // From its first step on the relay takes nothing new.
    poll_fn(|cx| Poll::Ready(stop.as_mut().poll(cx).is_ready())).await;
    socket.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let ((), read) = tokio::join!(stop, socket.read_to_string(&mut answer));
    read.unwrap();
    assert!(answer.contains("HTTP/1.1 503") && answer.contains("retry-after: 1"), "{answer}");
    assert!(answer.contains("\"unavailable\""), "{answer}");
}

#[tokio::test]
async fn the_usual_rate_is_far_above_what_agents_do() {
    let usual = Config::default();
    assert!(usual.calls_per_second >= 10_000 && usual.calls_at_once >= 10_000);
    assert!(usual.token_lifetime >= Duration::from_hours(1));
}
