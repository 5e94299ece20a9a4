//! The stream of events.

use serde_json::json;

use super::subject::Subject;
use crate::feed::Feed;

#[tokio::test]
async fn a_stream_tells_what_happens_and_goes_on_where_it_ended() {
    let subject = Subject::new().await;
    let a = subject.name("a");
    // A busy relay tells more than what this test does.
    let next = async |feed: &mut Feed, id: u64| loop {
        let entry = feed.entry().await;
        if entry.event == "message.new" && entry.data["id"] == id {
            return entry.id.unwrap();
        }
    };
    let mut feed = Feed::open(&subject.api, "", &subject.headers()).await;
    let first = subject.send(&a, json!({})).await;
    let last = next(&mut feed, first).await.to_string();
    drop(feed);
    let second = subject.send(&a, json!({})).await;
    let headers = [subject.headers(), vec![("Last-Event-ID", &last)]].concat();
    let mut feed = Feed::open(&subject.api, "", &headers).await;
    next(&mut feed, second).await;

    let headers = [subject.headers(), vec![("Last-Event-ID", "9007199254740991")]].concat();
    let mut feed = Feed::open(&subject.api, "", &headers).await;
    assert_eq!(feed.entry().await.event, "gap", "a position that was never given out");
}
