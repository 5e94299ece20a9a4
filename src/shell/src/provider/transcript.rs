//! A conversation with a program, written down, and gone through again: as the adapter's part of it is a function of what
//! it is told, a transcript gives the same outputs wherever it is replayed.

use super::reporter::Reporter;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// What a transcript may take on disk; what comes after is left out.
const MOST: u64 = 64 * 1024 * 1024;

/// An adapter's part of a conversation, without any I/O.
pub(crate) trait Conversing {
    /// What it is begun with.
    type Opening: Debug + Clone + Serialize + DeserializeOwned;
    type In: Debug + Clone + Serialize + DeserializeOwned;
    type Out: Debug + Clone + PartialEq + Serialize + DeserializeOwned;

    fn begin(opening: Self::Opening) -> Self;

    fn step(&mut self, input: Self::In) -> Vec<Self::Out>;
}

/// A line of a transcript.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line<B, I, O> {
    /// A process was started or taken up.
    Begin(Box<B>),
    In(I),
    Out(O),
}

type LineOf<C> = Line<<C as Conversing>::Opening, <C as Conversing>::In, <C as Conversing>::Out>;

#[derive(Debug)]
pub(crate) struct Recorder {
    /// Secrets of the run are left out: what is replayed is the same either way.
    reporter: Reporter,
    file: File,
    left: u64,
}

impl Recorder {
    /// Goes on behind what stands there.
    pub(crate) fn open(path: &Path, reporter: Reporter) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        let left = MOST.saturating_sub(file.metadata()?.len());
        Ok(Self { reporter, file, left })
    }

    pub(crate) fn begin<C: Conversing>(&mut self, opening: &C::Opening) {
        self.line::<C>(&Line::Begin(Box::new(opening.clone())));
    }

    pub(crate) fn step<C: Conversing>(&mut self, input: &C::In, outputs: &[C::Out]) {
        self.line::<C>(&Line::In(input.clone()));
        for output in outputs {
            self.line::<C>(&Line::Out(output.clone()));
        }
    }

    fn line<C: Conversing>(&mut self, line: &LineOf<C>) {
        let Ok(text) = serde_json::to_string(line) else { return };
        let mut text = self.reporter.clean(&text);
        text.push('\n');
        let long = text.len() as u64;
        if self.left < long {
            self.left = 0;
            return;
        }
        self.left -= long;
        if let Err(error) = self.file.write_all(text.as_bytes()) {
            tracing::warn!("the transcript cannot be written any more: {error}");
            self.left = 0;
        }
    }
}

/// What a replay of a transcript found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    pub processes: usize,
    pub inputs: usize,
    pub outputs: usize,
}

/// Goes through a transcript again. The error is the first line at which today's adapter says something else.
pub(crate) fn replay<C: Conversing>(from: impl BufRead) -> Result<Replayed, String> {
    let mut replayed = Replayed::default();
    let mut session: Option<C> = None;
    let mut outputs = Vec::new().into_iter();
    for (n, text) in from.lines().enumerate() {
        let number = n + 1;
        let text = text.map_err(|e| format!("line {number} cannot be read: {e}"))?;
        // Whoever keeps a transcript may say what it is of.
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let line: LineOf<C> =
            serde_json::from_str(&text).map_err(|e| format!("line {number} is none of a transcript: {e}"))?;
        if !matches!(line, Line::Out(_))
            && let Some(more) = outputs.next()
        {
            return Err(format!("line {number}: today's adapter says more before it: {more:?}"));
        }
        match line {
            Line::Begin(opening) => {
                session = Some(C::begin(*opening));
                replayed.processes += 1;
            }
            Line::In(input) => {
                let session = session.as_mut().ok_or_else(|| format!("line {number} comes before any process"))?;
                outputs = session.step(input).into_iter();
                replayed.inputs += 1;
            }
            Line::Out(recorded) => match outputs.next() {
                Some(output) if output == recorded => replayed.outputs += 1,
                Some(output) => return Err(format!("line {number}: recorded is {recorded:?}, said is {output:?}")),
                None => return Err(format!("line {number}: today's adapter does not say {recorded:?}")),
            },
        }
    }
    match outputs.next() {
        Some(more) => Err(format!("after the last line, today's adapter says more: {more:?}")),
        None => Ok(replayed),
    }
}
