//! Every interleaving of a small closed world, breadth first: the shortest way to anything that is wrong is found
//! first, and told as a story.

mod key;

use std::collections::BTreeMap;
use std::fmt::Write;

use relay_runner_core::config::{Config, Limits, Timing};
use relay_runner_core::event::{ExitClass, FailureKind};
use relay_runner_core::{DurableFacts, Event, Generation, OpId};
use serde::Serialize;

use crate::world::{Command, Move, World, config};
use key::{FAR, OPERATIONS, STATUSES, TURNS};

/// A plain message, and one with a task.
const PLAIN: u64 = 7;
const TASK: u64 = 1_000;

/// What may still go wrong, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Budget {
    /// Answers that come late or never.
    held: u8,
    failures: u8,
    /// The process dies.
    exits: u8,
    /// A turn fails.
    failed_turns: u8,
    /// A turn that nobody asked for.
    turns: u8,
    rivals: u8,
    orders: [Option<Command>; 2],
    /// How often time may pass to the next deadline.
    waits: u8,
}

#[derive(Debug, Clone)]
struct State {
    world: World,
    budget: Budget,
}

impl State {
    fn key(&self) -> u128 {
        let World { core, now, relay, process, open, books, commands, accepted, cut_short, .. } = &self.world;
        let asked = (commands.len(), accepted, cut_short);
        key::key(&[core, relay, process, open, books, &asked, &self.budget], *now)
    }

    /// Every move that may come next.
    fn moves(&self) -> Vec<Move> {
        let World { relay, process, open, .. } = &self.world;
        let budget = &self.budget;
        let mut moves = Vec::with_capacity(16);
        moves.extend([PLAIN, TASK].into_iter().filter(|id| !relay.mail.contains_key(id)).map(Move::Publish));
        for n in 0..open.len() {
            moves.push(Move::Answer(n));
            if budget.held > 0 {
                moves.push(Move::Hold(n));
            }
            if budget.failures > 0 {
                moves.push(Move::Fail(n, FailureKind::Server));
            }
        }
        if let Some(process) = process {
            moves.extend([Move::ComesUp, Move::Takes, Move::TakesIntoTurn, Move::Idle]);
            if !process.waiting.is_empty() || budget.turns > 0 {
                moves.push(Move::Busy);
            }
            if budget.failed_turns > 0 {
                moves.extend([Move::FailsTurn, Move::PersonInterrupts]);
            }
            if budget.exits > 0 || process.told.is_some() {
                moves.push(Move::Exits(ExitClass::Crash));
            }
        }
        if budget.rivals > 0 {
            moves.push(Move::RivalClaims(TASK));
        }
        moves.extend(budget.orders.into_iter().flatten().map(Move::Says));
        if budget.waits > 0 {
            moves.push(Move::Wait);
        }
        moves
    }

    /// The state after a move, unless it cannot be made.
    fn after(&self, what: Move) -> Option<Self> {
        let mut next = self.clone();
        let asked = next.world.process.as_ref().is_some_and(|process| process.told.is_some());
        let spontaneous = next.world.process.as_ref().is_some_and(|process| process.waiting.is_empty());
        if !next.world.make(what) {
            return None;
        }
        let budget = &mut next.budget;
        match what {
            Move::Hold(_) => budget.held -= 1,
            Move::Fail(..) => budget.failures -= 1,
            Move::Exits(_) if !asked => budget.exits -= 1,
            Move::FailsTurn | Move::PersonInterrupts => budget.failed_turns -= 1,
            Move::Busy if spontaneous => budget.turns -= 1,
            Move::RivalClaims(_) => budget.rivals -= 1,
            Move::Wait => budget.waits -= 1,
            Move::Says(said) => {
                let order = budget.orders.iter_mut().find(|order| **order == Some(said));
                *order.expect("an order that may be given") = None;
            }
            _ => {}
        }
        Some(next)
    }

    /// Nothing is under way any more.
    fn is_at_rest(&self) -> bool {
        let World { core, now, process, open, .. } = &self.world;
        let awaits = core.next_deadline().is_some_and(|(at, _)| at - now.mono < FAR / 2);
        let works = process.as_ref().is_some_and(|process| !process.is_at_rest());
        open.is_empty() && !awaits && !works
    }
}

/// A configuration in which nothing happens by the clock alone but what concerns messages, claims and the process.
fn quiet() -> Config {
    let timing = Timing { tick: 2 * FAR, heartbeat: 2 * FAR, liveness: 2 * FAR, ..Timing::default() };
    Config { timing, limits: Limits { offer_tries: 2, ..Limits::default() }, ..config() }
}

fn start(budget: Budget) -> State {
    let facts = DurableFacts {
        generation: Generation(0),
        next_op: OpId(OPERATIONS),
        next_turn: TURNS,
        status_seq: STATUSES,
        ..DurableFacts::new("run".into(), "instance".into())
    };
    let mut world = World::new(quiet(), facts);
    world.hears(Event::Boot);
    State { world, budget }
}

/// The first provider is up already.
fn up(budget: Budget) -> State {
    let mut state = start(budget);
    assert!(state.world.make(Move::Answer(0)) && state.world.make(Move::ComesUp));
    state
}

/// What a search has seen.
#[derive(Debug, Default)]
struct Search {
    /// By key: the number of the state.
    seen: BTreeMap<u128, u32>,
    /// By number: the state before, and the move that led here.
    ways: Vec<(u32, Move)>,
    rests: usize,
    ends: usize,
    /// Nothing was left out.
    complete: bool,
    /// Pairs of a state and a move that led to a known one.
    merged: Vec<(u32, u32, Move)>,
}

impl Search {
    fn way(&self, mut to: u32) -> Vec<Move> {
        let mut way = Vec::new();
        while to > 0 {
            let (before, what) = self.ways[to as usize];
            way.push(what);
            to = before;
        }
        way.reverse();
        way
    }

    /// Searches until everything was seen, or this many states.
    fn run(first: &State, most: usize, each: fn(&State) -> Result<(), String>) -> Self {
        let mut search = Self::default();
        search.seen.insert(first.key(), 0);
        search.ways.push((0, Move::Wait));
        let mut frontier = vec![(0_u32, first.clone())];
        while !frontier.is_empty() {
            let mut next = Vec::new();
            for (number, state) in frontier {
                if search.ways.len() >= most {
                    return search;
                }
                for what in state.moves() {
                    let Some(after) = state.after(what) else { continue };
                    if let Err(broken) = each(&after) {
                        search.tell(first, number, what, &broken);
                    }
                    if let Some(new) = search.meets(number, what, after.key()) {
                        search.rests += usize::from(after.is_at_rest());
                        search.ends += usize::from(after.world.is_over());
                        next.push((new, after));
                    }
                }
            }
            frontier = next;
        }
        search.complete = true;
        search
    }

    /// The number of a state that is new.
    fn meets(&mut self, before: u32, what: Move, key: u128) -> Option<u32> {
        let number = u32::try_from(self.ways.len()).expect("fewer states than numbers");
        match self.seen.entry(key) {
            std::collections::btree_map::Entry::Occupied(known) => {
                // One in a hundred is looked at twice.
                if key.is_multiple_of(101) {
                    self.merged.push((*known.get(), before, what));
                }
                None
            }
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(number);
                self.ways.push((before, what));
                Some(number)
            }
        }
    }

    /// Tells the story that leads to what is wrong.
    fn tell(&self, first: &State, number: u32, last: Move, broken: &str) -> ! {
        let mut story = String::new();
        let mut state = first.clone();
        for what in self.way(number).into_iter().chain([last]) {
            state = state.after(what).expect("a move that was made can be made again");
            writeln!(story, "  {what:?}\n      {}", state.world.told.join("\n      ")).expect("a text has room");
        }
        panic!("{broken}, after:\n{story}");
    }
}

/// The invariants in every state, and what must hold at rest in every state that is at rest.
fn is_sound(state: &State) -> Result<(), String> {
    if let Some(broken) = &state.world.broken {
        return Err(broken.clone());
    }
    if state.is_at_rest() { state.world.rests() } else { Ok(()) }
}

/// How many states are looked at; more where the environment asks for it (CONTRIBUTING.md).
fn bound(usual: usize) -> usize {
    std::env::var("SEARCH_STATES").ok().and_then(|most| most.parse().ok()).unwrap_or(usual)
}

const NOTHING: Budget =
    Budget { held: 0, failures: 0, exits: 0, failed_turns: 0, turns: 0, rivals: 0, orders: [None; 2], waits: 0 };

/// Numbers that only have to differ, counted anew.
fn in_normal_form(told: &[String]) -> String {
    let mut met = Vec::new();
    let mut text = String::new();
    for line in told {
        let mut digits = String::new();
        for c in line.chars().chain(['\n']) {
            if c.is_ascii_digit() {
                digits.push(c);
                continue;
            }
            match digits.parse::<u64>() {
                Ok(n) if n >= OPERATIONS => {
                    let at = met.iter().position(|m| *m == n).unwrap_or_else(|| {
                        met.push(n);
                        met.len() - 1
                    });
                    write!(text, "#{at}").expect("a text has room");
                }
                Ok(_) | Err(_) => text += &digits,
            }
            digits.clear();
            text.push(c);
        }
    }
    text
}

/// States that were taken for one go on in the same way, move by move.
fn what_was_merged_goes_on_alike(first: &State, search: &Search) {
    let replay = |way: Vec<Move>| {
        way.into_iter().try_fold(first.clone(), |state, what| state.after(what)).expect("a way can be gone again")
    };
    for (known, before, what) in &search.merged {
        let known = replay(search.way(*known));
        let other = replay(search.way(*before).into_iter().chain([*what]).collect());
        assert_eq!(known.moves(), other.moves());
        for what in known.moves() {
            match (known.after(what), other.after(what)) {
                (Some(known), Some(other)) => {
                    assert_eq!(in_normal_form(&known.world.told), in_normal_form(&other.world.told), "{what:?}");
                    assert_eq!(known.key(), other.key(), "{what:?}");
                }
                (None, None) => {}
                (known, other) => panic!("{what:?} can be made: {} {}", known.is_some(), other.is_some()),
            }
        }
    }
}

/// Searches one small world, and holds what it found against what it must at least have seen.
#[expect(clippy::print_stdout, reason = "whoever looks deeper wants to know how far it went")]
fn look_at(name: &str, first: &State, least: usize, usual: usize) {
    let search = Search::run(first, bound(usual), is_sound);
    let (states, merged) = (search.ways.len(), search.merged.len());
    let longest = search.way(u32::try_from(states - 1).expect("fewer states than numbers")).len();
    // For `--nocapture`.
    println!(
        "{name}: {states} states{}, {} at rest, {} ended, {longest} moves deep, {merged} merged ones compared",
        if search.complete { ", which are all" } else { "" },
        search.rests,
        search.ends,
    );
    assert!(states >= least, "{name}: the search has shrunk to {states} states");
    assert!(search.rests > 0 && merged > 0);
    what_was_merged_goes_on_alike(first, &search);
}

/// Every start of this world, and every order in it, from the very beginning.
#[test]
fn a_shutdown_at_any_moment_from_the_first_start_on() {
    let orders = [Some(Command::Shutdown), None];
    look_at("shutdown", &start(Budget { orders, waits: 1, ..NOTHING }), 10_000, 20_000);
}

#[test]
fn a_process_that_dies_at_any_moment() {
    look_at("exit", &up(Budget { exits: 1, waits: 2, ..NOTHING }), 10_000, 20_000);
}

#[test]
fn answers_that_come_late_or_never() {
    look_at("late answers", &up(Budget { held: 1, waits: 2, ..NOTHING }), 10_000, 20_000);
}

#[test]
fn calls_that_fail() {
    look_at("failures", &up(Budget { failures: 2, waits: 1, ..NOTHING }), 10_000, 20_000);
}

#[test]
fn turns_that_fail_and_turns_that_nobody_asked_for() {
    look_at("turns", &up(Budget { failed_turns: 2, turns: 1, waits: 1, ..NOTHING }), 10_000, 20_000);
}

#[test]
fn a_rival_and_a_lease_that_is_renewed_or_lapses() {
    look_at("rival", &up(Budget { rivals: 1, waits: 3, ..NOTHING }), 10_000, 20_000);
}

#[test]
fn a_restart_and_a_shutdown_in_any_order() {
    let orders = [Some(Command::Restart), Some(Command::Shutdown)];
    look_at("restart, shutdown", &up(Budget { orders, ..NOTHING }), 1_000, 20_000);
}

#[test]
fn a_shutdown_over_an_exit_and_an_answer_that_is_late() {
    let orders = [Some(Command::Shutdown), None];
    look_at("shutdown, exit, late answer", &up(Budget { orders, exits: 1, held: 1, ..NOTHING }), 3_000, 20_000);
}

/// All of it together, as far as the bound goes.
#[test]
fn everything_at_once() {
    let budget = Budget {
        held: 1,
        failures: 1,
        exits: 1,
        failed_turns: 1,
        turns: 1,
        rivals: 1,
        orders: [Some(Command::Shutdown), Some(Command::Restart)],
        waits: 3,
    };
    look_at("everything", &up(budget), 10_000, 20_000);
}
