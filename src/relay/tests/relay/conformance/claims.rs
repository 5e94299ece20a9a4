//! Claims: one holder, fences, leases.

use serde_json::json;

use super::subject::{Subject, refused};

#[tokio::test]
async fn one_holds_a_claim_and_only_under_its_fence() {
    let subject = Subject::new().await;
    let (pool, a, b) = (subject.name("pool"), subject.name("a"), subject.name("b"));
    let of_a = subject.register(&a, "i1", json!({"tags": [pool]})).await;
    let of_b = subject.register(&b, "i1", json!({"tags": [pool]})).await;
    let id = subject.send(&format!("tag:{pool}"), json!({"claimable": true})).await;
    let first = subject.claim(id, &a, &of_a).await;
    assert!(first["ok"] == true && first["leaseMs"].as_u64() > Some(0), "{first}");
    assert_eq!(subject.claim(id, &b, &of_b).await["ok"], false);
    assert_eq!(subject.claim(id, &a, &of_a).await["ok"], true, "the holder gets its own");
    assert_eq!((subject.unread(&a).await, subject.unread(&b).await), (vec![id], vec![]));
    assert_eq!(subject.get(&format!("/messages/{id}")).await.ok()["claimedBy"], a);

    refused(&subject.change(id, "renew", &a, &of_a, &json!(0)).await, 409);
    assert_eq!(subject.change(id, "renew", &a, &of_a, &first["fence"]).await.ok()["ok"], true);
    subject.change(id, "release", &a, &of_a, &first["fence"]).await.ok();
    assert_eq!(subject.unread(&b).await, [id]);
    let second = subject.claim(id, &b, &of_b).await;
    assert_ne!(second["fence"], first["fence"]);
    refused(&subject.change(id, "renew", &a, &of_a, &first["fence"]).await, 409);
}

#[tokio::test]
async fn under_a_newer_epoch_the_agent_gets_its_claim_with_a_new_fence() {
    let subject = Subject::new().await;
    let a = subject.name("a");
    let old = subject.register(&a, "i1", json!({})).await;
    let id = subject.send(&a, json!({"claimable": true})).await;
    let first = subject.claim(id, &a, &old).await;
    let new = subject.register(&a, "i2", json!({})).await;
    let ask = json!({"agentId": a, "session": old});
    refused(&subject.post(&format!("/messages/{id}/claim"), ask).await, 409);
    let second = subject.claim(id, &a, &new).await;
    assert!(second["ok"] == true && second["fence"] != first["fence"], "{second}");
    refused(&subject.change(id, "renew", &a, &new, &first["fence"]).await, 409);
}

#[tokio::test]
async fn a_superseded_instance_may_still_give_back_what_it_holds() {
    let subject = Subject::new().await;
    let a = subject.name("a");
    let old = subject.register(&a, "i1", json!({})).await;
    let id = subject.send(&a, json!({"claimable": true})).await;
    let fence = subject.claim(id, &a, &old).await["fence"].clone();
    subject.register(&a, "i2", json!({})).await;
    refused(&subject.change(id, "renew", &a, &old, &fence).await, 409);
    assert_eq!(subject.change(id, "release", &a, &old, &fence).await.ok()["ok"], true);
}
