//! Artifacts.

use serde_json::json;

use super::subject::Subject;

#[tokio::test]
async fn a_file_is_uploaded_attached_and_downloaded() {
    let subject = Subject::new().await;
    let headers = [subject.headers(), vec![("Content-Type", "text/plain")]].concat();
    let bytes = subject.name("content");
    let artifact = subject.api.call("POST", "/artifacts?name=n.txt", &headers, bytes.clone()).await.ok();
    assert_eq!(json!([artifact["name"], artifact["size"]]), json!(["n.txt", bytes.len()]));
    assert_eq!(artifact["sha256"].as_str().map(str::len), Some(64));
    let id = subject.send(&subject.name("a"), json!({"attachments": [artifact]})).await;
    let message = subject.get(&format!("/messages/{id}")).await.ok();
    assert_eq!(message["attachments"], json!([artifact]));

    let path = format!("/artifacts/{}", artifact["id"].as_str().unwrap());
    let mut request = subject.api.request(reqwest::Method::GET, &path);
    for (name, value) in subject.headers() {
        request = request.header(name, value);
    }
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.bytes().await.unwrap(), bytes);
}
