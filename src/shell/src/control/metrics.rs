//! `GET /metrics`: figures of the run as Prometheus reads them (text format 0.0.4). No content, and no ids of messages.

use super::routes::ending;
use crate::input::{Input, Inputs};
use crate::observed::{Ask, Observed, STAGES};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use relay_runner_core::machines;
use relay_runner_core::view::View;
use relay_runner_protocol::{AgentStatus, Stage};
use std::fmt::{Display, Write};
use tokio::sync::oneshot;

const FORM: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) async fn metrics(State(inputs): State<Inputs>) -> Response {
    let (answer, answered) = oneshot::channel();
    if !inputs.send(Input::Observe(Ask::Metrics(answer))).await {
        return ending();
    }
    answered.await.map_or_else(|_| ending(), |text| ([(CONTENT_TYPE, FORM)], text).into_response())
}

/// What the figures are read off.
#[derive(Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) view: &'a View<'a>,
    pub(crate) observed: &'a Observed,
    pub(crate) version: &'a str,
    /// In milliseconds since the epoch.
    pub(crate) started_at: u64,
    pub(crate) journal_bytes: u64,
    pub(crate) inputs_waiting: usize,
}

pub(crate) fn text(seen: &Seen<'_>) -> String {
    let mut page = Page(String::with_capacity(8 * 1024));
    who(&mut page, seen);
    state(&mut page, seen.view);
    provider(&mut page, seen);
    deliveries(&mut page, seen);
    relay(&mut page, seen);
    itself(&mut page, seen);
    page.0
}

fn who(page: &mut Page, seen: &Seen<'_>) {
    let view = seen.view;
    let labels =
        [("agent", view.agent_id), ("runner", view.runner_id), ("provider", view.provider), ("version", seen.version)];
    page.family("info", GAUGE, "Who this is; always 1").sample(&labels, 1);
    page.family("start_time_seconds", GAUGE, "When the runner was started, in seconds since the epoch")
        .sample(&[], Thousandths(seen.started_at));
}

fn state(page: &mut Page, view: &View<'_>) {
    let known = [AgentStatus::Idle, AgentStatus::Busy, AgentStatus::Offline].map(AgentStatus::as_str);
    page.one_of(
        "status",
        "What the agent is doing: 1 for the status that it has",
        "status",
        known,
        view.status.as_str(),
    );
    page.family("ready", GAUGE, "Whether messages may be handed over").sample(&[], u8::from(view.ready));
    let known = ["shutting-down", "killing", "restarting", "parked"];
    let action = view.lifecycle_action.unwrap_or_default();
    page.one_of("lifecycle_action", "1 for the lifecycle action that is under way", "action", known, action);
    page.one_of(
        "lifecycle",
        "1 for the state of the provider's process",
        "state",
        states("lifecycle"),
        view.process.state,
    );
    page.one_of("link", "1 for the state of the connection to the relay", "state", states("link"), view.link.state);
    let known = ["none", "valid", "refused", "expired"];
    page.one_of("credential", "1 for the state of the relay's token", "state", known, view.credential.state);
    if let Some(expires_at) = view.credential.expires_at {
        page.family("credential_expiry_time_seconds", GAUGE, "When the relay's token ends, in seconds since the epoch")
            .sample(&[], expires_at);
    }
}

/// The states of one of the core's machines.
fn states(machine: &str) -> impl Iterator<Item = &'static str> {
    machines::named(machine).into_iter().flat_map(|machine| machine.leaves().map(|state| state.name))
}

fn provider(page: &mut Page, seen: &Seen<'_>) {
    let (view, counts) = (seen.view, &seen.observed.counts);
    page.family("generation", GAUGE, "The n-th provider process of the agent, across runs")
        .sample(&[], view.process.generation.0);
    page.family("provider_exits_in_window", GAUGE, "Ends of the provider's process in the restart window")
        .sample(&[], view.process.exits);
    let mut family =
        page.family("provider_exits_total", COUNTER, "Ends of the provider's process in this run, by class");
    for (class, count) in &counts.exits {
        family.sample(&[("class", class)], *count);
    }
    if let Some(context) = &view.context {
        page.family("context_used_ratio", GAUGE, "How much of its context the provider has used, from 0 to 1")
            .sample(&[], Thousandths(context.permille.into()));
    }
    page.family("approvals_waiting", GAUGE, "Questions of the provider that wait for a decision")
        .sample(&[], view.approvals.len());
    page.family("replies_owed", GAUGE, "Replies that the agent owes").sample(&[], view.owed.len());
    page.family("commands_open", GAUGE, "Commands that have no outcome yet").sample(&[], view.commands.len());
}

fn deliveries(page: &mut Page, seen: &Seen<'_>) {
    let (view, counts) = (seen.view, &seen.observed.counts);
    let help = "How often a message reached the stage in this run";
    let mut family = page.family("deliveries_total", COUNTER, help);
    for stage in STAGES {
        family.sample(&[("stage", stage.as_str())], counts.reached(stage));
    }
    let mut family = page.family("messages", GAUGE, "Messages that are held, by the stage that they have reached");
    for stage in STAGES.map(Stage::as_str) {
        family.sample(&[("stage", stage)], view.stages.get(stage).copied().unwrap_or_default());
    }
    page.family("messages_set_aside", GAUGE, "Messages that were given up and are remembered")
        .sample(&[], view.set_aside.len());
    let mut family = page.family("claims", GAUGE, "Claims on messages, by state");
    for state in ["asking", "held", "renewing", "lapsed"] {
        family.sample(&[("state", state)], view.claims.iter().filter(|claim| claim.state == state).count());
    }
    if let Some(left) = view.claims.iter().filter_map(|claim| claim.left).min() {
        page.family("lease_left_seconds", GAUGE, "What is left of the lease that ends first")
            .sample(&[], Thousandths(left));
    }
}

fn relay(page: &mut Page, seen: &Seen<'_>) {
    let (view, counts) = (seen.view, &seen.observed.counts);
    page.family("connection_attempts_total", COUNTER, "Attempts to connect to the relay")
        .sample(&[], counts.connection_attempts);
    page.family("reconnects_total", COUNTER, "Connections to the relay after the first of this run")
        .sample(&[], counts.connections.saturating_sub(1));
    page.family("token_renewals_total", COUNTER, "Tokens that took the place of another, renewed or handed in")
        .sample(&[], counts.token_renewals);
    page.family("reports_waiting", GAUGE, "Reports that the relay has not accepted yet")
        .sample(&[], view.reports_waiting);
    page.family("malformed_total", COUNTER, "Frames and lines that could not be read").sample(&[], view.malformed);
}

fn itself(page: &mut Page, seen: &Seen<'_>) {
    let (view, steps) = (seen.view, &seen.observed.steps);
    page.family("step_seconds", HISTOGRAM, "How long the core takes to decide upon an event").histogram(
        steps.at_most().map(|(nanos, count)| (Nanos(nanos), count)),
        Nanos(u64::try_from(steps.sum().as_nanos()).unwrap_or(u64::MAX)),
        steps.count(),
    );
    page.family("operations_open", GAUGE, "Operations that have no answer yet").sample(&[], view.operations);
    page.family("inputs_waiting", GAUGE, "Inputs that wait for the core").sample(&[], seen.inputs_waiting);
    page.family("journal_written_bytes_total", COUNTER, "Bytes that this run has written to its journal")
        .sample(&[], seen.journal_bytes);
    page.family("journal_broken", GAUGE, "Whether the journal cannot be written any more")
        .sample(&[], u8::from(view.journal_broken.is_some()));
    page.family("event_listeners", GAUGE, "Who listens to the events of this runner")
        .sample(&[], seen.observed.listeners());
}

const GAUGE: &str = "gauge";
const COUNTER: &str = "counter";
const HISTOGRAM: &str = "histogram";
const PREFIX: &str = "relay_runner_";

/// What is written so far.
struct Page(String);

/// The samples of one name.
struct Family<'a> {
    page: &'a mut String,
    name: &'static str,
}

impl Page {
    /// `help` must be one line without a backslash. Writing to a string cannot fail, here and below.
    fn family(&mut self, name: &'static str, kind: &str, help: &str) -> Family<'_> {
        let _ = write!(self.0, "# HELP {PREFIX}{name} {help}\n# TYPE {PREFIX}{name} {kind}\n");
        Family { page: &mut self.0, name }
    }

    /// One sample for each of the states, of which one is the present one.
    fn one_of<'s>(
        &mut self,
        name: &'static str,
        help: &str,
        label: &str,
        known: impl IntoIterator<Item = &'s str>,
        present: &str,
    ) {
        let mut family = self.family(name, GAUGE, help);
        for state in known {
            family.sample(&[(label, state)], u8::from(state == present));
        }
    }
}

impl Family<'_> {
    fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.line("", labels, value);
    }

    fn histogram(&mut self, at_most: impl Iterator<Item = (Nanos, u64)>, sum: impl Display, count: u64) {
        for (bound, within) in at_most {
            self.line("_bucket", &[("le", &bound.to_string())], within);
        }
        self.line("_bucket", &[("le", "+Inf")], count);
        self.line("_sum", &[], sum);
        self.line("_count", &[], count);
    }

    fn line(&mut self, ending: &str, labels: &[(&str, &str)], value: impl Display) {
        let _ = write!(self.page, "{PREFIX}{}{ending}", self.name);
        for (n, (label, text)) in labels.iter().enumerate() {
            let _ = write!(self.page, "{}{label}=\"{}\"", if n == 0 { '{' } else { ',' }, escaped(text));
        }
        let _ = writeln!(self.page, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }
}

/// As the format wants the value of a label.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// A number of thousandths: milliseconds are written as seconds.
struct Thousandths(u64);

impl Display for Thousandths {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1_000, self.0 % 1_000)
    }
}

/// Nanoseconds, written as seconds.
struct Nanos(u64);

impl Display for Nanos {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:09}", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_figures_are_whole() {
        let mut page = Page(String::new());
        page.family("x", GAUGE, "Help").sample(&[("a", "q\"\\\n"), ("b", "é")], Thousandths(1_005));
        page.one_of("y", "Help", "s", ["one", "two"], "two");
        page.family("z", HISTOGRAM, "Help").histogram([(Nanos(250), 2)].into_iter(), Nanos(1_500_000_000), 3);
        let expected = r#"# HELP relay_runner_x Help
# TYPE relay_runner_x gauge
relay_runner_x{a="q\"\\\n",b="é"} 1.005
# HELP relay_runner_y Help
# TYPE relay_runner_y gauge
relay_runner_y{s="one"} 0
relay_runner_y{s="two"} 1
# HELP relay_runner_z Help
# TYPE relay_runner_z histogram
relay_runner_z_bucket{le="0.000000250"} 2
relay_runner_z_bucket{le="+Inf"} 3
relay_runner_z_sum 1.500000000
relay_runner_z_count 3
"#;
        assert_eq!(page.0, expected);
    }

    #[test]
    fn every_state_has_its_name() {
        assert!(states("lifecycle").any(|state| state == "working"));
        assert!(states("link").any(|state| state == "up"));
    }
}
