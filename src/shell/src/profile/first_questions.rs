//! What Claude Code asks first in a home that it does not know. In a home of a profile's it has been asked nothing yet: what the
//! user has decided in the own home is taken over, and nothing is decided for anybody.
//!
//! The file is Claude Code's own, and changes while it runs: only what is missing is added.

use crate::info::write_whole;
use serde_json::{Map, Value, json};
use std::io;
use std::path::{Path, PathBuf};

/// In the home, where a variable names one; else beside it.
const FILE: &str = ".claude.json";
const TRUSTED: &str = "hasTrustDialogAccepted";
const KEYS: &str = "customApiKeyResponses";

/// The user's own file, by the variables of a process.
pub(crate) fn own(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    variable("CLAUDE_CONFIG_DIR").or_else(|| variable("HOME")).map(|folder| folder.join(FILE))
}

/// Answers them in a home, for a provider that works in `cwd`. True when something was written.
///
/// # Errors
/// When the file in the home cannot be read or written, or is none that could be understood.
pub(crate) fn answer(home: &Path, own: Option<&Path>, cwd: &Path) -> io::Result<bool> {
    let path = home.join(FILE);
    let there = match std::fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Map::new(),
        Err(error) => return Err(error),
    };
    // Whoever has no such file, or none that can be read, has decided nothing.
    let own = own.and_then(|path| std::fs::read_to_string(path).ok());
    let own: Map<String, Value> = own.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let mut folders: Vec<&Path> = cwd.ancestors().collect();
    let real = std::fs::canonicalize(cwd).unwrap_or_default();
    folders.extend(real.ancestors());
    let answered = answered(there.clone(), &own, &folders);
    if answered == there {
        return Ok(false);
    }
    write_whole(&path, &Value::Object(answered).to_string())?;
    Ok(true)
}

/// What is there, with what is missing: the onboarding, which approves nothing, and of the user's own decisions the trust
/// in these folders and the API keys.
fn answered(mut answers: Map<String, Value>, own: &Map<String, Value>, folders: &[&Path]) -> Map<String, Value> {
    answers.entry("hasCompletedOnboarding").or_insert(json!(true));
    let theme = own.get("theme").filter(|theme| theme.is_string()).cloned();
    answers.entry("theme").or_insert(theme.unwrap_or_else(|| json!("dark")));
    for folder in folders {
        let folder = folder.to_string_lossy();
        if own.get("projects").is_some_and(|projects| projects[&*folder][TRUSTED] == true)
            && let Some(projects) = object(&mut answers, "projects")
            && let Some(project) = object(projects, &folder)
        {
            project.entry(TRUSTED).or_insert(json!(true));
        }
    }
    let approved = own.get(KEYS).and_then(|keys| keys["approved"].as_array());
    for key in approved.into_iter().flatten().filter(|key| key.is_string()) {
        let Some(keys) = object(&mut answers, KEYS) else { break };
        let knows = |list: &str| keys.get(list).and_then(Value::as_array).is_some_and(|list| list.contains(key));
        if !knows("approved")
            && !knows("rejected")
            && let Some(approved) = keys.entry("approved").or_insert_with(|| json!([])).as_array_mut()
        {
            approved.push(key.clone());
        }
    }
    answers
}

/// An object within another, made where nothing is; none where something else is.
fn object<'a>(within: &'a mut Map<String, Value>, key: &str) -> Option<&'a mut Map<String, Value>> {
    within.entry(key).or_insert_with(|| json!({})).as_object_mut()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        serde_json::from_value(value).unwrap()
    }

    fn seeded(there: Value, own: Value) -> Value {
        Value::Object(answered(map(there), &map(own), &[Path::new("/a/b"), Path::new("/a")]))
    }

    #[test]
    fn nothing_is_decided_that_the_user_has_not_decided() {
        let onboarded = json!({"hasCompletedOnboarding": true, "theme": "dark"});
        assert_eq!(seeded(json!({}), json!({})), onboarded);
        let own = json!({"theme": 7, "projects": {"/a/b": {"hasTrustDialogAccepted": false}, "/c": {TRUSTED: true}},
            "customApiKeyResponses": {"approved": "x", "rejected": ["k"]}});
        assert_eq!(seeded(json!({}), own), onboarded);
        assert_eq!(seeded(json!({}), json!({"projects": [], KEYS: []})), onboarded);
    }

    #[test]
    fn what_the_user_has_decided_is_taken_over_and_what_is_there_stays() {
        let own = json!({"theme": "light", "projects": {"/a": {TRUSTED: true, "history": ["x"]}, "/a/b": {TRUSTED: true}},
            KEYS: {"approved": ["k1", "k2", "k3"]}, "oauthAccount": {"x": 1}});
        let there = json!({"theme": "dark", "projects": {"/a/b": {TRUSTED: false, "n": 1}},
            KEYS: {"approved": ["k1"], "rejected": ["k2"]}, "more": 1});
        let is = seeded(there, own.clone());
        assert_eq!(
            is,
            json!({"hasCompletedOnboarding": true, "theme": "dark", "more": 1,
                "projects": {"/a/b": {TRUSTED: false, "n": 1}, "/a": {TRUSTED: true}},
                KEYS: {"approved": ["k1", "k3"], "rejected": ["k2"]}})
        );
        assert_eq!(seeded(is.clone(), own), is);
    }

    #[test]
    fn a_file_is_written_once_and_one_that_is_not_understood_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (home, own) = (dir.path().join("home"), dir.path().join("own"));
        std::fs::create_dir(&home).unwrap();
        let cwd = std::fs::canonicalize(dir.path()).unwrap();
        std::fs::write(&own, json!({"projects": {cwd.to_str().unwrap(): {TRUSTED: true}}}).to_string()).unwrap();
        let answer = || answer(&home, Some(&own), &cwd.join("work"));
        assert!(answer().unwrap() && !answer().unwrap());
        let text = std::fs::read_to_string(home.join(FILE)).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["projects"][cwd.to_str().unwrap()][TRUSTED], true);
        std::fs::write(home.join(FILE), "[").unwrap();
        assert!(answer().is_err());
        assert_eq!(std::fs::read_to_string(home.join(FILE)).unwrap(), "[");
    }

    #[test]
    fn the_own_file_lies_in_the_home_that_a_variable_names() {
        let of = |set: &[&'static str]| own(|name| set.contains(&name).then(|| PathBuf::from("/").join(name)));
        assert_eq!(of(&["HOME"]), Some("/HOME/.claude.json".into()));
        assert_eq!(of(&["HOME", "CLAUDE_CONFIG_DIR"]), Some("/CLAUDE_CONFIG_DIR/.claude.json".into()));
        assert_eq!(of(&[]), None);
    }
}
