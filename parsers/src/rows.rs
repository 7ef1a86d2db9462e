//! What every format gathers: names, columns, the number of rows, and what was repaired.
//!
//! Promise: the same summary of the same values, whatever the format they came in.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::aggregate::Columns;
use crate::error::{Error, ErrorKind};
use crate::format::{Compression, Format};
use crate::limits::Limits;
use crate::partial::Partial;
use crate::scalar::Syntax;
use crate::summary::{Dialect, SCHEMA_VERSION, Summary, Warning, WarningKind};

/// More rows than files have. With so many at most, no count of anything overflows.
const ROWS_MAX: u64 = 1 << 48;

/// The rows so far.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Rows {
    pub(crate) names: Vec<String>,
    pub(crate) columns: Columns,
    pub(crate) total: u64,
    pub(crate) warnings: Warnings,
    #[serde(skip)]
    top_bytes_max: usize,
    #[serde(skip)]
    columns_max: usize,
}

impl Rows {
    /// No rows of columns with these names.
    pub(crate) fn new(names: Vec<String>, syntax: Syntax, limits: &Limits) -> Rows {
        let Limits { exact_bytes_max, sketch_bytes_max, top_bytes_max, columns_max, .. } = *limits;
        let columns = Columns::new(names.len(), syntax, exact_bytes_max, sketch_bytes_max);
        Rows { names, columns, total: 0, warnings: Warnings::default(), top_bytes_max, columns_max }
    }

    /// Whether they have these columns, in this order, written in this way.
    pub(crate) fn are_of(&self, names: &[String], syntax: Syntax) -> bool {
        self.names == names && self.columns.syntax() == syntax
    }

    /// Everything that was read. `dialect` only for delimited text.
    pub(crate) fn partial(self, format: Format, dialect: Option<Dialect>) -> Partial {
        Partial { rows: self, format, dialect, encoding: None, compression: Compression::None }
    }

    /// Takes in the rows of another part, which came later; all of them, or none.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] when their values are not written alike, [`ErrorKind::Limit`] when both together have
    /// more columns than one may have, or more rows than can be counted.
    pub(crate) fn merge(&mut self, other: Rows) -> Result<(), Error> {
        let (ours, theirs) = (self.columns.syntax(), other.columns.syntax());
        if ours != theirs {
            let (ours, theirs) = (ours.told(), theirs.told());
            let message =
                format!("values are written {theirs}, those before {ours}: summarise these files apart");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let names: HashSet<&String> = self.names.iter().collect();
        let columns = names.len() + other.names.iter().filter(|name| !names.contains(name)).count();
        if columns > self.columns_max {
            let message = format!("{columns} columns in all, more than {} (columns_max)", self.columns_max);
            return Err(Error::new(ErrorKind::Limit, format!("{message}: summarise these files apart")));
        }
        countable(self.total + other.total)?;
        self.columns.merge_by_name(&mut self.names, self.total, other.columns, &other.names, other.total);
        self.total += other.total;
        self.warnings.merge(other.warnings);
        Ok(())
    }

    /// Whether so many can be counted.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] when they cannot.
    pub(crate) fn are_countable(&self) -> Result<(), Error> {
        countable(self.total)
    }

    /// Whether these are rows, and not bytes that only look like some.
    pub(crate) fn is_sound(&self) -> bool {
        let names: HashSet<&String> = self.names.iter().collect();
        names.len() == self.names.len()
            && self.names.len() == self.columns.width()
            && self.total <= ROWS_MAX
            && self.columns.is_sound(self.total)
    }

    /// Sets the limits, which bytes do not have.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] when there are more columns than they allow.
    pub(crate) fn bound(&mut self, limits: &Limits) -> Result<(), Error> {
        let (width, columns_max) = (self.columns.width(), limits.columns_max);
        if width > columns_max {
            return Err(Error::new(ErrorKind::Limit, format!("{width} columns, more than {columns_max}")));
        }
        (self.top_bytes_max, self.columns_max) = (limits.top_bytes_max, columns_max);
        self.columns.bound(limits.exact_bytes_max, limits.sketch_bytes_max);
        Ok(())
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

fn countable(rows: u64) -> Result<(), Error> {
    match rows {
        0..=ROWS_MAX => Ok(()),
        _ => Err(Error::new(ErrorKind::Limit, format!("more than {ROWS_MAX} rows"))),
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
                Some(mine) => mine.count = mine.count.saturating_add(warning.count),
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
