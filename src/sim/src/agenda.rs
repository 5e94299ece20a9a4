//! What happens later: entries in the order of their time, and of their making where that is the same.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Entries by time. The heap moves small keys only; the entries stay where they are.
#[derive(Debug)]
pub(crate) struct Agenda<T> {
    heap: BinaryHeap<Reverse<(u64, u64, u32)>>,
    entries: Vec<Option<T>>,
    free: Vec<u32>,
    made: u64,
}

impl<T> Agenda<T> {
    pub(crate) fn new() -> Self {
        Self { heap: BinaryHeap::with_capacity(64), entries: Vec::with_capacity(64), free: Vec::new(), made: 0 }
    }

    pub(crate) fn put(&mut self, at: u64, entry: T) {
        let slot = if let Some(slot) = self.free.pop() {
            self.entries[slot as usize] = Some(entry);
            slot
        } else {
            self.entries.push(Some(entry));
            u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX)
        };
        self.made += 1;
        self.heap.push(Reverse((at, self.made, slot)));
    }

    /// When the next entry is due.
    pub(crate) fn next(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((at, ..))| *at)
    }

    pub(crate) fn take(&mut self) -> Option<(u64, T)> {
        let Reverse((at, _, slot)) = self.heap.pop()?;
        self.free.push(slot);
        self.entries[slot as usize].take().map(|entry| (at, entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_in_the_order_of_time_and_then_of_their_making() {
        let mut agenda = Agenda::new();
        for (at, name) in [(5, "c"), (1, "a"), (5, "d"), (2, "b")] {
            agenda.put(at, name);
        }
        assert_eq!(agenda.next(), Some(1));
        let mut order = String::new();
        while let Some((_, name)) = agenda.take() {
            order += name;
            if name == "a" {
                agenda.put(5, "e");
            }
        }
        assert_eq!(order, "abcde");
    }
}
