//! Chance, as a pure function: the same seed, stream and key give the same number for ever, and a new draw somewhere
//! shifts none elsewhere.

/// What a draw is for. The numbers are part of every recorded journal: never reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Stream {
    /// Key: message id, attempt.
    Nonce = 1,
    /// Key: connection, attempt.
    Reconnect = 2,
    /// Key: credential number, try.
    Renewal = 3,
}

/// A number of 64 evenly distributed bits for this key.
pub const fn draw(seed: u64, stream: Stream, a: u64, b: u64) -> u64 {
    mix(mix(mix(mix(seed) ^ stream as u64) ^ a) ^ b)
}

/// A number in `0..bound`; 0 when the bound is.
pub const fn draw_below(seed: u64, stream: Stream, a: u64, b: u64, bound: u64) -> u64 {
    // The high half of a 128-bit product: without division, and with a bias below 2^-40 for every bound used here.
    ((draw(seed, stream, a, b) as u128 * bound as u128) >> 64) as u64
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood, 2014), with its increment.
const fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_differ_by_every_part_of_their_key() {
        let all = [
            draw(1, Stream::Nonce, 1, 1),
            draw(2, Stream::Nonce, 1, 1),
            draw(1, Stream::Reconnect, 1, 1),
            draw(1, Stream::Nonce, 2, 1),
            draw(1, Stream::Nonce, 1, 2),
        ];
        for (n, a) in all.iter().enumerate() {
            assert!(all[n + 1..].iter().all(|b| a != b));
        }
        assert!((0..1000).all(|k| draw_below(7, Stream::Reconnect, k, 0, 10) < 10));
        assert_eq!(draw_below(7, Stream::Reconnect, 1, 0, 0), 0);
    }

    /// Every journal that was recorded depends on them.
    #[test]
    fn draws_are_the_same_for_ever() {
        assert_eq!(mix(1_234_567), 6_457_827_717_110_365_317, "the first number of SplitMix64 for this seed");
        assert_eq!(mix(0), 16_294_208_416_658_607_535);
        assert_eq!(draw(1, Stream::Nonce, 1, 1), 16_297_102_585_107_777_731);
        assert_eq!(draw(7, Stream::Reconnect, 3, 4), 9_947_785_230_673_660_881);
        assert_eq!(draw(7, Stream::Renewal, 1, 2), 5_032_884_631_730_530_399);
    }
}
