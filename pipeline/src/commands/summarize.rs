//! `pipeline summarize FILE…`: summaries of local files, without Kafka.

use std::io::{self, IsTerminal};

use clap::{Args, ValueEnum};
use comfy_table::{CellAlignment, Table, presets};
use parsers::{Partial, Reading, Summary};
use rayon::ThreadPool;

use crate::commands::{Error, Exit, print, print_bytes, reading, remark};

pub(super) mod files;
mod in_order;

/// How the number of merged files is called in the title of a table.
const MERGED: &str = "files together";

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Files to summarise; `-` is standard input, taken for CSV unless its content tells another format
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
    /// One summary of all files together, columns by name
    #[arg(long)]
    merge: bool,
    /// How the summaries are written
    #[arg(long, value_enum, default_value_t = Format::Json)]
    format: Format,
    #[command(flatten)]
    reading: reading::Options,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// The summary as the workers store it
    Json,
    /// One row per column, for people
    Table,
    /// What `pipeline merge` merges: bytes, for one file or with --merge
    Partial,
}

/// On all cores.
pub(super) fn run(options: &Options) -> Result<Exit, Error> {
    if options.format == Format::Partial && options.files.len() > 1 && !options.merge {
        return Err(Error::Other("a partial is of one file, or of several with --merge".to_owned()));
    }
    let pool = rayon::ThreadPoolBuilder::new().build();
    let pool = pool.map_err(|error| Error::Other(format!("could not start the threads: {error}")))?;
    let reading = options.reading.reading();
    if options.merge { merged(options, &reading, &pool) } else { each(options, &reading, &pool) }
}

/// Every file is tried; one that fails is reported and does not stop the others.
fn each(options: &Options, reading: &Reading, pool: &ThreadPool) -> Result<Exit, Error> {
    let mut exit = Exit::Done;
    let written = |partial: Partial| written(options.format, partial);
    files::each(&options.files, reading, pool, written, |file, outcome| match outcome {
        Ok(written) => written?.print(file),
        Err(why) => {
            exit = Exit::Failed;
            remark(&format!("{file}: {why}"));
            Ok(())
        }
    })?;
    Ok(exit)
}

/// A summary of all or none: a total that silently lacks a file would be wrong.
fn merged(options: &Options, reading: &Reading, pool: &ThreadPool) -> Result<Exit, Error> {
    let (whole, failures) = files::merged(&options.files, reading, pool);
    finish(whole, &failures, options.files.len(), options.format)
}

/// Writes what was merged, unless some of it failed.
pub(super) fn finish(
    whole: Option<Partial>,
    failures: &[(&str, String)],
    files: usize,
    format: Format,
) -> Result<Exit, Error> {
    failures.iter().for_each(|(file, why)| remark(&format!("{file}: {why}")));
    match whole {
        Some(whole) if failures.is_empty() => {
            written(format, whole)?.print(&format!("{files} {MERGED}"))?;
            Ok(Exit::Done)
        }
        _ => {
            remark(&format!(
                "{} of {files} files failed, and nothing is written: leave them out",
                failures.len()
            ));
            Ok(Exit::Failed)
        }
    }
}

/// What a command writes of a file.
enum Written {
    Json(Vec<u8>),
    /// A title goes in front.
    Table(String),
    Bytes(Vec<u8>),
}

fn written(format: Format, partial: Partial) -> Result<Written, Error> {
    Ok(match format {
        Format::Json => {
            let mut json = partial.finish().to_json();
            json.push(b'\n');
            Written::Json(json)
        }
        Format::Table => Written::Table(table(&partial.finish())?),
        Format::Partial => Written::Bytes(partial.to_bytes()),
    })
}

impl Written {
    fn print(self, title: &str) -> Result<(), Error> {
        match self {
            Written::Json(json) => print_bytes(&json),
            Written::Table(text) => print(&format!("{title}: {text}")),
            Written::Bytes(_) if io::stdout().is_terminal() => {
                Err(Error::Other("a partial is bytes, not for a terminal: `> FILE.partial`".to_owned()))
            }
            Written::Bytes(bytes) => print_bytes(&bytes),
        }
    }
}

/// The summary's data frame as a table: one row per column of the file.
fn table(summary: &Summary) -> Result<String, Error> {
    let frame = summary.to_data_frame().map_err(|error| Error::Other(error.to_string()))?;
    let mut table = Table::new();
    table.load_preset(presets::UTF8_BORDERS_ONLY);
    // A statistic that no column has needs no place on the screen.
    let told: Vec<_> = frame.columns().iter().filter(|column| column.null_count() < frame.height()).collect();
    table.set_header(told.iter().map(|column| column.name().to_string()));
    for row in 0..frame.height() {
        table.add_row(told.iter().map(|column| match column.get(row) {
            Ok(value) if !value.is_null() => value.str_value().into_owned(),
            _ => String::new(),
        }));
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let rows = summary.total_rows;
    let columns = summary.columns.len();
    Ok(format!("{rows} rows, {columns} columns\n{table}\n"))
}
