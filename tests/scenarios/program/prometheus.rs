//! The text format of Prometheus (0.0.4), read strictly: whatever it does not allow fails the test.

use std::collections::{BTreeMap, BTreeSet};

/// The figures of a page, by name and labels as they are written there, unescaped.
#[derive(Debug)]
pub(super) struct Page {
    samples: BTreeMap<(String, Vec<(String, String)>), f64>,
    pub(super) kinds: BTreeMap<String, String>,
}

impl Page {
    #[track_caller]
    pub(super) fn read(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line has an end");
        let mut page = Self { samples: BTreeMap::new(), kinds: BTreeMap::new() };
        let mut helped = BTreeSet::new();
        let mut family = String::new();
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').unwrap_or_else(|| panic!("{line}"));
                assert!(is_name(name) && !help.is_empty() && !help.contains('\\'), "{line}");
                assert!(helped.insert(name.to_owned()), "one HELP for each: {line}");
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap_or_else(|| panic!("{line}"));
                assert!(helped.contains(name), "HELP comes first: {line}");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert!(page.kinds.insert(name.to_owned(), kind.to_owned()).is_none(), "one TYPE for each: {line}");
                name.clone_into(&mut family);
            } else {
                page.sample(line, &family);
            }
        }
        page.histograms();
        page
    }

    /// The value of a figure.
    #[track_caller]
    pub(super) fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.find(name, labels).unwrap_or_else(|| panic!("{name} {labels:?} is not there: {:#?}", self.samples))
    }

    pub(super) fn find(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels.iter().map(|(label, text)| ((*label).to_owned(), (*text).to_owned())).collect();
        self.samples.get(&(format!("relay_runner_{name}"), labels)).copied()
    }

    #[track_caller]
    fn sample(&mut self, line: &str, family: &str) {
        let end = line.find(['{', ' ']).unwrap_or_else(|| panic!("{line}"));
        let (name, mut rest) = line.split_at(end);
        assert!(is_name(name), "{line}");
        let kind = &self.kinds[family];
        let ending = name.strip_prefix(family).unwrap_or_else(|| panic!("it stands with its family {family}: {line}"));
        let endings: &[&str] = if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
        assert!(endings.contains(&ending), "{line}");
        assert!(kind != "counter" || name.ends_with("_total"), "a counter is named so: {line}");
        let mut labels = Vec::new();
        if let Some(inside) = rest.strip_prefix('{') {
            (labels, rest) = read_labels(inside);
        }
        let value = rest.strip_prefix(' ').unwrap_or_else(|| panic!("{line}"));
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
        assert!(value.is_finite() && value >= 0.0, "{line}");
        assert!(self.samples.insert((name.to_owned(), labels), value).is_none(), "one value for each: {line}");
    }

    /// Buckets grow, and the last one holds all.
    #[track_caller]
    fn histograms(&self) {
        for name in self.kinds.iter().filter(|(_, kind)| *kind == "histogram").map(|(name, _)| name) {
            let buckets = self.samples.iter().filter(|((sample, _), _)| *sample == format!("{name}_bucket"));
            let bound = |labels: &[(String, String)]| match &*labels[0].1 {
                "+Inf" => f64::INFINITY,
                bound => bound.parse().unwrap(),
            };
            let mut buckets: Vec<(f64, f64)> = buckets.map(|((_, labels), value)| (bound(labels), *value)).collect();
            buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
            assert!(buckets.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{buckets:?}");
            let (last, all) = buckets.pop().unwrap();
            let count = self.samples[&(format!("{name}_count"), Vec::new())];
            assert!(last.is_infinite() && (all - count).abs() < 0.5, "{all} of {count}");
            assert!(self.samples.contains_key(&(format!("{name}_sum"), Vec::new())));
        }
    }
}

/// `a="b",c="d"}` and what follows it.
#[track_caller]
fn read_labels(mut text: &str) -> (Vec<(String, String)>, &str) {
    let mut labels = Vec::new();
    loop {
        let (label, rest) = text.split_once("=\"").unwrap_or_else(|| panic!("{text}"));
        assert!(is_name(label) && !label.contains(':'), "{text}");
        let mut value = String::new();
        let mut chars = rest.char_indices();
        let end = loop {
            match chars.next() {
                Some((at, '"')) => break at + 1,
                Some((_, '\\')) => value.push(match chars.next() {
                    Some((_, 'n')) => '\n',
                    Some((_, escaped @ ('\\' | '"'))) => escaped,
                    other => panic!("no such escape, {other:?}: {text}"),
                }),
                Some((_, c)) => value.push(c),
                None => panic!("the label has no end: {text}"),
            }
        };
        labels.push((label.to_owned(), value));
        match rest[end..].split_at(1) {
            (",", more) => text = more,
            ("}", more) => return (labels, more),
            _ => panic!("{text}"),
        }
    }
}

fn is_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[test]
#[should_panic(expected = "HELP comes first")]
fn a_type_without_help_is_found() {
    Page::read("# TYPE x gauge\nx 1\n");
}

#[test]
#[should_panic(expected = "no such escape")]
fn a_wrong_escape_is_found() {
    Page::read("# HELP x X\n# TYPE x gauge\nx{a=\"\\q\"} 1\n");
}

#[test]
#[should_panic(expected = "a counter is named so")]
fn a_counter_with_another_name_is_found() {
    Page::read("# HELP x X\n# TYPE x counter\nx 1\n");
}
