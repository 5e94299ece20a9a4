//! The figures of the README, printed by one command: `cargo bench --bench figures`.

#![allow(clippy::print_stdout, reason = "printing is what it is for")]
#![allow(clippy::disallowed_methods, reason = "a measurement reads the clock")]
#![allow(clippy::cast_precision_loss, reason = "figures are rounded when they are printed")]

mod core_step;
mod latency;
mod process;
mod relay;
mod replaying;

fn main() {
    let mut arguments = std::env::args().skip_while(|arg| arg != latency::AGENT).skip(1);
    if let Some(socket) = arguments.next() {
        return latency::agent(socket.as_ref());
    }
    // `cargo test --benches` runs it as a test: then it only has to work.
    let quick = std::env::args().any(|arg| arg == "--test");
    core_step::print(quick);
    replaying::print(quick);
    latency::print(quick);
    process::print(quick);
}
