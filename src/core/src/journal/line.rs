//! The lines of a journal, written and read.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use core::fmt::Write;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::upcast::{self, Part, SCHEMA};
use crate::Core;
use crate::config::Config;
use crate::effect::Effects;
use crate::event::Event;
use crate::facts::DurableFacts;
use crate::time::Stamp;

/// What opens a segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The one that it was written under; what is read has today's shape.
    pub schema: u32,
    /// Version of the program that wrote it.
    pub program: String,
    /// Its commit, where it is known.
    pub commit: Option<String>,
    /// What was kept of the words of messages and commands.
    pub bodies: KeptBodies,
    /// With the flags in force.
    pub config: Config,
    pub at: Stamp,
    pub start: Start,
}

/// What a run keeps of the words of messages and commands. No decision depends on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeptBodies {
    /// Lengths only: not even a digest, by which a short body could be guessed.
    None,
    /// Lengths and digests.
    #[default]
    Hash,
    /// And the words, in a file of their own beside each segment.
    Full,
}

/// How the core of a segment comes to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Start {
    /// A process started with these facts.
    Facts(Box<DurableFacts>),
    /// The segment before was full; a mark follows. The chain goes on.
    Continued { chain: u64 },
}

/// One line, read.
#[derive(Debug, Clone)]
pub enum Line {
    Header(Box<Header>),
    Record {
        number: u64,
        at: Stamp,
        event: Event,
        /// Canonical text of the effects of the step before.
        effects: String,
    },
    Mark {
        /// Number of the last record before it.
        number: u64,
        effects: String,
        core: Box<Core>,
    },
}

/// Writes the lines. Holds the chain and the effects that are not sealed yet.
#[derive(Debug)]
pub struct Composer {
    chain: u64,
    number: u64,
    effects: String,
}

#[derive(Serialize)]
struct RecordOut<'a> {
    n: u64,
    at: (u64, u64),
    ev: &'a Event,
    fx: &'a str,
}

#[derive(Deserialize)]
struct RecordIn {
    n: u64,
    at: (u64, u64),
    ev: Event,
    fx: String,
}

#[derive(Serialize)]
struct MarkOut<'a> {
    mark: u64,
    fx: &'a str,
    core: &'a Core,
}

#[derive(Deserialize)]
struct MarkIn {
    mark: u64,
    fx: String,
    core: Box<Core>,
}

/// As much of a header as says whether the rest can be read.
#[derive(Deserialize)]
struct Schema {
    schema: u64,
}

#[derive(Serialize, Deserialize)]
struct HeaderLine<H> {
    journal: H,
}

impl Composer {
    /// A journal that begins with this header; its line is appended to `out`.
    pub fn begin(header: &Header, out: &mut String) -> Self {
        let mut composer = Self { chain: 0, number: 0, effects: String::with_capacity(1024) };
        composer.header(header, out);
        composer
    }

    /// The chain so far: what a continued segment's header carries.
    pub const fn chain(&self) -> u64 {
        self.chain
    }

    /// Number of the last record.
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// The header of a further segment. The chain and the numbers go on.
    pub fn header(&mut self, header: &Header, out: &mut String) {
        self.seal(&HeaderLine { journal: header }, out);
    }

    /// A record of this event, to be on its way to the disk before the core steps. Returns its number.
    pub fn record(&mut self, at: Stamp, event: &Event, out: &mut String) -> u64 {
        self.number += 1;
        let effects = core::mem::take(&mut self.effects);
        self.seal(&RecordOut { n: self.number, at: (at.mono, at.wall), ev: event, fx: &effects }, out);
        self.effects = effects;
        self.effects.clear();
        self.number
    }

    /// Keeps what the step did, to be sealed by the next line.
    pub fn stepped(&mut self, effects: &Effects) {
        self.effects.clear();
        effects.canonical(&mut self.effects);
    }

    /// A mark of the core as it is now. It seals the effects of the last step; the next record seals them again.
    pub fn mark(&mut self, core: &Core, out: &mut String) {
        let effects = core::mem::take(&mut self.effects);
        self.seal(&MarkOut { mark: self.number, fx: &effects, core }, out);
        self.effects = effects;
    }

    fn seal<T: Serialize>(&mut self, line: &T, out: &mut String) {
        let start = out.len();
        let json = serde_json::to_string(line).expect("journal lines have string keys only");
        out.push_str(&json);
        // The closing brace makes room for the chain hash.
        out.pop();
        self.chain = xxh3_64_with_seed(&out.as_bytes()[start..], self.chain);
        let _ = writeln!(out, ",\"h\":\"{:016x}\"}}", self.chain);
    }
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Damage {
    /// Not a line of a journal.
    Unreadable { why: String },
    /// Its chain hash does not fit its text and the lines before it: this line, or one before, was changed.
    Changed { recorded: String, computed: String },
    /// Written by a newer program.
    Newer { schema: u64 },
    /// Its run had a behaviour that this program does not know.
    NewerFlag { flag: u32 },
    /// The journal does not begin with a header, or a number is missing.
    OutOfOrder { why: String },
}

impl core::fmt::Display for Damage {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Unreadable { why } => write!(f, "it is not a line of a journal: {why}"),
            Self::Changed { recorded, computed } => write!(
                f,
                "it was changed after it was written: its chain hash is recorded as {recorded}, and its text gives {computed}"
            ),
            Self::Newer { schema } => write!(
                f,
                "it was written by a newer program (journal schema {schema}; this program reads up to {SCHEMA}); use that program"
            ),
            Self::NewerFlag { flag } => write!(
                f,
                "it was written by a newer program (behaviour flag {flag}, which this program does not know); use that program"
            ),
            Self::OutOfOrder { why } => write!(f, "it is out of order: {why}"),
        }
    }
}

/// Reads lines one after the other, and holds them against the chain.
#[derive(Debug, Default)]
pub struct Reader {
    chain: Option<u64>,
    number: u64,
    /// The schema of the segment that is being read; 0 before its header.
    schema: u32,
}

impl Reader {
    pub fn new() -> Self {
        Self::default()
    }

    /// A reader that begins in the middle of a segment that was written under this schema, at the mark behind a line
    /// with this chain hash.
    pub const fn behind(chain: u64, schema: u32) -> Self {
        Self { chain: Some(chain), number: 0, schema }
    }

    /// Goes on in the middle of the segment whose header was read last, at the mark behind a line with this chain hash.
    pub const fn skip_behind(&mut self, chain: u64) {
        self.chain = Some(chain);
        self.number = 0;
    }

    /// Reads the next line (without its line end).
    pub fn read(&mut self, line: &str) -> Result<Line, Damage> {
        let (text, recorded) = split(line)?;
        let mut whole = String::with_capacity(text.len() + 1);
        whole.push_str(text);
        whole.push('}');
        let parsed = self.parse(&whole);
        // A newer program's lines need not be readable, and a changed one gives no useful parser's message.
        if let Err(damage @ (Damage::Newer { .. } | Damage::NewerFlag { .. })) = parsed {
            return Err(damage);
        }
        let before = match &parsed {
            Ok(Line::Header(header)) => match header.start {
                Start::Facts(_) => 0,
                Start::Continued { chain } => chain,
            },
            Ok(_) | Err(_) => self.chain.unwrap_or(0),
        };
        let computed = xxh3_64_with_seed(text.as_bytes(), before);
        if recorded != Some(computed) {
            let recorded = recorded.map_or_else(|| "nothing".to_string(), |h| alloc::format!("{h:016x}"));
            return Err(Damage::Changed { recorded, computed: alloc::format!("{computed:016x}") });
        }
        let line = parsed?;
        match &line {
            Line::Header(header) => {
                match header.start {
                    Start::Facts(_) => self.number = 0,
                    Start::Continued { chain } if self.chain.is_some_and(|ours| ours != chain) => {
                        let why = "it goes on from other lines than those before it: a part of the journal is missing";
                        return Err(Damage::OutOfOrder { why: why.to_string() });
                    }
                    Start::Continued { .. } => {}
                }
                self.schema = header.schema;
            }
            Line::Record { number, .. } | Line::Mark { number, .. } => self.number = *number,
        }
        self.chain = Some(computed);
        Ok(line)
    }

    fn parse(&self, text: &str) -> Result<Line, Damage> {
        let unreadable = |e: serde_json::Error| Damage::Unreadable { why: e.to_string() };
        let out_of_order = |why: String| Err(Damage::OutOfOrder { why });
        if text.starts_with("{\"journal\":") {
            let raw: HeaderLine<Box<RawValue>> = serde_json::from_str(text).map_err(unreadable)?;
            let Schema { schema } = serde_json::from_str(raw.journal.get()).map_err(unreadable)?;
            let schema = match u32::try_from(schema) {
                Ok(0) => return Err(Damage::Unreadable { why: "there is no journal schema 0".to_string() }),
                Ok(known @ ..=SCHEMA) => known,
                Ok(_) | Err(_) => return Err(Damage::Newer { schema }),
            };
            let header: Box<Header> = upcast::read(Part::Header, schema, raw.journal.get()).map_err(unreadable)?;
            if let Some(flag) = header.config.flags.unknown() {
                return Err(Damage::NewerFlag { flag });
            }
            return Ok(Line::Header(header));
        }
        if self.chain.is_none() {
            return out_of_order("a journal begins with a header".to_string());
        }
        if text.starts_with("{\"mark\":") {
            let MarkIn { mark, fx, core } = upcast::read(Part::Mark, self.schema, text).map_err(unreadable)?;
            if self.number != 0 && mark != self.number {
                return out_of_order(alloc::format!("a mark of record {mark} follows record {}", self.number));
            }
            return Ok(Line::Mark { number: mark, effects: fx, core });
        }
        let RecordIn { n, at, ev, fx } = upcast::read(Part::Record, self.schema, text).map_err(unreadable)?;
        if n != self.number + 1 {
            return out_of_order(alloc::format!("record {n} follows record {}", self.number));
        }
        Ok(Line::Record { number: n, at: Stamp::new(at.0, at.1), event: ev, effects: fx })
    }
}

/// A line as the text that its hash covers, and the hash.
fn split(line: &str) -> Result<(&str, Option<u64>), Damage> {
    const TAIL: usize = ",\"h\":\"0123456789abcdef\"}".len();
    let at = line.len().checked_sub(TAIL).filter(|at| line.is_char_boundary(*at));
    let Some(at) = at else {
        return Err(Damage::Unreadable { why: "it is too short".to_string() });
    };
    let (text, tail) = line.split_at(at);
    let hash = tail
        .strip_prefix(",\"h\":\"")
        .and_then(|t| t.strip_suffix("\"}"))
        .filter(|h| h.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)))
        .and_then(|h| u64::from_str_radix(h, 16).ok());
    Ok((text, hash))
}
