//! `relay-runner`: keeps a coding agent at work, and represents it on a relay.
//!
//! The program only reads its command line and environment, and hands over: to the shell (`run`, `demo`), to the
//! embedded relay (`relay`), or to a relay or a runner that is already there. No decision about a provider is made here.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
