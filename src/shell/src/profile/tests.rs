use super::home::{self, Host};
use super::{McpMode, Profile, ProfileError, Provider, SCHEMA, State, projection, resolve};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

fn whole() -> Value {
    json!({
        "$schema": "profile.schema.json", "name": "reviewer", "base": "careful", "provider": "codex", "label": "r",
        "tags": ["review"], "capabilities": ["review"], "channels": ["general"], "approval": "guarded",
        "relay": {"context": true, "skills": true, "mcp": false, "monitor": false, "statusLine": false},
        "instructions": {
            "repoInstructions": false, "globalInstructions": false, "append": ["Be brief."], "system": "You review.",
        },
        "skills": [{"name": "diff", "enabled": true, "source": "/s"}], "plugins": [{"name": "p", "enabled": false}],
        "mcp": {"mode": "profile", "servers": {"a": {"command": "a", "args": ["-v"], "env": {"K": "secret"}}}},
        "hooks": {"mode": "none"}, "permissions": {"allow": ["Read"], "ask": [], "deny": ["Bash"]},
    })
}

/// The document with one place in it changed.
fn with(path: &str, value: Value) -> Value {
    let mut document = whole();
    let (parent, key) = path.rsplit_once('/').unwrap();
    document.pointer_mut(parent).unwrap()[key] = value;
    document
}

#[test]
fn what_is_not_known_or_has_another_type_is_refused_with_its_place_by_reader_and_schema_alike() {
    let mut schemas = boon::Schemas::new();
    let mut compiler = boon::Compiler::new();
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    compiler.add_resource("profile.json", schema).unwrap();
    let schema = compiler.compile("profile.json", &mut schemas).unwrap();

    assert!(Profile::read(&whole()).is_ok(), "{:?}", Profile::read(&whole()));
    assert!(schemas.validate(&whole(), schema).is_ok());
    assert!(Profile::read(&json!({"name": "x"})).is_ok() && schemas.validate(&json!({"name": "x"}), schema).is_ok());
    for (path, value, place) in [
        ("/nmae", json!("x"), "nmae"),
        ("/name", json!("../x"), "name"),
        ("/name", json!(""), "name"),
        ("/provider", json!("gemini"), "provider"),
        ("/tags", json!("review"), "tags"),
        ("/tags", json!([7]), "tags[0]"),
        ("/approval", json!("yes"), "approval"),
        ("/approval", json!(null), "approval"),
        ("/instructions/append", json!(["x", null]), "instructions.append[1]"),
        ("/relay/context", json!("on"), "relay.context"),
        ("/relay/statusline", json!(true), "relay.statusline"),
        ("/instructions/append", json!("Be brief."), "instructions.append"),
        ("/instructions/system", json!(1), "instructions.system"),
        ("/skills", json!([{"enabled": true}]), "skills[0]"),
        ("/skills", json!([{"name": "a/b"}]), "skills[0].name"),
        ("/skills", json!([{"name": "a", "from": "b"}]), "skills[0].from"),
        ("/mcp/mode", json!("all"), "mcp.mode"),
        ("/mcp/servers", json!({"a": {}}), "mcp.servers.a"),
        ("/mcp/servers", json!({"a": {"command": "a", "url": "b"}}), "mcp.servers.a"),
        ("/mcp/servers", json!({"a": {"command": ["a"]}}), "mcp.servers.a.command"),
        ("/hooks/mode", json!(true), "hooks.mode"),
        ("/permissions/allow", json!({}), "permissions.allow"),
    ] {
        let document = with(path, value);
        let error = Profile::read(&document).unwrap_err();
        assert!(matches!(&error, ProfileError::Document { path, .. } if path == place), "{path}: {error}");
        assert!(schemas.validate(&document, schema).is_err(), "{path}: the schema lets it through");
    }
    for no_document in [json!([]), json!("x"), json!(null)] {
        assert!(Profile::read(&no_document).unwrap_err().to_string().starts_with("the document: "));
        assert!(schemas.validate(&no_document, schema).is_err());
    }
    let twice = with("/skills", json!([{"name": "a"}, {"name": "a"}]));
    assert!(Profile::read(&twice).unwrap_err().to_string().starts_with("skills[1].name: "));
}

#[test]
fn a_profile_says_what_differs_from_its_base() {
    let of = |name: &str| match name {
        "careful" => Ok(json!({
            "name": "careful", "base": "common", "approval": "guarded", "instructions": {"append": ["Ask first."]},
            "skills": [{"name": "diff", "enabled": false}], "mcp": {"servers": {"a": {"url": "http://a"}}},
        })),
        "common" => Ok(json!({
            "name": "common", "label": "c", "approval": "open", "relay": {"monitor": false},
            "instructions": {"append": ["Be kind."], "globalInstructions": false}, "skills": [{"name": "diff"}],
        })),
        _ => Err("there is none".to_owned()),
    };
    let document = json!({
        "name": "mine", "base": "careful", "instructions": {"append": ["Be brief."]}, "tags": ["x"],
        "mcp": {"mode": "profile", "servers": {"a": {"command": "a"}}},
    });
    let chain = resolve(&document, of).unwrap();
    assert_eq!(chain.names, ["mine", "careful", "common"]);
    let profile = chain.profile;
    assert_eq!((profile.name.as_str(), profile.base.as_deref()), ("mine", Some("careful")));
    assert_eq!(profile.instructions.append, ["Be kind.", "Ask first.", "Be brief."]);
    assert!(!profile.instructions.global_instructions && !profile.relay.monitor && profile.relay.context);
    assert_eq!(profile.label.as_deref(), Some("c"));
    assert_eq!(profile.approval.unwrap().as_str(), "guarded");
    assert_eq!((profile.skills.len(), profile.skills[0].enabled), (1, false));
    assert_eq!((profile.mcp.mode, profile.mcp.servers["a"].url.as_deref()), (McpMode::Profile, None));

    let cycle = |name: &str| Ok(json!({"name": name, "base": if name == "a" { "b" } else { "a" }}));
    let error = resolve(&json!({"name": "a", "base": "b"}), cycle).unwrap_err();
    assert_eq!(error, ProfileError::Cycle { chain: "a -> b -> a".to_owned() });
    let itself = resolve(&json!({"name": "a", "base": "a"}), cycle).unwrap_err();
    assert_eq!(itself, ProfileError::Cycle { chain: "a -> a".to_owned() });
    let longer = |name: &str| Ok(json!({"name": name, "base": format!("{name}x")}));
    assert!(resolve(&json!({"name": "a", "base": "ax"}), longer).unwrap_err().to_string().contains("more than 16"));
    let gone = resolve(&json!({"name": "a", "base": "none"}), of).unwrap_err();
    assert_eq!(gone.to_string(), "base: `none`: there is none");
    let broken = |_: &str| Ok(json!({"name": "b", "tags": 1}));
    let error = resolve(&json!({"name": "a", "base": "b"}), broken).unwrap_err().to_string();
    assert!(error.starts_with("base: `b` is not in order: tags: "), "{error}");
}

const PROVIDERS: [Provider; 4] = [Provider::Claude, Provider::Codex, Provider::Acp, Provider::Command];

#[test]
fn every_feature_is_applied_or_says_why_not() {
    for home in [true, false] {
        for provider in PROVIDERS {
            let mut profile = Profile::read(&whole()).unwrap();
            profile.instructions.global_instructions = !home;
            let projection = projection(&profile, provider);
            assert_eq!(projection.len(), 14);
            for one in projection {
                let why = (one.how.is_some(), one.reason.is_some());
                let expected = match one.state {
                    State::Applied => (true, false),
                    State::Partial => (true, true),
                    State::Unsupported => (false, true),
                };
                assert_eq!(why, expected, "{} for {}: {one:?}", one.feature, provider.name());
            }
        }
    }
}

#[test]
fn a_projection_tells_providers_apart() {
    let profile = Profile::read(&whole()).unwrap();
    let of = |provider, feature: &str| {
        let all = projection(&profile, provider);
        all.into_iter().find(|one| one.feature == feature).map(|one| (one.state, one.how.unwrap_or_default())).unwrap()
    };
    assert_eq!(of(Provider::Claude, "relay.context"), (State::Applied, "--append-system-prompt".to_owned()));
    assert_eq!(of(Provider::Codex, "instructions.append"), (State::Applied, "AGENTS.md of CODEX_HOME".to_owned()));
    assert_eq!(of(Provider::Claude, "instructions.repoInstructions").0, State::Unsupported);
    assert_eq!(of(Provider::Codex, "permissions").0, State::Unsupported);
    assert_eq!(of(Provider::Acp, "mcp").0, State::Partial);
    let home = (State::Partial, "AGENT_RELAY_PROFILE_HOME".to_owned());
    assert_eq!(of(Provider::Command, "instructions.globalInstructions"), home);
    let with_host = Profile { instructions: super::Instructions::default(), ..profile.clone() };
    let hooks = projection(&with_host, Provider::Claude).into_iter().find(|one| one.feature == "hooks").unwrap();
    assert!(hooks.state == State::Unsupported && hooks.reason.unwrap().contains("globalInstructions"));
}

#[test]
fn the_relay_is_shown_counts_and_modes_and_no_secret() {
    let shown = Profile::read(&whole()).unwrap().applied(Provider::Codex);
    assert_eq!(
        (&shown["name"], &shown["base"], &shown["provider"]),
        (&json!("reviewer"), &json!("careful"), &json!("codex"))
    );
    assert_eq!(shown["relay"]["statusLine"], false);
    let instructions =
        json!({"repoInstructions": false, "globalInstructions": false, "appendCount": 1, "hasSystem": true});
    assert_eq!(shown["instructions"], instructions);
    assert_eq!((&shown["skillCount"], &shown["pluginCount"]), (&json!(1), &json!(0)));
    assert_eq!((&shown["mcp"], &shown["hooks"]), (&json!({"mode": "profile"}), &json!({"mode": "none"})));
    assert_eq!(shown["permissions"]["deny"], json!(["Bash"]));
    assert_eq!(shown["projection"].as_array().unwrap().len(), 14);
    let text = shown.to_string();
    assert!(!text.contains("secret") && !text.contains("Be brief") && !text.contains("You review"), "{text}");
}

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for dir in ["user/.codex/skills/own", "user/.claude", "skill"] {
            fs::create_dir_all(folder.path().join(dir)).unwrap();
        }
        fs::write(folder.path().join("user/.codex/auth.json"), "the credential").unwrap();
        fs::write(folder.path().join("user/.claude/.credentials.json"), "the credential").unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn host(&self) -> Host {
        let user = self.path("user");
        Host::of(move |name| (name == "HOME").then(|| user.clone()))
    }

    fn profile(&self) -> Profile {
        let mut profile = Profile::read(&whole()).unwrap();
        profile.skills[0].source = Some(self.path("skill").to_str().unwrap().to_owned());
        profile
    }

    fn make(&self, profile: &Profile, provider: Provider) -> Result<bool, String> {
        home::make(&self.path("home"), profile, provider, &self.host()).map_err(|error| error.to_string())
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path("home").join(name)).unwrap()
    }
}

/// Everything under it, by name: the mode of folders and files, the end of links.
fn all(dir: &Path, prefix: &str, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), format!("{prefix}{}", entry.file_name().to_string_lossy()));
        let is = fs::symlink_metadata(&path).unwrap();
        if is.is_symlink() {
            found.insert(name, format!("-> {}", fs::read_link(&path).unwrap().display()));
        } else {
            found.insert(name.clone(), format!("{:o}", is.mode() & 0o777));
            if is.is_dir() {
                all(&path, &format!("{name}/"), found);
            }
        }
    }
}

#[test]
fn a_home_of_codex_has_the_profiles_things_and_links_to_the_credential() {
    let place = Place::new();
    assert_eq!(place.make(&place.profile(), Provider::Codex), Ok(true));
    let mut found = BTreeMap::new();
    all(&place.path("home"), "", &mut found);
    // What it has to work with the runner.
    let files = crate::plugin::files(Provider::Codex, Path::new("/"));
    for file in &files {
        assert_eq!(found.remove(file.path).as_deref(), Some("600"), "{}", file.path);
    }
    found.retain(|name, _| !name.starts_with("skills/relay-"));
    let link = |name: &str| format!("-> {}", place.path(name).display());
    let expected = [
        (".relay-runner-plugin.json", "600".to_owned()),
        ("rules", "700".to_owned()),
        (".relay-runner.json", "600".to_owned()),
        ("AGENTS.md", "600".to_owned()),
        ("auth.json", link("user/.codex/auth.json")),
        ("config.toml", "600".to_owned()),
        ("skills", "700".to_owned()),
        ("skills/diff", link("skill")),
    ];
    assert_eq!(found, expected.into_iter().map(|(name, is)| (name.to_owned(), is)).collect());
    assert_eq!(fs::metadata(place.path("home")).unwrap().mode() & 0o777, 0o700);
    assert_eq!(place.text("AGENTS.md"), "Be brief.\n");
    let config = "project_doc_max_bytes = 0\n\n[mcp_servers.\"a\"]\ncommand = \"a\"\nargs = [\"-v\"]\nenv = { \"K\" = \"secret\" }\n";
    assert_eq!(place.text("config.toml"), config);
}

#[test]
fn a_home_of_claude_and_one_of_a_command_have_their_own_files() {
    let place = Place::new();
    assert_eq!(place.make(&place.profile(), Provider::Claude), Ok(true));
    let settings: Value = serde_json::from_str(&place.text("settings.json")).unwrap();
    assert_eq!(settings, json!({"permissions": {"allow": ["Read"], "deny": ["Bash"]}}));
    let servers: Value = serde_json::from_str(&place.text("mcp.json")).unwrap();
    assert_eq!(servers, json!({"mcpServers": {"a": {"command": "a", "args": ["-v"], "env": {"K": "secret"}}}}));
    assert_eq!(place.text("CLAUDE.md"), "Be brief.\n");
    assert_eq!(place.text(".credentials.json"), "the credential");
    assert!(fs::symlink_metadata(place.path("home/.credentials.json")).unwrap().is_symlink());

    let place = Place::new();
    assert_eq!(place.make(&place.profile(), Provider::Command), Ok(true));
    assert_eq!(place.text("INSTRUCTIONS.md"), "You review.\n\nBe brief.\n");
    let profile: Value = serde_json::from_str(&place.text("profile.json")).unwrap();
    assert_eq!(Profile::read(&profile).unwrap().name, "reviewer");
    assert!(!place.path("home/auth.json").exists() && !place.path("home/.credentials.json").exists());
}

#[test]
fn a_home_is_made_anew_when_the_profile_changes_and_what_the_provider_wrote_stays() {
    let place = Place::new();
    let profile = place.profile();
    assert_eq!(place.make(&profile, Provider::Codex), Ok(true));
    assert_eq!(place.make(&profile, Provider::Codex), Ok(false), "nothing has changed");
    fs::create_dir(place.path("home/sessions")).unwrap();
    fs::write(place.path("home/sessions/1"), "the provider's own").unwrap();

    // Something in it was changed, or taken away.
    fs::write(place.path("home/AGENTS.md"), "Be long.").unwrap();
    assert_eq!(place.make(&profile, Provider::Codex), Ok(true));
    assert_eq!(place.text("AGENTS.md"), "Be brief.\n");
    // The provider put a file in the place of the link: it is a link again, and the user's file is what it was.
    fs::remove_file(place.path("home/auth.json")).unwrap();
    fs::write(place.path("home/auth.json"), "a copy").unwrap();
    assert_eq!(place.make(&profile, Provider::Codex), Ok(true));
    assert_eq!(place.text("auth.json"), "the credential");

    let mut other = profile.clone();
    other.instructions.append.clear();
    other.skills.clear();
    assert_eq!(place.make(&other, Provider::Codex), Ok(true));
    assert!(!place.path("home/AGENTS.md").exists() && !place.path("home/skills/diff").exists());
    assert!(place.path("skill").is_dir(), "a link goes, and not what it leads to");
    assert_eq!(place.text("sessions/1"), "the provider's own");

    // The user's own skill of that name, and one that is not there.
    other.skills = vec![super::Part { name: "own".to_owned(), enabled: true, source: None }];
    assert_eq!(place.make(&other, Provider::Codex), Ok(true));
    assert_eq!(fs::read_link(place.path("home/skills/own")).unwrap(), place.path("user/.codex/skills/own"));
    other.skills[0].name = "none".to_owned();
    let error = place.make(&other, Provider::Codex).unwrap_err();
    assert!(error.starts_with("skills[0].source: there is no folder"), "{error}");
    assert!(place.path("home/skills/own").exists(), "nothing was changed");
}

#[test]
fn the_runners_skills_go_when_the_profile_leaves_them_out_and_make_way_for_its_own() {
    let place = Place::new();
    let mut profile = place.profile();
    assert_eq!(place.make(&profile, Provider::Codex), Ok(true));
    assert_eq!(home::profile_of(&place.path("home")).as_deref(), Some("reviewer"));
    let there = |name: &str| fs::symlink_metadata(place.path("home").join(name)).is_ok();
    // One of them was changed: it is a home that is made here.
    fs::write(place.path("home/skills/relay-tags/SKILL.md"), "changed").unwrap();
    assert_eq!(place.make(&profile, Provider::Codex), Ok(true));
    assert!(place.text("skills/relay-tags/SKILL.md").starts_with("---\nname: relay-tags\n"));

    // A skill of the profile's has the name of one of them.
    let source = Some(place.path("skill").to_str().unwrap().to_owned());
    profile.skills.push(super::Part { name: "relay-tags".to_owned(), enabled: true, source });
    assert_eq!(place.make(&profile, Provider::Codex), Ok(true));
    assert_eq!(fs::read_link(place.path("home/skills/relay-tags")).unwrap(), place.path("skill"));
    assert_eq!(fs::read_dir(place.path("skill")).unwrap().count(), 0, "nothing is written through the link");
    assert!(there("skills/relay-reply/SKILL.md") && !there("skills/relay-tags.replaced-1"));
    assert_eq!(place.make(&profile, Provider::Codex), Ok(false));
    profile.skills.pop();
    assert_eq!(place.make(&profile, Provider::Codex), Ok(true));
    assert!(there("skills/relay-tags/SKILL.md"));

    profile.relay.skills = false;
    assert_eq!(place.make(&profile, Provider::Codex), Ok(true));
    assert!(!there("skills/relay-tags") && !there("rules") && there("skills/diff"));
    assert_eq!(place.make(&profile, Provider::Codex), Ok(false));
}

#[test]
fn a_folder_that_holds_something_else_is_not_made_into_a_home() {
    let place = Place::new();
    let host = place.host();
    for provider in [Provider::Claude, Provider::Codex] {
        let folder = place.path(if provider == Provider::Codex { "user/.codex" } else { "user/.claude" });
        let error = home::make(&folder, &place.profile(), provider, &host).unwrap_err().to_string();
        assert!(error.contains("holds something else"), "{error}");
    }
    assert_eq!(fs::read_to_string(place.path("user/.codex/auth.json")).unwrap(), "the credential");
    assert!(!place.path("user/.codex/config.toml").exists());
}

#[test]
fn a_manifest_cannot_lead_out_of_the_home() {
    let place = Place::new();
    fs::create_dir(place.path("home")).unwrap();
    fs::set_permissions(place.path("home"), fs::Permissions::from_mode(0o755)).unwrap();
    let precious = place.path("precious");
    fs::write(&precious, "").unwrap();
    let manifest = json!({"hash": "x", "items": ["../precious", precious, ""]});
    fs::write(place.path("home/.relay-runner.json"), manifest.to_string()).unwrap();
    assert_eq!(place.make(&place.profile(), Provider::Command), Ok(true));
    assert!(precious.exists());
    assert_eq!(fs::metadata(place.path("home")).unwrap().mode() & 0o777, 0o700);
}

#[test]
fn a_fault_does_not_say_the_value_which_may_be_a_secret() {
    let document = serde_json::json!({"name": "p", "mcp": {"servers": {"s": "S3CRET\", x"}}});
    let said = Profile::read(&document).unwrap_err().to_string();
    assert!(!said.contains("S3CRET") && said.contains("mcp.servers"), "{said}");
}
