//! Who the agent is, and what its registration says about it (behaviour 1, 2).

use super::failure::Failure;
use super::given::{Environment, Key, Source, key, list, word, wrong};
use super::run_args::Args;
use relay_runner_core::Text;
use relay_runner_core::config::{Approval, Identity, Mode, Package};
use std::path::Path;

const AGENT_ID: Key = key("--agent-id", "AGENT_RELAY_ID");
const LABEL: Key = key("--label", "AGENT_RELAY_LABEL");
const APPROVAL: Key = key("--approval", "AGENT_RELAY_APPROVAL");
const MACHINE: Key = key("--machine", "AGENT_RELAY_MACHINE");
const MODEL: Key = key("--model", "AGENT_RELAY_MODEL");
const EFFORT: Key = key("--effort", "AGENT_RELAY_EFFORT");
const PROFILE: Key = key("--profile", "AGENT_RELAY_PROFILE");
const TMUX_SESSION: Key = key("--tmux-session", "AGENT_RELAY_TMUX_SESSION");
const TMUX_SOCKET: Key = key("--tmux-socket", "AGENT_RELAY_TMUX_SOCKET");
/// What an agent id may take.
const ID_MOST: usize = 200;

/// `provider` is its name.
pub(crate) fn identity(
    provider: &str,
    mode: Mode,
    args: &Args,
    env: Environment<'_>,
    cwd: &Path,
) -> Result<Identity, Failure> {
    let machine = match env.text(args.machine.as_deref(), MACHINE)? {
        Some((machine, _)) => machine,
        None => rustix::system::uname().nodename().to_string_lossy().into_owned(),
    };
    let agent_id = match env.text(args.agent_id.as_deref(), AGENT_ID)? {
        Some((id, source)) => checked_id(id, source)?,
        None => format!("{provider}-{machine}"),
    };
    let text = |flag: &Option<String>, key| {
        Ok::<_, Failure>(env.text(flag.as_deref(), key)?.map(|(text, _)| text.as_str().into()))
    };
    let headless = mode == Mode::Headless;
    let (tmux_session, tmux_socket) = terminal(args, env)?;
    let tags = list([provider.to_owned(), env.variable("AGENT_RELAY_TAGS")?.unwrap_or_default()]);
    let tags = tags.into_iter().chain(list(&args.tags)).chain(headless.then(|| "headless".to_owned()));
    let inherited = env.variable("AGENT_RELAY_CAPS")?.unwrap_or_else(|| "chat".to_owned());
    let caps = list(&args.caps).into_iter().chain(list([inherited]));
    Ok(Identity {
        runner_id: agent_id.as_str().into(),
        agent_id: agent_id.into(),
        provider: provider.into(),
        machine: machine.into(),
        package: Package { name: env!("CARGO_PKG_NAME").into(), version: env!("CARGO_PKG_VERSION").into() },
        label: text(&args.label, LABEL)?,
        tags: once(tags),
        capabilities: once(caps),
        model: text(&args.model, MODEL)?,
        effort: text(&args.effort, EFFORT)?,
        profile: text(&args.profile, PROFILE)?,
        approval: env.parsed(args.approval.as_deref(), APPROVAL, word(&APPROVALS))?.unwrap_or_default(),
        cwd: cwd.to_string_lossy().into(),
        tmux_session,
        tmux_socket,
        workspace_mode: env.variable("AGENT_RELAY_WORKSPACE_MODE")?.map(Into::into),
        started_at: super::ago::now(),
        ..Identity::default()
    })
}

/// The terminal session that whoever starts the runner has made for the provider, and the socket of its server.
fn terminal(args: &Args, env: Environment<'_>) -> Result<(Option<Text>, Option<Text>), Failure> {
    let session = env.text(args.tmux_session.as_deref(), TMUX_SESSION)?;
    let socket = env.text(args.tmux_socket.as_deref(), TMUX_SOCKET)?;
    if let Some((name, source)) = &session
        && (name.is_empty() || name.contains(|c: char| c.is_control() || ".:".contains(c)))
    {
        return Err(wrong(*source, &format!("`{name}` is no name of a tmux session")));
    }
    if let (None, Some((_, source))) = (&session, &socket) {
        return Err(wrong(*source, "name the session as well, with --tmux-session or AGENT_RELAY_TMUX_SESSION"));
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

fn checked_id(id: String, source: Source) -> Result<String, Failure> {
    let odd = id.chars().any(|c| c.is_control() || c.is_whitespace());
    let taken = id == "broadcast" || ["label:", "tag:", "cap:", "policy:"].iter().any(|prefix| id.starts_with(prefix));
    if odd || id.is_empty() || id.chars().count() > ID_MOST {
        return Err(wrong(source, &format!("an agent id has 1 to {ID_MOST} characters, and no white space")));
    }
    if taken {
        return Err(wrong(source, &format!("`{id}` names several agents as a target, and cannot be an agent's id")));
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_id_names_one_agent() {
        let refused = |id: &str| checked_id(id.to_owned(), Source::Flag("--agent-id")).is_err();
        for wrong in ["", "a b", "a\n", "broadcast", "tag:x", &"x".repeat(201)] {
            assert!(refused(wrong), "{wrong}");
        }
        for right in ["a1", "../x", "日本", "con:x", &"x".repeat(200)] {
            assert!(!refused(right), "{right}");
        }
    }
}
