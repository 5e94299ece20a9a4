//! A failure as a file: what was run, what is left of it, how it fails, and how to see that again.

use serde::{Deserialize, Serialize};

use crate::plan::Plan;
use crate::story::story;
use crate::watch::Broken;
use crate::world::Ran;

/// A failure that was saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Saved {
    /// Of the program that found it.
    pub version: String,
    #[serde(default)]
    pub commit: Option<String>,
    pub seed: u64,
    /// How the shrunk plan fails.
    pub broken: Broken,
    /// What the invariant demands.
    pub demands: String,
    /// What to type to see it again.
    pub command: String,
    /// The end of its log.
    pub last: Vec<String>,
    pub shrunk: Plan,
    /// As the seed drew it; or its beginning, with the kill that broke it.
    pub plan: Plan,
}

/// What a file holds that can be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum File {
    Plan(Box<Plan>),
    Saved(Box<Saved>),
}

impl File {
    /// What JSON says: a plan, or a saved failure.
    pub fn parse(text: &str) -> Result<Self, String> {
        let value: serde_json::Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        // From the text again, so that errors have their line.
        let file = if value.get("shrunk").is_some() {
            Self::Saved(serde_json::from_str(text).map_err(|error| format!("as a saved failure: {error}"))?)
        } else {
            Self::Plan(serde_json::from_str(text).map_err(|error| format!("as a plan: {error}"))?)
        };
        let setup = &file.plan().setup;
        if setup.is_sensible() { Ok(file) } else { Err("`setup` is one that no user could have".to_owned()) }
    }

    /// What is to be run.
    pub fn plan(&self) -> &Plan {
        match self {
            Self::Plan(plan) => plan,
            Self::Saved(saved) => &saved.shrunk,
        }
    }
}

impl Saved {
    /// As JSON, for a file.
    pub fn to_text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// What is different in another run of it; nothing: it repeats exactly.
    pub fn differs(&self, ran: &Ran) -> Vec<String> {
        let Some(now) = &ran.broken else {
            return vec![format!("it does not fail any more; saved was invariant {}", self.broken.invariant)];
        };
        let mut differences = Vec::new();
        let mut compare = |what: &str, saved: &str, now: &str| {
            if saved != now {
                differences.push(format!("{what}: {saved} was saved, now it is {now}"));
            }
        };
        let Broken { invariant, words, at, step, who } = &self.broken;
        compare("invariant", &invariant.to_string(), &now.invariant.to_string());
        compare("step", &step.to_string(), &now.step.to_string());
        compare("runner", &who.to_string(), &now.who.to_string());
        compare("time", &at.to_string(), &now.at.to_string());
        compare("words", &format!("`{words}`"), &format!("`{}`", now.words));
        differences
    }
}

/// A test in Rust that runs a plan, and fails as long as the plan does.
pub fn to_test(plan: &Plan) -> String {
    let seed = plan.seed;
    let story = story(plan).join("\n/// - ");
    let plan = plan.to_text();
    let plan = plan.trim_end();
    format!(
        "//! Found by the simulator, with seed {seed}.\n\
         \n\
         use relay_runner_sim::{{Plan, Wanted}};\n\
         \n\
         /// - {story}\n\
         #[test]\n\
         fn found_by_seed_{seed}() {{\n\
         {I}let plan: Plan = serde_json::from_str(PLAN).unwrap();\n\
         {I}assert_eq!(relay_runner_sim::run(&plan, Wanted::default()).broken, None);\n\
         }}\n\
         \n\
         const PLAN: &str = r#\"{plan}\"#;\n",
        I = "    "
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm;
    use crate::world::{Wanted, run};

    fn saved(broken: Broken) -> Saved {
        let plan = swarm::plan(4);
        Saved {
            version: "0".to_owned(),
            commit: None,
            seed: 4,
            broken,
            demands: String::new(),
            command: String::new(),
            last: vec!["a line".to_owned()],
            shrunk: Plan { steps: Vec::new(), ..plan.clone() },
            plan,
        }
    }

    #[test]
    fn both_kinds_of_files_are_read_again() {
        let plan = swarm::plan(4);
        assert_eq!(File::parse(&plan.to_text()), Ok(File::Plan(Box::new(plan))));
        let saved = saved(Broken { invariant: 3, words: "w".to_owned(), at: 1, step: 2, who: 0 });
        let file = File::parse(&saved.to_text()).unwrap();
        assert!(file.plan().steps.is_empty());
        assert_eq!(file, File::Saved(Box::new(saved)));
        for (text, said) in
            [("{", "EOF"), ("{}", "as a plan: missing field"), (r#"{"shrunk": 1}"#, "as a saved failure")]
        {
            let error = File::parse(text).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn what_differs_is_named() {
        let broken = Broken { invariant: 3, words: "m1".to_owned(), at: 1, step: 2, who: 0 };
        let saved = saved(broken.clone());
        let mut ran = run(&Plan { calm: 1, ..saved.shrunk.clone() }, Wanted::default());
        ran.broken = Some(broken.clone());
        assert!(saved.differs(&ran).is_empty());
        ran.broken = Some(Broken { words: "m2".to_owned(), step: 3, ..broken });
        assert_eq!(saved.differs(&ran), ["step: 2 was saved, now it is 3", "words: `m1` was saved, now it is `m2`"]);
        ran.broken = None;
        assert_eq!(saved.differs(&ran).len(), 1);
    }

    #[test]
    fn a_test_holds_the_story_and_the_plan() {
        let plan = swarm::plan(4);
        let test = to_test(&plan);
        assert!(test.contains("/// - from ") && test.contains("fn found_by_seed_4() {\n    let plan"), "{test}");
        let (_, rest) = test.split_once("r#\"").unwrap();
        let (json, _) = rest.split_once("\"#").unwrap();
        assert_eq!(serde_json::from_str::<Plan>(json).unwrap(), plan);
    }
}
