//! Doubling waits. Pure.

use crate::time::Millis;

/// `least` doubled for each try before this one, at most `most`. `tries` counts the failures so far, from 1.
pub(crate) fn doubling(tries: u32, least: Millis, most: Millis) -> Millis {
    least.saturating_mul(1_u64.checked_shl(tries.saturating_sub(1)).unwrap_or(u64::MAX)).min(most)
}

#[cfg(test)]
mod tests {
    use super::doubling;

    #[test]
    fn waits_double_up_to_their_cap() {
        let waits: alloc::vec::Vec<_> = (1..=7).map(|n| doubling(n, 1_000, 30_000)).collect();
        assert_eq!(waits, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
        assert_eq!(doubling(200, 1_000, 30_000), 30_000);
    }
}
