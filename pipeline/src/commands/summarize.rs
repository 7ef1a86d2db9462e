//! `pipeline summarize FILE…`: summaries of local files, without Kafka.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use clap::{Args, ValueEnum};
use comfy_table::{CellAlignment, Table, presets};
use parsers::{Decode, Limits, Reading, Summary};

use crate::commands::{Error, Exit, print, reading};

/// One read of a file: large enough that the system calls do not count.
pub(super) const READ_BYTES: usize = 1 << 20;

/// What standard input is called, which has no name.
const STDIN_NAME: &str = "stdin.csv";

/// What may be held of a file of columns, where it cannot be read bit by bit: some programs write an Arrow file as one
/// batch, and a pipe has no end to look at first. Little of it is used for others.
const WHOLE_BYTES_MAX: usize = 1 << 30;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Files to summarise; `-` is standard input, taken for CSV unless its content tells another format
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
    /// How the summaries are written
    #[arg(long, value_enum, default_value_t = Format::Json)]
    format: Format,
    #[command(flatten)]
    reading: reading::Options,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// The summary as the workers store it
    Json,
    /// One row per column, for people
    Table,
}

/// On all cores: the decoders share their work out to the pool they run in.
pub(super) fn run(options: &Options) -> Result<Exit, Error> {
    let pool = rayon::ThreadPoolBuilder::new().build();
    let pool = pool.map_err(|error| Error::Other(format!("could not start the threads: {error}")))?;
    pool.install(|| summarize_all(options))
}

/// Every file is tried; one that fails is reported and does not stop the others.
fn summarize_all(options: &Options) -> Result<Exit, Error> {
    let mut exit = Exit::Done;
    let reading = options.reading.reading();
    for file in &options.files {
        match summarize(file, &reading) {
            Ok(summary) => print(&match options.format {
                Format::Json => String::from_utf8_lossy(&summary.to_json()).into_owned() + "\n",
                Format::Table => table(file, &summary)?,
            })?,
            Err(error) => {
                exit = Exit::Failed;
                #[expect(clippy::print_stderr, reason = "the others go on")]
                {
                    eprintln!("pipeline: {file}: {error}");
                }
            }
        }
    }
    Ok(exit)
}

/// A file, and the name that tells its format.
pub(super) fn open(file: &str) -> io::Result<(&str, Box<dyn Read>)> {
    Ok(match file {
        "-" => (STDIN_NAME, Box::new(io::stdin().lock())),
        path => (path, Box::new(File::open(path)?)),
    })
}

fn summarize(file: &str, reading: &Reading) -> Result<Summary, Box<dyn std::error::Error>> {
    // One file at a time has more room than those of a worker.
    let limits = Limits { whole_bytes_max: WHOLE_BYTES_MAX, ..Limits::default() };
    if file == "-" {
        return read(&mut io::stdin().lock(), reading.decoder(STDIN_NAME, &limits), |_, _| Ok(()));
    }
    let mut input = File::open(file)?;
    let about = input.metadata()?;
    let jump = |input: &mut File, decoder: &mut dyn Decode| {
        // A pipe has no places to jump to.
        if about.is_file()
            && let Some(place) = decoder.jump(about.len())
        {
            input.seek(SeekFrom::Start(place))?;
        }
        Ok(())
    };
    read(&mut input, reading.decoder(file, &limits), jump)
}

/// Feeds all of the input; `jump` is asked after each piece where to go on.
fn read<R: Read>(
    input: &mut R,
    mut decoder: Box<dyn Decode>,
    mut jump: impl FnMut(&mut R, &mut dyn Decode) -> io::Result<()>,
) -> Result<Summary, Box<dyn std::error::Error>> {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => return Ok(decoder.finish()?),
            Ok(read) => {
                decoder.feed(&buffer[..read])?;
                jump(input, &mut *decoder)?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The summary's data frame as a table: one row per column of the file.
fn table(file: &str, summary: &Summary) -> Result<String, Error> {
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
    Ok(format!("{file}: {rows} rows, {columns} columns\n{table}\n"))
}
