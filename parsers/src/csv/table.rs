//! From records to rows: the header, records of another width, and what is counted.
//!
//! Promise: a row has as many values as the table has columns; each repair is counted once, with its line; in strict
//! mode the first one is an error with its place.

use crate::aggregate::{Columns, Twin, Word};
use crate::both::both;
use crate::csv::batch::{Batch, Oddity};
use crate::csv::dialect::Dialect;
use crate::csv::header;
use crate::csv::records::{Record, Sink};
use crate::error::{Error, ErrorKind, Position};
use crate::format::Format;
use crate::limits::Limits;
use crate::partial::Partial;
use crate::reading::{RowSink, Target};
use crate::rows::{Rows, Warnings};
use crate::scalar::Syntax;
use crate::summary::{self, WarningKind};

/// So many batches in a row go to one of two sets of columns: a thread has as much to do by itself before it waits for the
/// other, and as many batches are in memory, twice.
const TURN: usize = 4;
/// A turn of each.
const ROUND: usize = 2 * TURN;
/// From this batch on there are two sets: smaller files would pay more for the second than it saves.
const TWIN_FROM: usize = 4 * ROUND;

/// What is made of the records.
pub(crate) struct Table {
    limits: Limits,
    syntax: Syntax,
    /// Whether the first record is the header.
    header: bool,
    /// How many fields records have, as far as the beginning of the file tells.
    seen_width: Option<usize>,
    widen: bool,
    trailing: bool,
    strict: bool,
    /// Whether a row like the header is the header again.
    repeats: bool,
    /// The header: its fields one after another, and where they end.
    names: (Vec<u8>, Vec<usize>),
    /// Once the columns are known.
    rows: Option<Rows>,
    /// Whether they are those of files before.
    is_onto: bool,
    /// The columns of every second turn, in a large file.
    twin: Option<Twin>,
    /// Batches that were taken in.
    batches: usize,
    /// The rows of the files before this one, unless they have the same columns, and `rows` goes on from there.
    before: Option<Box<Rows>>,
    sink: Option<Box<dyn RowSink>>,
    /// Before the columns are known.
    warnings: Warnings,
}

impl Table {
    pub(crate) fn new(dialect: &Dialect, limits: &Limits, target: Target) -> Table {
        let (before, sink) = match target {
            Target::Columns(before) => (before, None),
            Target::Sink(sink) => (None, Some(sink)),
        };
        Table {
            limits: limits.clone(),
            syntax: dialect.syntax,
            header: dialect.header,
            seen_width: dialect.width,
            widen: dialect.widen,
            trailing: dialect.trailing,
            strict: dialect.strict,
            repeats: !dialect.header_line.is_empty(),
            names: (Vec::new(), Vec::new()),
            rows: None,
            is_onto: false,
            twin: None,
            batches: 0,
            before,
            sink,
            warnings: Warnings::default(),
        }
    }

    /// Whether the columns are known.
    pub(crate) fn is_begun(&self) -> bool {
        self.rows.is_some()
    }

    /// The columns, from the first record. Says whether that is a row, too.
    fn begin(&mut self, record: &Record<'_>) -> Result<bool, Error> {
        let seen = self.seen_width.unwrap_or(0);
        let names = if self.header {
            self.names = (record.bytes.to_vec(), record.ends.to_vec());
            let width = if self.widen { seen.min(self.limits.columns_max) } else { 0 };
            if width > record.ends.len() {
                self.note(WarningKind::HeaderTooShort, record.position)?;
            }
            header::names(record, width, self.limits.header_bytes_max)?
        } else {
            (1..=record.ends.len().max(seen)).map(|number| format!("column_{number}")).collect()
        };
        if let Some(sink) = &mut self.sink {
            sink.header(&names, self.header)?;
        }
        let mut rows = match self.before.take_if(|before| before.are_of(&names, self.syntax)) {
            Some(before) => {
                self.is_onto = true;
                *before
            }
            None => Rows::new(names, self.syntax, &self.limits),
        };
        rows.warnings.merge(std::mem::take(&mut self.warnings));
        self.rows = Some(rows);
        Ok(!self.header)
    }

    fn take(&mut self, record: &Record<'_>) -> Result<(), Error> {
        let Some(rows) = &mut self.rows else { return Ok(()) };
        let width = rows.columns.width();
        rows.total += 1;
        if let Some(sink) = &mut self.sink {
            let missing = std::iter::repeat_n(&b""[..], width.saturating_sub(record.ends.len()));
            return sink.row(&mut record.fields().take(width).chain(missing));
        }
        let columns = match &mut self.twin {
            Some(twin) if self.batches % ROUND >= TURN => twin.columns(),
            _ => &mut rows.columns,
        };
        for (index, field) in record.fields().take(width).enumerate() {
            columns.add(index, Word::new(field), 1);
        }
        (record.ends.len()..width).for_each(|index| columns.add_missing(index, 1));
        Ok(())
    }

    /// How many batches are left of the round, when there is a twin to take them in with.
    pub(crate) fn left_of_round(&self) -> Option<usize> {
        self.twin.as_ref().map(|_| ROUND - self.batches % ROUND)
    }

    /// Takes in the rows of the next batch, column by column, and does something else beside it.
    pub(crate) fn batch<R: Send>(
        &mut self,
        batch: &Batch,
        beside: impl FnOnce() -> R + Send,
    ) -> Result<R, Error> {
        let Some(rows) = &mut self.rows else { return Ok(beside()) };
        rows.note(batch);
        if let Some(sink) = &mut self.sink {
            let mut rows = || (0..batch.rows()).try_for_each(|row| sink.row(&mut batch.row(row)));
            let (beside, written) = both(beside, &mut rows);
            return written.map(|()| beside);
        }
        let beside = take(&mut rows.columns, batch, beside);
        self.batches += 1;
        // Each of two sets has half of the memory, for which what is there may be too much.
        if self.batches == TWIN_FROM && !self.is_onto {
            self.twin = rows.columns.twin();
        }
        Ok(beside)
    }

    /// The same for batches of a round, when there is a twin: each half of them on a thread of its own.
    pub(crate) fn turns(&mut self, batches: &[Batch]) {
        let (Some(rows), Some(twin)) = (&mut self.rows, &mut self.twin) else { return };
        batches.iter().for_each(|batch| rows.note(batch));
        let (first, second) = batches.split_at(TURN.saturating_sub(self.batches % ROUND).min(batches.len()));
        let take = |columns: &mut Columns, batches: &[Batch]| {
            batches.iter().for_each(|batch| take(columns, batch, || ()));
        };
        both(|| take(&mut rows.columns, first), || take(twin.columns(), second));
        self.batches += batches.len();
        if self.batches.is_multiple_of(ROUND) {
            twin.end_round(&mut rows.columns);
        }
    }

    /// All rows.
    pub(crate) fn partial(self, format: Format, dialect: summary::Dialect) -> Result<Partial, Error> {
        let Some(mut rows) = self.rows else {
            return Err(Error::new(
                ErrorKind::Empty,
                "no header: the file is empty or holds only blank lines",
            ));
        };
        if let Some(mut sink) = self.sink {
            sink.finish()?;
        }
        if let Some(twin) = self.twin {
            twin.join(&mut rows.columns);
        }
        if let Some(mut before) = self.before {
            before.merge(rows)?;
            rows = *before;
        }
        Ok(rows.partial(format, Some(dialect)))
    }
}

impl Rows {
    /// Counts the rows of a batch, and what is odd about them.
    fn note(&mut self, batch: &Batch) {
        self.total += batch.rows() as u64;
        for &(oddity, line) in &batch.odd {
            let kind = match oddity {
                Oddity::TooShort => WarningKind::RowTooShort,
                Oddity::TooLong => WarningKind::RowTooLong,
            };
            self.warnings.note(kind, line);
        }
    }
}

/// Takes in the values of a batch.
fn take<R: Send>(columns: &mut Columns, batch: &Batch, beside: impl FnOnce() -> R + Send) -> R {
    let beside = columns.add_batch_beside(|index| batch.column(index), beside);
    batch.missing().for_each(|index| columns.add_missing(index, 1));
    beside
}

impl Sink for Table {
    fn record(&mut self, record: &Record<'_>) -> Result<(), Error> {
        if let Some(repaired) = record.repaired {
            self.note(repaired, record.position)?;
        }
        if !record.bytes.is_ascii() && record.fields().any(|field| str::from_utf8(field).is_err()) {
            self.note(WarningKind::InvalidUtf8, record.position)?;
        }
        if memchr::memchr(0, record.bytes).is_some() {
            self.note(WarningKind::NulBytes, record.position)?;
        }
        if self.rows.is_none() && !self.begin(record)? {
            return Ok(());
        }
        if self.repeats && record.bytes == self.names.0 && record.ends == self.names.1 {
            return self.note(WarningKind::RepeatedHeader, record.position);
        }
        let width = self.rows.as_ref().map_or(0, |rows| rows.columns.width());
        let fields = record.ends.len();
        let spare =
            self.trailing && fields == width + 1 && record.fields().last().is_some_and(<[u8]>::is_empty);
        if fields < width {
            self.note(WarningKind::RowTooShort, record.position)?;
        } else if fields > width && !spare {
            self.note(WarningKind::RowTooLong, record.position)?;
        }
        self.take(record)
    }

    fn note(&mut self, kind: WarningKind, position: Position) -> Result<(), Error> {
        if self.strict {
            let message = format!("{}, and the file is read strictly", kind.sentence());
            return Err(Error::new(ErrorKind::Malformed, message).at(position));
        }
        let warnings = self.rows.as_mut().map_or(&mut self.warnings, |rows| &mut rows.warnings);
        warnings.note(kind, position.line);
        Ok(())
    }

    fn width(&self) -> Option<usize> {
        match &self.rows {
            Some(rows) if !self.trailing => Some(rows.columns.width()),
            _ => self.seen_width,
        }
    }
}
