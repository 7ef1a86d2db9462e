//! `pipeline convert FILE --to csv|parquet`: the rows of a file as they are understood.
//!
//! Never holds a file: rows are written while the file is read. Parquet has typed columns, and types are decided by
//! every value, so that a file is read twice for it.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};

use clap::{Args, ValueEnum};
use parsers::{CsvRows, Decode, ErrorKind, Format, Limits, Output, ParquetRows, Summary};

use crate::commands::summarize::files::{READ_BYTES, open};
use crate::commands::{Error, Exit, reading, remark};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The file; `-` is standard input, taken for CSV
    #[arg(value_name = "FILE")]
    file: String,
    /// What becomes of it
    #[arg(long, value_enum)]
    to: Target,
    /// Where it is written [default: standard output]
    #[arg(short, long, value_name = "OUT")]
    output: Option<String>,
    #[command(flatten)]
    reading: reading::Options,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Target {
    /// UTF-8, commas, quotes where they are needed; the header as far as the file has one
    Csv,
    /// Typed columns
    Parquet,
}

/// Why a conversion failed.
type Failure = Box<dyn std::error::Error>;

pub(super) fn run(options: &Options) -> Result<Exit, Error> {
    match convert(options) {
        Ok(()) => Ok(Exit::Done),
        Err(error) => {
            let gone =
                error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe);
            if gone {
                Err(Error::ReaderGone)
            } else {
                Err(Error::Other(format!("{}: {error}", options.file)))
            }
        }
    }
}

fn convert(options: &Options) -> Result<(), Failure> {
    if let Some(format @ (Format::Parquet | Format::Arrow)) = Format::from_name(&options.file) {
        return Err(format!("{format} cannot be converted, only delimited text").into());
    }
    let (reading, limits) = (options.reading.reading(), Limits::default());
    let (sink, output): (Box<dyn parsers::RowSink>, Output) = match options.to {
        Target::Csv => {
            let rows = CsvRows::default();
            let output = rows.output();
            (Box::new(rows), output)
        }
        Target::Parquet if options.file == "-" => {
            return Err("Parquet needs two readings; write standard input to a file first".into());
        }
        Target::Parquet => {
            let (name, mut input) = open(&options.file)?;
            let summary = feed(reading.decoder(name, &limits), &mut *input, |_| Ok(()))?;
            let rows = ParquetRows::new(&summary, &reading)?;
            let output = rows.output();
            (Box::new(rows), output)
        }
    };
    let (name, mut input) = open(&options.file)?;
    let mut file: Box<dyn Write> = match &options.output {
        Some(path) => Box::new(BufWriter::new(File::create(path)?)),
        None => Box::new(io::stdout().lock()),
    };
    let done = feed(reading.rows(name, &limits, sink), &mut *input, |last| {
        file.write_all(&output.take())?;
        if last { file.flush() } else { Ok(()) }
    });
    match done {
        Ok(summary) => tell(&options.file, &summary),
        // A file without anything in it is a table without anything in it.
        Err(error) if is_empty(&*error) && options.to == Target::Csv => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

fn is_empty(error: &(dyn std::error::Error + 'static)) -> bool {
    error.downcast_ref::<parsers::Error>().is_some_and(|error| error.kind() == ErrorKind::Empty)
}

/// Says what was repaired.
fn tell(file: &str, summary: &Summary) {
    for warning in &summary.warnings {
        remark(&format!(
            "{file}: {} {}, first in line {}",
            warning.count,
            warning.kind.as_str(),
            warning.first_line
        ));
    }
}

/// Reads a file to its end; `then` follows each piece, and the end.
fn feed(
    mut decoder: Box<dyn Decode>,
    input: &mut dyn Read,
    mut then: impl FnMut(bool) -> io::Result<()>,
) -> Result<Summary, Failure> {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => {
                decoder.feed(&buffer[..read])?;
                then(false)?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    let summary = decoder.finish()?;
    then(true)?;
    Ok(summary)
}
