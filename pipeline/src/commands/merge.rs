//! `pipeline merge PARTIAL…`: one summary of what was summarised apart, `pipeline summarize --format partial`.

use std::fs;

use clap::Args;
use parsers::{Limits, Partial};

use crate::commands::summarize::files::Merged;
use crate::commands::summarize::{Format, finish};
use crate::commands::{Error, Exit};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Partials, in the order of the files they are of
    #[arg(required = true, value_name = "PARTIAL")]
    files: Vec<String>,
    /// How the summary is written
    #[arg(long, value_enum, default_value_t = Format::Json)]
    format: Format,
}

pub(super) fn run(options: &Options) -> Result<Exit, Error> {
    let whole = Merged::of(&options.files, |file, before| {
        let bytes = fs::read(file).map_err(|error| error.to_string())?;
        let read = || {
            let part = Partial::from_bytes(&bytes, &Limits::default())?;
            let Some(mut whole) = before else { return Ok(part) };
            whole.merge(part).map(|()| whole)
        };
        read().map_err(|error: parsers::Error| error.to_string())
    });
    finish(whole.partial, &whole.failures, options.files.len(), options.format)
}
