//! Any event at all, in any order and with absurd numbers: the core neither panics, nor leaves its bounds, nor stops
//! asking to be woken.

use proptest::prelude::*;
use relay_runner_core::config::{Adapter, Config, Delivery, Limits, MarkRead, Mode, OnGiveUp, Settings};
use relay_runner_core::event::{
    ApprovalRequest, BusFrame, CommandOrder, ContextConfidence, ContextReport, ContextSource, ExitClass, ExitReport,
    Failure, FailureKind, HookReport, Incoming, LinkReport, OpResult, Order, Params, ProcessRef, ProviderReport,
    RelayEvent, ReportStatus, Signal, StatusReport, TakenOffer, TimelineReport, TokenRecord, TurnEnd,
};
use relay_runner_core::ids::{Nonce, Text, TokenSlot};
use relay_runner_core::{BodyRef, Core, DurableFacts, Effect, Effects, Event, Generation, OpId, RequestId, Stamp};
use relay_runner_protocol::{ErrorCode, TaskStatus};

use crate::depth;
use crate::world::config;

/// Small numbers, which meet something, and absurd ones.
fn number() -> BoxedStrategy<u64> {
    prop_oneof![6 => 0..12_u64, 2 => 0..2_000_000_u64, 1 => Just(u64::MAX), 1 => Just(u64::MAX - 1), 1 => any::<u64>()]
        .boxed()
}

fn text() -> BoxedStrategy<Text> {
    let known = prop::sample::select(vec![
        "a1",
        "r1",
        "b",
        "label:dev",
        "broadcast",
        "tag:x",
        "policy:x",
        "",
        "c1",
        "c2",
        "status-1",
        "provider-turn",
        "subagent",
        "agent.shutdown",
        "agent.kill",
        "agent.restart",
        "agent.reconnect",
        "agent.compact",
        "agent.clearContext",
        "agent.injectContext",
        "agent.permissionDecision",
        "approve",
        "deny",
        "p1",
        "p2",
    ]);
    prop_oneof![12 => known.prop_map(Text::from), 1 => any::<String>().prop_map(Text::from)].boxed()
}

fn maybe<T: std::fmt::Debug>(of: impl Strategy<Value = T>) -> impl Strategy<Value = Option<T>> {
    prop::option::of(of)
}

fn body() -> BoxedStrategy<BodyRef> {
    (any::<u32>(), any::<u32>(), any::<u64>())
        .prop_map(|(len, trimmed, digest)| BodyRef { len, trimmed, digest })
        .boxed()
}

fn incoming() -> BoxedStrategy<Incoming> {
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), prop::bool::weighted(0.1));
    let ours = prop_oneof![4 => Just(Text::from("a1")), 1 => text()];
    (number(), ours, maybe(text()), flags, maybe(text()), maybe(number()), any::<u32>(), body())
        .prop_map(
            |(id, to, resolved, (claimable, urgent, reply_expected, read), claimed_by, task, attachments, body)| {
                Incoming {
                    id,
                    from: "alice".into(),
                    to,
                    resolved: resolved.filter(|_| id % 5 == 0),
                    kind: "chat".into(),
                    claimable,
                    urgent,
                    reply_expected,
                    read,
                    claimed_by: claimed_by.filter(|_| id % 3 == 0),
                    task,
                    attachments,
                    body,
                }
            },
        )
        .boxed()
}

fn failure() -> BoxedStrategy<Failure> {
    let kinds = prop_oneof![
        prop::sample::select(vec![
            FailureKind::Unreachable,
            FailureKind::TimedOut,
            FailureKind::Unauthorized,
            FailureKind::NotFound,
            FailureKind::Conflict,
            FailureKind::Expired,
            FailureKind::Invalid,
            FailureKind::Server,
            FailureKind::NotReady,
            FailureKind::Unsupported,
            FailureKind::Io,
            FailureKind::Provider,
        ]),
        maybe(number()).prop_map(|retry_after| FailureKind::Busy { retry_after }),
    ];
    (kinds, text()).prop_map(|(kind, text)| Failure { kind, text }).boxed()
}

fn token() -> BoxedStrategy<TokenRecord> {
    let profile = prop::sample::select(vec!["provider-agent", "provider-interactive", "user"]);
    let end = prop_oneof![number(), 1_799_999_990..1_800_100_000_u64];
    (maybe(text()), maybe(profile), maybe(end))
        .prop_map(|(jti, profile, expires_at)| TokenRecord { jti, profile: profile.map(Text::from), expires_at })
        .boxed()
}

fn result() -> BoxedStrategy<OpResult> {
    prop_oneof![
        3 => Just(OpResult::Ok),
        1 => text().prop_map(OpResult::Said),
        2 => (any::<u32>(), number(), text()).prop_map(|(pid, started, boot)| {
            OpResult::Spawned(ProcessRef { pid, started, boot })
        }),
        3 => (number(), maybe(number())).prop_map(|(fence, lease)| OpResult::Granted { fence, lease }),
        1 => maybe(text()).prop_map(|by| OpResult::Refused { by }),
        2 => maybe(number()).prop_map(|lease| OpResult::Renewed { lease }),
        1 => Just(OpResult::Pruned),
        2 => (prop::collection::vec(incoming(), 0..6), any::<bool>()).prop_map(|(messages, full)| {
            OpResult::Unread { messages, full }
        }),
        1 => prop::collection::vec(number(), 0..4).prop_map(|messages| OpResult::Owed { messages }),
        1 => Just(OpResult::Settings(Box::new(Settings::of(&config())))),
        1 => token().prop_map(|record| OpResult::Token { slot: TokenSlot(2), record }),
        3 => failure().prop_map(OpResult::Failed),
    ]
    .boxed()
}

fn report() -> BoxedStrategy<StatusReport> {
    let status =
        prop::sample::select(vec![ReportStatus::Busy, ReportStatus::Idle, ReportStatus::Offline, ReportStatus::Error]);
    let end = prop_oneof![
        3 => Just(TurnEnd::Normal),
        1 => text().prop_map(|error| TurnEnd::Failed { error }),
        1 => any::<bool>().prop_map(|by_person| TurnEnd::Interrupted { by_person }),
    ];
    let timeline = (text(), maybe(text()), maybe(number())).prop_map(|(status, id, timestamp)| TimelineReport {
        status,
        id,
        timestamp,
    });
    let lists = (prop::collection::vec(text(), 0..3), prop::collection::vec(text(), 0..3));
    (status, maybe(text()), maybe(text()), end, maybe(timeline), lists, maybe(any::<u32>()))
        .prop_map(|(status, reason, id, end, timeline, (clear, still_running), pid)| StatusReport {
            status,
            reason,
            id,
            end,
            timeline,
            clear,
            still_running,
            pid,
            ..StatusReport::default()
        })
        .boxed()
}

fn provider() -> BoxedStrategy<ProviderReport> {
    let offers = prop::collection::vec((number(), maybe(any::<u32>())), 0..4);
    let class = prop_oneof![
        prop::sample::select(vec![
            ExitClass::Clean,
            ExitClass::Crash,
            ExitClass::Hang,
            ExitClass::StartTimeout,
            ExitClass::SpawnFailed,
            ExitClass::Refused,
        ]),
        maybe(number()).prop_map(|until| ExitClass::UsageLimit { until }),
    ];
    prop_oneof![
        3 => Just(ProviderReport::Ready),
        4 => report().prop_map(|report| ProviderReport::Status(Box::new(report))),
        3 => (offers, any::<bool>()).prop_map(|(offers, into_turn)| {
            let offers = offers.into_iter().map(|(message, nonce)| TakenOffer { message, nonce: nonce.map(Nonce) });
            ProviderReport::Taken { offers: offers.collect(), into_turn }
        }),
        1 => Just(ProviderReport::SignOfLife),
        1 => (text(), text(), maybe(text())).prop_map(|(id, kind, tool)| {
            ProviderReport::ApprovalOpened(Box::new(ApprovalRequest { id, kind, tool, reason: None }))
        }),
        1 => text().prop_map(|id| ProviderReport::ApprovalClosed { id }),
        1 => text().prop_map(|id| ProviderReport::Conversation { id }),
        1 => context().prop_map(ProviderReport::Context),
        1 => (text(), maybe(text())).prop_map(|(model, effort)| ProviderReport::Model { model, effort }),
        1 => (class, text()).prop_map(|(class, detail)| ProviderReport::Exit(ExitReport { class, detail })),
        1 => text().prop_map(|reason| ProviderReport::Malformed { reason }),
    ]
    .boxed()
}

fn context() -> impl Strategy<Value = ContextReport> {
    let source = prop::sample::select(ContextSource::ALL.to_vec());
    let confidence = prop::sample::select(ContextConfidence::ALL.to_vec());
    (number(), number(), source, confidence).prop_map(|(used, window, source, confidence)| ContextReport {
        used,
        window,
        source,
        confidence,
    })
}

fn command() -> BoxedStrategy<Box<CommandOrder>> {
    let params = (maybe(text()), maybe(number()), maybe(text()), maybe(text()), maybe(body())).prop_map(
        |(reason, timeout, approval, decision, content)| Params {
            reason,
            timeout,
            approval,
            decision,
            content,
            memory_ids: Vec::new(),
        },
    );
    (text(), text(), maybe(Just(Text::from("a1"))), params)
        .prop_map(|(id, name, target, params)| Box::new(CommandOrder { id, name, target, params }))
        .boxed()
}

fn frame() -> BoxedStrategy<BusFrame> {
    let event = prop_oneof![
        6 => incoming().prop_map(|message| RelayEvent::MessageNew(Box::new(message))),
        1 => (number(), maybe(text())).prop_map(|(message, by)| RelayEvent::MessageClaimed { message, by }),
        1 => number().prop_map(|message| RelayEvent::ClaimReleased { message }),
        1 => number().prop_map(|message| RelayEvent::MessageDeleted { message }),
        1 => (number(), number(), any::<bool>()).prop_map(|(task, message, cancelled)| {
            RelayEvent::Task { task, message, status: TaskStatus::Open, cancelled }
        }),
        1 => text().prop_map(|name| RelayEvent::Other { name }),
    ];
    let code = prop::sample::select(vec![
        ErrorCode::Unauthorized,
        ErrorCode::NotRegistered,
        ErrorCode::RateLimited,
        ErrorCode::InvalidFrame,
        ErrorCode::Unknown,
    ]);
    prop_oneof![
        3 => (number(), number(), maybe(text()), maybe(number())).prop_map(|(epoch, cursor, relay, heartbeat)| {
            BusFrame::Registered { epoch, cursor, relay: relay.filter(|_| cursor > 5), heartbeat }
        }),
        8 => (text(), number(), event).prop_map(|(frame, seq, event)| BusFrame::Event { frame, seq, event }),
        3 => (text(), command()).prop_map(|(frame, command)| BusFrame::Command { frame, command }),
        1 => text().prop_map(|frame| BusFrame::Ack { frame }),
        1 => (number(), number(), any::<bool>()).prop_map(|(from, to, gap)| BusFrame::Replayed { from, to, gap }),
        1 => (code, text()).prop_map(|(code, message)| BusFrame::Error { code, message }),
        1 => text().prop_map(|kind| BusFrame::Unknown { kind }),
        1 => text().prop_map(|reason| BusFrame::Malformed { reason }),
    ]
    .boxed()
}

fn order() -> BoxedStrategy<Order> {
    let signals = prop::sample::select(vec![Signal::Hup, Signal::Hup, Signal::Term, Signal::Quit, Signal::Usr2]);
    prop_oneof![
        1 => signals.prop_map(Order::Signal),
        4 => (number(), command()).prop_map(|(request, command)| Order::Command { request: RequestId(request), command }),
        4 => (number(), report()).prop_map(|(request, report)| {
            Order::Report { request: RequestId(request), report: Box::new(report) }
        }),
        2 => (number(), report(), prop::option::of(any::<bool>()), any::<bool>(), number()).prop_map(
            |(request, report, held_before, says, message)| {
                let hook = HookReport {
                    session: report.session.clone(),
                    taken: vec![TakenOffer { message, nonce: None }],
                    report: says.then_some(report),
                    held_before,
                    ..HookReport::default()
                };
                Order::Hook { request: RequestId(request), hook: Box::new(hook) }
            }
        ),
        1 => number().prop_map(|message| Order::Replied { message }),
        1 => text().prop_map(|why| Order::JournalBroken { why }),
        1 => token().prop_map(|record| Order::Token { request: None, slot: TokenSlot(3), record }),
    ].boxed()
}

/// An event as it comes, or aimed at what the core has just asked for.
#[derive(Debug, Clone)]
enum Shot {
    Any(Event),
    /// The answer to one of the open questions.
    Answer(usize, OpResult),
    /// Over the connection that is open.
    Frame(BusFrame),
    Link(LinkReport),
    /// From the process that lives.
    Report(ProviderReport),
    /// Time goes to the next deadline.
    Wait,
}

/// How far the monotonic clock goes on, and where the wall clock stands then.
type Time = Option<(u64, u64)>;

fn shots() -> BoxedStrategy<Vec<(Time, Shot)>> {
    let link = || {
        prop_oneof![
            3 => Just(LinkReport::Opened),
            1 => failure().prop_map(LinkReport::Failed),
            1 => text().prop_map(LinkReport::Closed),
        ]
    };
    let any = prop_oneof![
        Just(Event::Boot),
        Just(Event::Wake),
        (number(), link()).prop_map(|(conn, report)| Event::Link(conn, report)),
        (number(), frame()).prop_map(|(conn, frame)| Event::Bus(conn, frame)),
        (number(), provider()).prop_map(|(generation, report)| Event::Provider(Generation(generation), report)),
        (number(), result()).prop_map(|(op, result)| Event::Done(OpId(op), result)),
        order().prop_map(Event::Order),
    ];
    let shot = prop_oneof![
        2 => any.prop_map(Shot::Any),
        6 => (0..8_usize, result()).prop_map(|(n, result)| Shot::Answer(n, result)),
        5 => frame().prop_map(Shot::Frame),
        2 => link().prop_map(Shot::Link),
        5 => provider().prop_map(Shot::Report),
        2 => Just(Shot::Wait),
    ];
    let time = prop_oneof![1 => (number(), number()).prop_map(Some), 12 => Just(None)];
    prop::collection::vec((time, shot), 0..150).boxed()
}

fn figures() -> BoxedStrategy<Config> {
    let adapter = prop::collection::vec(any::<bool>(), 9);
    let modes = (any::<bool>(), any::<bool>(), any::<bool>(), 0..3_u8, any::<bool>());
    (adapter, modes, 1..6_usize, any::<u64>(), maybe(token()))
        .prop_map(|(a, modes, small, seed, credential)| {
            let (interactive, park, prompt, delivery, taken) = modes;
            Config {
                mode: if interactive { Mode::Interactive } else { Mode::Headless },
                on_give_up: if park { OnGiveUp::Park } else { OnGiveUp::Exit },
                first_prompt: prompt.then(|| BodyRef::of("begin")),
                delivery: [Delivery::Queue, Delivery::Steer, Delivery::Interrupt][usize::from(delivery)],
                mark_read: if taken { MarkRead::Taken } else { MarkRead::Worked },
                adapter: Adapter {
                    restartable: a[0] || a[1],
                    adoptable: a[2],
                    typed: a[3],
                    evidence: a[4] || a[5],
                    steer: a[6],
                    interrupt: a[7],
                    compact: a[8],
                    clear: a[8],
                    inject: a[8],
                    between_turns: a[2],
                    attach: a[2],
                    live: a[2],
                },
                seed,
                credential,
                limits: Limits {
                    held: small * 2,
                    claims: small,
                    timeline: small,
                    commands: small,
                    settled: small,
                    work: small,
                    reports: small * 4,
                    reports_under_way: small,
                    approvals: small,
                    log_keys: small,
                    ..Limits::default()
                },
                ..config()
            }
        })
        .boxed()
}

/// A core under fire, and as much of the world as is needed to aim.
struct Target {
    core: Core,
    now: Stamp,
    fx: Effects,
    open: Vec<OpId>,
    conn: u64,
}

impl Target {
    fn is_shot(&mut self, at: Time, shot: Shot) {
        if let Some((mono, wall)) = at {
            self.now = Stamp::new(self.now.mono.saturating_add(mono), wall);
        }
        let event = match shot {
            Shot::Any(event) => event,
            Shot::Answer(n, result) if n < self.open.len() => Event::Done(self.open.remove(n), result),
            Shot::Answer(..) => Event::Wake,
            Shot::Frame(frame) => Event::Bus(self.conn, frame),
            Shot::Link(report) => Event::Link(self.conn, report),
            Shot::Report(report) => Event::Provider(self.core.view().process.generation, report),
            Shot::Wait => {
                self.now.mono = self.core.next_deadline().map_or(self.now.mono, |(at, _)| at.max(self.now.mono));
                Event::Wake
            }
        };
        self.fx.clear();
        self.core.step(self.now, event, &mut self.fx);
        for effect in &self.fx.effects {
            match effect {
                Effect::StartControl { op }
                | Effect::WriteInfo { op }
                | Effect::ReadSettings { op }
                | Effect::FetchAttachments { op, .. }
                | Effect::Http { op, .. }
                | Effect::Spawn { op, .. }
                | Effect::Adopt { op, .. }
                | Effect::Provider { op, .. } => self.open.push(*op),
                Effect::Connect { conn } => self.conn = *conn,
                Effect::Disconnect { .. }
                | Effect::Send { .. }
                | Effect::Stop { .. }
                | Effect::UseToken { .. }
                | Effect::Answer { .. }
                | Effect::Finish { .. } => {}
            }
        }
    }

    fn is_sound(&self) -> Result<(), TestCaseError> {
        let view = self.core.view();
        let limits = &self.core.config().limits;
        prop_assert!(view.messages.len() <= limits.held);
        prop_assert!(view.set_aside.len() <= limits.settled);
        prop_assert!(view.approvals.len() <= limits.approvals);
        prop_assert!(view.claims.len() <= limits.held + limits.claims);
        let facts = self.core.facts();
        prop_assert!(facts.settled.len() <= limits.settled && facts.commands.len() <= limits.commands);
        prop_assert!(facts.exits.len() <= 64);
        if view.over {
            prop_assert_eq!(self.core.next_deadline(), None);
        } else if self.core.now().mono < 1 << 59 && !self.open.is_empty() {
            let (at, key) = self.core.next_deadline().expect("a run that is not over wants to be woken");
            prop_assert!(at >= self.core.now().mono, "{:?} is overdue", key);
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(depth(384))]

    #[test]
    fn no_event_breaks_the_core(config in figures(), shots in shots()) {
        let now = Stamp::new(1_000, 1_800_000_000_000);
        let facts = DurableFacts::new("run".into(), "instance".into());
        let core = Core::new(config, facts, now);
        let mut target = Target { core, now, fx: Effects::new(), open: Vec::new(), conn: 1 };
        target.is_shot(None, Shot::Any(Event::Boot));
        target.is_shot(None, Shot::Answer(0, OpResult::Ok));
        for (at, shot) in shots {
            target.is_shot(at, shot);
            target.is_sound()?;
        }
        // Whatever came of it can be kept, and read again.
        let mark = target.core.to_mark();
        prop_assert!(mark.len() < 100_000, "a mark of {} bytes", mark.len());
        prop_assert_eq!(Core::from_mark(&mark).expect("a mark can be read"), target.core);
    }
}
