//! Against a small relay that has files, and counts who asks for them.

use super::*;
use crate::clock;
use crate::http::Relay;
use crate::relay_url::RelayUrl;
use crate::secret::hex;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path as In, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use ring::digest;
use secrecy::SecretString;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::sync::Mutex;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const LIMIT: Duration = Duration::from_secs(20);
const KIB: usize = 1 << 10;

/// What the relay does when it is asked for an artifact.
#[derive(Debug, Clone)]
enum Does {
    Gives(Vec<u8>),
    /// All of them, or the rest from where it is asked to begin.
    GivesTheRest(Vec<u8>),
    /// The first bytes, and then nothing more.
    Stalls(Vec<u8>),
    Redirects,
}

#[derive(Debug, Clone, Default)]
struct Server {
    has: Arc<Mutex<BTreeMap<String, Does>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

struct Stage {
    attachments: Attachments,
    relay: Relay,
    server: Server,
    dir: tempfile::TempDir,
    ops: u64,
}

async fn answer(State(server): State<Server>, In(id): In<String>, headers: HeaderMap) -> Response {
    assert_eq!(headers["x-agent-relay-token"], "the-token");
    let range = headers.get("range").map(|range| range.to_str().unwrap());
    server.asked.lock().unwrap().push(range.map_or_else(|| id.clone(), |range| format!("{id} {range}")));
    let does = server.has.lock().unwrap().get(&id).cloned();
    match does {
        Some(Does::Gives(bytes)) => bytes.into_response(),
        Some(Does::GivesTheRest(bytes)) => match range {
            Some(range) => {
                let from: usize = range.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap().parse().unwrap();
                let said = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
                (StatusCode::PARTIAL_CONTENT, [("content-range", said)], bytes[from..].to_vec()).into_response()
            }
            None => bytes.into_response(),
        },
        Some(Does::Stalls(bytes)) => {
            let first = stream::iter([Ok::<_, std::io::Error>(Bytes::from(bytes))]);
            Body::from_stream(first.chain(stream::pending())).into_response()
        }
        Some(Does::Redirects) => (StatusCode::FOUND, [("location", "/api/artifacts/elsewhere")]).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn stage(each_most: usize, together_most: usize) -> Stage {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = RelayUrl::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let server = Server::default();
    let router = Router::new().route("/api/artifacts/{id}", axum::routing::get(answer)).with_state(server.clone());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let relay = Relay::new(&url, Some(&SecretString::from("the-token")), "a1".into()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let attachments = bounded(&dir, each_most, together_most);
    Stage { attachments, relay, server, dir, ops: 0 }
}

fn bounded(dir: &tempfile::TempDir, each_most: usize, together_most: usize) -> Attachments {
    Attachments::bounded(dir.path().join("attachments"), each_most as u64, together_most as u64)
}

fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// As a message names it.
fn of(id: &str, bytes: &[u8]) -> Value {
    json!({"id": id, "name": format!("{id}.txt"), "size": bytes.len(), "sha256": sha256(bytes)})
}

fn message(id: u64, attachments: &[Value]) -> Message {
    serde_json::from_value(json!({"id": id, "from": "a", "to": "a1", "attachments": attachments, "createdAt": 0}))
        .unwrap()
}

impl Stage {
    fn has(&self, id: &str, does: Does) {
        self.server.has.lock().unwrap().insert(id.to_owned(), does);
    }

    /// On the relay, and as a message names it.
    fn file(&self, id: &str, bytes: &[u8]) -> Value {
        self.has(id, Does::Gives(bytes.to_owned()));
        of(id, bytes)
    }

    fn plan(&mut self, message: &Message, held: &[u64]) -> (OpId, Plan) {
        self.ops += 1;
        (OpId(self.ops), self.attachments.plan(OpId(self.ops), message, |id| held.contains(&id)))
    }

    async fn fetch_within(&mut self, within: Duration, id: u64, said: &[Value], held: &[u64]) -> Files {
        let (op, plan) = self.plan(&message(id, said), held);
        let files = plan.carry_out(self.relay.clone(), clock::after(within)).await;
        self.attachments.fetched(op, id, files);
        self.attachments.of(id)
    }

    /// While only this message is held.
    async fn fetch(&mut self, id: u64, said: &[Value]) -> Files {
        self.fetch_within(LIMIT, id, said, &[id]).await
    }

    /// Why the only attachment of a message cannot be had. Nothing of it is left.
    async fn refusal(&mut self, said: Value) -> String {
        let files = self.fetch(1, &[said]).await;
        assert_eq!(files.len(), 1);
        self.is_tidy(0);
        files[0].kept.clone().unwrap_err()
    }

    fn asked(&self) -> usize {
        self.server.asked.lock().unwrap().len()
    }

    /// So many files are kept, and nothing else.
    #[track_caller]
    fn is_tidy(&self, kept: usize) {
        let folder = self.dir.path().join("attachments");
        let Ok(entries) = std::fs::read_dir(&folder) else { return assert_eq!(kept, 0) };
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert_eq!(names.filter(|name| name != "incoming").count(), kept);
        assert_eq!(std::fs::read_dir(room::incoming(&folder)).map_or(0, Iterator::count), 0);
    }
}

fn path(file: &AttachedFile) -> &str {
    &file.kept.as_ref().unwrap().path
}

#[tokio::test]
async fn an_attachment_becomes_a_private_file_under_its_checksum() {
    let mut stage = stage(KIB, 64 * KIB).await;
    let said = json!({"id": "f/1", "name": "../x.txt", "size": 5, "sha256": sha256(b"hello").to_uppercase()});
    stage.has("f/1", Does::Gives(b"hello".to_vec()));
    let files = stage.fetch(1, &[said]).await;
    let path = PathBuf::from(path(&files[0]));
    assert_eq!(path, stage.dir.path().join("attachments").join(sha256(b"hello")).join("_x.txt"));
    assert_eq!(std::fs::read(&path).unwrap(), b"hello");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    assert_eq!(mode(&stage.dir.path().join("attachments")), 0o700);
    stage.is_tidy(1);
}

#[tokio::test]
async fn what_is_there_is_not_fetched_again_by_a_later_run_either() {
    let mut stage = stage(KIB, 64 * KIB).await;
    let said = stage.file("f", b"hello");
    let first = stage.fetch(1, std::slice::from_ref(&said)).await;
    assert_eq!(stage.fetch(2, std::slice::from_ref(&said)).await, first);
    stage.attachments = bounded(&stage.dir, KIB, 64 * KIB);
    assert_eq!(stage.fetch(3, std::slice::from_ref(&said)).await, first);
    assert_eq!(stage.asked(), 1);
    // What somebody has changed since is not what was attached.
    std::fs::write(path(&first[0]), "HELLO").unwrap();
    assert_eq!(stage.fetch(4, &[said]).await, first);
    assert_eq!((stage.asked(), std::fs::read(path(&first[0])).unwrap()), (2, b"hello".to_vec()));
}

#[tokio::test]
async fn what_is_not_as_it_was_said_is_not_kept() {
    let mut stage = stage(KIB, 64 * KIB).await;
    stage.has("f", Does::Gives(b"HELLO".to_vec()));
    assert_eq!(stage.refusal(of("f", b"hello")).await, "what came has another checksum");
    let why = stage.refusal(of("f", b"hello you")).await;
    assert_eq!(why, "5 bytes came, not the 9 that it has");
    assert_eq!(stage.refusal(of("f", b"h")).await, "it is larger than the 1 bytes that it has");
    let why = stage.refusal(json!({"id": "f", "name": "f", "sha256": "../../etc/passwd"})).await;
    assert_eq!(why, "its checksum is no SHA-256");
    for id in ["", ".", ".."] {
        let why = stage.refusal(json!({"id": id, "name": "f"})).await;
        assert!(why.starts_with("it has no id"), "{why}");
    }
}

#[tokio::test]
async fn what_is_too_large_is_not_read_to_its_end() {
    let mut stage = stage(KIB, 64 * KIB).await;
    let large = vec![0; KIB + 1];
    stage.has("f", Does::Gives(large.clone()));
    stage.has("endless", Does::Stalls(large.clone()));
    assert_eq!(stage.refusal(of("f", &large)).await, "it is larger than 1024 bytes");
    assert_eq!(stage.asked(), 0, "its size was known before");
    for id in ["f", "endless"] {
        assert_eq!(stage.refusal(json!({"id": id, "name": "f"})).await, "it is larger than 1024 bytes");
    }
    assert_eq!(too_large(EACH_MOST), "it is larger than 64 MiB");
}

#[tokio::test]
async fn an_attachment_of_which_nothing_is_known_gets_the_checksum_that_it_has() {
    let mut stage = stage(KIB, 64 * KIB).await;
    stage.has("f", Does::Gives(b"hello".to_vec()));
    let files = stage.fetch(1, &[json!({"id": "f", "name": ""})]).await;
    assert!(path(&files[0]).ends_with(&format!("{}/file", sha256(b"hello"))), "{files:?}");
    let empty = stage.file("empty", b"");
    let files = stage.fetch(2, &[empty]).await;
    assert_eq!(std::fs::read(path(&files[0])).unwrap(), b"");
}

#[tokio::test]
async fn what_never_comes_leaves_nothing_behind_and_the_rest_is_there() {
    let mut stage = stage(KIB, 64 * KIB).await;
    stage.has("stalled", Does::Stalls(b"hel".to_vec()));
    stage.has("moved", Does::Redirects);
    stage.has("elsewhere", Does::Gives(b"hello".to_vec()));
    let fine = stage.file("fine", b"fine");
    let said = ["stalled", "moved", "none"].map(|id| json!({"id": id, "name": id, "size": 5}));
    let files = stage.fetch_within(Duration::from_millis(500), 1, &[&said[..], &[fine]].concat(), &[1]).await;
    let why: Vec<_> = files.iter().map(|file| file.kept.as_ref().err().map_or("", |why| why)).collect();
    assert_eq!(
        why,
        ["it did not come within 1 s", "the relay answers with HTTP 302", "the relay does not have it", ""]
    );
    assert_eq!(std::fs::read(path(&files[3])).unwrap(), b"fine");
    stage.is_tidy(1);
}

#[tokio::test]
async fn what_breaks_off_is_dropped() {
    let mut stage = stage(KIB, 64 * KIB).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = RelayUrl::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    stage.relay = Relay::new(&url, None, "a1".into()).unwrap();
    let breaks_off = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            stream.read_buf(&mut request).await.unwrap();
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel").await.unwrap();
    };
    let (why, ()) = tokio::join!(stage.refusal(of("f", b"hello")), breaks_off);
    assert!(why.starts_with("it broke off: "), "{why}");
}

#[tokio::test]
async fn files_that_nobody_needs_make_room_the_one_used_longest_ago_first() {
    let mut stage = stage(8 * KIB, 24 * KIB).await;
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|id| stage.file(id, id.repeat(8 * KIB).as_bytes()));
    let mut at = Vec::new();
    for (n, said) in [(1, &a), (2, &b), (3, &c), (4, &a), (5, &d)] {
        at.push(PathBuf::from(path(&stage.fetch(n, std::slice::from_ref(said)).await[0])));
    }
    let is_there = |n: usize| at[n].exists();
    assert!(is_there(0) && !is_there(1) && is_there(2) && is_there(4), "b was used longest ago");

    // A later run knows it from the files' times, which say when they were used.
    for (n, seconds) in [(0, 1), (2, 2), (4, 3)] {
        let file = std::fs::File::open(&at[n]).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
    }
    stage.attachments = bounded(&stage.dir, 8 * KIB, 24 * KIB);
    stage.fetch(6, &[a]).await;
    stage.attachments = bounded(&stage.dir, 8 * KIB, 24 * KIB);
    assert!(stage.fetch(7, &[b]).await[0].kept.is_ok());
    assert!(is_there(0) && is_there(1) && !is_there(2) && is_there(4), "c was");
    stage.is_tidy(3);
}

#[tokio::test]
async fn files_of_messages_at_work_are_never_removed() {
    let mut stage = stage(8 * KIB, 24 * KIB).await;
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|id| stage.file(id, id.repeat(8 * KIB).as_bytes()));
    let at_work = stage.fetch_within(LIMIT, 1, &[a, b], &[1]).await;
    // One under way counts as well, from the moment of its plan.
    let (op, plan) = stage.plan(&message(2, std::slice::from_ref(&c)), &[1, 2]);
    let none = stage.fetch_within(LIMIT, 3, std::slice::from_ref(&d), &[1, 2, 3]).await;
    assert!(none[0].kept.as_ref().unwrap_err().starts_with("there is no room for it"), "{none:?}");
    let files = plan.carry_out(stage.relay.clone(), clock::after(LIMIT)).await;
    stage.attachments.fetched(op, 2, files);
    assert!(stage.attachments.of(2)[0].kept.is_ok() && at_work.iter().all(|file| Path::new(path(file)).exists()));
    // Once the first is settled there is room again.
    let files = stage.fetch_within(LIMIT, 3, &[d], &[2, 3]).await;
    assert!(files[0].kept.is_ok() && Path::new(path(&stage.attachments.of(2)[0])).exists());
    assert!(stage.attachments.of(1).is_empty(), "and it is forgotten");
}

#[tokio::test]
async fn the_number_of_a_messages_attachments_is_bounded() {
    let mut stage = stage(KIB, 1024 * KIB).await;
    let said: Vec<_> = (0..=OF_ONE_MOST).map(|n| stage.file(&format!("f{n}"), format!("{n}").as_bytes())).collect();
    let files = stage.fetch(1, &said).await;
    assert_eq!(files.iter().filter(|file| file.kept.is_ok()).count(), OF_ONE_MOST);
    assert!(files[OF_ONE_MOST].kept.as_ref().unwrap_err().starts_with("only the first 64"));
    assert_eq!(stage.asked(), OF_ONE_MOST);
}

#[tokio::test]
async fn downloads_that_an_earlier_run_left_are_dropped() {
    let mut stage = stage(KIB, 64 * KIB).await;
    let incoming = room::incoming(&stage.dir.path().join("attachments"));
    std::fs::create_dir_all(&incoming).unwrap();
    std::fs::write(incoming.join("half"), "hal").unwrap();
    let said = stage.file("f", b"hello");
    stage.fetch(1, &[said]).await;
    stage.is_tidy(1);
}

impl Stage {
    /// What a run left that was killed while it fetched this.
    fn was_killed_at(&self, whole: &[u8], begun: &[u8]) -> PathBuf {
        let incoming = room::incoming(&self.dir.path().join("attachments"));
        std::fs::create_dir_all(&incoming).unwrap();
        let path = incoming.join(sha256(whole));
        std::fs::write(&path, begun).unwrap();
        path
    }
}

#[tokio::test]
async fn a_download_that_a_killed_run_left_is_taken_up_where_the_relay_can() {
    let mut stage = stage(KIB, 64 * KIB).await;
    stage.has("f", Does::GivesTheRest(b"hello".to_vec()));
    stage.was_killed_at(b"hello", b"hel");
    let files = stage.fetch(1, &[of("f", b"hello")]).await;
    assert_eq!(std::fs::read(path(&files[0])).unwrap(), b"hello");
    assert_eq!(*stage.server.asked.lock().unwrap(), ["f bytes=3-"]);
    stage.is_tidy(1);
    // All of it had come, and it only had no place yet.
    stage.was_killed_at(b"whole", b"whole");
    stage.attachments = bounded(&stage.dir, KIB, 64 * KIB);
    let files = stage.fetch(2, &[of("w", b"whole")]).await;
    assert_eq!(std::fs::read(path(&files[0])).unwrap(), b"whole");
    assert_eq!(stage.asked(), 1, "nobody was asked for it");
    stage.is_tidy(2);
}

#[tokio::test]
async fn a_beginning_that_does_not_lead_to_the_file_is_dropped_and_all_of_it_is_fetched() {
    for (begun, does, asked) in [
        // The relay sends all of it, whatever it is asked for.
        (&b"hel"[..], Does::Gives(b"hello".to_vec()), &["f bytes=3-", "f"][..]),
        // Somebody has spoilt it.
        (b"HEL", Does::GivesTheRest(b"hello".to_vec()), &["f bytes=3-", "f"]),
        (b"HELLO", Does::GivesTheRest(b"hello".to_vec()), &["f"]),
        (b"hello and more", Does::Gives(b"hello".to_vec()), &["f bytes=14-", "f"]),
    ] {
        let mut stage = stage(KIB, 64 * KIB).await;
        stage.has("f", does);
        stage.was_killed_at(b"hello", begun);
        let files = stage.fetch(1, &[of("f", b"hello")]).await;
        assert_eq!(std::fs::read(path(&files[0])).unwrap(), b"hello", "{files:?}");
        assert_eq!(*stage.server.asked.lock().unwrap(), asked, "{begun:?}");
        stage.is_tidy(1);
    }
}

#[tokio::test]
async fn a_beginning_is_one_fetchs_alone_and_the_first_to_make_room() {
    let mut stage = stage(8 * KIB, 24 * KIB).await;
    stage.has("f", Does::GivesTheRest(b"hello".to_vec()));
    stage.was_killed_at(b"hello", b"hel");
    let files = stage.fetch(1, &[of("f", b"hello"), of("f", b"hello")]).await;
    assert!(files.iter().all(|file| file.kept.is_ok()), "{files:?}");
    stage.is_tidy(1);

    stage.attachments = bounded(&stage.dir, 8 * KIB, 24 * KIB);
    let (large, other) = (vec![1; 8 * KIB], vec![2; 8 * KIB]);
    let left = stage.was_killed_at(b"another", &large);
    let said = [stage.file("large", &large), stage.file("other", &other)];
    let files = stage.fetch(2, &said).await;
    assert!(files.iter().all(|file| file.kept.is_ok()) && !left.exists(), "{files:?}");
    stage.is_tidy(3);
}

#[tokio::test]
async fn a_beginning_that_nobody_asks_for_goes_after_a_day() {
    let mut stage = stage(KIB, 64 * KIB).await;
    let old = stage.was_killed_at(b"old", b"o");
    let day = Duration::from_hours(24) + Duration::from_mins(1);
    let file = std::fs::File::options().write(true).open(&old).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + Duration::from_millis(clock::wall()) - day).unwrap();
    let new = stage.was_killed_at(b"new", b"n");
    let said = stage.file("f", b"hello");
    stage.fetch(1, &[said]).await;
    assert!(!old.exists() && new.exists());
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_the_reason() {
    let mut stage = stage(KIB, 64 * KIB).await;
    std::fs::write(stage.dir.path().join("attachments"), "in the way").unwrap();
    let said = stage.file("f", b"hello");
    let files = stage.fetch(1, &[said]).await;
    let why = files[0].kept.as_ref().unwrap_err();
    assert!(why.starts_with("the folder of attachments cannot be used: "), "{why}");
}
