//! What registration, status and heartbeat say about the agent, with the exact keys (behaviour 2, 8, 14). What is
//! not known is null.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use relay_runner_protocol::PROVIDER_PLUGIN_PROTOCOL;
use relay_runner_protocol::frame::{Register, Role};
use serde_json::{Map, Value, json};

use crate::Core;
use crate::config::{Approval, Mode};
use crate::ids::Text;
use crate::work::{Id, Kind, Own, Shown};

impl Core {
    /// The words of `register`.
    pub(crate) fn registration(&self) -> Register {
        let us = &self.config.identity;
        let list = |texts: &[Text]| texts.iter().map(ToString::to_string).collect::<Vec<String>>();
        Register {
            role: Role::Provider,
            component_id: us.runner_id.to_string(),
            agent_id: Some(us.agent_id.to_string()),
            instance_id: self.instance_id.to_string(),
            capabilities: list(&us.capabilities),
            tags: list(&us.tags),
            machine: us.machine.to_string(),
            meta: self.passed_on(json!({
                "package": {"name": us.package.name, "version": us.package.version},
                "version": us.package.version,
                "contracts": {"providerPluginProtocol": PROVIDER_PLUGIN_PROTOCOL},
                "provider": us.provider,
                "model": us.model,
                "effort": us.effort,
                "profile": us.profile,
                "agentProfile": canonical(us.agent_profile.as_ref()),
                "runnerManaged": true,
                "cwd": us.cwd,
                "approvalMode": us.approval.as_str(),
                "label": us.label,
                "lifecycleCapabilities": {
                    "shutdownHard": true, "restart": true, "semanticStatus": true, "transportReconnect": true,
                },
                "providerCapabilities": self.provider_capabilities(),
            })),
        }
    }

    fn auth(&self) -> Value {
        let record = self.credential.record();
        json!({
            "profileId": record.and_then(|record| record.profile.as_ref()),
            "jti": record.and_then(|record| record.jti.as_ref()),
            "expiresAt": record.and_then(|record| record.expires_at),
            "rootTokenFallback": self.config.identity.root_token_fallback,
        })
    }

    /// What registration and status both say: labels of whoever started the runner, besides these.
    fn passed_on(&self, besides: Value) -> Map<String, Value> {
        let us = &self.config.identity;
        let mut meta = object(json!({
            "runnerId": us.runner_id,
            "startedAt": us.started_at,
            "tmuxSession": us.tmux_session,
            "tmuxSocket": us.tmux_socket,
            "policyName": us.policy_name,
            "spawnRequestId": us.spawn_request_id,
            "automationId": us.automation_id,
            "automationRunId": us.automation_run_id,
            "workspace": canonical(us.workspace.as_ref()),
            "workspaceMode": us.workspace_mode,
            "auth": self.auth(),
        }));
        meta.append(&mut object(besides));
        meta
    }

    /// What the heartbeat says besides the status; what is not known is missing.
    pub(crate) fn heartbeat_meta(&self) -> Map<String, Value> {
        let mut meta = Map::new();
        meta.insert("providerCapabilities".to_string(), self.provider_capabilities());
        if let Some(context) = self.context() {
            let context = json!({
                "utilization": f64::from(context.permille) / 1_000.0,
                "lifecycleState": if context.compacting { "compacting" } else { "active" },
                "source": context.source,
                "confidence": context.confidence,
            });
            meta.insert("context".to_string(), context);
        }
        if let Some(session) = &self.config.identity.tmux_session {
            meta.insert("tmuxSession".to_string(), json!(session));
        }
        if let Some(socket) = &self.config.identity.tmux_socket {
            meta.insert("tmuxSocket".to_string(), json!(socket));
        }
        meta
    }

    /// What a status says besides status and ready.
    pub(crate) fn status_meta(&self) -> Map<String, Value> {
        let us = &self.config.identity;
        let work: Vec<Value> = self.work.iter().map(item).collect();
        let subagents: Vec<&Value> = work.iter().filter(|w| w["kind"] == "subagent").collect();
        let state = self
            .work
            .iter()
            .filter_map(|shown| match shown {
                Shown::Reported(Kind::ProviderTurn, _, open) => Some(canonical(open.provider_state.as_ref())),
                Shown::Reported(..) | Shown::Own(..) => None,
            })
            .find(Value::is_object);
        // One entry counts those that did not fit.
        let dropped = self.status.timeline_dropped;
        let entries: Vec<Value> = (dropped > 0)
            .then(|| json!({"status": "timeline-dropped", "count": dropped}))
            .into_iter()
            .chain(
                self.status
                    .entries()
                    .map(|entry| json!({"status": entry.status, "id": entry.id, "timestamp": entry.timestamp})),
            )
            .collect();
        let action = self.action();
        self.passed_on(json!({
            "lifecycleAction": action.map(super::status::Action::as_str),
            "lifecycleActionAt": self.status.action_since(),
            "lifecycleReason": self.lifecycle_reason(),
            "profile": us.profile,
            "busyReasons": self.work.reasons().collect::<Vec<_>>(),
            "activeSubagents": subagents,
            "activeSubagentCount": subagents.len(),
            "activeWork": work,
            "providerState": state,
            "timelineEvent": entries.last(),
            "timelineEvents": entries,
            "approvals": self.approvals.iter().map(|(id, open)| json!({
                "approvalId": id, "kind": open.request.kind, "tool": open.request.tool,
                "reason": open.request.reason, "since": open.since,
            })).collect::<Vec<_>>(),
            "repliesOwed": self.owed.len(),
            "journal": self.status.journal_broken().map(|_| "broken"),
            "credential": self.credential.state(self.now),
            "transport": {"bus": self.link.name()},
            "generation": self.lifecycle.generation(),
        }))
    }

    /// Why it is parked, ending, or between two processes.
    fn lifecycle_reason(&self) -> Option<&Text> {
        let ending = || self.ending.why().and_then(|why| why.detail());
        let cooling = || self.status.last_exit().filter(|_| self.lifecycle.is_cooling());
        self.lifecycle.parked().or_else(ending).or_else(cooling)
    }

    /// The result of a command that succeeded.
    pub(crate) fn command_result(&self, action: &str, reason: Option<&str>, provider_result: Option<&str>) -> Value {
        let us = &self.config.identity;
        json!({
            "action": action,
            "agentId": us.agent_id,
            "runnerId": us.runner_id,
            "policyName": us.policy_name,
            "spawnRequestId": us.spawn_request_id,
            "reason": reason,
            "providerResult": provider_result.and_then(|text| serde_json::from_str::<Value>(text).ok()),
        })
    }

    fn provider_capabilities(&self) -> Value {
        let us = &self.config.identity;
        let writes = us.approval != Approval::ReadOnly;
        let adapter = &self.config.adapter;
        let model = self.model();
        let probed_at = model.and_then(|model| model.probed_at);
        let mut context = object(json!({
            "compact": adapter.compact, "clear": adapter.clear, "inject": adapter.inject,
        }));
        if let Some(known) = self.context() {
            context.insert("stats".to_string(), json!({"source": known.source, "confidence": known.confidence}));
        }
        let mut capabilities = object(json!({
            "lifecycle": {
                "managed": true,
                "shutdownHard": true,
                "restartHard": us.provider.as_ref() != "claude" || self.config.mode == Mode::Headless,
                "semanticStatus": true,
                "reconnect": true,
            },
            "model": {
                "provider": us.provider,
                "alias": us.model.as_deref().or(model.map(|model| model.id)),
                "id": model.map(|model| model.id),
                "effort": model.and_then(|model| model.effort).or(us.effort.as_deref()),
                "source": if probed_at.is_some() { "provider" } else { "runtime" },
                "confidence": if model.is_some() { "reported" } else { "unknown" },
                "lastUpdatedAt": probed_at.unwrap_or(us.started_at),
            },
            "session": {
                "approvalMode": us.approval.as_str(),
                "fileRead": true,
                "fileWrite": writes,
                "shell": writes,
                "source": "runtime",
                "confidence": "reported",
            },
            "context": context,
            "source": "runtime",
            "confidence": "reported",
            "lastUpdatedAt": us.started_at,
        }));
        if adapter.attach {
            let attach = json!({"create": true, "read": true, "write": true, "detach": true});
            capabilities.insert("terminal".to_string(), json!({"attach": attach}));
        } else if adapter.live {
            capabilities.insert("terminal".to_string(), json!({"live": {"read": true, "write": true}}));
        }
        Value::Object(capabilities)
    }
}

fn item(shown: Shown<'_>) -> Value {
    let kind = shown.kind().as_str();
    let (id, since, open) = match shown {
        Shown::Reported(_, Id::Kind, open) => (json!(kind), open.since, Some(open)),
        Shown::Reported(_, Id::Text(text), open) => (json!(text), open.since, Some(open)),
        Shown::Own(Own::Message(number) | Own::Task(number), since) => (json!(number), since, None),
    };
    json!({
        "kind": kind,
        "id": id,
        "label": open.and_then(|open| open.label.as_ref()),
        "role": open.and_then(|open| open.role.as_ref()),
        "parentId": open.and_then(|open| open.parent.as_ref()),
        "metadata": canonical(open.and_then(|open| open.metadata.as_ref())),
        "since": since,
        "unverified": open.is_some_and(|open| open.unverified),
    })
}

/// JSON that passed through as text.
fn canonical(text: Option<&Text>) -> Value {
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or(Value::Null)
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    }
}
