//! What real programs have said in these tests, kept: transcripts in `tests/providers/recorded`, and the runners' journals
//! among those of `tests/scenarios/recorded`. Each transcript begins with the program, its version and a checksum.

use crate::installed::Installed;
use crate::world::{World, text};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use xxhash_rust::xxh3::xxh3_64;

/// What stands for the folder of a test in what is kept of it.
const FOLDER: &str = "/a-folder";
/// What is of this machine has no place in a journal.
pub(crate) const NEUTRAL: [&str; 4] = ["--cwd", "/", "--machine", "a-machine"];
/// All transcripts of a provider together, in bytes.
pub(crate) const MOST: usize = 2 * 1024 * 1024;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn transcript(name: &str) -> PathBuf {
    transcripts().join(format!("{name}.jsonl"))
}

fn transcripts() -> PathBuf {
    root().join("tests/providers/recorded")
}

pub(crate) fn journal_of(name: &str) -> PathBuf {
    root().join("tests/scenarios/recorded").join(format!("{name}.jsonl"))
}

pub(crate) fn is_updated() -> bool {
    std::env::var_os("RELAY_RUNNER_UPDATE").is_some()
}

/// Whoever reads it meanwhile has the old one.
pub(crate) fn replace(path: &Path, words: &str) {
    let new = path.with_extension("new");
    fs::write(&new, words).and_then(|()| fs::rename(&new, path)).unwrap();
}

pub(crate) fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) fn version(program: &Installed) -> String {
    let said = Command::new(&program.program).arg("--version").env_clear().env("HOME", "/nowhere").output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    let number = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit());
    said.split_whitespace().find(number).unwrap().to_owned()
}

/// With its head: whose it is.
pub(crate) fn headed(provider: &str, program: &Installed, lines: &str) -> String {
    format!("# {provider} {}, xxh3 {:016x}\n{lines}", version(program), xxh3_64(lines.as_bytes()))
}

/// As it was written.
#[track_caller]
pub(crate) fn is_whole(provider: &str, name: &str, whole: &str) {
    let (head, lines) = whole.split_once('\n').unwrap();
    let sum = format!("xxh3 {:016x}", xxh3_64(lines.as_bytes()));
    let is_of_it = head.starts_with(&format!("# {provider} "));
    assert!(is_of_it && head.ends_with(&sum), "{name} was changed by hand: {head}, {sum}");
}

/// Without what is of this machine and of this run.
pub(crate) fn neutral(world: &World, transcript: &str) -> String {
    let folder = text(&world.path(""));
    let folder = folder.trim_end_matches('/');
    // Claude Code names the folder of a project by its path.
    let dashed = folder.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    let machine = rustix::system::uname();
    let machine = format!("\"{}\"", machine.nodename().to_string_lossy());
    transcript.replace(folder, FOLDER).replace(&dashed, "-a-folder").replace(&machine, "\"a-machine\"")
}

/// All segments, one behind the other; nothing of this machine is in them.
pub(crate) fn journal(world: &World) -> String {
    let mut files: Vec<_> =
        fs::read_dir(world.state().join("journal")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let journal: String = files.iter().map(|file| read(file)).collect();
    let machine = format!("\"{}\"", rustix::system::uname().nodename().to_string_lossy());
    for ours in [text(&world.path("")), text(root()), machine] {
        assert!(!journal.contains(ours.trim_end_matches('/')), "{ours} is of this machine: {journal}");
    }
    journal
}

/// None lies there that nobody goes through.
pub(crate) fn all_are_known(known: impl Fn(&str) -> bool) {
    let there = fs::read_dir(transcripts()).unwrap().map(|entry| entry.unwrap().path());
    for path in there.filter(|path| path.extension().is_some_and(|ending| ending == "jsonl")) {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(known(&name), "nobody replays {name}");
    }
}
