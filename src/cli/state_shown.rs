//! What a core knows, in words: for `status`, and for `replay --state`.

use super::ago::{ago, lasting};
use super::failure::Failure;
use super::say;
use super::status::words;
use serde_json::Value;

/// Of what a tool is called with.
const INPUT: usize = 300;

/// A state to be shown, and what is known besides.
#[derive(Debug)]
pub(super) struct StateShown<'a> {
    pub(super) agent: &'a str,
    /// Where it is from.
    pub(super) from: &'a str,
    /// The time of whoever reads it.
    pub(super) now: u64,
    /// How long it has been so, and why.
    pub(super) since: Option<String>,
    pub(super) provider_memory: Option<String>,
    /// Behind `approve` and `deny`: whose request it is. None where nobody can decide any more.
    pub(super) decide: Option<String>,
}

impl<'a> StateShown<'a> {
    /// Of a core that may be long over.
    pub(super) const fn of(agent: &'a str, from: &'a str, now: u64) -> Self {
        Self { agent, from, now, since: None, provider_memory: None, decide: None }
    }

    pub(super) fn print(&self, state: &Value) -> Result<(), Failure> {
        let status = word(&state["status"]).unwrap_or_default();
        let action = word(&state["lifecycleAction"]).map(|a| format!(", {a}")).unwrap_or_default();
        let ready = if state["ready"] == true { "ready" } else { "not ready" };
        say::line(format_args!("{}: {status}, {ready}{action}", self.agent))?;
        if let Some(since) = &self.since {
            say::line(format_args!("  for       {since}"))?;
        }
        say::line(format_args!("  runner    {}", self.from))?;
        self.provider(state)?;
        relay(state, self.now)?;
        let reasons = words(&state["busyReasons"]);
        if !reasons.is_empty() {
            say::line(format_args!("  busy      {reasons}"))?;
        }
        queue(state)?;
        leases(state)?;
        self.approvals(state)?;
        self.owed(state)?;
        if let Some(why) = word(&state["journalBroken"]) {
            say::line(format_args!("  journal   broken: {why}"))?;
        }
        Ok(())
    }

    fn provider(&self, state: &Value) -> Result<(), Failure> {
        let process = &state["process"];
        let memory = self.provider_memory.as_ref().map(|held| format!(" ({held})")).unwrap_or_default();
        let pid = process["process"]["pid"].as_u64().map(|pid| format!(", process {pid}{memory}")).unwrap_or_default();
        let parked = word(&process["parked"]).map(|why| format!(": {why}")).unwrap_or_default();
        say::line(format_args!(
            "  provider  {}: {}{pid}, generation {}{parked}",
            word(&state["provider"]).unwrap_or_default(),
            word(&process["state"]).unwrap_or_default(),
            process["generation"]
        ))?;
        if let Some(model) = model(state) {
            let configured = state["model"]["probedAt"].is_null();
            say::line(format_args!("  model     {model}{}", if configured { ", as configured" } else { "" }))?;
        }
        let conversation = word(&process["conversation"]).map(|id| format!("conversation {id}"));
        let context: Vec<String> = context(state).into_iter().chain(conversation).collect();
        if !context.is_empty() {
            say::line(format_args!("  context   {}", context.join(", ")))?;
        }
        if process["usageLimit"].is_object() {
            let end = process["usageLimit"]["until"].as_u64();
            let ends = end.map(|end| format!("ends in {}", lasting(end.saturating_sub(self.now))));
            say::line(format_args!("  limit     its usage limit {}", ends.as_deref().unwrap_or("has no known end")))?;
        }
        let exits = process["exits"].as_u64().unwrap_or_default();
        let ended = match exits {
            0 => None,
            1 => Some("its process ended once of late".to_owned()),
            _ => Some(format!("its process ended {exits} times of late")),
        };
        let next = within(state, "Cooling", self.now).map(|wait| format!("started again in {wait}"));
        let said: Vec<String> = ended.into_iter().chain(next).collect();
        if !said.is_empty() {
            say::line(format_args!("  restarts  {}", said.join("; ")))?;
        }
        Ok(())
    }

    fn approvals(&self, state: &Value) -> Result<(), Failure> {
        for approval in list(&state["approvals"]) {
            let id = word(&approval["id"]).unwrap_or_default();
            let tool = word(&approval["tool"]).map(|tool| format!(" ({tool})")).unwrap_or_default();
            let since = ago(approval["since"].as_u64().unwrap_or_default(), self.now);
            let decided = approval["state"] == "deciding";
            let unconfirmed = if decided { ", decided, and not confirmed yet" } else { "" };
            say::line(format_args!("  approval  {id}{tool}: asked {since}{unconfirmed}"))?;
            if let Some(input) = approval["id"].as_str().and_then(|id| word(&state["approvalInputs"][id])) {
                let cut = if input.chars().count() > INPUT { "..." } else { "" };
                let input: String = input.chars().take(INPUT).collect();
                say::line(format_args!("            with {input}{cut}"))?;
            }
            if let Some(whose) = self.decide.as_ref().filter(|_| !decided) {
                say::line(format_args!("            relay-runner approve {} {whose}    (or: deny)", say::word(&id)))?;
            }
        }
        Ok(())
    }

    /// Replies that the agent owes.
    fn owed(&self, state: &Value) -> Result<(), Failure> {
        for owed in list(&state["owed"]) {
            let message = ["messageId", "message", "id"].iter().find_map(|key| owed[*key].as_u64());
            let message = message.map(|id| format!(" to message {id}")).unwrap_or_default();
            let from = word(&owed["from"]).map(|from| format!(" from {from}")).unwrap_or_default();
            let since = owed["since"].as_u64().map(|at| format!(", {}", ago(at, self.now))).unwrap_or_default();
            say::line(format_args!("  owed      a reply{message}{from}{since}"))?;
        }
        Ok(())
    }
}

/// The model and its effort.
pub(super) fn model(state: &Value) -> Option<String> {
    let model = &state["model"];
    let effort = word(&model["effort"]).map(|effort| format!(" ({effort})")).unwrap_or_default();
    Some(format!("{}{effort}", word(&model["id"])?))
}

/// How full the context is.
fn context(state: &Value) -> Option<String> {
    let context = &state["context"];
    let window = context["window"].as_u64().map(tokens)?;
    let compacting = if context["compacting"] == true { ", being compacted" } else { "" };
    Some(format!("{} of {window} tokens{compacting}", percent(state)?))
}

pub(super) fn percent(state: &Value) -> Option<String> {
    state["context"]["permille"].as_u64().map(|permille| format!("{} %", permille.saturating_add(5) / 10))
}

fn tokens(count: u64) -> String {
    match count {
        0..1_000 => count.to_string(),
        1_000..1_000_000 => format!("{}k", count.saturating_add(500) / 1_000),
        _ => format!("{}.{}M", count / 1_000_000, count % 1_000_000 / 100_000),
    }
}

fn relay(state: &Value, now: u64) -> Result<(), Failure> {
    let again = within(state, "Reconnect", now).map(|wait| format!("; tried again in {wait}")).unwrap_or_default();
    say::line(format_args!("  relay     {}{again}", word(&state["link"]["state"]).unwrap_or_default()))?;
    let token = &state["credential"];
    let (known, standing) = (word(&token["state"]), word(&token["standing"]));
    let (known, standing) = (known.unwrap_or_default(), standing.unwrap_or_default());
    if !matches!(&*known, "" | "none" | "valid") || !matches!(&*standing, "" | "good") {
        say::line(format_args!("  token     {known}, {standing}"))?;
    }
    Ok(())
}

fn queue(state: &Value) -> Result<(), Failure> {
    let stages = state["stages"].as_object();
    let counted: Vec<String> =
        stages.into_iter().flatten().map(|(stage, count)| format!("{count} {}", say::plain(stage))).collect();
    let reports = state["reportsWaiting"].as_u64().filter(|waiting| *waiting > 0);
    let reports = reports.map(|n| format!("{n} report{} not accepted yet", if n == 1 { "" } else { "s" }));
    let parts: Vec<String> = counted.into_iter().chain(reports).collect();
    if !parts.is_empty() {
        say::line(format_args!("  queue     {}", parts.join(", ")))?;
    }
    for message in list(&state["messages"]) {
        let task = message["task"].as_u64().map(|id| format!(", task {id}")).unwrap_or_default();
        let reached = word(&message["stage"]).unwrap_or_default();
        say::line(format_args!("  message   {}: {reached}, attempt {}{task}", message["id"], message["attempt"]))?;
    }
    for message in list(&state["setAside"]) {
        let why = word(&message["why"]).unwrap_or_default();
        say::line(format_args!("  set aside {}: {why}", message["id"]))?;
    }
    Ok(())
}

fn leases(state: &Value) -> Result<(), Failure> {
    let claims = list(&state["claims"]);
    let first =
        claims.iter().filter_map(|claim| Some((claim["left"].as_u64()?, &claim["message"]))).min_by_key(|c| c.0);
    if let Some((left, message)) = first {
        say::line(format_args!("  lease     {} left, of message {message}", lasting(left)))?;
    }
    Ok(())
}

/// How long until a deadline. The state is as old as the core's last step.
fn within(state: &Value, what: &str, now: u64) -> Option<String> {
    let deadline = list(&state["deadlines"]).iter().find(|deadline| deadline["what"] == what)?;
    let age = now.saturating_sub(state["now"]["wall"].as_u64()?);
    let mono = state["now"]["mono"].as_u64()?.saturating_add(age);
    Some(lasting(deadline["at"].as_u64()?.saturating_sub(mono)))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn word(value: &Value) -> Option<String> {
    value.as_str().map(say::plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_known_of_model_and_context_is_said_and_no_more() {
        let state = json!({
            "model": {"id": "m-1", "effort": "high", "probedAt": 1},
            "context": {"used": 92_000, "window": 272_000, "permille": 338, "compacting": false},
        });
        assert_eq!(model(&state).as_deref(), Some("m-1 (high)"));
        assert_eq!(context(&state).as_deref(), Some("34 % of 272k tokens"));
        let state = json!({
            "model": {"id": "m-1", "effort": null, "probedAt": null},
            "context": {"used": 1, "window": 1_000_000, "permille": 0, "compacting": true},
        });
        assert_eq!(model(&state).as_deref(), Some("m-1"));
        assert_eq!(context(&state).as_deref(), Some("0 % of 1.0M tokens, being compacted"));
        for unknown in [json!({"model": null, "context": null}), json!({})] {
            assert_eq!((model(&unknown), context(&unknown), percent(&unknown)), (None, None, None));
        }
        assert_eq!([999, 1_000, 999_499, 2_500_000].map(tokens), ["999", "1k", "999k", "2.5M"]);
    }
}
