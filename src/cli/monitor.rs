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
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

/// Between two looks for the runner, and for whoever reads.
const LOOK_EVERY: Duration = Duration::from_millis(500);

const AFTER_HELP: &str = "\
Examples:
  relay-runner monitor                  inside a provider (run with --offers monitor)
  relay-runner monitor --agent a1       another one's
  relay-runner monitor --lines          for a provider that shows its model each line, and cuts long ones

Each line is JSON: messageId, nonce, attempt, text, which is the whole message as an agent reads it,
and line, which is the same on one line of at most 480 characters, with the command that shows the
rest. A line with `words` instead of messageId is said to the agent, and is no message. With --lines
only `line` is printed, and never more than 5 of them within 1.5 s.
A line that was printed is handed over; what was not comes again. Of two monitors of one
agent the newer one has the lines, the other waits.
It ends when nobody reads its output any more, or by a signal.";

/// Print the messages that this agent is offered, as they come
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(flatten)]
    agent: AgentArgs,
    /// Print each message as one short line instead of JSON, no faster than a provider takes them
    #[arg(long)]
    lines: bool,
}

/// When lines were printed last. Claude Code takes 20 lines in a second, and drops some of 100.
#[derive(Debug, Default)]
struct Pace(VecDeque<Instant>);

impl Pace {
    const LINES: usize = 5;
    const WITHIN: Duration = Duration::from_millis(1_500);

    /// When one more may be printed, of which it is taken that it is then.
    fn line(&mut self, now: Instant) -> Instant {
        let first = if self.0.len() >= Self::LINES { self.0.pop_front() } else { None };
        let at = first.map_or(now, |first| now.max(first + Self::WITHIN));
        self.0.push_back(at);
        at
    }
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
    let mut pace = args.lines.then(Pace::default);
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
            Ok(lines) => match listen(&client, lines, &mut looks, pace.as_mut()).await? {
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

async fn listen(
    client: &Client,
    mut lines: Lines,
    looks: &mut Interval,
    mut pace: Option<&mut Pace>,
) -> Result<Over, Failure> {
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
        let read = match (offer["messageId"].as_u64(), offer["words"].as_u64()) {
            (Some(message), _) => json!({"ids": [message]}),
            (None, Some(words)) => json!({"ids": [], "words": [words]}),
            (None, None) => continue,
        };
        let printed = match &mut pace {
            // A runner of an earlier version has no line.
            Some(pace) => print(offer["line"].as_str().or(offer["text"].as_str()).unwrap_or_default(), pace).await,
            None => say::line(&line),
        };
        match printed {
            Ok(()) => {}
            Err(failure) if failure.code == "output_closed" => return Ok(Over::Unread),
            Err(failure) => return Err(failure),
        }
        if client.post("/monitor/ack", &read).await.is_err() {
            return Ok(Over::Lost);
        }
    }
}

async fn print(lines: &str, pace: &mut Pace) -> Result<(), Failure> {
    for line in lines.lines() {
        tokio::time::sleep_until(pace.line(Instant::now())).await;
        say::line(line)?;
    }
    Ok(())
}

/// Whether the other end of standard output is closed: also while there is nothing to print.
fn is_unread() -> bool {
    let out = std::io::stdout();
    let mut fds = [PollFd::new(&out, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&now)).is_ok_and(|_| fds[0].revents().intersects(PollFlags::ERR | PollFlags::HUP))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_in_small_batches() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let at: Vec<_> = (0..12).map(|_| (pace.line(start) - start).as_millis()).collect();
        assert_eq!(at, [0, 0, 0, 0, 0, 1_500, 1_500, 1_500, 1_500, 1_500, 3_000, 3_000]);
        let later = start + Duration::from_secs(9);
        assert_eq!(pace.line(later), later);
    }
}
