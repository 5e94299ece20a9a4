//! `completions`: what a shell needs to complete this program's command line.

use super::failure::Done;
use super::{OK, say};
use clap_complete::Shell;

const AFTER_HELP: &str = "\
Examples:
  relay-runner completions bash > ~/.local/share/bash-completion/completions/relay-runner
  relay-runner completions zsh > ~/.zfunc/_relay-runner
  relay-runner completions fish > ~/.config/fish/completions/relay-runner.fish";

/// Print completions for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

pub(crate) fn run(args: &Args) -> Done {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::command(), "relay-runner", &mut script);
    say::line(String::from_utf8_lossy(&script).trim_end())?;
    Ok(OK)
}
