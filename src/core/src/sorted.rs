//! A map in the order of its keys, kept in a ring: what comes in behind and leaves in front costs the same however
//! much there is, and nothing is allocated while it is no longer than it ever was.
//!
//! Invariant: the keys strictly ascend. A change in the middle moves the shorter side, so it suits keys that are made
//! and forgotten about in their order: ids, times. With `()` for values it is a set.

use alloc::collections::VecDeque;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Sorted<K, V = ()> {
    row: VecDeque<(K, V)>,
}

impl<K, V> Default for Sorted<K, V> {
    fn default() -> Self {
        Self { row: VecDeque::new() }
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for Sorted<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut sorted = Self::default();
        for (key, value) in pairs {
            sorted.insert(key, value);
        }
        sorted
    }
}

impl<K: Ord, V> Sorted<K, V> {
    pub(crate) fn len(&self) -> usize {
        self.row.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.row.is_empty()
    }

    fn find(&self, key: &K) -> Result<usize, usize> {
        match self.row.back() {
            Some((last, _)) if last >= key => self.row.binary_search_by(|(other, _)| other.cmp(key)),
            Some(_) | None => Err(self.row.len()),
        }
    }

    pub(crate) fn contains(&self, key: &K) -> bool {
        self.find(key).is_ok()
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.find(key).ok().and_then(|at| self.row.get(at)).map(|(_, value)| value)
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let at = self.find(key).ok()?;
        self.row.get_mut(at).map(|(_, value)| value)
    }

    /// The value that was there before, if there was one.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.find(&key) {
            Ok(at) => self.row.get_mut(at).map(|(_, before)| core::mem::replace(before, value)),
            Err(at) => {
                self.row.insert(at, (key, value));
                None
            }
        }
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        if self.first() == Some(key) {
            return self.row.pop_front().map(|(_, value)| value);
        }
        let at = self.find(key).ok()?;
        self.row.remove(at).map(|(_, value)| value)
    }

    pub(crate) fn first(&self) -> Option<&K> {
        self.row.front().map(|(key, _)| key)
    }

    pub(crate) fn pop_first(&mut self) -> Option<(K, V)> {
        self.row.pop_front()
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.row.iter().map(|(key, value)| (key, value))
    }

    pub(crate) fn keys(&self) -> impl DoubleEndedIterator<Item = &K> {
        self.row.iter().map(|(key, _)| key)
    }

    /// From this key on.
    pub(crate) fn from<'a>(&'a self, key: &K) -> impl Iterator<Item = (&'a K, &'a V)> + use<'a, K, V> {
        let at = self.find(key).unwrap_or_else(|at| at);
        self.row.range(at..).map(|(key, value)| (key, value))
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&K, &V) -> bool) {
        self.row.retain(|(key, value)| keep(key, value));
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.row.iter_mut().map(|(key, value)| (&*key, value))
    }

    pub(crate) fn into_pairs(self) -> impl Iterator<Item = (K, V)> {
        self.row.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Change {
        Insert(u8, u8),
        Remove(u8),
        PopFirst,
        KeepEven,
    }

    fn change() -> impl Strategy<Value = Change> {
        prop_oneof![
            4 => (any::<u8>(), any::<u8>()).prop_map(|(key, value)| Change::Insert(key, value)),
            2 => any::<u8>().prop_map(Change::Remove),
            1 => Just(Change::PopFirst),
            1 => Just(Change::KeepEven),
        ]
    }

    proptest! {
        #[test]
        fn it_is_a_map_in_the_order_of_its_keys(changes in prop::collection::vec(change(), 0..200), probe in any::<u8>()) {
            let mut sorted = Sorted::default();
            let mut model = BTreeMap::new();
            for change in changes {
                match change {
                    Change::Insert(key, value) => {
                        prop_assert_eq!(sorted.insert(key, value), model.insert(key, value));
                    }
                    Change::Remove(key) => prop_assert_eq!(sorted.remove(&key), model.remove(&key)),
                    Change::PopFirst => prop_assert_eq!(sorted.pop_first(), model.pop_first()),
                    Change::KeepEven => {
                        sorted.retain(|key, _| key % 2 == 0);
                        model.retain(|key, _| key % 2 == 0);
                    }
                }
                prop_assert_eq!(sorted.len(), model.len());
                prop_assert_eq!(sorted.first(), model.keys().next());
                prop_assert_eq!(sorted.get(&probe), model.get(&probe));
                let from: Vec<_> = sorted.from(&probe).collect();
                prop_assert_eq!(from, model.range(probe..).collect::<Vec<_>>());
                prop_assert!(sorted.iter().eq(model.iter()));
            }
        }
    }
}
