//! `agents`: who is on the relay.

use super::JSON;
use super::ago::{ago, now};
use super::books::RelayArgs;
use super::failure::Done;
use super::given::Environment;
use super::{OK, say};
use clap::builder::FalseyValueParser;
use relay_runner_protocol::Agent;
use relay_runner_protocol::http::AGENTS;

const AFTER_HELP: &str = "\
Examples:
  relay-runner agents
  relay-runner agents --json | jq -r '.[] | select(.ready) | .id'";

/// List the agents on a relay
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    relay: RelayArgs,
    /// Print the agents as JSON
    #[arg(long, env = JSON, hide_env_values = true, value_parser = FalseyValueParser::new())]
    json: bool,
}

pub(crate) async fn run(args: &Args) -> Done {
    let books = args.relay.books(Environment::ours())?;
    let agents: Vec<Agent> = books.get(AGENTS).await?;
    if args.json {
        say::pretty_json(&agents)?;
    } else if agents.is_empty() {
        say::line(format_args!(
            "no agent is on the relay at {}; bring one up: relay-runner run command -- ./agent.sh",
            books.base()
        ))?;
    } else {
        for line in table(&agents, now()) {
            say::line(line)?;
        }
    }
    Ok(OK)
}

fn table(agents: &[Agent], now: u64) -> Vec<String> {
    let mut rows = vec![["AGENT", "STATUS", "READY", "LABEL", "TAGS", "MACHINE", "SEEN"].map(str::to_owned)];
    rows.extend(agents.iter().map(|agent| {
        [
            say::plain(&agent.id),
            agent.status.as_str().to_owned(),
            if agent.ready { "yes" } else { "no" }.to_owned(),
            agent.label.as_deref().map_or_else(|| "-".to_owned(), say::plain),
            if agent.tags.is_empty() { "-".to_owned() } else { say::plain(&agent.tags.join(",")) },
            if agent.machine.is_empty() { "-".to_owned() } else { say::plain(&agent.machine) },
            ago(agent.last_seen, now),
        ]
    }));
    let widths: Vec<usize> = (0..7).map(|n| rows.iter().map(|row| row[n].chars().count()).max().unwrap_or(0)).collect();
    rows.iter()
        .map(|row| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        })
        .collect()
}
