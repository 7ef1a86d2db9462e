//! A large file goes to two sets of columns by turns, so that two threads have one each; at its end they become one.
//!
//! Threads that share the columns of a batch out wait for one another after each, and waking one costs about as much as
//! the batch. Here each has a megabyte to itself. Promise: which values go to which set follows from the file alone,
//! never from the threads; what is exact is as if one set had seen all of it, the order of first appearance with it.

use super::{Column, Columns, State};
use crate::aggregate::{Sketches, Tokens};
use crate::scalar::{Scalar, Syntax};

/// Wider tables have no twin: the sketches of all their columns would be there twice.
const WIDTH_MAX: usize = 256;
/// With so many different tokens a column is not one of truth values, however these are written.
const TRUTHS_MAX: usize = 128;

/// The second set of columns, which has its turn after the first in each round.
pub(crate) struct Twin {
    columns: Columns,
    sides: Vec<Sides>,
}

/// What tells of a column in which order the two sets met its tokens.
#[derive(Clone, Default)]
struct Sides {
    /// How many different tokens each of them had, the first and the second, at the end of each round that brought some.
    marks: Vec<(u32, u32)>,
    /// The first truth value.
    truth: Option<bool>,
}

impl Columns {
    /// A second set of columns, which takes in what follows beside this one. Each has half of the memory.
    pub(crate) fn twin(&mut self) -> Option<Twin> {
        if self.width() > WIDTH_MAX {
            return None;
        }
        let half = self.exact_bytes_max / 2;
        self.exact_bytes_max -= half;
        while self.exact_bytes > self.exact_bytes_max {
            self.fold_largest(0);
        }
        self.lanes.halve();
        let mut second = Columns::new(self.width(), self.syntax, half, self.sketch_bytes_max);
        second.lanes.halve();
        for (index, column) in self.columns.iter().enumerate() {
            // Where one table is too small, the other would be as well.
            if matches!(column.state, State::Estimated(_)) {
                second.fold(index);
            }
        }
        let sides = vec![Sides::default(); self.width()];
        let mut twin = Twin { columns: second, sides };
        twin.end_round(self);
        Some(twin)
    }
}

impl Twin {
    /// The second set.
    pub(crate) fn columns(&mut self) -> &mut Columns {
        &mut self.columns
    }

    /// Both have taken in what was theirs of a round.
    pub(crate) fn end_round(&mut self, first: &mut Columns) {
        let syntax = first.syntax;
        for (index, sides) in self.sides.iter_mut().enumerate() {
            let (one, other) = (&first.columns[index].state, &self.columns.columns[index].state);
            let (before, after) = (sides.marks.last().copied().unwrap_or_default(), (one.len(), other.len()));
            if sides.truth.is_none() {
                let truth = |state: &State, from| state.first_truth(syntax, from);
                sides.truth = truth(one, before.0).or_else(|| truth(other, before.1));
            }
            match (one, other) {
                (State::Exact(_), State::Exact(_)) if before != after => sides.marks.push(after),
                (State::Exact(_), State::Exact(_)) => {}
                (State::Exact(_), State::Estimated(_)) => first.fold(index),
                (State::Estimated(_), State::Exact(_)) => self.columns.fold(index),
                (State::Estimated(_), State::Estimated(_)) => sides.marks = Vec::new(),
            }
        }
    }

    /// Makes one of both, which has all of the memory.
    pub(crate) fn join(mut self, first: &mut Columns) {
        self.end_round(first);
        let Twin { columns: second, sides } = self;
        first.exact_bytes_max += second.exact_bytes_max;
        first.lanes.whole();
        for (index, (Column { missing, state }, sides)) in second.columns.into_iter().zip(sides).enumerate() {
            first.add_missing(index, missing);
            match state {
                State::Exact(tokens) => first.replay(index, &tokens, &sides.marks),
                State::Estimated(sketches) => {
                    first.fold(index);
                    if let Some(mine) =
                        first.columns.get_mut(index).and_then(|column| column.state.sketches())
                    {
                        mine.merge(&sketches);
                    }
                }
            }
            if let Some(sketches) = first.columns[index].state.sketches() {
                sketches.bool_first = sides.truth;
            }
        }
    }
}

impl Columns {
    /// Takes the tokens of a column and those of its twin in again, in the order in which they were met.
    fn replay(&mut self, index: usize, twin: &Tokens, marks: &[(u32, u32)]) {
        if twin.is_empty() {
            return;
        }
        let own = match &mut self.columns[index].state {
            State::Exact(tokens) => std::mem::take(tokens),
            // It was folded when a column before it took all of the room.
            State::Estimated(_) => {
                return twin.iter().for_each(|(token, times)| self.add(index, token, times));
            }
        };
        self.exact_bytes = self.exact_bytes.saturating_sub(own.bytes());
        let (mut here, mut there) = (own.iter(), twin.iter());
        let mut before = (0, 0);
        for &(own, twin) in marks {
            let tokens = here.by_ref().take((own - before.0) as usize);
            for (token, times) in tokens.chain(there.by_ref().take((twin - before.1) as usize)) {
                self.add(index, token, times);
            }
            before = (own, twin);
        }
    }
}

impl State {
    /// How many different tokens are known.
    fn len(&self) -> u32 {
        match self {
            State::Exact(tokens) => tokens.len() as u32,
            State::Estimated(_) => 0,
        }
    }

    fn sketches(&mut self) -> Option<&mut Sketches> {
        match self {
            State::Exact(_) => None,
            State::Estimated(sketches) => Some(sketches),
        }
    }

    /// The first truth value, from the token of this number on.
    fn first_truth(&self, syntax: Syntax, from: u32) -> Option<bool> {
        match self {
            State::Estimated(sketches) => sketches.bool_first,
            State::Exact(tokens) if tokens.len() > TRUTHS_MAX => None,
            State::Exact(tokens) => {
                tokens.iter().skip(from as usize).find_map(|(token, _)| match syntax.read_word(&token) {
                    Scalar::Bool(value) => Some(value),
                    _ => None,
                })
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::aggregate::Word;

    fn columns(width: usize, exact_bytes_max: usize) -> (Columns, Twin) {
        let mut first = Columns::new(width, Syntax::Field, exact_bytes_max, 1 << 20);
        let twin = first.twin().unwrap();
        (first, twin)
    }

    fn add(columns: &mut Columns, index: usize, token: &str) {
        columns.add(index, Word::new(token.as_bytes()), 1);
    }

    /// Of values that are there equally often the top is the one that was met first, in tables and in sketches.
    #[test]
    fn the_first_truth_is_the_first_of_both() {
        // For each round what the first set meets, and the second.
        let cases = [([("", "True"), ("False", "")], "True"), ([("False", "True"), ("", "")], "False")];
        for memory in [0, usize::MAX] {
            for (rounds, top) in cases {
                let (mut first, mut twin) = columns(1, memory);
                for (one, other) in rounds {
                    add(&mut first, 0, one);
                    add(twin.columns(), 0, other);
                    twin.end_round(&mut first);
                }
                twin.join(&mut first);
                let (schema, stats) = first.finish(&["a".to_owned()], 100).remove(0);
                assert_eq!((schema.nulls, stats.count), (2, 2));
                assert_eq!(stats.top.as_deref(), Some(top), "{rounds:?} {memory}");
            }
        }
    }

    /// There are more ways to write truths and nulls than one would think.
    #[test]
    fn truths_that_are_written_in_every_way_keep_their_first() {
        const NULLS: [&str; 19] = [
            "", "NA", "N/A", "n/a", "#N/A", "#NA", "#N/A N/A", "<NA>", "NaN", "nan", "-NaN", "-nan", "NULL",
            "null", "None", "1.#IND", "1.#QNAN", "-1.#IND", "-1.#QNAN",
        ];
        let ways = |word: &str| -> Vec<String> {
            let letter = |way: usize, at: usize, letter: char| match way >> at & 1 {
                0 => letter,
                _ => letter.to_ascii_uppercase(),
            };
            let way = |way| word.chars().enumerate().map(|(at, it)| letter(way, at, it)).collect();
            (0..1 << word.len()).map(way).collect()
        };
        let (mut first, mut twin) = columns(1, usize::MAX);
        // As many of the one as of the other.
        for token in ways("true").iter().chain(&ways("true")).chain(&ways("false")) {
            add(&mut first, 0, token);
        }
        NULLS.iter().for_each(|token| add(&mut first, 0, token));
        ["False", "True"].iter().for_each(|token| add(twin.columns(), 0, token));
        twin.end_round(&mut first);
        first.fold(0);
        twin.join(&mut first);
        let (schema, stats) = first.finish(&["a".to_owned()], 100).remove(0);
        assert_eq!((schema.nulls, stats.top.as_deref(), stats.freq), (19, Some("True"), Some(33)));
    }

    /// Both together may be larger than each was.
    #[test]
    fn a_column_that_is_folded_for_another_loses_nothing() {
        let (mut first, mut twin) = columns(2, usize::MAX);
        for number in 0..2_000 {
            add(twin.columns(), 0, &format!("{number}"));
            add(twin.columns(), 1, "x");
            add(&mut first, 0, "y");
            add(&mut first, 1, &format!("{number}"));
        }
        twin.end_round(&mut first);
        (first.exact_bytes_max, twin.columns().exact_bytes_max) = (first.exact_bytes, 1);
        twin.join(&mut first);
        assert!(matches!(first.columns[1].state, State::Estimated(_)));
        assert!(first.is_sound(4_000));
    }

    #[test]
    fn a_wide_table_has_no_twin() {
        let columns = |width| Columns::new(width, Syntax::Field, usize::MAX, 1 << 20);
        assert!(columns(WIDTH_MAX).twin().is_some());
        assert!(columns(WIDTH_MAX + 1).twin().is_none());
    }
}
