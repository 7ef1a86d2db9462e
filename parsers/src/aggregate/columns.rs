//! All columns of a file under one memory budget.
//!
//! Each column starts as a table of its tokens, from which everything is exact. When the tables together
//! would outgrow the budget, the largest one is folded into sketches, again and again until there is room.
//! Promise: which column is folded, and when, follows from the values alone, never from how the bytes were
//! cut.

mod twin;

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::aggregate::exact::{self, KNOWN, finite};
use crate::aggregate::lanes::Lanes;
use crate::aggregate::tokens::Taken;
use crate::aggregate::{Full, Sink, SketchSizes, Sketches, Tokens, Values, Word};
use crate::scalar::Syntax;
use crate::summary::{Bound, ColumnSchema, ColumnStats, ColumnType, Distinct, Precision};

pub(crate) use self::twin::Twin;

/// One column: what is known of it, and its statistics.
pub type Finished = (ColumnSchema, ColumnStats);

#[derive(Clone, Default, Serialize, Deserialize)]
struct Column {
    /// Nulls that had no token, since their record had no such field.
    missing: u64,
    state: State,
}

#[derive(Clone, Serialize, Deserialize)]
enum State {
    Exact(Tokens),
    Estimated(Box<Sketches>),
}

impl Default for State {
    fn default() -> State {
        State::Exact(Tokens::default())
    }
}

/// The columns of a file, or of a part of one.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Columns {
    columns: Vec<Column>,
    syntax: Syntax,
    /// What fits into `sketch_bytes_max` as often as there are columns.
    #[serde(skip)]
    sizes: SketchSizes,
    #[serde(skip)]
    sketch_bytes_max: usize,
    #[serde(skip)]
    exact_bytes: usize,
    #[serde(skip)]
    exact_bytes_max: usize,
    #[serde(skip)]
    lanes: Lanes,
}

impl Columns {
    /// So many empty columns of tokens of this syntax, with memory for their exact tables and for their sketches.
    pub fn new(width: usize, syntax: Syntax, exact_bytes_max: usize, sketch_bytes_max: usize) -> Columns {
        Columns {
            columns: vec![Column::default(); width],
            syntax,
            sizes: SketchSizes::for_columns(width, sketch_bytes_max),
            sketch_bytes_max,
            exact_bytes: 0,
            exact_bytes_max,
            lanes: Lanes::default(),
        }
    }

    /// How many columns there are.
    pub fn width(&self) -> usize {
        self.columns.len()
    }

    /// How the tokens are written.
    pub(crate) fn syntax(&self) -> Syntax {
        self.syntax
    }

    /// Whether these are columns of so many rows, and not bytes that only look like some.
    pub(crate) fn is_sound(&self, rows: u64) -> bool {
        let values = |column: &Column| match &column.state {
            State::Exact(tokens) => tokens.iter().try_fold(0u64, |sum, (_, times)| sum.checked_add(times)),
            State::Estimated(sketches) => sketches.values().filter(|_| sketches.is_sound()),
        };
        let sound =
            |column: &Column| values(column).and_then(|sum| sum.checked_add(column.missing)) == Some(rows);
        self.columns.iter().all(sound)
    }

    /// Sets the bounds, which bytes do not have: they may have been written with larger ones.
    pub(crate) fn bound(&mut self, exact_bytes_max: usize, sketch_bytes_max: usize) {
        (self.exact_bytes_max, self.sketch_bytes_max) = (exact_bytes_max, sketch_bytes_max);
        self.sizes = SketchSizes::for_columns(self.columns.len(), sketch_bytes_max);
        // In any case: forged ones may be larger than all that we write.
        self.shrink();
        self.recount();
        while self.exact_bytes > self.exact_bytes_max {
            self.fold_largest(0);
        }
    }

    /// Counts the memory of the tables anew: those of a clone have less room, and grow sooner than their number tells.
    pub(crate) fn recount(&mut self) {
        self.exact_bytes = self.exact_bytes();
    }

    /// The memory held by exact tables, counted anew.
    pub fn exact_bytes(&self) -> usize {
        let bytes = |column: &Column| match &column.state {
            State::Exact(tokens) => tokens.bytes(),
            State::Estimated(_) => 0,
        };
        self.columns.iter().map(bytes).sum()
    }

    /// Takes in a value of the column `index`, `times` times. A column that does not exist takes nothing.
    pub fn add(&mut self, index: usize, word: Word<'_>, times: u64) {
        loop {
            let Some(column) = self.columns.get_mut(index) else { return };
            match &mut column.state {
                State::Estimated(sketches) => return sketches.add(self.syntax, word, times),
                State::Exact(tokens) => {
                    let room = self.exact_bytes_max.saturating_sub(self.exact_bytes);
                    if let Ok(grown) = tokens.add(word, times, room) {
                        self.exact_bytes += grown;
                        return;
                    }
                }
            }
            // Each round folds a table, so this ends: at the latest when the column itself is folded.
            self.fold_largest(index);
        }
    }

    /// Takes in a stretch of the file: `column` gives the values of each, in their order. Inside of a rayon pool the
    /// columns are shared out to its threads; the result is the same.
    pub fn add_batch<V: Values>(&mut self, column: impl Fn(usize) -> V + Sync) {
        self.add_batch_beside(column, || ());
    }

    /// The same, beside something else that has nothing to do with the columns.
    pub(crate) fn add_batch_beside<V: Values, R: Send>(
        &mut self,
        column: impl Fn(usize) -> V + Sync,
        beside: impl FnOnce() -> R + Send,
    ) -> R {
        // First each column by itself, with an equal share of the room: then no thread need know of another.
        let share = self.exact_bytes_max.saturating_sub(self.exact_bytes) / self.columns.len().max(1);
        let syntax = self.syntax;
        let take = |index, own: &mut Column| own.take(syntax, column(index), share);
        let (taken, beside) = self.lanes.all(&mut self.columns, take, beside);
        self.exact_bytes += taken.iter().map(|taken| taken.grown).sum::<usize>();
        // Then those for which that was not enough, one after another, with all the room there is.
        for (index, taken) in taken.into_iter().enumerate().filter(|(_, taken)| taken.is_full) {
            column(index).show(taken.values, &mut Rest { columns: self, index });
        }
        beside
    }

    /// Counts nulls without a token in the column `index`.
    pub fn add_missing(&mut self, index: usize, times: u64) {
        if let Some(column) = self.columns.get_mut(index) {
            column.missing += times;
        }
    }

    /// A further column, of which the rows so far have nothing: `missing` nulls. Where the sketches become too many
    /// for their memory, all of them shrink: at any moment they are as large as if all columns had been known before.
    pub fn push_column(&mut self, missing: u64) {
        self.columns.push(Column { missing, ..Column::default() });
        self.resize();
    }

    fn resize(&mut self) {
        let sizes = SketchSizes::for_columns(self.columns.len(), self.sketch_bytes_max);
        if sizes != self.sizes {
            self.sizes = sizes;
            self.shrink();
        }
    }

    fn shrink(&mut self) {
        for column in &mut self.columns {
            if let State::Estimated(sketches) = &mut column.state {
                sketches.shrink(&self.sizes);
            }
        }
    }

    /// Takes in another part by the names of its columns; each part has its own `names` and number of `rows`. A column
    /// that only one of them has is null in the rows of the other.
    pub fn merge_by_name(
        &mut self,
        names: &mut Vec<String>,
        rows: u64,
        other: Columns,
        other_names: &[String],
        other_rows: u64,
    ) {
        self.recount();
        let mut only_here: HashMap<String, usize> = names.iter().cloned().zip(0..).collect();
        for (name, column) in other_names.iter().zip(other.columns) {
            let index = match only_here.remove(name) {
                Some(index) => index,
                None => {
                    names.push(name.clone());
                    self.push_column(rows);
                    self.width() - 1
                }
            };
            self.merge_column(index, column);
        }
        only_here.into_values().for_each(|index| self.add_missing(index, other_rows));
    }

    fn merge_column(&mut self, index: usize, other: Column) {
        match other.state {
            State::Exact(tokens) => {
                for (token, times) in tokens.iter() {
                    self.add(index, token, times);
                }
            }
            State::Estimated(mut sketches) => {
                self.fold(index);
                if let Some(Column { state: State::Estimated(mine), .. }) = self.columns.get_mut(index) {
                    sketches.shrink(&self.sizes);
                    mine.merge(&sketches);
                }
            }
        }
        self.add_missing(index, other.missing);
    }

    /// The facts of each column, under these names.
    pub fn finish(self, names: &[String], top_bytes_max: usize) -> Vec<Finished> {
        let named = self.columns.into_iter().zip(names);
        named.map(|(column, name)| column.finish(self.syntax, name.clone(), top_bytes_max)).collect()
    }

    /// Folds the exact table that holds the most memory; `wanting` when none holds any.
    fn fold_largest(&mut self, wanting: usize) {
        let mut largest = (0, wanting);
        for (index, column) in self.columns.iter().enumerate() {
            if let State::Exact(tokens) = &column.state
                && tokens.bytes() > largest.0
            {
                largest = (tokens.bytes(), index);
            }
        }
        self.fold(largest.1);
    }

    /// Turns the table of a column into sketches. A column that is folded already stays as it is.
    fn fold(&mut self, index: usize) {
        let Some(column) = self.columns.get_mut(index) else { return };
        if let State::Exact(tokens) = &mut column.state {
            self.exact_bytes = self.exact_bytes.saturating_sub(tokens.bytes());
            tokens.seal();
            let mut sketches = Sketches::new(&self.sizes);
            for (token, times) in tokens.iter() {
                sketches.add(self.syntax, token, times);
            }
            column.state = State::Estimated(Box::new(sketches));
        }
    }
}

impl Column {
    /// Takes in values while the table finds room within `room` bytes.
    fn take(&mut self, syntax: Syntax, values: impl Values, room: usize) -> Taken {
        match &mut self.state {
            State::Estimated(sketches) => {
                values.show(0, &mut Estimate { sketches, syntax });
                Taken::default()
            }
            State::Exact(tokens) => {
                let mut table = Table { tokens, room, taken: Taken::default() };
                values.show(0, &mut table);
                table.taken
            }
        }
    }

    fn finish(self, syntax: Syntax, name: String, top_bytes_max: usize) -> Finished {
        match self.state {
            State::Exact(tokens) => exact::finish(tokens, syntax, self.missing, name, top_bytes_max),
            State::Estimated(sketches) => estimated(&sketches, syntax, self.missing, name, top_bytes_max),
        }
    }
}

/// The table of a column, within the room it has.
struct Table<'a> {
    tokens: &'a mut Tokens,
    room: usize,
    taken: Taken,
}

impl Sink for Table<'_> {
    fn all<'a>(&mut self, mut words: impl Iterator<Item = Word<'a>>) {
        let taken = self.tokens.add_all(&mut words, self.room - self.taken.grown);
        self.taken.values += taken.values;
        self.taken.grown += taken.grown;
        self.taken.is_full |= taken.is_full;
    }

    fn one(&mut self, word: Word<'_>, times: u64) -> bool {
        match self.tokens.add(word, times, self.room - self.taken.grown) {
            Ok(grown) => {
                self.taken.grown += grown;
                self.taken.values += 1;
            }
            Err(Full) => self.taken.is_full = true,
        }
        !self.taken.is_full
    }
}

/// The sketches of a column, and how its tokens are written.
struct Estimate<'a> {
    sketches: &'a mut Sketches,
    syntax: Syntax,
}

impl Sink for Estimate<'_> {
    fn all<'a>(&mut self, words: impl Iterator<Item = Word<'a>>) {
        words.for_each(|word| self.sketches.add(self.syntax, word, 1));
    }

    fn one(&mut self, word: Word<'_>, times: u64) -> bool {
        self.sketches.add(self.syntax, word, times);
        true
    }
}

/// What a column could not take in by itself, with the room of all.
struct Rest<'a> {
    columns: &'a mut Columns,
    index: usize,
}

impl Sink for Rest<'_> {
    fn all<'a>(&mut self, words: impl Iterator<Item = Word<'a>>) {
        words.for_each(|word| self.columns.add(self.index, word, 1));
    }

    fn one(&mut self, word: Word<'_>, times: u64) -> bool {
        self.columns.add(self.index, word, times);
        true
    }
}

/// The facts of a folded column.
fn estimated(
    sketches: &Sketches,
    syntax: Syntax,
    missing: u64,
    name: String,
    top_bytes_max: usize,
) -> Finished {
    let kind = sketches.kinds.finish();
    let mut schema = exact::schema(name, kind, sketches.nulls + missing);
    let mut stats = ColumnStats { count: sketches.count, ..ColumnStats::default() };
    match kind {
        ColumnType::Empty => {}
        ColumnType::Int | ColumnType::Float => numbers(sketches, &mut schema, &mut stats),
        ColumnType::Bool => exact::truths(sketches.bools, sketches.bool_first, &mut schema, &mut stats),
        ColumnType::Date | ColumnType::Datetime | ColumnType::Text => {
            schema.distinct = distinct(sketches.distinct.finish(), stats.count);
            stats.unique = Some(schema.distinct.value);
            if let Some(top) = sketches.frequent.finish() {
                schema.top = Some(precision(top.error as f64));
                stats.top = Some(exact::shown(&syntax.shown(&top.value), top_bytes_max));
                stats.freq = Some(top.count);
            }
        }
    }
    if matches!(kind, ColumnType::Date | ColumnType::Datetime) {
        (stats.min, stats.max) = exact::bounds(sketches.times, kind, sketches.kinds.has_offset());
    }
    (schema, stats)
}

fn numbers(sketches: &Sketches, schema: &mut ColumnSchema, stats: &mut ColumnStats) {
    schema.infinite = sketches.infinite;
    if let Some((min, max)) = sketches.numbers.finish() {
        (stats.min, stats.max) = (exact::number(min), exact::number(max));
        if sketches.infinite == 0 {
            stats.mean = sketches.moments.mean().and_then(finite);
            let std = if min == max { sketches.moments.std().map(|_| 0.0) } else { sketches.moments.std() };
            stats.std = std.and_then(finite);
        }
    }
    if let (ColumnType::Int, false, Some((min, max))) =
        (schema.kind, sketches.unsigned, sketches.integers.finish())
    {
        (stats.min, stats.max) = (Some(Bound::Int(min)), Some(Bound::Int(max)));
    }
    let Some(numeric) = &sketches.numeric else { return };
    schema.distinct = distinct(numeric.distinct.finish(), stats.count);
    schema.quantiles = Some(precision(numeric.quantiles.rank_error()));
    if let Some(values) = numeric.quantiles.finish(&[0.25, 0.5, 0.75]) {
        (stats.p25, stats.p50, stats.p75) = (finite(values[0]), finite(values[1]), finite(values[2]));
    }
}

fn distinct((value, error): (u64, f64), count: u64) -> Distinct {
    Distinct { value: value.min(count), exact: false, error: Some(error) }
}

/// An estimate without an error is no estimate.
fn precision(error: f64) -> Precision {
    if error == 0.0 { KNOWN } else { Precision { exact: false, error: Some(error) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes of a partial may hold sketches of any size.
    #[test]
    fn sketches_that_are_larger_than_all_of_ours_shrink_to_the_bound() {
        let written = |sizes: SketchSizes| {
            let mut columns = Columns { sizes, ..Columns::new(1, Syntax::Field, 0, usize::MAX) };
            for number in 0..50_000 {
                columns.add(0, Word::new(format!("{number}").as_bytes()), 1);
            }
            // Bytes do not tell for which sizes they were made.
            columns.sizes = SketchSizes::default();
            columns.bound(0, usize::MAX);
            let mut bytes = Vec::new();
            let done = ciborium::into_writer(&columns, &mut bytes);
            assert!(done.is_ok());
            bytes.len()
        };
        let ours = SketchSizes::default();
        let (large, known) =
            (written(SketchSizes { distinct_lg: 18, quantiles_k: 1 << 15, ..ours }), written(ours));
        assert!(large < known * 5 / 4, "{large} {known}");
    }
}
