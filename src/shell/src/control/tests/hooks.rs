//! Hooks and obligations, as whoever posts them meets them.

use super::*;
use relay_runner_core::OwedReply;
use relay_runner_core::effect::Decision;

#[tokio::test]
async fn hooks_that_are_wrong_are_refused_and_change_nothing() {
    let mut stage = stage();
    let large = format!("{{\"prompt\":\"{}\"}}", "x".repeat(64 * 1024));
    let cases: [(&str, &str, u16, &str); 7] = [
        ("/hook/Dance", "{}", 404, "unknown_hook"),
        ("/hook/stop", "{}", 404, "unknown_hook"),
        ("/hook/", "{}", 404, "not_found"),
        ("/hook/Stop", "", 400, "bad_body"),
        ("/hook/Stop", "[]", 422, "bad_body"),
        ("/hook/Stop", "\"Stop\"", 422, "bad_body"),
        ("/hook/UserPromptSubmit", &large, 413, "too_large"),
    ];
    for (path, body, status, code) in cases {
        let refused = refused(stage.post(path, body.to_owned())).await;
        assert_eq!(refused, (status, code.to_owned()), "{path} {}", &body[..body.len().min(20)]);
    }
    assert_eq!(refused(stage.get("/hook/Stop")).await, (405, "method_not_allowed".into()));
    assert_eq!(refused(stage.post("/obligations", "{}")).await, (405, "method_not_allowed".into()));
    let bare = http().post(stage.url("/hook/Stop")).body("{}");
    assert_eq!(refused(bare).await.0, 401);
    assert!(stage.inputs.try_recv().is_err(), "nothing reached the loop");
}

#[tokio::test]
async fn a_hook_is_answered_with_what_its_own_protocol_wants() {
    let Stage { control, mut inputs, dir } = stage();
    let client = crate::client::Client::new(dir.path()).unwrap();
    let owed = || vec![OwedReply { message: 12, from: "alice".into() }];
    let answering = async {
        let Some(Input::Hook { hook, answer }) = inputs.recv().await else { panic!("a hook") };
        assert_eq!((hook.session.as_deref(), hook.held_before), (Some("s1"), Some(false)));
        answer.send(Answer::Hook { busy: vec!["message".into()], owed: owed(), holds: true }).unwrap();
        for holds in [false, false] {
            let Some(Input::Hook { answer, .. }) = inputs.recv().await else { panic!("a hook") };
            answer.send(Answer::Hook { busy: vec![], owed: owed(), holds }).unwrap();
        }
        let Some(Input::Hook { answer, .. }) = inputs.recv().await else { panic!("a hook") };
        answer.send(Answer::Stale).unwrap();
        for decision in [Some(Decision::Approve), Some(Decision::Deny), Some(Decision::Abort), None] {
            let Some(Input::Permission { ask, input, answer }) = inputs.recv().await else { panic!("a request") };
            assert!(ask.approval.id.starts_with("Bash-") && ask.pids == [7]);
            assert_eq!(input.as_deref(), Some(r#"{"command":"ls"}"#));
            answer.send(Answer::Permission { decision, reason: Some("because".into()) }).unwrap();
        }
    };
    let asking = async {
        let stop = client.post("/hook/Stop", &json!({"providerSessionId": "s1"})).await.unwrap();
        assert_eq!((&stop["holds"], &stop["busyReasons"]), (&json!(true), &json!(["message"])));
        assert_eq!(stop["owed"], json!([{"messageId": 12, "from": "alice"}]));
        let output: Value = serde_json::from_str(stop["output"].as_str().unwrap()).unwrap();
        assert_eq!(output["decision"], "block");
        let not_held = client.post("/hook/Stop", &json!({})).await.unwrap();
        assert_eq!(not_held["output"], Value::Null);
        let begins = client.post("/hook/SessionStart", &json!({"source": "startup"})).await.unwrap();
        assert!(begins["output"].as_str().unwrap().contains("relay-runner reply 12"), "{begins}");
        let stale = client.post("/hook/Stop", &json!({})).await.unwrap_err();
        assert!(stale.to_string().contains("living provider session"), "{stale}");
        let tool = json!({"tool_name": "Bash", "tool_input": {"command": "ls"}, "pid": 7});
        let wanted = [
            Some(json!({"behavior": "allow"})),
            Some(json!({"behavior": "deny", "message": "because"})),
            Some(json!({"behavior": "deny", "message": "because", "interrupt": true})),
            None,
        ];
        for wanted in wanted {
            let answer = client.post("/hook/PermissionRequest", &tool).await.unwrap();
            let output = answer["output"].as_str().map(|text| serde_json::from_str::<Value>(text).unwrap());
            assert_eq!(output.map(|mut o| o["hookSpecificOutput"]["decision"].take()), wanted);
        }
    };
    tokio::join!(answering, asking);
    control.end().await;
}

#[tokio::test]
async fn what_is_owed_is_the_loops() {
    let Stage { control, mut inputs, dir } = stage();
    let client = crate::client::Client::new(dir.path()).unwrap();
    let answering = async {
        let Some(Input::Look(answer)) = inputs.recv().await else { panic!("a look") };
        answer.send(json!({"owed": [{"messageId": 12, "from": "alice", "since": 1}]}).to_string().into()).unwrap();
        inputs.close();
        while inputs.recv().await.is_some() {}
    };
    let asking = async {
        let list = client.get("/obligations").await.unwrap();
        assert_eq!(list, json!({"obligations": [{"messageId": 12, "from": "alice", "since": 1}]}));
    };
    tokio::join!(answering, asking);
    let ending = client.get("/obligations").await.unwrap_err();
    assert!(ending.to_string().contains("ending"), "{ending}");
    control.end().await;
}

#[tokio::test]
async fn where_everything_is_allowed_a_permission_is_a_sign_of_life_and_a_question_stays_one() {
    let Stage { control, mut inputs, dir } = stage_with(&Beside { allows_all: true, ..nothing_beside() });
    let client = crate::client::Client::new(dir.path()).unwrap();
    let answering = async {
        for is_stale in [false, true] {
            let Some(Input::Hook { hook, answer }) = inputs.recv().await else { panic!("a hook") };
            assert_eq!((hook.session.as_deref(), &*hook.pids, &hook.report), (Some("s1"), &[7][..], &None));
            let heard = Answer::Hook { busy: Vec::new(), owed: Vec::new(), holds: false };
            answer.send(if is_stale { Answer::Stale } else { heard }).unwrap();
        }
        let Some(Input::Permission { answer, .. }) = inputs.recv().await else { panic!("a question") };
        answer.send(Answer::Permission { decision: None, reason: None }).unwrap();
    };
    let asking = async {
        let ask = |tool: &str| json!({"tool_name": tool, "providerSessionId": "s1", "pids": [7]});
        let allowed = client.post("/hook/PermissionRequest", &ask("Bash")).await.unwrap();
        assert_eq!(allowed["decision"], "approve");
        assert!(allowed["output"].as_str().unwrap().contains(r#"{"behavior":"allow"}"#), "{allowed}");
        let stale = client.post("/hook/PermissionRequest", &ask("Bash")).await.unwrap_err();
        assert!(stale.to_string().contains("living provider session"), "{stale}");
        let asked = client.post("/hook/PermissionRequest", &ask("AskUserQuestion")).await.unwrap();
        assert_eq!(asked["output"], Value::Null);
    };
    tokio::join!(answering, asking);
    control.end().await;
}
