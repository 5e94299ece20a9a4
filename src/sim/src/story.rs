//! A plan in plain words, for whoever has to understand it: a line for what the world is made of, one for each thing
//! that happens, with its time.

mod setup;

use crate::plan::{
    CallKind, Class, Fate, FrameFate, Millis, Noise, Offering, Plan, Report, Signal, Start, To, Turn, Verb, Way, What,
};

/// The story of a plan, a line each.
pub fn story(plan: &Plan) -> Vec<String> {
    let mut lines = vec![setup::setup(&plan.setup)];
    if !plan.kills.is_empty() {
        let kills: Vec<String> = plan.kills.iter().map(u64::to_string).collect();
        lines.push(format!(
            "runner 0 is killed behind these of its effects, counted over the whole run: {}",
            kills.join(", ")
        ));
    }
    // As the world counts them: another instance is one more.
    let mut runners = plan.setup.runners.clamp(1, 3) as u64;
    for step in plan.steps.iter().filter(|step| step.at < plan.calm) {
        lines.push(format!("at {} {}", time(step.at), happens(&step.what, runners)));
        if step.what == What::Rival && runners < 4 {
            runners += 1;
        }
    }
    lines.push(format!("from {} on everything is mended, and must come to rest", time(plan.calm)));
    lines
}

/// `0:01.500`, with hours where there are any.
pub fn time(at: Millis) -> String {
    let (hours, minutes, seconds) = (at / 3_600_000, at / 60_000 % 60, at / 1_000 % 60);
    if hours == 0 {
        format!("{minutes}:{seconds:02}.{:03}", at % 1_000)
    } else {
        format!("{hours}:{minutes:02}:{seconds:02}.{:03}", at % 1_000)
    }
}

fn span(millis: Millis) -> String {
    match millis {
        0..=9_999 => format!("{millis} ms"),
        10_000..=599_999 => format!("{} s", tenths(millis, 1_000)),
        600_000..=7_199_999 => format!("{} min", tenths(millis, 60_000)),
        _ => format!("{} h", tenths(millis, 3_600_000)),
    }
}

fn tenths(millis: Millis, unit: Millis) -> String {
    match millis * 10 / unit % 10 {
        0 => (millis / unit).to_string(),
        tenth => format!("{}.{tenth}", millis / unit),
    }
}

/// The next of something, or so many of them.
fn next(times: u64, one: &str) -> String {
    match times {
        1 => format!("the next {one}"),
        times => format!("each of the next {times} {one}s"),
    }
}

/// What a step does, where there are so many runners.
pub fn happens(what: &What, runners: u64) -> String {
    let runner = |who: u64| format!("runner {}", who % runners.max(1));
    let back = |millis: Millis| format!("it is back after {}", span(millis));
    match what {
        What::Message { to, claim, task, urgent, poison, attachments, count } => {
            message(*to, *claim, *task, *urgent, *poison, *attachments, *count)
        }
        What::Command { name, here, who } => command(*name, *here, &runner(*who)),
        What::CommandAgain { nth } => format!("the relay says a command again: number {nth}, counted from 0"),
        What::Decide { nth, approve, here } => format!(
            "somebody {} question {nth} of the provider, {}",
            if *approve { "approves" } else { "denies" },
            place(*here)
        ),
        What::Signal { signal, who } => format!("{} gets the signal {}", runner(*who), signal_name(*signal)),
        What::Token { lives, who } => format!("{} is handed another token, which lives {lives} s", runner(*who)),
        What::Start { fresh: false, who } => format!("{} is started, if it has ended", runner(*who)),
        What::Start { fresh: true, who } => {
            format!("{} is started, if it has ended, and knows nothing of before", runner(*who))
        }
        What::Rival => "another instance of the first agent is started on another machine".to_owned(),
        What::Claims { nth } => format!("another agent claims open message {nth}"),
        What::Releases { nth } => format!("another agent releases open message {nth}"),
        What::Finishes { nth } => format!("another agent finishes open message {nth}"),
        What::Deletes { nth } => format!("somebody deletes open message {nth}"),
        What::Cancels { nth } => format!("somebody cancels the task of open message {nth}"),
        What::Relabels { who } => format!("the agent of {} gets another label", runner(*who)),
        What::RelayDown { millis } => format!("the relay goes down; {}", back(*millis)),
        What::RelayBusy { millis, retry } => {
            format!("the relay answers 503 for {}, and asks to come again in {}", span(*millis), span(*retry))
        }
        What::RelayErrs { millis } => format!("the relay answers 500 for {}", span(*millis)),
        What::Prunes => "the relay forgets the agents that it knows".to_owned(),
        What::AnotherRelay => "the relay begins anew, with an empty database".to_owned(),
        What::ForgetsEvents => "the relay forgets the events so far".to_owned(),
        What::Revokes { who } => format!("the token that {} uses is revoked", runner(*who)),
        What::Refuses { millis } => format!("all tokens are refused for {}", span(*millis)),
        What::Breaks { who } => format!("the connection of {} breaks", runner(*who)),
        What::HalfOpen { who } => format!("the connection of {} is dead, and nobody says so", runner(*who)),
        What::Cut { way, millis, who } => {
            let way = match way {
                Way::Up => "to the relay",
                Way::Down => "from the relay",
                Way::Both => "to or from the relay",
            };
            format!("nothing of {} comes through {way} for {}", runner(*who), span(*millis))
        }
        What::Slow { extra, millis } => {
            format!("everything takes up to {} longer on its way, for {}", span(*extra), span(*millis))
        }
        What::Calls { kind, fate, times } => format!("{} {}", next(*times, call(*kind)), fate_of_call(*fate)),
        What::Frames { fate, times, who } => {
            format!("{} from the relay to {} {}", next(*times, "frame"), runner(*who), fate_of_frame(*fate))
        }
        What::Dies { class, who } => format!("the provider of {} {}", runner(*who), dies(*class)),
        What::Starts { how, times } => format!("{} of a provider {}", next(*times, "start"), starts(*how)),
        What::Turns { how, times } => format!("{} {}", next(*times, "turn"), turns(*how)),
        What::Offers { how, times } => format!("{} {}", next(*times, "offer"), offers(*how)),
        What::Acts { hang: false, times } => format!("{} of a provider is refused", next(*times, "other operation")),
        What::Acts { hang: true, times } => {
            format!("{} of a provider is never answered", next(*times, "other operation"))
        }
        What::Loses { report, times } => format!("{} is lost", next(*times, report_of(*report))),
        What::Delays { report, millis, times } => {
            format!("{} comes {} late", next(*times, report_of(*report)), span(*millis))
        }
        What::Asks { hook, who } => {
            let way = if *hook { "by a hook" } else { "through its adapter" };
            format!("the provider of {} asks for a decision in its next turn, {way}", runner(*who))
        }
        What::Answers { who } => {
            format!("a person answers the question of {}'s provider in its own terminal", runner(*who))
        }
        What::Ignores { terminate, late, who } => format!(
            "the provider of {} does nothing of what it is told{}; its exit shows {} late",
            runner(*who),
            if *terminate { ", not even on TERM" } else { " but end on TERM" },
            span(*late)
        ),
        What::Floods { count, who } => format!("the provider of {} says {count} things at once", runner(*who)),
        What::Says { what, who } => noise(*what, &runner(*who)),
        What::Killed { after, back: millis, who } => format!(
            "{} is to be killed in its next step that does something, behind {after} of its effects; {}",
            runner(*who),
            back(*millis)
        ),
        What::PowerFails { kept, back: millis, who } => {
            let kept = match kept {
                0 => String::new(),
                kept => format!(", and {kept} of the records that were not forced to the disk are there all the same"),
            };
            format!("the power of {} fails; {}{kept}", runner(*who), back(*millis))
        }
        What::DiskFull { who } => format!("the disk of {} is full", runner(*who)),
        What::ControlFails { hang: false } => "the next start of a control server fails".to_owned(),
        What::ControlFails { hang: true } => "the next start of a control server is never answered".to_owned(),
        What::ClockSet { by, who } => format!(
            "the clock of {} is set {} by {}",
            runner(*who),
            if *by < 0 { "back" } else { "forward" },
            span(by.unsigned_abs())
        ),
        What::Drifts { ppm, who } => format!("the clock of {} drifts by {ppm} millionths", runner(*who)),
        What::Jitters { most, who } => format!("the timers of {} go off up to {} late", runner(*who), span(*most)),
        What::Sleeps { millis, who } => format!("the machine of {} sleeps for {}", runner(*who), span(*millis)),
    }
}

fn message(to: To, claim: bool, task: Option<u64>, urgent: bool, poison: bool, attachments: u32, count: u64) -> String {
    let what = match (count, urgent) {
        (1, false) => "a message is sent".to_owned(),
        (1, true) => "an urgent message is sent".to_owned(),
        (count, false) => format!("{count} messages are sent"),
        (count, true) => format!("{count} urgent messages are sent"),
    };
    let to = match to {
        To::Agent => "to the agent",
        To::Label => "to its label",
        To::Everybody => "to everybody",
        To::Tag => "to its tag",
        To::Nobody => "to somebody else",
    };
    let claim = if claim { ", to be claimed" } else { "" };
    let task = task.map(|task| format!(", of task {task}")).unwrap_or_default();
    let attachments = match attachments {
        0 => String::new(),
        1 => ", with an attachment".to_owned(),
        more => format!(", with {more} attachments"),
    };
    let poison = if poison { ", which no adapter can hand over" } else { "" };
    format!("{what} {to}{claim}{task}{attachments}{poison}")
}

const fn place(here: bool) -> &'static str {
    if here { "on its machine" } else { "through the relay" }
}

fn command(name: Verb, here: bool, runner: &str) -> String {
    let order = match name {
        Verb::Restart => "to restart its provider",
        Verb::Reconnect => "to connect again",
        Verb::Compact => "to compact",
        Verb::Clear => "to clear the context",
        Verb::Inject => "to take in context",
        Verb::Shutdown => "to shut down",
        Verb::Kill => "to kill its provider and end",
        Verb::Dance => "to do what nobody knows",
        Verb::Foreign => return format!("{runner} gets a command for another agent, {}", place(here)),
    };
    format!("{runner} is told {order}, {}", place(here))
}

const fn signal_name(signal: Signal) -> &'static str {
    match signal {
        Signal::Term => "TERM",
        Signal::Quit => "QUIT",
        Signal::Hup => "HUP",
        Signal::Usr2 => "USR2",
    }
}

const fn call(kind: CallKind) -> &'static str {
    match kind {
        CallKind::Any => "call of the relay",
        CallKind::Claim => "call that claims",
        CallKind::Renew => "call that renews a claim",
        CallKind::Release => "call that releases a claim",
        CallKind::Task => "call about a task",
        CallKind::Read => "call that marks as read",
        CallKind::Stage => "call that reports a stage",
        CallKind::Command => "call that reports an outcome",
        CallKind::Liveness => "call that says the runner lives",
        CallKind::Token => "call that renews a token",
        CallKind::Farewell => "call that takes leave",
    }
}

const fn fate_of_call(fate: Fate) -> &'static str {
    match fate {
        Fate::Lost => "never reaches it",
        Fate::AnswerLost => "is carried out, and its answer is lost",
        Fate::Broken => "is carried out, and then the connection breaks",
        Fate::Twice => "reaches it twice, some seconds apart",
        Fate::TooLate => "comes after everybody has stopped waiting",
        Fate::Slow => "is answered some seconds late",
        Fate::Busy => "is answered with 503",
        Fate::Errs => "is answered with 500",
        Fate::Unauthorized => "is refused for its token",
        Fate::NotFound => "is told that there is no such thing",
        Fate::Conflict => "is told of a conflict",
        Fate::Expired => "is told that the claim has ended",
        Fate::Invalid => "is refused as invalid",
    }
}

const fn fate_of_frame(fate: FrameFate) -> &'static str {
    match fate {
        FrameFate::Lost => "is lost",
        FrameFate::Twice => "comes twice",
        FrameFate::Late => "is overtaken by those behind it",
        FrameFate::Garbled => "is garbled",
        FrameFate::Unknown => "is of a kind that nobody knows",
    }
}

const fn dies(class: Class) -> &'static str {
    match class {
        Class::Clean => "ends in order",
        Class::Crash => "crashes",
        Class::Signal => "is killed by a signal",
        Class::Hang => "hangs, and is ended for it",
        Class::StartTimeout => "ends as one that never got ready",
        Class::Refused => "ends because its credentials are refused",
        Class::UsageLimit => "ends at a usage limit, with a known end",
        Class::UsageLimitOpen => "ends at a usage limit, without a known end",
    }
}

const fn starts(how: Start) -> &'static str {
    match how {
        Start::Fails => "fails",
        Start::Hangs => "is never answered",
        Start::Slow => "is slow",
        Start::Never => "gives a process that never gets ready",
        Start::Stillborn => "gives a process that dies before the start is confirmed",
        Start::Early => "gives a process that is at work before the start is confirmed",
        Start::Short => "gives a process that dies soon after it was ready",
    }
}

const fn turns(how: Turn) -> &'static str {
    match how {
        Turn::Fails => "fails",
        Turn::Interrupted => "is stopped by a person in the provider's own terminal",
        Turn::Long => "is long",
        Turn::Hangs => "hangs",
        Turn::Short => "is short",
        Turn::Busy => "has an agent of its own, and a compaction",
        Turn::Never => "never begins, although its message was taken",
    }
}

const fn offers(how: Offering) -> &'static str {
    match how {
        Offering::Fails => "fails",
        Offering::NotReady => "meets a provider that is not ready",
        Offering::Broken => "fails, although it arrived",
        Offering::Hangs => "is never answered, and arrived",
        Offering::HangsLost => "is never answered, and did not arrive",
        Offering::Missed => "did not arrive, as the adapter finds out",
        Offering::Silent => "is never shown to be taken",
    }
}

const fn report_of(report: Report) -> &'static str {
    match report {
        Report::Busy => "report of a turn's beginning",
        Report::Idle => "report of a turn's end",
        Report::Taken => "report of what was taken",
        Report::Exit => "report of an exit",
        Report::Subagent => "report of an agent's agent",
        Report::Compaction => "report of a compaction",
    }
}

fn noise(what: Noise, runner: &str) -> String {
    match what {
        Noise::LateHook => format!("{runner} hears from a hook of the session before that it is idle"),
        Noise::Nested => format!("{runner} hears from a hook of a copy that its agent runs itself that it is idle"),
        Noise::LateExit => format!("{runner} hears once more of the exit of the process before"),
        Noise::SessionEnds => {
            format!("{runner} hears from a hook that a session ended and another began, in the living process")
        }
        Noise::Evidence => format!("{runner} hears that its provider took an offer that never was"),
        Noise::Babble => format!("{runner} hears from its provider what nobody can read"),
        Noise::Alive => format!("{runner} hears from its provider that it lives"),
        Noise::OldAnswer => format!("{runner} gets an answer to an operation of long ago"),
        Noise::OldFrame => format!("{runner} gets a frame of a connection of long ago"),
        Noise::IdleAgain => format!("{runner} hears twice that its provider is idle"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Step;
    use crate::swarm;

    #[test]
    fn a_plan_is_told_step_by_step() {
        let mut plan = swarm::plan(1);
        plan.setup.runners = 1;
        plan.calm = 2 * 3_600_000;
        plan.kills = vec![3, 20];
        let at = |at, what| Step { at, what };
        plan.steps = vec![
            at(1_500, What::PowerFails { kept: 0, back: 10, who: 1 }),
            at(61_000, What::Rival),
            at(61_001, What::Calls { kind: CallKind::Claim, fate: Fate::AnswerLost, times: 1 }),
            at(61_002, What::Breaks { who: 1 }),
        ];
        let told = story(&plan);
        assert!(told[0].starts_with("one runner; the provider can: "), "{told:?}");
        assert_eq!(told[1], "runner 0 is killed behind these of its effects, counted over the whole run: 3, 20");
        assert_eq!(told[2], "at 0:01.500 the power of runner 0 fails; it is back after 10 ms");
        assert_eq!(told[4], "at 1:01.001 the next call that claims is carried out, and its answer is lost");
        assert_eq!(told[5], "at 1:01.002 the connection of runner 1 breaks", "there are two of them by now");
        assert_eq!(told[6], "from 2:00:00.000 on everything is mended, and must come to rest");
    }

    #[test]
    fn different_steps_read_differently() {
        let mut told: std::collections::BTreeMap<String, What> = std::collections::BTreeMap::new();
        for step in (0..500).flat_map(|seed| swarm::plan(seed).steps) {
            let words = happens(&step.what, 2);
            assert!(words.is_ascii() && !words.contains("  ") && words.len() > 10, "{words}");
            let kind = step.what.kind();
            let other = told.entry(words).or_insert_with_key(|_| step.what.clone());
            assert_eq!(other.kind(), kind);
        }
    }
}
