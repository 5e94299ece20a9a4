//! The figures of the README, printed by one command: `cargo bench --bench figures`, or some of them with
//! `-- core`, `-- replay`, `-- simulate`, `-- latency`, `-- process`.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "printing is what it is for")]
#![allow(clippy::disallowed_methods, reason = "a measurement reads the clock")]
#![allow(clippy::cast_precision_loss, reason = "figures are rounded when they are printed")]

mod core_step;
mod latency;
mod process;
mod relay;
mod replaying;
mod simulate;

/// Its name, and what prints it: all of it, or only so much as shows that it works.
type Figure = (&'static str, fn(bool));

fn main() {
    let mut arguments = std::env::args().skip_while(|arg| arg != latency::AGENT).skip(1);
    if let Some(socket) = arguments.next() {
        return latency::agent(socket.as_ref());
    }
    // `cargo test --benches` runs it as a test: then it only has to work.
    let quick = std::env::args().any(|arg| arg == "--test");
    let figures: [Figure; 5] = [
        ("core", core_step::print),
        ("replay", replaying::print),
        ("simulate", simulate::print),
        ("latency", latency::print),
        ("process", process::print),
    ];
    let wanted: Vec<_> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    if let Some(unknown) = wanted.iter().find(|name| figures.iter().all(|(known, _)| known != name)) {
        eprintln!("no figure is called `{unknown}`; there are core, replay, simulate, latency, process");
        std::process::exit(2);
    }
    for (name, print) in figures {
        if wanted.is_empty() || wanted.iter().any(|one| one == name) {
            print(quick);
        }
    }
}
