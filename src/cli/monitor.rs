//! `monitor`: prints what the agent is offered, a line each, for a provider that reads the output of a program it runs
//! beside itself. It waits for a runner that is started again, and never ends by itself.

use super::agent::AgentArgs;
use super::failure::{Done, Failure};
use super::given::Environment;
use super::{OK, say};
use relay_runner_shell::ExitCode;
use relay_runner_shell::client::{Client, ClientError, Lines};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Between two looks for the runner, and for whoever reads.
const LOOK_EVERY: Duration = Duration::from_millis(500);

const AFTER_HELP: &str = "\
Examples:
  relay-runner monitor                  inside a provider (run with --offers monitor)
  relay-runner monitor --agent a1       another one's

Each line is JSON: messageId, nonce, attempt, and text, which is the whole message as an agent reads
it. A line that was printed is handed over; what was not comes again. Of two monitors of one
agent the newer one has the lines, the other waits.
It ends when nobody reads its output any more, or by a signal.";

/// Print the messages that this agent is offered, as they come
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    agent: AgentArgs,
}

/// Why one connection is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    /// The runner went away, or the connection did.
    Lost,
    /// A newer monitor has the lines.
    Replaced,
    /// Nobody reads what is printed.
    Unread,
}

pub(crate) async fn run(args: &Args) -> Done {
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut takes_over = true;
    let mut told = false;
    let mut of: Option<String> = None;
    loop {
        looks.tick().await;
        if is_unread() {
            return Ok(OK);
        }
        let client = match args.agent.runner(Environment::ours()) {
            // The lines of another agent are not ours: the one that was first found is waited for.
            Ok((found, _)) if of.as_ref().is_some_and(|of| *of != found.agent_id) => continue,
            Ok((found, client)) => {
                of.get_or_insert(found.agent_id);
                client
            }
            // A command line that names no runner will not name one later.
            Err(failure) if failure.exit == ExitCode::Usage && of.is_none() => return Err(failure),
            Err(_) => continue,
        };
        match client.monitor(takes_over).await {
            Ok(lines) => match listen(&client, lines, &mut looks).await? {
                Over::Lost => takes_over = true,
                Over::Replaced => takes_over = false,
                Over::Unread => return Ok(OK),
            },
            // The runner may be started again with a monitor.
            Err(ClientError::Refused { code, message, .. }) if code == "monitor_off" && !told => {
                told = true;
                say::aside(format_args!("relay-runner: {message}; waiting for that"));
            }
            Err(_) => {}
        }
    }
}

async fn listen(client: &Client, mut lines: Lines, looks: &mut Interval) -> Result<Over, Failure> {
    loop {
        let line = tokio::select! {
            line = lines.next() => line,
            _ = looks.tick() => {
                if is_unread() {
                    return Ok(Over::Unread);
                }
                continue;
            }
        };
        let Ok(Some(line)) = line else { return Ok(Over::Lost) };
        let Ok(offer) = serde_json::from_str::<Value>(&line) else { continue };
        if offer["replaced"] == true {
            return Ok(Over::Replaced);
        }
        let Some(message) = offer["messageId"].as_u64() else { continue };
        match say::line(&line) {
            Ok(()) => {}
            Err(failure) if failure.code == "output_closed" => return Ok(Over::Unread),
            Err(failure) => return Err(failure),
        }
        if client.post("/monitor/ack", &json!({"ids": [message]})).await.is_err() {
            return Ok(Over::Lost);
        }
    }
}

/// Whether the other end of standard output is closed: also while there is nothing to print.
fn is_unread() -> bool {
    let out = std::io::stdout();
    let mut fds = [PollFd::new(&out, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&now)).is_ok_and(|_| fds[0].revents().intersects(PollFlags::ERR | PollFlags::HUP))
}
