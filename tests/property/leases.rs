//! Leases and fences over every jump of the clocks: nothing is reported under a lease that may be over, and one that
//! can be renewed is renewed in time (behaviour 7, invariant 5).

use proptest::prelude::*;
use relay_runner_core::Stamp;
use relay_runner_core::config::{Config, Limits};
use relay_runner_core::lease::{Lease, renew_again_in, renew_in};

use crate::depth;
use crate::world::{Move, World, config, play, troubles, work};

const RENEW: u64 = 300_000;

/// Spans around every edge of the rule, and any other.
fn spans() -> impl Strategy<Value = u64> {
    prop_oneof![0..10_u64, 3_990..4_010_u64, 39_990..40_010_u64, 0..700_000_u64, any::<u64>()]
}

fn clocks() -> impl Strategy<Value = Move> {
    prop_oneof![
        (-2_000_000..2_000_000_i64).prop_map(Move::SetClock),
        (0..2_000_000_u64).prop_map(Move::Sleeps),
        (0..400_000_u64).prop_map(Move::Pass),
        Just(Move::Wait),
    ]
}

fn claims() -> impl Strategy<Value = Move> {
    let id = || 1_000..1_005_u64;
    prop_oneof![
        3 => id().prop_map(Move::Publish),
        1 => id().prop_map(Move::RivalClaims),
        1 => id().prop_map(Move::RivalReleases),
        1 => id().prop_map(Move::Deletes),
    ]
}

proptest! {
    #![proptest_config(depth(4_096))]

    #[test]
    fn a_lease_is_counted_short_on_both_clocks(mono in any::<u64>(), wall in any::<u64>(), span in spans()) {
        let asked = Stamp::new(mono, wall);
        let lease = Lease::counted(asked, span);
        let margin = (span / 20).max(2_000).min(span / 2);
        prop_assert_eq!(lease.mono, mono.saturating_add(span - margin));
        prop_assert_eq!(lease.wall, wall.saturating_add(span - margin));
        prop_assert!(margin <= span / 2);
    }

    /// Whichever clock says first that it is over is right, and no jump gives time back.
    #[test]
    fn the_clock_that_leaves_less_is_right(
        asked in (any::<u64>(), any::<u64>()), now in (any::<u64>(), any::<u64>()), span in spans(), jump in any::<u64>(),
    ) {
        let lease = Lease::counted(Stamp::new(asked.0, asked.1), span);
        let now = Stamp::new(now.0, now.1);
        let rest = lease.rest(now);
        prop_assert_eq!(lease.is_over(now), lease.mono <= now.mono || lease.wall <= now.wall);
        prop_assert_eq!(rest == 0, lease.is_over(now));
        prop_assert!(lease.rest(Stamp::new(now.mono.saturating_add(jump), now.wall)) <= rest);
        prop_assert!(lease.rest(Stamp::new(now.mono, now.wall.saturating_add(jump))) <= rest);
    }

    /// A renewal comes at half of the rest at the latest, a further try at a quarter, and neither spins.
    #[test]
    fn a_renewal_comes_in_time(now in (any::<u64>(), any::<u64>()), span in spans(), gone in any::<u64>()) {
        let lease = Lease::counted(Stamp::new(now.0, now.1), span);
        let now = Stamp::new(now.0.saturating_add(gone), now.1.saturating_add(gone));
        let rest = lease.rest(now);
        let (first, again) = (renew_in(Some(lease), now, RENEW), renew_again_in(Some(lease), now, RENEW));
        prop_assert!((1..=RENEW).contains(&first) && first <= (rest / 2).max(1));
        prop_assert!(again >= 1_000 && again <= (rest / 4).max(1_000));
        prop_assert_eq!(renew_in(None, now, RENEW), RENEW);
    }
}

proptest! {
    #![proptest_config(depth(384))]

    /// The world holds every report against the leases and fences that it saw granted.
    #[test]
    fn nothing_is_reported_under_a_lease_that_is_over(
        lease in prop_oneof![1..5_000_u64, 5_000..700_000_u64],
        claims_at_a_time in 1..4_usize,
        history in prop::collection::vec(prop_oneof![3 => claims(), 8 => work(), 2 => troubles(), 3 => clocks()], 0..120),
    ) {
        let limits = Limits { claims: claims_at_a_time, ..Limits::default() };
        let mut world = World::booted(Config { limits, ..config() });
        world.relay.lease = lease;
        for what in history {
            play(&mut world, &[what])?;
            // By then the clocks are compared, should the wall clock say sooner that it is over.
            let compared = world.core.config().timing.tick;
            for claim in world.core.view().claims {
                let wakes = world.core.next_deadline().is_some_and(|(at, _)| {
                    claim.left.is_none_or(|left| at <= world.core.now().mono + left.max(compared))
                });
                prop_assert!(wakes, "{:?} ends, and nobody is woken", claim);
            }
        }
    }

    /// Where the relay answers, no lease that is longer than the way there and back is ever lost.
    #[test]
    fn a_lease_that_can_be_renewed_never_lapses(lease in 50..1_000_000_u64, rounds in 1..60_usize) {
        let mut world = World::booted(config());
        world.relay.lease = lease;
        play(&mut world, &[Move::Answer(0), Move::ComesUp, Move::Publish(1_000)])?;
        for _ in 0..rounds {
            while !world.open.is_empty() {
                play(&mut world, &[Move::Answer(0)])?;
            }
            let claims = world.core.view().claims;
            prop_assert_eq!((claims.len(), claims[0].state), (1, "held"));
            play(&mut world, &[Move::Takes, Move::Busy, Move::Wait])?;
        }
    }
}
