//! Runtime tokens: issued, checked everywhere, renewed, expired.

use std::time::Duration;

use relay_runner_relay::{Config, Error, TokenAnswer};
use serde_json::{Value, json};

use crate::wire::{Answer, Bus, World, config};

const ROOT: (&str, &str) = ("X-Agent-Relay-Token", "t0k");
const RENEWAL: &str = "/tokens/runtime/renew";

fn guarded() -> Config {
    Config { token: Some("t0k".into()), ..config() }
}

async fn issue(world: &World, profile: &str, seconds: u64) -> TokenAnswer {
    world.relay.issue_token(profile, Some(Duration::from_secs(seconds))).await.unwrap()
}

async fn get(world: &World, token: &str) -> Answer {
    world.api.call("GET", "/agents", &[("X-Agent-Relay-Token", token)], "").await
}

async fn renew(world: &World, token: &str, key: Option<&str>) -> Answer {
    let mut headers = vec![("X-Agent-Relay-Token", token)];
    headers.extend(key.map(|key| ("Idempotency-Key", key)));
    world.api.call("POST", RENEWAL, &headers, "").await
}

/// Calls until the token has expired; every answer before that must be a success.
async fn until_expired(world: &World, token: &str) {
    loop {
        let answer = get(world, token).await;
        if answer.status == 401 {
            return answer.refused(401, "expired_token");
        }
        answer.ok();
    }
}

#[tokio::test]
async fn a_runtime_token_opens_what_the_relays_own_does() {
    let world = World::with(guarded()).await;
    let issued = issue(&world, "provider-agent", 60).await;
    assert_eq!(issued.record.profile_id, "provider-agent");
    get(&world, &issued.token).await.ok();
    let bearer = format!("Bearer {}", issued.token);
    world.api.call("GET", "/agents", &[("Authorization", &bearer)], "").await.ok();
    let mut bus = Bus::connect(&world.relay.url(), &[("x-agent-relay-token", &issued.token)]).await.unwrap();
    bus.register("a", "i1", json!({})).await;
}

#[tokio::test]
async fn a_token_that_the_relay_did_not_make_is_refused() {
    let world = World::with(guarded()).await;
    let issued = issue(&world, "provider-agent", 60).await;
    let mut turned = issued.token.clone();
    let last = if turned.pop() == Some('0') { '1' } else { '0' };
    turned.push(last);
    for token in [turned.as_str(), &issued.token[..issued.token.len() - 1], "rrt_", &issued.record.jti] {
        get(&world, token).await.refused(401, "unauthorized");
    }
    // On an open relay as well: whoever shows a runtime token means it.
    let open = World::new().await;
    get(&open, &issued.token).await.refused(401, "unauthorized");
    get(&open, "anything else").await.ok();
}

#[tokio::test]
async fn an_expired_token_is_refused_on_every_call_and_at_the_upgrade() {
    for config in [guarded(), config()] {
        let world = World::with(config).await;
        let issued = issue(&world, "provider-agent", 1).await;
        until_expired(&world, &issued.token).await;
        renew(&world, &issued.token, None).await.refused(401, "expired_token");
        let refused = Bus::connect(&world.relay.url(), &[("x-agent-relay-token", &issued.token)]).await;
        assert!(refused.is_err_and(|e| e.to_string().contains("401")));
    }
}

#[tokio::test]
async fn an_open_connection_ends_with_its_token() {
    let world = World::with(guarded()).await;
    let short = issue(&world, "provider-agent", 1).await;
    let long = issue(&world, "provider-agent", 60).await;
    let mut ending = Bus::connect(&world.relay.url(), &[("x-agent-relay-token", &short.token)]).await.unwrap();
    let mut staying = Bus::connect(&world.relay.url(), &[("x-agent-relay-token", &long.token)]).await.unwrap();
    ending.register("a", "i1", json!({})).await;
    staying.register("b", "i1", json!({})).await;
    let last = ending.expect("error").await;
    assert_eq!(last["payload"]["code"], "expired_token");
    // What it still says is not carried out.
    ending.send("heartbeat", json!({"status": "busy"})).await;
    ending.closed().await;
    let agent = world.api.call("GET", "/agents/a", &[ROOT], "").await.ok();
    assert_eq!(agent["status"], "idle");
    assert_eq!(staying.so_far().await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_renewal_gives_a_new_token_and_leaves_the_old_one_good() {
    let world = World::with(Config { token_lifetime: Duration::from_mins(2), ..guarded() }).await;
    for profile in ["provider-agent", "provider-interactive"] {
        let old = issue(&world, profile, 60).await;
        let new = renew(&world, &old.token, Some(profile)).await.ok();
        assert_ne!(new["token"], old.token);
        assert_ne!(new["record"]["jti"], old.record.jti);
        assert_eq!(new["record"]["profileId"], profile);
        assert!(new["record"]["expiresAt"].as_u64().unwrap() >= old.record.expires_at + 59, "{new}");
        get(&world, &old.token).await.ok();
        let token = new["token"].as_str().unwrap();
        get(&world, token).await.ok();
        // And so on.
        assert_ne!(renew(&world, token, None).await.ok()["token"], new["token"]);
    }
}

#[tokio::test]
async fn a_renewal_under_the_same_key_gives_the_same_token_again() {
    let world = World::with(guarded()).await;
    let old = issue(&world, "provider-agent", 60).await;
    let first = renew(&world, &old.token, Some("k")).await.ok();
    assert_eq!(renew(&world, &old.token, Some("k")).await.ok(), first);
    assert_ne!(renew(&world, &old.token, Some("k2")).await.ok()["token"], first["token"]);
    assert_ne!(renew(&world, &old.token, None).await.ok()["token"], first["token"]);
    // The key of another token is another call.
    let other = issue(&world, "provider-agent", 60).await;
    renew(&world, &other.token, Some("k")).await.refused(422, "idempotency_key_reused");
}

#[tokio::test]
async fn only_a_token_of_a_provider_is_renewed_and_only_by_itself() {
    let world = World::with(guarded()).await;
    let operator = issue(&world, "operator", 60).await;
    renew(&world, &operator.token, None).await.refused(403, "not_renewable");
    renew(&world, "t0k", None).await.refused(403, "not_a_runtime_token");
    world.api.post(RENEWAL, json!({})).await.refused(401, "unauthorized");
    let open = World::new().await;
    open.api.post(RENEWAL, json!({})).await.refused(403, "not_a_runtime_token");
}

#[tokio::test]
async fn the_relays_own_token_has_tokens_made() {
    let world = World::with(Config { token_lifetime: Duration::from_secs(30), ..guarded() }).await;
    let body = json!({"profileId": "provider-agent", "lifetimeSeconds": 60}).to_string();
    let ask = async |headers: &[(&str, &str)], body: &str| {
        world.api.call("POST", "/tokens/runtime", headers, body.to_owned()).await
    };
    let made = ask(&[ROOT, ("Idempotency-Key", "k")], &body).await;
    assert_eq!(made.status, 201);
    assert_eq!(ask(&[ROOT, ("Idempotency-Key", "k")], &body).await, made);
    let token = made.body["token"].as_str().unwrap();
    get(&world, token).await.ok();
    let now = world.api.get("/health").await.ok()["time"].as_u64().unwrap() / 1000;
    let left = made.body["record"]["expiresAt"].as_u64().unwrap() - now;
    assert!((55..=61).contains(&left), "{left}");
    let usual = ask(&[ROOT], r#"{"profileId": "p"}"#).await.ok();
    assert!(usual["record"]["expiresAt"].as_u64().unwrap() - now <= 31);

    ask(&[("X-Agent-Relay-Token", token)], &body).await.refused(403, "root_only");
    ask(&[], &body).await.refused(401, "unauthorized");
    for bad in [r#"{"profileId": ""}"#, r#"{"profileId": "p", "lifetimeSeconds": 0}"#, r#"{"lifetimeSeconds": 1}"#] {
        ask(&[ROOT], bad).await.refused(422, "invalid");
    }
    let error = world.relay.issue_token("", None).await.unwrap_err();
    assert!(matches!(error, Error::Token(_)), "{error}");
}

#[tokio::test]
async fn tokens_outlive_the_relay_and_are_not_in_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("relay.db");
    let world = World::with(Config { db: Some(db.clone()), ..guarded() }).await;
    let old = issue(&world, "provider-agent", 60).await;
    let new = renew(&world, &old.token, Some("k")).await.ok();
    world.relay.stop().await;
    let world = World::with(Config { db: Some(db), ..guarded() }).await;
    get(&world, &old.token).await.ok();
    assert_eq!(renew(&world, &old.token, Some("k")).await.ok(), new);
    world.relay.stop().await;
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        for token in [old.token.as_str(), new["token"].as_str().unwrap()] {
            assert!(!bytes.windows(token.len()).any(|part| part == token.as_bytes()));
        }
    }
}
