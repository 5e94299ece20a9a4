//! `send --wait`: prints what the relay learns of a message, until its end.

use super::ago::{now, seconds};
use super::books::Books;
use super::failure::{Done, Failure};
use super::follow::{Follower, LOOK_EVERY, News, Outcome, stage_words};
use super::send::Sent;
use super::{OK, say};
use relay_runner_protocol::TaskStatus;
use relay_runner_shell::ExitCode;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

/// Silence after which somebody who waits is told that it goes on; doubled each time.
const QUIET: Duration = Duration::from_secs(2);
const QUIET_MOST: Duration = Duration::from_secs(30);
/// How long a relay may be away in the meantime, for example while it is started again.
const AWAY_MOST: Duration = Duration::from_secs(30);
/// How long the last stages may take to be reported once a task has ended.
const LAST_STAGES: Duration = Duration::from_secs(2);
/// To its end, or as long as is given. Fails when it failed, was set aside, or took longer.
pub(crate) async fn wait(books: &Books, sent: Sent, limit: Option<Duration>, json: bool) -> Done {
    let mut follower = Follower::new(sent.message, sent.task);
    let watching = watch(books, &mut follower, sent, json);
    let Some(limit) = limit else { return ended(&watching.await?, sent, json) };
    if let Ok(outcome) = timeout_at(Instant::now() + limit, watching).await {
        return ended(&outcome?, sent, json);
    }
    let text = format!(
        "message {} was not done within {} s (--timeout): {}; it goes on without you, and `relay-runner agents` shows \
         who is there",
        sent.message,
        limit.as_secs_f32(),
        follower.place()
    );
    Err(Failure::failed("timeout", text))
}

fn ended(outcome: &Outcome, sent: Sent, json: bool) -> Done {
    let took = seconds(now().saturating_sub(sent.at));
    let what = if sent.task.is_some() { "done" } else { "settled" };
    match outcome {
        Outcome::Done(report) if json => {
            say::json(&json!({"event": "ended", "outcome": what, "report": report}))?;
        }
        Outcome::Done(report) => {
            let report = report.as_deref().map(|r| format!(": {}", say::plain(r))).unwrap_or_default();
            say::line(format_args!("{what} after {took} s{report}"))?;
        }
        Outcome::Failed(why) if json => {
            say::json(&json!({"event": "ended", "outcome": "failed", "report": why}))?;
            return Ok(ExitCode::Failed);
        }
        Outcome::Failed(why) => {
            return Err(Failure::failed("not_done", format!("not done: {}", say::plain(why))));
        }
    }
    Ok(OK)
}

/// Prints what the relay learns, until the end.
async fn watch(books: &Books, follower: &mut Follower, sent: Sent, json: bool) -> Result<Outcome, Failure> {
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut quiet = QUIET;
    let mut last_word = Instant::now();
    let mut heard = Instant::now();
    let mut done: Option<Instant> = None;
    loop {
        looks.tick().await;
        let news = match follower.look(books).await {
            Ok(news) => {
                heard = Instant::now();
                news
            }
            Err(failure) if failure.code == "relay_unreachable" && heard.elapsed() < AWAY_MOST => Vec::new(),
            Err(failure) => return Err(failure),
        };
        for news in &news {
            say_news(news, sent, json)?;
            (last_word, quiet) = (Instant::now(), QUIET);
        }
        if let Some(outcome) = follower.outcome() {
            let done = *done.get_or_insert_with(Instant::now);
            if follower.is_settled() || done.elapsed() > LAST_STAGES {
                return Ok(outcome);
            }
        }
        if last_word.elapsed() >= quiet {
            let hindrance = match follower.agent() {
                Some(agent) => hindrance(books, agent).await,
                None => None,
            };
            say_place(follower, hindrance.as_deref(), sent, json)?;
            (last_word, quiet) = (Instant::now(), (quiet * 2).min(QUIET_MOST));
        }
    }
}

fn say_news(news: &News, sent: Sent, json: bool) -> Result<(), Failure> {
    match news {
        News::Stage(d) if json => say::json(&json!({
            "event": "stage", "stage": d.stage, "agentId": d.agent_id, "attempt": d.attempt, "reason": d.reason, "at": d.at,
        })),
        News::Stage(d) => {
            let again = if d.attempt > 1 { format!(", attempt {}", d.attempt) } else { String::new() };
            let reason = d.reason.as_deref().map(|r| format!(": {}", say::plain(r))).unwrap_or_default();
            let at = seconds(d.at.saturating_sub(sent.at));
            say::line(format_args!("{at:>7} s  {} {}{again}{reason}", stage_words(d.stage), say::plain(&d.agent_id)))
        }
        News::Task(task) if json => {
            say::json(&json!({"event": "task", "status": task.status, "agentId": task.agent_id, "at": task.updated_at}))
        }
        News::Task(task) => {
            let at = seconds(task.updated_at.saturating_sub(sent.at));
            let why = match (&task.report, task.status) {
                (Some(report), TaskStatus::Blocked | TaskStatus::Failed) => format!(": {}", say::plain(report)),
                _ => String::new(),
            };
            say::line(format_args!("{at:>7} s  task {} is {}{why}", task.id, task.status.as_str()))
        }
    }
}

/// What keeps the agent from its work, where it says so: parked, or on its way to another process.
async fn hindrance(books: &Books, agent: &str) -> Option<String> {
    // Who cannot be asked for is no reason to fail: the message is there.
    let seen = books.agent(agent).await.ok()??;
    let text = |key: &str| seen.meta.get(key).and_then(Value::as_str);
    let action = text("lifecycleAction")?;
    let reason = text("lifecycleReason").map(|reason| format!(": {reason}")).unwrap_or_default();
    let revive =
        if action == "parked" { format!(" (`relay-runner restart {agent}` tries again)") } else { String::new() };
    Some(format!("{agent} is {action}{reason}{revive}"))
}

fn say_place(follower: &Follower, hindrance: Option<&str>, sent: Sent, json: bool) -> Result<(), Failure> {
    let (at, place) = (seconds(now().saturating_sub(sent.at)), follower.place());
    if json {
        return say::json(&json!({"event": "waiting", "place": place, "hindrance": hindrance}));
    }
    let place = hindrance.map_or_else(|| place.clone(), |why| format!("{place}; {}", say::plain(why)));
    say::aside(format_args!("{at:>7} s  ... waiting: {place}"));
    Ok(())
}
