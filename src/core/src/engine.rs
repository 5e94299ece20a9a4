use crate::*;
use crate::time::Mono;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Serialize,Deserialize};
use serde_json::{Map,Value};
use relay_runner_protocol::frame::{Register, Role};
/// SKELETON: being written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Core { config: Config, facts: DurableFacts }
/// SKELETON: what deadline is next, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TimerKey { Tick }
/// SKELETON: serialisable view of the state for /status, /state, readyz.
#[derive(Debug, Clone, Serialize)]
pub struct View<'a> { pub agent_id: &'a str, pub status: &'a str, pub ready: bool }
impl Core {
    pub fn new(config: Config, facts: DurableFacts, _at: Stamp) -> Self { Self { config, facts } }
    pub fn step(&mut self, _at: Stamp, _event: Event, _fx: &mut Effects) {}
    pub fn next_deadline(&self) -> Option<(Mono, TimerKey)> { None }
    pub fn view(&self) -> View<'_> { View { agent_id: &self.config.identity.agent_id, status: "idle", ready: false } }
    pub fn facts(&self) -> DurableFacts { self.facts.clone() }
    /// The whole core as JSON.
    pub fn to_mark(&self) -> String { serde_json::to_string(self).unwrap_or_default() }
    pub fn config(&self) -> &Config { &self.config }
    pub fn run_id(&self) -> &str { &self.facts.run_id }
    pub fn instance_id(&self) -> &str { &self.facts.instance_id }
    pub(crate) fn registration(&self) -> Register {
        Register { role: Role::Provider, component_id: String::new(), agent_id: None, instance_id: String::new(), capabilities: Vec::new(), tags: Vec::new(), machine: String::new(), meta: Map::new() }
    }
    pub(crate) fn heartbeat_meta(&self) -> Map<String, Value> { Map::new() }
    pub(crate) fn status_meta(&self) -> Map<String, Value> { Map::new() }
    pub(crate) fn command_result(&self, _action: &str, _reason: Option<&str>, _provider_result: Option<&str>) -> Value { Value::Null }
}
