//! What a provider says and cannot be read: the first few are reported, then every doubling of their number, so that a
//! program that babbles fills no journal.

/// Counts them, and says which are worth a report.
#[derive(Debug, Default)]
pub(crate) struct Oddities {
    seen: u64,
}

impl Oddities {
    const ALL_OF_THE_FIRST: u64 = 8;

    pub(crate) fn worth_saying(&mut self, reason: String) -> Option<String> {
        self.seen += 1;
        if self.seen <= Self::ALL_OF_THE_FIRST {
            return Some(reason);
        }
        self.seen.is_power_of_two().then(|| format!("{reason} ({} so far)", self.seen))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_babbling_program_is_reported_less_and_less() {
        let mut oddities = Oddities::default();
        let said = (0..10_000).filter(|_| oddities.worth_saying("odd".to_owned()).is_some()).count();
        assert!((8..30).contains(&said), "{said}");
    }
}
