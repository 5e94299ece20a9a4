//! Runtime tokens, on a relay that makes them for whoever shows its own.

use serde_json::json;

use super::subject::Subject;

#[tokio::test]
async fn a_runtime_token_is_renewed_and_the_old_one_stays_good() {
    let subject = Subject::new().await;
    let made = subject.post("/tokens/runtime", json!({"profileId": "provider-agent", "lifetimeSeconds": 60})).await;
    if made.status != 201 {
        return eprintln!("not shown: the relay makes no tokens this way: {} {}", made.status, made.body);
    }
    let old = made.body["token"].as_str().unwrap();
    let headers = [("x-agent-relay-token", old), ("Idempotency-Key", &subject.name("renewal"))];
    let renew = async || subject.api.call("POST", "/tokens/runtime/renew", &headers, "").await.ok();
    let first = renew().await;
    assert_ne!(first["token"], old);
    assert_eq!(first["record"]["profileId"], "provider-agent");
    assert!(first["record"]["expiresAt"].is_u64() && first["record"]["jti"].is_string(), "{first}");
    assert_eq!(renew().await, first, "a lost answer is told again");
    for token in [old, first["token"].as_str().unwrap()] {
        subject.api.call("GET", "/agents", &[("x-agent-relay-token", token)], "").await.ok();
    }
}
