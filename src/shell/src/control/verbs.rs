//! `POST /relay/{verb}` (protocol 4): the agent's verbs, done with the live credential and in the agent's name. Each is one
//! or a few calls of the relay's HTTP API, tried once: whoever asks has the idempotency key, and may ask again.
//!
//! What the relay refuses comes through with its status and code. What each verb means: decision 20.

mod asking;
mod bodies;

use super::routes::{ending, look, order, read, refusal};
use crate::http::Relay;
use crate::input::{Input, Inputs};
use asking::Asking;
use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bodies::{
    DisconnectBody, LabelBody, MessageBody, NoBody, PairBody, ReactBody, ReadBody, ReplyBody, SendClaimableBody,
    TagsBody, TextBody,
};
use relay_runner_core::{Answer, Event, Order, Outcome};
use relay_runner_protocol::agent::{SetLabel, SetTags};
use relay_runner_protocol::http::{MESSAGES, TASKS, agent, agent_part, message, message_part};
use relay_runner_protocol::message::NewMessage;
use relay_runner_protocol::reply::React;
use relay_runner_protocol::task::{NewTask, titled};
use relay_runner_protocol::{Agent, Message, Priority, Target, Task};
use serde_json::{Map, Value, json};
use tokio::sync::{oneshot, watch};

pub(super) fn routes<S: Clone + Send + Sync + 'static>(inputs: &Inputs, relay: &watch::Receiver<Relay>) -> Router<S> {
    let desk = Desk { inputs: inputs.clone(), relay: relay.clone() };
    Router::new().route("/relay/{verb}", post(verb)).with_state(desk)
}

#[derive(Debug, Clone)]
struct Desk {
    inputs: Inputs,
    relay: watch::Receiver<Relay>,
}

#[derive(Debug, Clone, Copy)]
enum Verb {
    Reply,
    React,
    Read,
    Message,
    Label,
    Tags,
    Whoami,
    SendClaimable,
    Pair,
    Disconnect,
}

const VERBS: [(&str, Verb); 10] = [
    ("reply", Verb::Reply),
    ("react", Verb::React),
    ("read", Verb::Read),
    ("message", Verb::Message),
    ("label", Verb::Label),
    ("tags", Verb::Tags),
    ("whoami", Verb::Whoami),
    ("send-claimable", Verb::SendClaimable),
    ("pair", Verb::Pair),
    ("disconnect", Verb::Disconnect),
];

/// What a verb comes to; the refusal is the answer.
type Done = Result<Value, Response>;

async fn verb(
    State(desk): State<Desk>,
    name: Result<Path<String>, PathRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let name = name.map(|Path(name)| name).unwrap_or_default();
    let Some((_, verb)) = VERBS.iter().find(|(known, _)| *known == name) else {
        let known: Vec<&str> = VERBS.iter().map(|(name, _)| *name).collect();
        let message = format!("there is no such verb; known are {}", known.join(", "));
        return refusal(StatusCode::NOT_FOUND, "unknown_verb", &message);
    };
    match desk.carry_out(*verb, body).await {
        Ok(answer) => axum::Json(answer).into_response(),
        Err(refusal) => refusal,
    }
}

impl Desk {
    /// As of now: the credential may be another one in a minute.
    fn relay(&self) -> Relay {
        self.relay.borrow().clone()
    }

    async fn carry_out(&self, verb: Verb, body: Result<Bytes, BytesRejection>) -> Done {
        match verb {
            Verb::Reply => self.reply(read(body)?).await,
            Verb::React => self.react(read(body)?).await,
            Verb::Read => self.read(read(body)?).await,
            Verb::Message => self.message(read(body)?).await,
            Verb::Label => self.label(read(body)?).await,
            Verb::Tags => self.tags(read(body)?).await,
            Verb::Whoami => {
                read::<NoBody>(body)?;
                self.whoami().await
            }
            Verb::SendClaimable => self.send_claimable(read(body)?).await,
            Verb::Pair => self.pair(read(body)?).await,
            Verb::Disconnect => self.disconnect(read(body)?).await,
        }
    }

    async fn reply(&self, asked: ReplyBody) -> Done {
        let relay = self.relay();
        let asking = Asking::new(&relay, asked.text.idempotency_key.as_deref())?;
        let words = asked.text.words().await?;
        let to: Message = asking.get(&message(asked.message_id)).await?;
        let us = &**relay.agent_id();
        // A word more to one's own message goes where that one went.
        let to = if to.from == us { to.to } else { to.from };
        let attachments = asking.upload(&asked.text.attachments).await?;
        let new = NewMessage {
            reply_to: Some(asked.message_id),
            reply_expected: asked.reply_expected,
            attachments,
            ..blank(us, to, words)
        };
        let sent: Message = asking.post(MESSAGES, &new).await?;
        self.replied(asked.message_id).await;
        Ok(json!({"messageId": sent.id, "replyTo": asked.message_id, "to": sent.to}))
    }

    /// What is owed for this message is settled: the core learns it before the caller does, so that whoever looks next
    /// sees it.
    async fn replied(&self, message: u64) {
        // Without a loop nobody is owed anything any more.
        self.inputs.event(Event::Order(Order::Replied { message })).await;
    }

    async fn react(&self, asked: ReactBody) -> Done {
        let relay = self.relay();
        let asking = Asking::new(&relay, asked.idempotency_key.as_deref())?;
        let react = React { agent_id: relay.agent_id().to_string(), emoji: asked.emoji, session: None };
        let _: Value = asking.post(&message_part(asked.message_id, "reactions"), &react).await?;
        Ok(json!({"messageId": asked.message_id, "emoji": react.emoji}))
    }

    async fn read(&self, asked: ReadBody) -> Done {
        let relay = self.relay();
        let asking = Asking::new(&relay, None)?;
        let found: Message = asking.get(&message(asked.message_id)).await?;
        if !asked.thread {
            return Ok(json!({"message": found}));
        }
        let thread: Vec<Message> = asking.get(&message_part(asked.message_id, "thread")).await?;
        Ok(json!({"message": found, "thread": thread}))
    }

    async fn message(&self, asked: MessageBody) -> Done {
        let relay = self.relay();
        let asking = Asking::new(&relay, asked.text.idempotency_key.as_deref())?;
        let words = asked.text.words().await?;
        let attachments = asking.upload(&asked.text.attachments).await?;
        let new = NewMessage {
            kind: asked.kind.unwrap_or_else(|| "chat".to_owned()),
            subject: asked.subject,
            payload: asked.payload,
            claimable: asked.claimable,
            priority: priority(asked.urgent),
            reply_expected: asked.reply_expected,
            attachments,
            ..blank(relay.agent_id(), asked.to, words)
        };
        let sent: Message = asking.post(MESSAGES, &new).await?;
        Ok(json!({"messageId": sent.id, "to": sent.to}))
    }

    async fn label(&self, asked: LabelBody) -> Done {
        let relay = self.relay();
        let asking = Asking::new(&relay, asked.idempotency_key.as_deref())?;
        let label = asked.label.filter(|label| !label.is_empty());
        let known: Agent = asking.put(&agent_part(relay.agent_id(), "label"), &SetLabel { label }).await?;
        Ok(json!({"label": known.label}))
    }

    async fn tags(&self, asked: TagsBody) -> Done {
        let relay = self.relay();
        let asking = Asking::new(&relay, asked.idempotency_key.as_deref())?;
        let tags = match asked.tags {
            Some(tags) => tags,
            None => asking.get::<Agent>(&agent(relay.agent_id())).await?.tags,
        };
        // The same whether it is asked once or again: an idempotency key is for one set.
        let mut set: Vec<String> = Vec::with_capacity(tags.len());
        for tag in tags.into_iter().chain(asked.add) {
            if !set.contains(&tag) && !asked.remove.contains(&tag) {
                set.push(tag);
            }
        }
        let known: Agent = asking.put(&agent_part(relay.agent_id(), "tags"), &SetTags { tags: set }).await?;
        Ok(json!({"tags": known.tags}))
    }

    /// What the relay knows of the agent, and what only its runner knows.
    async fn whoami(&self) -> Done {
        let relay = self.relay();
        let known: Agent = Asking::new(&relay, None)?.get(&agent(relay.agent_id())).await?;
        let view: Value =
            look(&self.inputs).await.and_then(|state| serde_json::from_str(&state).ok()).ok_or_else(ending)?;
        Ok(json!({
            "agentId": known.id, "label": known.label, "tags": known.tags, "capabilities": known.capabilities,
            "status": known.status, "ready": known.ready, "machine": known.machine, "relay": relay.base(),
            "provider": view["provider"], "runnerId": view["runnerId"], "runnerPid": std::process::id(),
        }))
    }

    async fn send_claimable(&self, asked: SendClaimableBody) -> Done {
        let relay = self.relay();
        let asking = Asking::new(&relay, asked.text.idempotency_key.as_deref())?;
        let words = asked.text.words().await?;
        let (title, body) = match asked.title.filter(|title| !title.trim().is_empty()) {
            Some(title) => (title, words),
            None => titled(words),
        };
        let attachments = asking.upload(&asked.text.attachments).await?;
        let new = NewTask {
            title,
            body,
            target: asked.to,
            from: Some(relay.agent_id().to_string()),
            priority: priority(asked.urgent),
            attachments,
            dedup_key: None,
            callback_url: None,
        };
        let task: Task = asking.post(TASKS, &new).await?;
        Ok(json!({"messageId": task.message_id, "taskId": task.id, "to": task.target}))
    }

    async fn pair(&self, asked: PairBody) -> Done {
        let relay = self.relay();
        let us = &**relay.agent_id();
        if !matches!(Target::parse(&asked.with), Target::Agent(with) if with != us) {
            let message = "`with` must be the id of one other agent";
            return Err(refusal(StatusCode::UNPROCESSABLE_ENTITY, "bad_body", message));
        }
        let asking = Asking::new(&relay, asked.idempotency_key.as_deref())?;
        // A message would wait for an agent that is not there; somebody to talk to is needed now.
        let other: Agent = asking.get(&agent(&asked.with)).await?;
        let words = match asked.body.filter(|body| !body.trim().is_empty()) {
            Some(body) => TextBody::of(body).words().await?,
            None => {
                format!("{us} asks you to pair: to work with it in one conversation. Reply to this message to agree.")
            }
        };
        let new = NewMessage {
            kind: "pair".to_owned(),
            subject: Some(format!("pair with {us}")),
            payload: json!({"pair": {"with": us}}),
            reply_expected: true,
            ..blank(us, other.id, words)
        };
        let sent: Message = asking.post(MESSAGES, &new).await?;
        Ok(json!({"messageId": sent.id, "with": sent.to}))
    }

    /// Answered once the shutdown has begun, not once it is over: the caller goes with the provider.
    async fn disconnect(&self, asked: DisconnectBody) -> Done {
        let mut params = Map::new();
        params.insert("reason".to_owned(), json!(asked.reason.as_deref().unwrap_or("the agent disconnected")));
        let Some((order, content)) = order("shutdown", params) else { return Err(ending()) };
        let (answer, mut answered) = oneshot::channel();
        if !self.inputs.send(Input::Command { order: Box::new(order), content, answer }).await {
            return Err(ending());
        }
        // A look behind the command sees what became of it.
        let agent = self.relay().agent_id().to_string();
        let ends = json!({"agentId": agent, "accepted": true});
        if look(&self.inputs).await.is_none() {
            return Ok(ends);
        }
        match answered.try_recv() {
            Ok(Answer::Command(outcome)) => match &*outcome {
                Outcome::Failed { message } => Err(refusal(StatusCode::CONFLICT, "command_failed", message)),
                Outcome::Succeeded { .. } => Ok(ends),
            },
            Ok(_) | Err(_) => Ok(ends),
        }
    }
}

fn blank(from: &str, to: String, body: String) -> NewMessage {
    NewMessage {
        from: from.to_owned(),
        to,
        kind: "chat".to_owned(),
        subject: None,
        body,
        payload: Value::Null,
        claimable: false,
        priority: Priority::Normal,
        reply_expected: false,
        reply_to: None,
        attachments: Vec::new(),
        idempotency_key: None,
    }
}

const fn priority(urgent: bool) -> Priority {
    if urgent { Priority::Urgent } else { Priority::Normal }
}

#[cfg(test)]
mod tests;
