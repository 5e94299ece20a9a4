//! Artifacts: upload, download, attachments.

use relay_runner_relay::Config;
use serde_json::{Value, json};

use crate::wire::{Answer, World, config};

/// The SHA-256 of `abc`.
const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

async fn upload(world: &World, query: &str, key: Option<&str>, body: impl Into<reqwest::Body>) -> Answer {
    let mut headers = vec![("Content-Type", "text/plain")];
    headers.extend(key.map(|key| ("Idempotency-Key", key)));
    world.api.call("POST", &format!("/artifacts{query}"), &headers, body).await
}

async fn download(world: &World, id: &Value) -> reqwest::Response {
    let path = format!("/artifacts/{}", id.as_str().unwrap());
    world.api.request(reqwest::Method::GET, &path).send().await.unwrap()
}

#[tokio::test]
async fn what_is_uploaded_is_downloaded_with_its_name_type_size_and_checksum() {
    let world = World::new().await;
    let made = upload(&world, "?name=a%20%C3%BC.txt", None, "abc").await;
    assert_eq!(made.status, 201);
    let artifact = made.body;
    let id = artifact["id"].clone();
    let expected = json!({"id": id, "name": "a ü.txt", "mediaType": "text/plain", "size": 3, "sha256": ABC});
    assert_eq!(artifact, expected);
    let response = download(&world, &id).await;
    assert_eq!(response.status(), 200);
    for (header, value) in [
        ("content-type", "text/plain"),
        ("content-length", "3"),
        ("content-disposition", "attachment; filename*=UTF-8''a%20%C3%BC.txt"),
        ("x-content-type-options", "nosniff"),
        ("x-agent-relay-sha256", ABC),
    ] {
        assert_eq!(response.headers()[header], value);
    }
    assert_eq!(response.bytes().await.unwrap(), "abc");
    world.api.get("/artifacts/none").await.refused(404, "not_found");
}

#[tokio::test]
async fn whoever_has_the_beginning_gets_the_rest() {
    let world = World::new().await;
    let id = upload(&world, "?name=a", None, "abcdef").await.body["id"].clone();
    let part = async |range: &str| {
        let path = format!("/artifacts/{}", id.as_str().unwrap());
        let request = world.api.request(reqwest::Method::GET, &path).header("Range", range);
        let response = request.send().await.unwrap();
        let said = response.headers().get("content-range").map(|value| value.to_str().unwrap().to_owned());
        (response.status().as_u16(), said, response.text().await.unwrap())
    };
    assert_eq!(part("bytes=2-").await, (206, Some("bytes 2-5/6".to_owned()), "cdef".to_owned()));
    assert_eq!(part("bytes=0-").await, (206, Some("bytes 0-5/6".to_owned()), "abcdef".to_owned()));
    let (status, _, text) = part("bytes=6-").await;
    assert!(status == 416 && text.contains("no_such_range"), "{text}");
    for ignored in ["bytes=0-1", "bytes=-2", "lines=1-", "bytes=x-", "bytes=1-,3-"] {
        assert_eq!(part(ignored).await, (200, None, "abcdef".to_owned()), "{ignored}");
    }
}

#[tokio::test]
async fn large_ones_pass_up_to_the_limit_and_leave_nothing_behind_beyond_it() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("relay.db");
    let bound = 3 << 20;
    let world = World::with(Config { db: Some(db), artifact_bytes: bound, ..config() }).await;
    let large: Vec<u8> = (0..bound).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let artifact = upload(&world, "?name=large", None, large.clone()).await.ok();
    assert_eq!(artifact["size"], bound);
    assert_eq!(download(&world, &artifact["id"]).await.bytes().await.unwrap(), large);

    let larger = [large.as_slice(), b"x"].concat();
    upload(&world, "?name=larger", None, larger).await.refused(413, "too_large");
    let count = |path: &str| std::fs::read_dir(folder.path().join(path)).unwrap().count();
    assert_eq!((count("relay.db.artifacts/incoming"), count("relay.db.artifacts")), (0, 2));
    // Empty ones are artifacts too.
    let empty = upload(&world, "?name=empty", None, "").await.ok();
    assert_eq!(download(&world, &empty["id"]).await.bytes().await.unwrap(), "");
}

#[tokio::test]
async fn the_same_content_is_kept_once() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("relay.db");
    let world = World::with(Config { db: Some(db), ..config() }).await;
    let first = upload(&world, "?name=one", None, "abc").await.ok();
    let second = upload(&world, "?name=two", None, "abc").await.ok();
    assert_ne!(first["id"], second["id"]);
    assert!(folder.path().join("relay.db.artifacts").join(ABC).exists());
    assert_eq!(std::fs::read_dir(folder.path().join("relay.db.artifacts")).unwrap().count(), 2, "and incoming");
    for artifact in [first, second] {
        assert_eq!(download(&world, &artifact["id"]).await.bytes().await.unwrap(), "abc");
    }
}

#[tokio::test]
async fn an_upload_is_repeated_under_its_key_and_checked_against_its_checksum() {
    let world = World::new().await;
    let first = upload(&world, "?name=n", Some("k"), "abc").await;
    assert_eq!(upload(&world, "?name=n", Some("k"), "abc").await, first);
    upload(&world, "?name=n", Some("k"), "other").await.refused(422, "idempotency_key_reused");
    upload(&world, "?name=m", Some("k"), "abc").await.refused(422, "idempotency_key_reused");
    upload(&world, &format!("?name=n&sha256={ABC}"), None, "abc").await.ok();
    upload(&world, &format!("?name=n&sha256={ABC}"), None, "other").await.refused(422, "invalid");
    for query in ["", "?name=", "?name=a%0Ab"] {
        upload(&world, query, None, "abc").await.refused(422, "invalid");
    }
}

#[tokio::test]
async fn a_message_has_the_artifacts_that_it_names() {
    let world = World::new().await;
    let artifact = upload(&world, "?name=n", None, "abc").await.ok();
    let id = &artifact["id"];
    let send = async |attachment: Value| {
        let body = json!({"from": "s", "to": "a", "body": "b", "attachments": [attachment]});
        world.api.post("/messages", body).await
    };
    // What is left out is filled in.
    assert_eq!(send(json!({"id": id, "name": ""})).await.ok()["attachments"], json!([artifact]));
    let mut named = artifact.clone();
    named["name"] = json!("other");
    assert_eq!(send(json!({"id": id, "name": "other"})).await.ok()["attachments"], json!([named]));
    for wrong in [
        json!({"id": "none", "name": "n"}),
        json!({"id": id, "name": "n", "size": 4}),
        json!({"id": id, "name": "n", "sha256": "00"}),
    ] {
        send(wrong).await.refused(422, "invalid");
    }
    assert_eq!(world.api.get("/messages/cursor").await.ok()["cursor"], 2);
}

#[tokio::test]
async fn artifacts_outlive_the_relay_and_end_with_one_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let db = folder.path().join("relay.db");
    let world = World::with(Config { db: Some(db.clone()), ..config() }).await;
    let artifact = upload(&world, "?name=n", None, "abc").await.ok();
    world.relay.stop().await;
    let left = folder.path().join("relay.db.artifacts/incoming/left");
    std::fs::write(&left, "unfinished").unwrap();
    let world = World::with(Config { db: Some(db), ..config() }).await;
    assert_eq!(download(&world, &artifact["id"]).await.bytes().await.unwrap(), "abc");
    upload(&world, "?name=m", None, "other").await.ok();
    assert!(!left.exists());
    std::fs::remove_file(folder.path().join("relay.db.artifacts").join(ABC)).unwrap();
    assert_eq!(download(&world, &artifact["id"]).await.status(), 404);
}

#[tokio::test]
async fn there_is_a_bound_for_all_of_them_together() {
    let world = World::with(Config { keep_artifact_bytes: 10, ..config() }).await;
    let first = upload(&world, "?name=n", None, "12345678").await.ok();
    upload(&world, "?name=n", None, "abc").await.refused(413, "no_room");
    // What is there already takes no more room.
    upload(&world, "?name=m", None, "12345678").await.ok();
    assert_eq!(download(&world, &first["id"]).await.bytes().await.unwrap(), "12345678");
}
