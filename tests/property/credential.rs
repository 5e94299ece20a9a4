//! When a token is renewed, over every jump of the clocks (behaviour 12).

use proptest::prelude::*;
use relay_runner_core::config::{Config, Timing};
use relay_runner_core::credential::{lead, renewal_again_in, renewal_in};
use relay_runner_core::event::{Event, Failure, FailureKind, OpResult, TokenRecord};
use relay_runner_core::ids::TokenSlot;
use relay_runner_core::{Call, Core, DurableFacts, Effect, Effects, OpId, Stamp};

use crate::depth;
use crate::world::config;

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const START: u64 = 1_800_000_000_000;

/// What remains of a token: around every edge of the rule, and any other.
fn remaining() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..5 * SECOND,
        119 * SECOND..121 * SECOND,
        299 * SECOND..301 * SECOND,
        299 * MINUTE..301 * MINUTE,
        0..90 * 24 * 60 * MINUTE,
        any::<u64>(),
    ]
}

proptest! {
    #![proptest_config(depth(4_096))]

    #[test]
    fn the_lead_is_a_fifth_within_its_bounds(left in remaining()) {
        let lead = lead(left);
        prop_assert_eq!(lead, (left / 5).clamp(MINUTE, 60 * MINUTE).min(left / 2));
    }

    #[test]
    fn a_renewal_leaves_its_lead_and_never_spins(left in remaining(), chance in any::<u64>()) {
        let wait = renewal_in(left, |bound| chance % bound);
        let lead = lead(left);
        prop_assert!(wait >= SECOND);
        prop_assert!(wait == SECOND || wait <= left - lead, "later than its lead");
        prop_assert!(wait == SECOND || wait >= left - lead - (lead / 2).min(30 * SECOND), "more jitter than allowed");
        let again = renewal_again_in(left);
        prop_assert!((SECOND..=MINUTE).contains(&again) && (again == SECOND || again <= left / 2));
    }
}

/// What happens to a runner that has nothing but a token.
#[derive(Debug, Clone, Copy)]
enum Turn {
    Pass(u64),
    SetClock(i64),
    /// The renewal is answered with a token that has so long to go.
    Renews(u64),
    Fails(bool),
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let turn = prop_oneof![
        3 => (0..400 * MINUTE).prop_map(Turn::Pass),
        2 => (-400_000_000..400_000_000_i64).prop_map(Turn::SetClock),
        3 => (0..1_000 * MINUTE).prop_map(Turn::Renews),
        2 => any::<bool>().prop_map(Turn::Fails),
    ];
    prop::collection::vec(turn, 0..40)
}

struct Holder {
    core: Core,
    now: Stamp,
    asked: Option<OpId>,
    /// When the token was asked to be renewed last.
    last: Option<Stamp>,
    end: u64,
    fx: Effects,
}

impl Holder {
    fn new(left: u64) -> Self {
        // Nobody answers anything but renewals, so they are all that happens; the clocks are looked at as always.
        let timing = Timing {
            start_without_relay: 1 << 50,
            reconnect_min: 1 << 50,
            reconnect_max: 1 << 50,
            ..Timing::default()
        };
        let end = START + left;
        let credential = Some(record(end));
        let now = Stamp::new(SECOND, START);
        let core =
            Core::new(Config { credential, timing, ..config() }, DurableFacts::new("run".into(), "i".into()), now);
        let mut holder = Self { core, now, asked: None, last: None, end: end / SECOND * SECOND, fx: Effects::new() };
        holder.hears(Event::Boot).expect("nothing is wrong yet");
        let control = OpId(1);
        holder.hears(Event::Done(control, OpResult::Ok)).expect("nothing is wrong yet");
        holder
    }

    fn hears(&mut self, event: Event) -> Result<(), TestCaseError> {
        self.fx.clear();
        self.core.step(self.now, event, &mut self.fx);
        for effect in &self.fx.effects {
            let Effect::Http { op, call: Call::RenewToken { .. }, .. } = effect else { continue };
            if let Some(last) = self.last {
                // A clock that was set may have been right: the machine may have slept.
                let passed = (self.now.mono - last.mono).max(self.now.wall.abs_diff(last.wall));
                prop_assert!(passed >= SECOND, "renewed twice within a second");
            }
            self.last = Some(self.now);
            self.asked = Some(*op);
        }
        Ok(())
    }

    fn passes(&mut self, millis: u64) -> Result<(), TestCaseError> {
        let end = self.now.mono + millis;
        while let Some((at, _)) = self.core.next_deadline().filter(|(at, _)| *at <= end) {
            self.goes_to(at)?;
        }
        self.goes_to(end)
    }

    fn goes_to(&mut self, at: u64) -> Result<(), TestCaseError> {
        let at = at.max(self.now.mono);
        self.now = Stamp::new(at, self.now.wall + (at - self.now.mono));
        self.hears(Event::Wake)
    }
}

fn record(end: u64) -> TokenRecord {
    let (jti, profile) = (Some("j".into()), Some("provider-agent".into()));
    TokenRecord { jti, profile, expires_at: Some(end / SECOND) }
}

proptest! {
    #![proptest_config(depth(256))]

    /// Whatever the clocks do: a token that can be renewed is renewed before it ends, or as soon as it is seen that it
    /// has ended; and never twice within a second, on whichever clock.
    #[test]
    fn no_clock_keeps_a_token_from_being_renewed(left in 2 * SECOND..600 * MINUTE, turns in turns()) {
        let mut holder = Holder::new(left);
        for turn in turns {
            match turn {
                Turn::Pass(millis) => holder.passes(millis)?,
                Turn::SetClock(by) => {
                    holder.now.wall = holder.now.wall.saturating_add_signed(by).max(START);
                    // A small jump is seen when the clocks are compared.
                    holder.passes(15 * SECOND)?;
                }
                Turn::Renews(left) => {
                    let Some(op) = holder.asked.take() else { continue };
                    let end = holder.now.wall + left;
                    let token = OpResult::Token { slot: TokenSlot(2), record: record(end) };
                    holder.hears(Event::Done(op, token))?;
                    // What comes after its deadline is not waited for any more.
                    if holder.fx.effects.iter().any(|effect| matches!(effect, Effect::UseToken { .. })) {
                        holder.end = end / SECOND * SECOND;
                        holder.last = None;
                    }
                }
                Turn::Fails(unreachable) => {
                    let Some(op) = holder.asked.take() else { continue };
                    let kind = if unreachable { FailureKind::Unreachable } else { FailureKind::Server };
                    holder.hears(Event::Done(op, OpResult::Failed(Failure { kind, text: "made up".into() })))?;
                }
            }
            let view = holder.core.view();
            prop_assert!(
                view.credential.renewal != "planned" || holder.end.saturating_sub(holder.now.wall) > 0 || holder.last.is_some(),
                "the token has ended, and nobody has tried to renew it"
            );
        }
    }
}
