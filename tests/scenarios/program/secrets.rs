//! Secrets, each with a name of its own, planted wherever a run meets one, and then looked for wherever something is
//! written or shown: journal, words beside it, logs, state, status, the relay's view, command lines.

use super::calling::Call;
use super::renewing;
use super::world::{Process, World};
use relay_runner_core::BodyRef;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// A variable of the runner that is none of the agent's business.
const VARIABLE: &str = "secret-of-the-environment";
const OUT: &str = "secret-on-standard-output";
const FIELD: &str = "secret-in-an-unknown-line";
const ERR: &str = "secret-on-standard-error";
const BODY: &str = "secret-in-a-body";
const SUBJECT: &str = "secret-in-a-subject";
const CONTENT: &str = "secret-to-be-injected";
const PROMPT: &str = "secret-in-the-first-prompt";

/// Says what it should not, in every way that it has, and what the runner's own secrets are as well.
const TALKATIVE: &str = r#"
echo "$AGENT_RELAY_RUNNER_DIR" >> folder
env > environment
control=$(sed -n 's/.*"secret": "\(.*\)".*/\1/p' "$AGENT_RELAY_RUNNER_DIR/runner.json")
echo "plain words: secret-on-standard-output"
echo '{"type":"dance","with":"secret-in-an-unknown-line"}'
echo '{"type":"busy","turn":["secret-in-an-unknown-line"'
for known in "$AGENT_RELAY_TOKEN" "$control"; do
    echo "words on stderr: $known" >&2
    echo "{\"type\":\"log\",\"message\":\"a log line with $known\"}"
    echo "{\"type\":\"$known\"}"
    echo "{\"type\":\"approval\",\"approvalId\":\"q1\",\"tool\":\"t $known\",\"reason\":\"r $known\"}"
    echo "{\"type\":\"approvalClosed\",\"approvalId\":\"q1\"}"
    echo "{\"type\":\"busy\",\"turn\":\"t $known\"}"
    echo "{\"type\":\"idle\",\"turn\":\"t $known\",\"failed\":\"f $known\"}"
done
echo "secret-on-standard-error" >&2
while IFS= read -r line; do
    case $line in
    *'"type":"message"'*)
        id=${line%%,\"nonce\":*}
        id=${id##*\"id\":}
        echo "{\"type\":\"taken\",\"ids\":[$id]}"
        echo "{\"type\":\"busy\",\"turn\":\"m$id\"}"
        echo "{\"type\":\"idle\",\"turn\":\"m$id\"}"
        ;;
    *secret-to-be-injected*)
        echo injected >> notes
        ;;
    *'"type":"shutdown"'*)
        echo "$AGENT_RELAY_TOKEN and $control are my last words" >&2
        exit 9
        ;;
    esac
done
"#;

struct Planted {
    world: World,
    runner: Process,
    token: String,
    control: String,
    info: Value,
    message: u64,
}

fn planted(bodies: &str) -> Planted {
    let world = renewing::world();
    let file = renewing::given(&world, 3_600);
    let token: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let script = world.script("agent", TALKATIVE);
    let arguments = ["run", "command", "--agent-id", "a1", "--bodies", bodies, "--token-file", &file, "--", &script];
    let variables = [
        ("MY_API_KEY", VARIABLE),
        ("AGENT_RELAY_SOMETHING", VARIABLE),
        ("AGENT_RELAY_PROMPT", PROMPT),
        ("RUST_LOG", "trace"),
        ("AGENT_RELAY_LOG", "trace"),
    ];
    let runner = world.start(&arguments, &variables);
    renewing::is_ready(&world);
    let folder = PathBuf::from(&world.notes("folder", 1)[0]);
    let info: Value = serde_json::from_slice(&fs::read(folder.join("runner.json")).unwrap()).unwrap();
    let sent =
        renewing::as_root(&world, &["send", "a1", BODY, "--subject", SUBJECT, "--wait", "--timeout", "20s", "--json"]);
    assert_eq!(sent.code, Some(0), "{sent:?}; {}", world.log());
    let message = sent.out.lines().find_map(|line| serde_json::from_str::<Value>(line).ok()?["messageId"].as_u64());
    let inject = json!({"type": "injectContext", "params": {"content": CONTENT, "reason": "memory"}}).to_string();
    let (status, said) = Call::post("/command", &inject).to_socket(&folder.join("control.sock"));
    assert_eq!(status, 200, "{said}");
    world.notes("notes", 1);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (token, control) = (text(&token["token"]), text(&info["secret"]));
    Planted { world, runner, token, control, info, message: message.unwrap() }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
    }
    files
}

/// Every place where others could look, by name.
fn shown(planted: &Planted) -> Vec<(String, String)> {
    let Planted { world, info, .. } = planted;
    let port = info["controlUrl"].as_str().unwrap().strip_prefix("http://").unwrap();
    let bearer = format!("Authorization: Bearer {}", planted.control);
    let (_, state) = Call { method: "GET", path: "/state", headers: &[&bearer], body: "" }.to(port);
    let refused = Call { method: "GET", path: "/state", headers: &["Authorization: Bearer wrong"], body: "" }.to(port);
    let mut shown = vec![
        ("/state".to_owned(), state.to_string()),
        ("a refusal".to_owned(), refused.1.to_string()),
        ("status".to_owned(), world.ask(&["status", "a1"]).out),
        ("status --json".to_owned(), world.ask(&["status", "a1", "--json"]).out),
        ("the relay's view".to_owned(), renewing::as_root(world, &["agents", "--json"]).out),
    ];
    for process in fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path()) {
        let line = fs::read(process.join("cmdline")).unwrap_or_default();
        let own = process.ends_with(std::process::id().to_string());
        // Whoever sends a message by our own verb has said it there.
        if !own && !String::from_utf8_lossy(&line).contains("\0send\0") {
            shown.push((format!("the command line of {}", process.display()), String::from_utf8_lossy(&line).into()));
        }
    }
    shown
}

fn written(world: &World) -> Vec<(String, String)> {
    let mut written = vec![("the log".to_owned(), world.log())];
    for file in files(&world.path("state")) {
        // Sockets cannot be read, and these two are for secrets: mode 0600.
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        if name != "token.json" && name != "runner.json" {
            written.push((
                file.display().to_string(),
                String::from_utf8_lossy(&fs::read(&file).unwrap_or_default()).into(),
            ));
        }
    }
    written
}

#[track_caller]
fn nowhere(secret: &str, places: &[(String, String)]) {
    for (place, text) in places {
        let at = text.find(secret).map(|at| text[at.saturating_sub(200)..].chars().take(400).collect::<String>());
        assert!(at.is_none(), "`{secret}` is in {place}: {at:?}");
    }
}

fn journals(places: Vec<(String, String)>) -> Vec<(String, String)> {
    places.into_iter().filter(|(place, _)| place.contains("/journal/")).collect()
}

#[track_caller]
fn nothing_is_found(bodies: &str) -> Planted {
    let planted = planted(bodies);
    let places = shown(&planted);
    for secret in [&*planted.token, &planted.control, VARIABLE, OUT, FIELD, BODY, SUBJECT, CONTENT, PROMPT] {
        nowhere(secret, &places);
    }
    assert!(!planted.world.noted("environment").iter().any(|line| line.contains(VARIABLE)), "not the agent's business");
    planted
}

/// Once the run is over, so that everything is written. The process says all it knows as its last words.
fn ends(planted: Planted) -> (World, Vec<(String, String)>) {
    let Planted { world, runner, token, control, .. } = planted;
    assert_eq!(world.ask(&["stop", "a1"]).code, Some(0));
    assert_eq!(runner.ends(), Some(0));
    let places = written(&world);
    assert!(
        places.iter().any(|(place, text)| place.ends_with("000001.jsonl") && text.contains("[secret]")),
        "redacted"
    );
    for secret in [&*token, &control, VARIABLE, OUT, FIELD, SUBJECT] {
        nowhere(secret, &places);
    }
    // What the agent itself says on its standard error is logged, without what the runner knows to be secret.
    assert!(world.log().contains(ERR));
    nowhere(ERR, &journals(places.clone()));
    (world, places)
}

fn digest(text: &str) -> String {
    BodyRef::of(text).digest.to_string()
}

#[test]
fn with_hashes_no_secret_is_written_or_shown_anywhere() {
    let (_, places) = ends(nothing_is_found("hash"));
    for words in [BODY, CONTENT, PROMPT] {
        nowhere(words, &places);
    }
    let journal = journals(places);
    assert!([BODY, CONTENT, PROMPT].iter().all(|words| journal.iter().any(|(_, text)| text.contains(&digest(words)))));
}

#[test]
fn with_nothing_kept_of_bodies_not_even_a_guess_can_be_confirmed() {
    let (world, places) = ends(nothing_is_found("none"));
    for words in [BODY, CONTENT, PROMPT] {
        nowhere(words, &places);
        nowhere(&digest(words), &places);
    }
    world.replays_exactly(1);
}

#[test]
fn with_full_bodies_the_words_stand_beside_the_journal_and_nowhere_else() {
    use std::os::unix::fs::PermissionsExt;
    let planted = nothing_is_found("full");
    let message = planted.message;
    let (world, places) = ends(planted);
    let (beside, others): (Vec<_>, Vec<_>) = places.into_iter().partition(|(place, _)| place.ends_with(".bodies"));
    for words in [BODY, CONTENT, PROMPT] {
        nowhere(words, &others);
    }
    let [(path, text)] = &beside[..] else { panic!("one file of words") };
    assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kept = json!({"message": message, "digest": BodyRef::of(BODY).digest, "body": BODY});
    assert_eq!(lines.iter().filter(|line| **line == kept).count(), 1, "{lines:?}");
    assert_eq!(lines.len(), 3, "{lines:?}");
    // A replay needs none of it.
    world.replays_exactly(1);
    fs::remove_file(path).unwrap();
    world.replays_exactly(1);
}
