//! `schema`: JSON Schema of what a runner's control server takes and answers.

use super::failure::{Done, Failure};
use super::{JSON, OK, say};
use clap::builder::FalseyValueParser;
use relay_runner_shell::schema;
use serde_json::{Map, Value};

const AFTER_HELP: &str = "\
Examples:
  relay-runner schema              which there are
  relay-runner schema state        one of them
  relay-runner schema --json       all of them, by name";

/// Print JSON Schema of the control server
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Which document; without it they are listed
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Print all of them as one JSON object
    #[arg(long, env = JSON, hide_env_values = true, value_parser = FalseyValueParser::new())]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Done {
    let names = || schema::ALL.map(|schema| schema.name).join(", ");
    if let Some(name) = &args.name {
        let known = schema::named(name).ok_or_else(|| {
            Failure::usage("unknown_schema", format!("there is no schema `{name}`; there are {}", names()))
        })?;
        say::line(known.text.trim_end())?;
    } else if args.json {
        let mut all = Map::new();
        for schema in schema::ALL {
            let document: Value = serde_json::from_str(schema.text)
                .map_err(|e| Failure::failed("output", format!("the schema {} is no JSON: {e}", schema.name)))?;
            all.insert(schema.name.to_owned(), document);
        }
        say::json(&all)?;
    } else {
        for schema in schema::ALL {
            say::line(format_args!("{:<18} {}", schema.name, schema.about))?;
        }
    }
    Ok(OK)
}
