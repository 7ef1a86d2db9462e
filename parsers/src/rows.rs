//! What every format gathers: names, columns, the number of rows, and what was repaired.
//!
//! Promise: the same summary of the same values, whatever the format they came in.

use crate::aggregate::Columns;
use crate::error::Error;
use crate::format::{Compression, Format};
use crate::limits::Limits;
use crate::scalar::Syntax;
use crate::summary::{Dialect, SCHEMA_VERSION, Summary, Warning, WarningKind};

/// The rows so far.
pub(crate) struct Rows {
    pub(crate) names: Vec<String>,
    pub(crate) columns: Columns,
    pub(crate) total: u64,
    pub(crate) warnings: Warnings,
    top_bytes_max: usize,
}

impl Rows {
    /// No rows of columns with these names.
    pub(crate) fn new(names: Vec<String>, syntax: Syntax, limits: &Limits) -> Rows {
        let Limits { exact_bytes_max, sketch_bytes_max, top_bytes_max, .. } = *limits;
        let columns = Columns::new(names.len(), syntax, exact_bytes_max, sketch_bytes_max);
        Rows { names, columns, total: 0, warnings: Warnings::default(), top_bytes_max }
    }

    /// The summary. `dialect` only for delimited text.
    pub(crate) fn finish(self, format: Format, dialect: Option<Dialect>) -> Result<Summary, Error> {
        let finished = self.columns.finish(&self.names, self.top_bytes_max);
        let (mut schema, mut summary) =
            (Vec::with_capacity(finished.len()), Vec::with_capacity(finished.len()));
        for (column, stats) in finished {
            summary.push((column.name.clone(), stats));
            schema.push(column);
        }
        Ok(Summary {
            total_rows: self.total,
            columns: self.names,
            summary,
            schema_version: SCHEMA_VERSION,
            format,
            dialect,
            compression: Compression::None,
            schema,
            warnings: self.warnings.finish(),
        })
    }
}

/// What was repaired so far: how often, and where first.
#[derive(Debug, Default)]
pub(crate) struct Warnings(Vec<Warning>);

impl Warnings {
    /// Counts one repair.
    pub(crate) fn note(&mut self, kind: WarningKind, line: u64) {
        match self.0.iter_mut().find(|warning| warning.kind == kind) {
            Some(warning) => warning.count += 1,
            None => self.0.push(Warning { kind, count: 1, first_line: line }),
        }
    }

    /// All of them, in the order of their kinds.
    fn finish(mut self) -> Vec<Warning> {
        self.0.sort_by_key(|warning| warning.kind);
        self.0
    }
}
