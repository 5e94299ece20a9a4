//! What a batch has met, of all that it could.

use std::collections::{BTreeMap, BTreeSet};

use relay_runner_core::machines::Pair;

use super::kinds::{EXITS, KINDS};
use super::{Coverage, hazards, out_of_reach};

/// How many of their kind were met.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Part {
    pub met: usize,
    pub total: usize,
    /// The names of the others.
    pub missing: Vec<String>,
}

/// Of everything that is counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    pub kinds: Part,
    pub exits: Part,
    pub hazards: Part,
    /// Those that can be met.
    pub pairs: Part,
    /// Pairs that were met and are said to be out of reach.
    pub surprises: Vec<String>,
}

impl Part {
    fn of<'a>(all: impl IntoIterator<Item = &'a str>, is_met: impl Fn(&str) -> bool) -> Self {
        let all: Vec<&str> = all.into_iter().collect();
        let missing: Vec<String> = all.iter().filter(|name| !is_met(name)).map(|name| (*name).to_owned()).collect();
        Self { met: all.len() - missing.len(), total: all.len(), missing }
    }
}

impl Coverage {
    pub fn summary(&self) -> Summary {
        let reachable: BTreeSet<Pair> = out_of_reach::reachable().collect();
        let missing: Vec<String> =
            reachable.iter().filter(|pair| !self.pairs.contains_key(pair)).map(Pair::name).collect();
        Summary {
            kinds: Part::of(KINDS.iter().copied(), |name| self.kinds.contains_key(name)),
            exits: Part::of(EXITS, |name| self.exits.contains_key(name)),
            hazards: Part::of(hazards::names(), |name| self.hazards.contains_key(name)),
            pairs: Part { met: reachable.len() - missing.len(), total: reachable.len(), missing },
            surprises: self.pairs.keys().filter(|pair| !reachable.contains(pair)).map(Pair::name).collect(),
        }
    }

    /// Adds what other runs have met.
    pub fn merge(&mut self, other: &Self) {
        fn add<K: Ord + Clone>(to: &mut BTreeMap<K, u64>, from: &BTreeMap<K, u64>) {
            for (name, count) in from {
                *to.entry(name.clone()).or_default() += count;
            }
        }
        add(&mut self.kinds, &other.kinds);
        add(&mut self.exits, &other.exits);
        add(&mut self.hazards, &other.hazards);
        add(&mut self.pairs, &other.pairs);
        for (words, (count, seed)) in &other.odd {
            let odd = self.odd.entry(words.clone()).or_insert((0, *seed));
            *odd = (odd.0 + count, odd.1.min(*seed));
        }
        self.runs += other.runs;
        self.close_runs += other.close_runs;
    }
}
