//! The newest notes and changes of a run, and those who listen.
//!
//! The ring is bounded, and so is the queue of each listener: one that does not keep up is let go, and told so, and can
//! come back for what the ring still has.

use relay_runner_core::time::Wall;
use relay_runner_core::{Glance, Note};
use std::collections::VecDeque;
use tokio::sync::mpsc;

/// Entries that are kept for those who come back.
const KEPT_MOST: usize = 512;
/// Entries that wait for one listener.
const BEHIND_MOST: usize = 256;
/// Who may listen at a time.
const LISTENERS_MOST: usize = 16;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Counted from 1 within a run.
    pub(crate) number: u64,
    pub(crate) at: Wall,
    /// The record in the journal of the event from which it followed.
    pub(crate) event: u64,
    pub(crate) what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    Note(Note),
    Change { before: Glance, now: Glance },
}

/// What a listener hears.
#[derive(Debug)]
pub(crate) enum Told {
    Entry(Box<Entry>),
    /// It did not keep up: nothing more comes.
    CutOff,
}

/// Where a listener begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resume {
    /// With what comes.
    Now,
    /// Behind this entry of this run.
    Behind { run: Wall, number: u64 },
    /// Behind something that no run has given out.
    Unknown,
}

/// A listener's end.
#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) run: Wall,
    /// Something between what it knows and what follows cannot be had any more.
    pub(crate) gap: bool,
    /// What was missed, oldest first.
    pub(crate) missed: VecDeque<Entry>,
    pub(crate) rest: mpsc::Receiver<Told>,
}

#[derive(Debug)]
pub(super) struct Ring {
    run: Wall,
    kept: VecDeque<Entry>,
    last: u64,
    listeners: Vec<mpsc::Sender<Told>>,
}

impl Ring {
    pub(super) const fn new(run: Wall) -> Self {
        Self { run, kept: VecDeque::new(), last: 0, listeners: Vec::new() }
    }

    pub(super) fn push(&mut self, at: Wall, event: u64, what: What) {
        self.last += 1;
        let entry = Entry { number: self.last, at, event, what };
        self.listeners.retain(|listener| tell(listener, &entry));
        if self.kept.len() == KEPT_MOST {
            self.kept.pop_front();
        }
        self.kept.push_back(entry);
    }

    /// None when too many listen already.
    pub(super) fn listen(&mut self, resume: &Resume) -> Option<Listening> {
        self.listeners.retain(|listener| !listener.is_closed());
        if self.listeners.len() >= LISTENERS_MOST {
            return None;
        }
        let first = self.last + 1 - self.kept.len() as u64;
        let (gap, from) = match *resume {
            Resume::Now => (false, self.last + 1),
            Resume::Behind { run, number } if run == self.run && number <= self.last => {
                (number + 1 < first, (number + 1).max(first))
            }
            // Another run's, or made up: what came between is not known.
            Resume::Behind { .. } | Resume::Unknown => (true, first),
        };
        let missed = self.kept.iter().filter(|entry| entry.number >= from).cloned().collect();
        let (sender, rest) = mpsc::channel(BEHIND_MOST);
        self.listeners.push(sender);
        Some(Listening { run: self.run, gap, missed, rest })
    }

    pub(super) fn listeners(&self) -> usize {
        self.listeners.iter().filter(|listener| !listener.is_closed()).count()
    }

    pub(super) fn end(&mut self) {
        self.listeners.clear();
    }
}

/// False when it hears nothing any more. Nobody else sends to it, so what is free stays free.
fn tell(listener: &mpsc::Sender<Told>, entry: &Entry) -> bool {
    if listener.capacity() <= 1 {
        // Its last place is for this.
        let _ = listener.try_send(Told::CutOff);
        return false;
    }
    listener.try_send(Told::Entry(Box::new(entry.clone()))).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(ring: &mut Ring, count: u64) {
        for _ in 0..count {
            ring.push(1, 1, What::Note(Note::OtherRelay));
        }
    }

    fn numbers(missed: &VecDeque<Entry>) -> Vec<u64> {
        missed.iter().map(|entry| entry.number).collect()
    }

    #[test]
    fn who_comes_back_hears_what_was_missed_once() {
        let mut ring = Ring::new(7);
        push(&mut ring, 3);
        let mut now = ring.listen(&Resume::Now).unwrap();
        let behind = ring.listen(&Resume::Behind { run: 7, number: 1 }).unwrap();
        assert!(now.missed.is_empty() && !now.gap && !behind.gap);
        assert_eq!(numbers(&behind.missed), [2, 3]);
        push(&mut ring, 1);
        assert!(matches!(now.rest.try_recv(), Ok(Told::Entry(entry)) if entry.number == 4));
        let all = ring.listen(&Resume::Behind { run: 7, number: 4 }).unwrap();
        assert!(!all.gap && all.missed.is_empty());
    }

    #[test]
    fn what_cannot_be_had_any_more_is_a_gap() {
        let mut ring = Ring::new(7);
        let most = KEPT_MOST as u64;
        push(&mut ring, most + 3);
        let at = |ring: &mut Ring, resume| {
            let listening = ring.listen(&resume).unwrap();
            (listening.gap, numbers(&listening.missed).first().copied())
        };
        assert_eq!(at(&mut ring, Resume::Behind { run: 7, number: 3 }), (false, Some(4)), "all of it is there");
        assert_eq!(at(&mut ring, Resume::Behind { run: 7, number: 2 }), (true, Some(4)));
        assert_eq!(at(&mut ring, Resume::Behind { run: 6, number: most }), (true, Some(4)), "another run");
        assert_eq!(at(&mut ring, Resume::Behind { run: 7, number: most + 4 }), (true, Some(4)), "never given out");
        assert_eq!(at(&mut ring, Resume::Unknown), (true, Some(4)));
    }

    #[test]
    fn who_does_not_keep_up_is_let_go_and_told_so() {
        let mut ring = Ring::new(7);
        let mut slow = ring.listen(&Resume::Now).unwrap();
        push(&mut ring, BEHIND_MOST as u64 + 10);
        assert_eq!(ring.listeners(), 0);
        let mut heard = 0;
        while let Ok(Told::Entry(entry)) = slow.rest.try_recv() {
            heard += 1;
            assert_eq!(entry.number, heard);
        }
        assert_eq!(heard, BEHIND_MOST as u64 - 1, "and then it was cut off");
        // It comes back for the rest.
        let again = ring.listen(&Resume::Behind { run: 7, number: heard }).unwrap();
        assert!(!again.gap);
        assert_eq!(numbers(&again.missed)[0], heard + 1);
    }

    #[test]
    fn too_many_cannot_listen_and_those_who_went_make_room() {
        let mut ring = Ring::new(7);
        let mut all: Vec<_> = (0..LISTENERS_MOST).map(|_| ring.listen(&Resume::Now).unwrap()).collect();
        assert!(ring.listen(&Resume::Now).is_none());
        all.pop();
        assert!(ring.listen(&Resume::Now).is_some());
    }
}
