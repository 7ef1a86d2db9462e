//! What every format gathers: names, columns, the number of rows, and what was repaired.
//!
//! Promise: the same summary of the same values, whatever the format they came in.

use serde::{Deserialize, Serialize};

use crate::aggregate::Columns;
use crate::error::Error;
use crate::format::{Compression, Format};
use crate::limits::Limits;
use crate::partial::Partial;
use crate::scalar::Syntax;
use crate::summary::{Dialect, SCHEMA_VERSION, Summary, Warning, WarningKind};

/// The rows so far.
#[derive(Clone, Serialize, Deserialize)]
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

    /// Everything that was read. `dialect` only for delimited text.
    pub(crate) fn partial(self, format: Format, dialect: Option<Dialect>) -> Partial {
        Partial { rows: self, format, dialect, encoding: None, compression: Compression::None }
    }

    /// Takes in the rows of another part, which came later.
    pub(crate) fn merge(&mut self, other: Rows) -> Result<(), Error> {
        self.columns.merge_by_name(&mut self.names, self.total, other.columns, &other.names, other.total)?;
        self.total += other.total;
        self.warnings.merge(other.warnings);
        Ok(())
    }

    /// Whether these are rows, and not bytes that only look like some.
    pub(crate) fn is_sound(&self) -> bool {
        self.names.len() == self.columns.width() && self.columns.is_sound()
    }

    /// Goes on within these limits.
    pub(crate) fn bound(&mut self, limits: &Limits) -> Result<(), Error> {
        self.top_bytes_max = limits.top_bytes_max;
        self.columns.bound(limits.exact_bytes_max, limits.sketch_bytes_max)
    }

    /// The summary.
    pub(crate) fn finish(
        self,
        format: Format,
        dialect: Option<Dialect>,
        encoding: Option<String>,
        compression: Compression,
    ) -> Summary {
        let finished = self.columns.finish(&self.names, self.top_bytes_max);
        let (mut schema, mut summary) =
            (Vec::with_capacity(finished.len()), Vec::with_capacity(finished.len()));
        for (column, stats) in finished {
            summary.push((column.name.clone(), stats));
            schema.push(column);
        }
        Summary {
            total_rows: self.total,
            columns: self.names,
            summary,
            schema_version: SCHEMA_VERSION,
            format,
            dialect,
            encoding,
            compression,
            schema,
            warnings: self.warnings.finish(),
        }
    }
}

/// What was repaired so far: how often, and where first.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Warnings(Vec<Warning>);

impl Warnings {
    /// Counts one repair.
    pub(crate) fn note(&mut self, kind: WarningKind, line: u64) {
        match self.0.iter_mut().find(|warning| warning.kind == kind) {
            Some(warning) => warning.count += 1,
            None => self.0.push(Warning { kind, count: 1, first_line: line }),
        }
    }

    /// Takes in the repairs of another part, which came later.
    pub(crate) fn merge(&mut self, other: Warnings) {
        for warning in other.0 {
            match self.0.iter_mut().find(|mine| mine.kind == warning.kind) {
                Some(mine) => mine.count += warning.count,
                None => self.0.push(warning),
            }
        }
    }

    /// The one that was met first.
    pub(crate) fn first(&self) -> Option<&Warning> {
        self.0.first()
    }

    /// All of them, in the order of their kinds.
    fn finish(mut self) -> Vec<Warning> {
        self.0.sort_by_key(|warning| warning.kind);
        self.0
    }
}
