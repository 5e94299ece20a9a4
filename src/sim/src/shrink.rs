//! Making a failing plan as short as it can be: whatever can be left out, or made smaller, while the same invariant breaks
//! in the same way.

use serde_json::Value;

use crate::caught::caught;
use crate::plan::{Plan, Step};
use crate::watch::Broken;
use crate::world::{Wanted, run};

/// A plan that fails, made short.
#[derive(Debug, Clone)]
pub struct Shrunk {
    pub plan: Plan,
    pub broken: Broken,
    /// Runs that this took.
    pub runs: u64,
}

/// What is left of a failing plan once nothing more can be taken away; at most `most` runs are spent on it. None: the
/// plan does not fail.
pub fn shrink(plan: &Plan, most: u64) -> Option<Shrunk> {
    shrink_telling(plan, most, &mut |_, _| {})
}

/// As [`shrink`], which says after each run how many these were, and how short the plan is by now.
pub fn shrink_telling(plan: &Plan, most: u64, tell: &mut dyn FnMut(u64, &Plan)) -> Option<Shrunk> {
    let broken = run(plan, Wanted::default()).broken?;
    let mut shrinking = Shrinking { plan: plan.clone(), broken, runs: 1, most, tell };
    loop {
        let before = shrinking.plan.clone();
        shrinking.ends_sooner();
        shrinking.leaves_steps_out();
        shrinking.leaves_kills_out();
        shrinking.makes_numbers_smaller();
        shrinking.comes_closer();
        if shrinking.plan == before || shrinking.runs >= most {
            break;
        }
    }
    let Shrinking { plan, broken, runs, .. } = shrinking;
    Some(Shrunk { plan, broken, runs })
}

/// The words of what broke, without their numbers.
fn kind(words: &str) -> String {
    let mut kind = String::with_capacity(words.len());
    for c in words.chars() {
        let c = if c.is_ascii_digit() { '#' } else { c };
        if c != '#' || !kind.ends_with('#') {
            kind.push(c);
        }
    }
    // What follows a colon is detail.
    kind.split(':').next().unwrap_or_default().to_owned()
}

struct Shrinking<'a> {
    plan: Plan,
    broken: Broken,
    runs: u64,
    most: u64,
    tell: &'a mut dyn FnMut(u64, &Plan),
}

impl Shrinking<'_> {
    /// Keeps a plan that fails in the same way.
    fn tries(&mut self, plan: Plan) -> bool {
        if self.runs >= self.most || plan == self.plan || !plan.is_sensible() {
            return false;
        }
        self.runs += 1;
        (self.tell)(self.runs, &self.plan);
        let Ok(ran) = caught(|| run(&plan, Wanted::default())) else { return false };
        let same = |broken: &Broken| {
            broken.invariant == self.broken.invariant && kind(&broken.words) == kind(&self.broken.words)
        };
        match ran.broken.filter(same) {
            Some(broken) => {
                self.plan = plan;
                self.broken = broken;
                true
            }
            None => false,
        }
    }

    /// Nothing after the failure matters; and peace may come before it.
    fn ends_sooner(&mut self) {
        let mut plan = self.plan.clone();
        let at = self.broken.at;
        if at < plan.calm {
            plan.steps.retain(|step| step.at <= at);
            plan.calm = at + 1;
            self.tries(plan);
        }
        let mut halves = 0;
        while halves < 12 {
            let last = self.plan.steps.last().map_or(0, |step| step.at);
            let middle = last + 1 + self.plan.calm.saturating_sub(last + 1) / 2;
            let plan = Plan { calm: middle, ..self.plan.clone() };
            if !self.tries(plan) {
                break;
            }
            halves += 1;
        }
    }

    fn leaves_steps_out(&mut self) {
        let mut size = (self.plan.steps.len() / 2).max(1);
        loop {
            let mut at = 0;
            while at < self.plan.steps.len() {
                let mut plan = self.plan.clone();
                let end = (at + size).min(plan.steps.len());
                plan.steps.drain(at..end);
                if !self.tries(plan) {
                    at += size;
                }
            }
            if size == 1 {
                return;
            }
            size = (size / 2).max(1);
        }
    }

    fn leaves_kills_out(&mut self) {
        let mut at = 0;
        while at < self.plan.kills.len() {
            let mut plan = self.plan.clone();
            plan.kills.remove(at);
            if !self.tries(plan) {
                at += 1;
            }
        }
    }

    /// Numbers of the steps, and of what the world is made of.
    fn makes_numbers_smaller(&mut self) {
        for n in 0..self.plan.steps.len() {
            let Ok(value) = serde_json::to_value(&self.plan.steps[n]) else { continue };
            for path in leaves(&value) {
                // When it happens is another matter.
                if path == ["at"] {
                    continue;
                }
                self.makes_smaller(
                    &path,
                    |plan| serde_json::to_value(&plan.steps[n]).ok(),
                    |plan, value| {
                        let Ok(step) = serde_json::from_value::<Step>(value) else { return false };
                        plan.steps[n] = step;
                        true
                    },
                );
            }
        }
        let Ok(value) = serde_json::to_value(&self.plan.setup) else { return };
        for path in leaves(&value) {
            self.makes_smaller(
                &path,
                |plan| serde_json::to_value(&plan.setup).ok(),
                |plan, value| {
                    let Ok(setup) = serde_json::from_value(value) else { return false };
                    plan.setup = setup;
                    true
                },
            );
        }
    }

    fn makes_smaller(
        &mut self,
        path: &[String],
        get: impl Fn(&Plan) -> Option<Value>,
        set: impl Fn(&mut Plan, Value) -> bool,
    ) {
        for _ in 0..40 {
            let Some(mut value) = get(&self.plan) else { return };
            let Some(leaf) = at(&mut value, path) else { return };
            let Some(smaller) = smaller(leaf) else { return };
            let mut shrunk = false;
            for candidate in smaller {
                let mut value = value.clone();
                if let Some(leaf) = at(&mut value, path) {
                    *leaf = candidate;
                }
                let mut plan = self.plan.clone();
                if set(&mut plan, value) && self.tries(plan) {
                    shrunk = true;
                    break;
                }
            }
            if !shrunk {
                return;
            }
        }
    }

    /// Steps happen at rounder times, and closer to each other.
    fn comes_closer(&mut self) {
        for n in 0..self.plan.steps.len() {
            let before = if n == 0 { 0 } else { self.plan.steps[n - 1].at };
            let gap = self.plan.steps[n].at.saturating_sub(before);
            for smaller in [gap.min(2_000), gap / 2, gap / 60_000 * 60_000, gap / 1_000 * 1_000] {
                let by = gap - smaller;
                if by == 0 {
                    continue;
                }
                let mut plan = self.plan.clone();
                for step in &mut plan.steps[n..] {
                    step.at -= by;
                }
                plan.calm -= by.min(plan.calm - 1);
                if self.tries(plan) {
                    break;
                }
            }
        }
    }
}

/// The ways to all numbers and switches.
fn leaves(value: &Value) -> Vec<Vec<String>> {
    fn walk(value: &Value, way: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    way.push(key.clone());
                    walk(value, way, found);
                    way.pop();
                }
            }
            Value::Number(_) | Value::Bool(_) => found.push(way.clone()),
            Value::Null | Value::String(_) | Value::Array(_) => {}
        }
    }
    let mut found = Vec::new();
    walk(value, &mut Vec::new(), &mut found);
    found
}

fn at<'a>(value: &'a mut Value, path: &[String]) -> Option<&'a mut Value> {
    path.iter().try_fold(value, |value, key| value.get_mut(key))
}

/// What is simpler than this.
fn smaller(value: &Value) -> Option<Vec<Value>> {
    match value {
        Value::Bool(true) => Some(vec![Value::Bool(false)]),
        Value::Number(number) => {
            if let Some(number) = number.as_u64() {
                let mut less = vec![0, 1, number / 1_000 * 1_000, number / 2];
                less.retain(|n| *n < number);
                return (!less.is_empty()).then(|| less.into_iter().map(Value::from).collect());
            }
            let number = number.as_i64()?;
            let mut less = vec![0, number / 2];
            less.retain(|n| n.abs() < number.abs());
            (!less.is_empty()).then(|| less.into_iter().map(Value::from).collect())
        }
        _ => None,
    }
}
