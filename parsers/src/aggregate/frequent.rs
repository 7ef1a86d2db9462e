//! The most frequent value, estimated in bounded memory: a frequent-items sketch.
//!
//! Promise: the count of the value returned is at most `error` off, and no other value is more frequent by
//! more than `error`. Values longer than a limit are no candidates, so that memory stays bounded; their
//! number is part of the error.

use datasketches::frequencies::{ErrorType, FrequentItemsSketch};
use smallvec::SmallVec;

use crate::error::{Error, ErrorKind};

/// A candidate; most are short, and need no allocation to be looked at.
type Candidate = SmallVec<[u8; 24]>;

/// A frequent-items (Misra–Gries) sketch of byte strings.
#[derive(Clone)]
pub struct Frequent {
    sketch: FrequentItemsSketch<Candidate>,
    candidate_bytes_max: usize,
    passed_over: u64,
}

/// The most frequent value of a sketch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Top {
    /// The value.
    pub value: Vec<u8>,
    /// Its estimated count.
    pub count: u64,
    /// How far the count may be off, and how much more frequent another value may be.
    pub error: u64,
}

impl Frequent {
    /// An empty sketch of `slots` (a power of two) for values up to `candidate_bytes_max`.
    pub fn new(slots: usize, candidate_bytes_max: usize) -> Result<Frequent, Error> {
        let sketch = FrequentItemsSketch::new(slots).map_err(|error| {
            Error::new(ErrorKind::Internal, format!("the frequent-items sketch was refused: {error}"))
        })?;
        Ok(Frequent { sketch, candidate_bytes_max, passed_over: 0 })
    }

    /// Takes in one value, `times` times.
    pub fn add(&mut self, value: &[u8], times: u64) {
        if value.len() > self.candidate_bytes_max {
            self.passed_over += times;
        } else {
            self.sketch.update_with_count(Candidate::from_slice(value), times);
        }
    }

    /// Takes in the values of another part.
    pub fn merge(&mut self, other: &Frequent) {
        self.candidate_bytes_max = self.candidate_bytes_max.min(other.candidate_bytes_max);
        self.passed_over += other.passed_over;
        self.sketch.merge(&other.sketch);
    }

    /// The most frequent value; of equals the smallest, so that the answer is one. `None` if no value stands
    /// out at all.
    pub fn finish(&self) -> Option<Top> {
        let rows = self.sketch.frequent_items_with_threshold(ErrorType::NoFalseNegatives, 0);
        let error = self.sketch.maximum_error().max(self.passed_over);
        let best = rows
            .iter()
            .max_by(|a, b| a.lower_bound().cmp(&b.lower_bound()).then_with(|| b.item().cmp(a.item())))?;
        // The estimate of the sketch is its upper bound; the lower one is what was surely seen.
        Some(Top { value: best.item().to_vec(), count: best.lower_bound(), error })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[u16]) -> Frequent {
        let mut sketch = Frequent::new(16, 8).unwrap();
        values.iter().for_each(|v| sketch.add(v.to_string().as_bytes(), 1));
        sketch
    }

    fn check(sketch: &Frequent, values: &[u16]) {
        let count = |value: &[u8]| values.iter().filter(|v| v.to_string().as_bytes() == value).count() as u64;
        let most = values.iter().map(|v| count(v.to_string().as_bytes())).max().unwrap();
        match sketch.finish() {
            Some(top) => {
                assert!(count(&top.value).abs_diff(top.count) <= top.error);
                assert!(most <= top.count + top.error);
            }
            None => assert!(most <= sketch.sketch.maximum_error()),
        }
    }

    #[test]
    fn long_values_are_part_of_the_error() {
        let mut sketch = Frequent::new(16, 4).unwrap();
        sketch.add(b"long value", 7);
        sketch.add(b"ab", 3);
        assert_eq!(sketch.finish(), Some(Top { value: b"ab".to_vec(), count: 3, error: 7 }));
    }

    proptest! {
        #[test]
        fn the_count_stays_within_its_error_whole_or_merged(
            values in proptest::collection::vec((0u32..400).prop_map(|v| (v * v / 400) as u16), 1..1000),
            cut in 0usize..1000,
        ) {
            let (left, right) = values.split_at(cut.min(values.len()));
            let mut merged = of(left);
            merged.merge(&of(right));
            check(&of(&values), &values);
            check(&merged, &values);
            let mut empty = of(&[]);
            empty.merge(&of(&values));
            prop_assert_eq!(empty.finish(), of(&values).finish());
        }
    }
}
