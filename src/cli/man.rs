//! `man`: the manual, made of the same words as `--help`.

use super::failure::{Done, Failure};
use super::{OK, say};
use std::path::PathBuf;

const AFTER_HELP: &str = "\
Examples:
  relay-runner man | man -l -                          the program's page
  relay-runner man --dir ~/.local/share/man/man1       a page for each verb as well";

/// Print the manual, or write its pages
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Write a page for the program and for each verb into this folder
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Done {
    let Some(dir) = &args.dir else {
        let mut page = Vec::new();
        clap_mangen::Man::new(super::command())
            .render(&mut page)
            .map_err(|e| Failure::failed("output", format!("the page cannot be written: {e}")))?;
        say::line(String::from_utf8_lossy(&page).trim_end())?;
        return Ok(OK);
    };
    let cannot = |e: std::io::Error| {
        Failure::usage("man_dir", format!("cannot write the pages into {}: {e}; name another --dir", dir.display()))
    };
    std::fs::create_dir_all(dir).map_err(cannot)?;
    clap_mangen::generate_to(super::command(), dir).map_err(cannot)?;
    Ok(OK)
}
