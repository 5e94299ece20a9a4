//! Connections of the bus.

use relay_runner_core::Text;
use relay_runner_core::event::{BusFrame, CommandOrder, RelayEvent};
use relay_runner_protocol::{AgentStatus, ErrorCode};

use super::{AgentNo, Relay, TokenId};

/// A connection, from the relay's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Conn {
    /// Which runner, in which of its lives, and the number that it gave it.
    pub(crate) who: usize,
    pub(crate) life: u32,
    pub(crate) number: u64,
    pub(crate) agent: AgentNo,
    /// Who says so: the same for every life with the same facts.
    pub(crate) instance: usize,
    pub(crate) token: Option<TokenId>,
    pub(crate) registered: bool,
}

/// What a runner says on it.
#[derive(Debug, Clone)]
pub(crate) enum Up {
    Register,
    Heartbeat,
    Status { seq: u64, status: AgentStatus, ready: bool },
    Ack { frame: Text },
    Resume { since: u64 },
}

/// How long nobody may be heard of before an agent may be taken over at any time.
const PRESENT: u64 = 90_000;
/// An instance takes an agent over once in this span.
const PAUSE: u64 = 60_000;

impl Relay {
    /// The upgrade. False: the token is refused.
    pub(crate) fn opens(&mut self, conn: Conn, now: u64) -> bool {
        let taken = self.tokens.are_taken(conn.token, self.time(now));
        if taken {
            self.conns.push(conn);
        }
        taken
    }

    pub(crate) fn closes(&mut self, who: usize, life: u32, number: u64) {
        self.conns.retain(|conn| (conn.who, conn.life, conn.number) != (who, life, number));
    }

    pub(crate) fn hears(&mut self, conn: Conn, up: Up, now: u64) {
        let time = self.time(now);
        let Some(at) = self.conns.iter().position(|c| (c.who, c.life, c.number) == (conn.who, conn.life, conn.number))
        else {
            return;
        };
        let conn = self.conns[at];
        if let Up::Register = up {
            return self.registers(at, time);
        }
        if !conn.registered {
            let error = BusFrame::Error { code: ErrorCode::NotRegistered, message: self.text.clone() };
            self.outbox.push((conn, error));
            return;
        }
        let agent = conn.agent;
        match up {
            Up::Register => {}
            Up::Heartbeat => self.agents[agent].heard = time,
            Up::Status { seq, status, ready } => {
                self.agents[agent].heard = time;
                self.shows(agent, seq, Some(status), Some(ready));
                self.outbox.push((conn, BusFrame::Ack { frame: format!("status-{seq}").into() }));
            }
            Up::Ack { frame } => {
                if let Some(id) = frame.strip_prefix("c-")
                    && let Some(command) = self.commands.iter_mut().find(|command| *command.id == *id)
                {
                    command.acked = true;
                    command.by = Some(conn.instance);
                }
            }
            Up::Resume { since } => {
                let first = self.events.front().map_or(self.newest + 1, |(seq, ..)| *seq);
                let gap = since + 1 < first && since < self.newest;
                let to = self.newest;
                self.outbox.push((conn, BusFrame::Replayed { from: since, to, gap }));
                let bit = 1 << agent;
                for (seq, audience, event) in &self.events {
                    if *seq > since && audience & bit != 0 {
                        let frame = format!("e{seq}").into();
                        self.outbox.push((conn, BusFrame::Event { frame, seq: *seq, event: event.clone() }));
                    }
                }
            }
        }
    }

    /// The same instance keeps its epoch, unless it had left; another one takes over.
    fn registers(&mut self, at: usize, time: u64) {
        let conn = self.conns[at];
        let agent = &mut self.agents[conn.agent];
        let same = agent.instance == Some(conn.instance) && !agent.deleted;
        if !same {
            let present = !agent.gone && agent.instance.is_some() && time < agent.heard + PRESENT;
            if present {
                let again = agent.taken_over.get(&conn.instance).is_some_and(|at| time < at + PAUSE);
                if again {
                    let error = BusFrame::Error { code: ErrorCode::Superseded, message: self.text.clone() };
                    self.outbox.push((conn, error));
                    return;
                }
                agent.taken_over.insert(conn.instance, time);
            }
            agent.epoch += 1;
            agent.seq = None;
            agent.given = None;
            // What it was given before is over, and is told to nobody any more.
            let bit = 1 << conn.agent;
            self.events
                .retain(|(_, audience, event)| !(*audience == bit && matches!(event, RelayEvent::AgentUpdated(_))));
        }
        if !same || agent.gone {
            agent.status = AgentStatus::Idle;
            agent.ready = false;
        }
        agent.instance = Some(conn.instance);
        agent.gone = false;
        agent.deleted = false;
        agent.heard = time;
        let epoch = agent.epoch;
        for other in &mut self.conns {
            if other.agent == conn.agent && other.registered && other.instance != conn.instance {
                other.registered = false;
                let error = BusFrame::Error { code: ErrorCode::Superseded, message: self.text.clone() };
                self.outbox.push((*other, error));
            }
        }
        let relay = Some(self.name.clone());
        let registered = BusFrame::Registered { epoch, cursor: self.newest, relay, heartbeat: Some(30_000) };
        self.outbox.push((conn, registered));
        self.conns[at].registered = true;
        for n in 0..self.commands.len() {
            if self.commands[n].target == conn.agent && !self.commands[n].acked {
                self.says_command(n, conn);
            }
        }
    }

    /// A command for its agent, now if it is there, else once it is.
    pub(crate) fn commands(&mut self, n: usize) {
        let target = self.commands[n].target;
        if let Some(conn) = self.conns.iter().copied().find(|conn| conn.registered && conn.agent == target) {
            self.says_command(n, conn);
        }
    }

    fn says_command(&mut self, n: usize, conn: Conn) {
        let command = &mut self.commands[n];
        command.sent = true;
        let target = if command.foreign { "another".into() } else { self.agents[command.target].id.clone() };
        let order = CommandOrder {
            id: command.id.clone(),
            name: command.name.clone(),
            target: Some(target),
            params: command.params.clone(),
        };
        let frame = format!("c-{}", command.id).into();
        self.outbox.push((conn, BusFrame::Command { frame, command: Box::new(order) }));
    }

    /// Tokens that have ended take their connections with them.
    pub(crate) fn ends_connections(&mut self, now: u64) -> Vec<Conn> {
        let time = self.time(now);
        let (keep, ended): (Vec<_>, Vec<_>) =
            self.conns.drain(..).partition(|conn| self.tokens.are_taken(conn.token, time));
        self.conns = keep;
        ended
    }
}
