//! Who the agent is, and what its registration says about it (behaviour 1, 2).

use super::config_keys::{
    AGENT_ID, APPROVAL, AUTOMATION, AUTOMATION_RUN, CAPS, CLAUDE_CAPS, CLAUDE_TAGS, CODEX_CAPS, CODEX_TAGS,
    COMMAND_CAPS, COMMAND_TAGS, EFFORT, LABEL, MACHINE, MODEL, POLICY, SPAWN_REQUEST, TAGS, WORKSPACE_MODE,
};
use super::failure::Failure;
use super::given::{Given, Key, Source, word, wrong};
use super::run_args::{TMUX_SESSION, TMUX_SOCKET};
use relay_runner_core::Text;
use relay_runner_core::config::{Approval, Identity, Mode, Package};
use std::path::Path;

/// What an agent id may take.
const ID_MOST: usize = 200;

/// Who the agent is, which decides whose table of the configuration counts. `provider` is its name.
pub(crate) fn agent_id(provider: &str, given: &Given<'_>) -> Result<String, Failure> {
    match given.text(AGENT_ID)? {
        Some((id, source)) => match id_fault(&id) {
            None => Ok(id),
            Some(why) => Err(wrong(&source, &why)),
        },
        None => Ok(format!("{provider}-{}", machine(given)?)),
    }
}

fn machine(given: &Given<'_>) -> Result<String, Failure> {
    Ok(match given.text(MACHINE)? {
        Some((machine, _)) => machine,
        None => rustix::system::uname().nodename().to_string_lossy().into_owned(),
    })
}

/// Without the profile.
pub(crate) fn identity(
    provider: &str,
    agent_id: &str,
    mode: Mode,
    given: &Given<'_>,
    cwd: &Path,
) -> Result<Identity, Failure> {
    let text = |key| Ok::<_, Failure>(given.text(key)?.map(|(text, _)| text.as_str().into()));
    let named = |key| match given.text(key)? {
        Some((name, source)) if name.trim().is_empty() => Err(wrong(&source, "it is empty; leave it out, or name one")),
        name => Ok::<_, Failure>(name.map(|(name, _)| name.as_str().into())),
    };
    let headless = (mode == Mode::Headless).then(|| "headless".to_owned());
    let of_provider = match provider {
        "command" => Some((COMMAND_TAGS, COMMAND_CAPS)),
        "codex" => Some((CODEX_TAGS, CODEX_CAPS)),
        "claude" => Some((CLAUDE_TAGS, CLAUDE_CAPS)),
        _ => None,
    };
    let own = |key: Option<Key>| key.map_or_else(|| Ok(Vec::new()), |key| given.items(key));
    let tags = items(given, TAGS, own(of_provider.map(|(tags, _)| tags))?, End::First)?;
    let tags = [provider.to_owned()].into_iter().chain(tags).chain(headless);
    let mut caps = items(given, CAPS, own(of_provider.map(|(_, caps)| caps))?, End::Last)?;
    // The environment's list, or the configuration's, takes the place of the one that is built in; flags add to it.
    if given.items(CAPS)?.iter().all(|(_, source)| matches!(source, Source::Flag(_))) {
        caps.push("chat".to_owned());
    }
    let (tmux_session, tmux_socket) = terminal(given)?;
    Ok(Identity {
        runner_id: agent_id.into(),
        agent_id: agent_id.into(),
        provider: provider.into(),
        machine: machine(given)?.into(),
        package: Package { name: env!("CARGO_PKG_NAME").into(), version: env!("CARGO_PKG_VERSION").into() },
        label: text(LABEL)?,
        tags: once(tags),
        capabilities: once(caps.into_iter()),
        model: named(MODEL)?,
        effort: named(EFFORT)?,
        approval: given.parsed(APPROVAL, word(&APPROVALS))?.unwrap_or_default(),
        cwd: cwd.to_string_lossy().into(),
        tmux_session,
        tmux_socket,
        workspace_mode: text(WORKSPACE_MODE)?,
        policy_name: text(POLICY)?,
        spawn_request_id: text(SPAWN_REQUEST)?,
        automation_id: text(AUTOMATION)?,
        automation_run_id: text(AUTOMATION_RUN)?,
        started_at: super::ago::now(),
        ..Identity::default()
    })
}

type Lists = Vec<(Vec<String>, Source)>;

/// What all places say together, and the provider's own, in the order in which it is registered (behaviour 2).
fn items(given: &Given<'_>, key: Key, own: Lists, environment: End) -> Result<Vec<String>, Failure> {
    let (variable, others): (Lists, Lists) =
        given.items(key)?.into_iter().partition(|(_, source)| matches!(source, Source::Variable(_)));
    let all = match environment {
        End::First => [variable, others, own],
        End::Last => [others, own, variable],
    };
    Ok(all.into_iter().flatten().flat_map(|(items, _)| items).collect())
}

#[derive(Debug, Clone, Copy)]
enum End {
    First,
    Last,
}

/// The terminal session that whoever starts the runner has made for the provider, and the socket of its server.
fn terminal(given: &Given<'_>) -> Result<(Option<Text>, Option<Text>), Failure> {
    let session = given.text(TMUX_SESSION)?;
    let socket = given.text(TMUX_SOCKET)?;
    if let Some((name, source)) = &session
        && (name.is_empty() || name.contains(|c: char| c.is_control() || ".:".contains(c)))
    {
        return Err(wrong(source, &format!("`{name}` is no name of a tmux session")));
    }
    if let (None, Some((_, source))) = (&session, &socket) {
        return Err(wrong(source, "name the session as well, with --tmux-session or AGENT_RELAY_TMUX_SESSION"));
    }
    // Whoever attaches need not be where we are.
    let socket = socket.map(|(path, _)| std::path::absolute(&path).map_or(path, |path| path.to_string_lossy().into()));
    Ok((session.map(|(name, _)| name.into()), socket.map(Into::into)))
}

const APPROVALS: [(&str, Approval); 3] =
    [("open", Approval::Open), ("guarded", Approval::Guarded), ("read-only", Approval::ReadOnly)];

/// Without repeats, in order.
fn once(texts: impl Iterator<Item = String>) -> Vec<Text> {
    let mut all: Vec<Text> = Vec::new();
    for text in texts {
        if !all.iter().any(|known| **known == *text) {
            all.push(text.into());
        }
    }
    all
}

/// Why this is no agent id.
pub(crate) fn id_fault(id: &str) -> Option<String> {
    let odd = id.chars().any(|c| c.is_control() || c.is_whitespace());
    let taken = id == "broadcast" || ["label:", "tag:", "cap:", "policy:"].iter().any(|prefix| id.starts_with(prefix));
    if odd || id.is_empty() || id.chars().count() > ID_MOST {
        return Some(format!("an agent id has 1 to {ID_MOST} characters, and no white space"));
    }
    taken.then(|| format!("`{id}` names several agents as a target, and cannot be an agent's id"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_id_names_one_agent() {
        let refused = |id: &str| id_fault(id).is_some();
        for wrong in ["", "a b", "a\n", "broadcast", "tag:x", &"x".repeat(201)] {
            assert!(refused(wrong), "{wrong}");
        }
        for right in ["a1", "../x", "日本", "con:x", &"x".repeat(200)] {
            assert!(!refused(right), "{right}");
        }
    }
}
