//! Claude Code: so far only that the stand-in is a model to it.

use crate::Test;
use crate::installed::Installed;
use crate::model::Model;
use std::fs;
use std::process::{Command, Stdio};

pub(crate) fn tests() -> Vec<(&'static str, Test)> {
    vec![("print::a_command_runs_and_the_model_is_told", a_command_runs_and_the_model_is_told as Test)]
}

fn a_command_runs_and_the_model_is_told(claude: &Installed) {
    let model = Model::start();
    let home = tempfile::Builder::new().prefix("rr-").tempdir().unwrap();
    let (work, temporary) = (home.path().join("work"), home.path().join("tmp"));
    for folder in [&work, &temporary] {
        fs::create_dir(folder).unwrap();
    }
    let mut command = Command::new(&claude.program);
    command.args(["-p", "--allowedTools", "Bash", "--", "RUN echo $((6 * 7))\nSAY it is done"]).env_clear();
    command
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home.path())
        .env("TMPDIR", &temporary);
    command.env("ANTHROPIC_BASE_URL", model.url()).env("ANTHROPIC_API_KEY", "a-key");
    command.env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1").env("DISABLE_AUTOUPDATER", "1");
    let said = command.current_dir(&work).stdin(Stdio::null()).output().unwrap();
    assert!(said.status.success(), "{said:?}");
    assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), "it is done");
    let told = model.asked().into_iter().find(|asked| asked.body.to_string().contains("tool_result")).unwrap();
    assert!(told.path == "/v1/messages" && told.prompt().contains("RUN echo"), "{:#?}", told.prompts);
    let result = told.body["messages"].as_array().unwrap().last().unwrap().to_string();
    assert!(result.contains("42"), "{result}");
}
