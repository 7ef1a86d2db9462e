//! Every statistic of a column whose distinct values do not fit the memory budget.
//!
//! Promise: constant memory, by `SketchSizes`; nulls, type, count, min, max, mean and std stay exact, the
//! rest is estimated with a stated bound. The final type is not known while values arrive, so statistics of
//! numbers and of text are both kept until a word rules numbers out.

use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};

use crate::aggregate::{Distinct, Extent, Frequent, Kinds, Moments, Quantiles, Word, hash};
use crate::scalar::{Scalar, Syntax};

/// The memory of one column's sketches at the smallest sizes.
pub const SKETCH_BYTES_MIN: usize = 2_900;

/// How large the sketches of one column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SketchSizes {
    /// Registers of the distinct sketches, as a power of two.
    pub distinct_lg: u8,
    /// The `k` of the quantile sketch.
    pub quantiles_k: usize,
    /// Slots of the frequent-items sketch, a power of two.
    pub frequent_slots: usize,
    /// Longest candidate for the most frequent value.
    pub candidate_bytes_max: usize,
}

impl Default for SketchSizes {
    fn default() -> SketchSizes {
        TIERS[0].1
    }
}

/// From the most accurate to the smallest: bytes a column (measured by arithmetic: two registers' arrays, 4k
/// values of 8 bytes in vectors that may be half empty, 3/4 of the slots with a vector each), and sizes.
const TIERS: [(usize, SketchSizes); 8] = [
    (440 << 10, sizes(15, 2048, 512, 512)),
    (168 << 10, sizes(15, 1024, 128, 256)),
    (64 << 10, sizes(13, 512, 64, 128)),
    (30 << 10, sizes(12, 256, 32, 64)),
    (16 << 10, sizes(10, 128, 16, 64)),
    (8 << 10, sizes(8, 64, 8, 32)),
    (5 << 10, sizes(7, 32, 8, 16)),
    (SKETCH_BYTES_MIN, sizes(6, 8, 8, 16)),
];

const fn sizes(lg: u8, k: usize, slots: usize, candidate: usize) -> SketchSizes {
    SketchSizes { distinct_lg: lg, quantiles_k: k, frequent_slots: slots, candidate_bytes_max: candidate }
}

impl SketchSizes {
    /// The largest sizes of which `columns` fit into `bytes_max`.
    pub fn for_columns(columns: usize, bytes_max: usize) -> SketchSizes {
        let share = bytes_max / columns.max(1);
        let fitting = TIERS.iter().find(|tier| tier.0 <= share);
        fitting.unwrap_or(&TIERS[TIERS.len() - 1]).1
    }
}

/// What only numbers have. Dropped when the column turns out to be something else.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Numeric {
    pub(crate) quantiles: Quantiles,
    pub(crate) distinct: Distinct,
}

/// The estimates, and the exact constant-size facts, of one column.
#[derive(Clone, Serialize, Deserialize)]
pub struct Sketches {
    pub(crate) kinds: Kinds,
    pub(crate) nulls: u64,
    pub(crate) count: u64,
    pub(crate) infinite: u64,
    pub(crate) moments: Moments,
    pub(crate) numbers: Extent<f64>,
    pub(crate) integers: Extent<i64>,
    /// Whether an integer was above `i64::MAX`, so that `integers` does not tell all.
    pub(crate) unsigned: bool,
    pub(crate) times: Extent<DateTime>,
    /// How often false and true were seen, and which came first.
    pub(crate) bools: [u64; 2],
    pub(crate) bool_first: Option<bool>,
    pub(crate) distinct: Distinct,
    pub(crate) frequent: Frequent,
    pub(crate) numeric: Option<Numeric>,
}

impl Sketches {
    /// Empty sketches of these sizes.
    pub fn new(sizes: &SketchSizes) -> Sketches {
        Sketches {
            kinds: Kinds::default(),
            nulls: 0,
            count: 0,
            infinite: 0,
            moments: Moments::default(),
            numbers: Extent::default(),
            integers: Extent::default(),
            unsigned: false,
            times: Extent::default(),
            bools: [0; 2],
            bool_first: None,
            distinct: Distinct::new(sizes.distinct_lg),
            frequent: Frequent::new(sizes.frequent_slots, sizes.candidate_bytes_max),
            numeric: Some(Numeric {
                quantiles: Quantiles::new(sizes.quantiles_k),
                distinct: Distinct::new(sizes.distinct_lg),
            }),
        }
    }

    /// Takes in one token of this syntax, `times` times.
    pub fn add(&mut self, syntax: Syntax, word: Word<'_>, times: u64) {
        let scalar = syntax.read_word(&word);
        if scalar == Scalar::Null {
            self.nulls += times;
            return;
        }
        self.count += times;
        self.kinds.add(&scalar);
        let hash = word.hash();
        self.distinct.add(hash);
        self.frequent.add(hash, word.text(), times);
        match scalar {
            Scalar::Int(value) => {
                self.integers.add(value);
                self.number(value as f64, &scalar, times);
            }
            Scalar::Unsigned(value) => {
                self.unsigned = true;
                self.number(value as f64, &scalar, times);
            }
            Scalar::Huge(value) | Scalar::Float(value) | Scalar::Comma(value) => {
                self.number(value, &scalar, times)
            }
            Scalar::Bool(value) => {
                self.bools[usize::from(value)] += times;
                self.bool_first.get_or_insert(value);
            }
            Scalar::Date(at) | Scalar::Naive(at) | Scalar::Aware(at) => self.times.add(at),
            Scalar::Text | Scalar::Null => {}
        }
        if !self.kinds.only_numbers() {
            self.numeric = None;
        }
    }

    fn number(&mut self, value: f64, scalar: &Scalar, times: u64) {
        let Some(numeric) = &mut self.numeric else { return };
        self.numbers.add(value);
        if value.is_finite() {
            self.moments.add(value, times);
        } else {
            self.infinite += times;
        }
        numeric.quantiles.add(value, times);
        numeric.distinct.add(identity(scalar));
    }

    /// Makes room: whatever is larger than these sizes becomes as large, and less accurate.
    pub fn shrink(&mut self, sizes: &SketchSizes) {
        self.distinct.shrink(sizes.distinct_lg);
        self.frequent.shrink(sizes.frequent_slots, sizes.candidate_bytes_max);
        if let Some(numeric) = &mut self.numeric {
            numeric.quantiles.shrink(sizes.quantiles_k);
            numeric.distinct.shrink(sizes.distinct_lg);
        }
    }

    /// How many values there were, nulls with them; `None` if nobody could have counted so many.
    pub(crate) fn values(&self) -> Option<u64> {
        self.nulls.checked_add(self.count)
    }

    /// Whether these are sketches of as many values as they say, and not bytes that only look like some.
    pub(crate) fn is_sound(&self) -> bool {
        let within = |counts: &[u64]| counts.iter().all(|count| *count <= self.count);
        let fits = |numeric: &Numeric| {
            numeric.quantiles.is_sound()
                && numeric.distinct.is_sound()
                && within(&[numeric.quantiles.count()])
        };
        self.distinct.is_sound()
            && self.frequent.is_sound(self.count)
            && within(&[self.infinite, self.bools[0], self.bools[1], self.moments.count()])
            && self.numeric.as_ref().is_none_or(fits)
    }

    /// Takes in the values of another part, which came later.
    pub fn merge(&mut self, other: &Sketches) {
        self.kinds.merge(other.kinds);
        self.nulls += other.nulls;
        self.count += other.count;
        self.infinite += other.infinite;
        self.moments.merge(&other.moments);
        self.numbers.merge(other.numbers);
        self.integers.merge(other.integers);
        self.unsigned |= other.unsigned;
        self.times.merge(other.times);
        self.bools[0] += other.bools[0];
        self.bools[1] += other.bools[1];
        self.bool_first = self.bool_first.or(other.bool_first);
        self.distinct.merge(&other.distinct);
        self.frequent.merge(&other.frequent);
        self.numeric = match (self.numeric.take(), &other.numeric) {
            (Some(mut numeric), Some(more)) => {
                numeric.quantiles.merge(&more.quantiles);
                numeric.distinct.merge(&more.distinct);
                Some(numeric)
            }
            _ => None,
        };
    }
}

/// A hash that is equal for equal numbers: `1`, `1.0` and `1e0` are one value, while integers keep all of
/// their digits.
fn identity(scalar: &Scalar) -> u64 {
    let (tag, bits) = match *scalar {
        Scalar::Int(value) => (0, value as u64),
        Scalar::Unsigned(value) => (1, value),
        Scalar::Float(value) | Scalar::Huge(value) | Scalar::Comma(value)
            if value.fract() == 0.0 && value.abs() < EXACT =>
        {
            (0, (value as i64) as u64)
        }
        Scalar::Float(value) | Scalar::Huge(value) | Scalar::Comma(value) => (2, value.to_bits()),
        _ => (3, 0),
    };
    hash::short(bits.into(), tag)
}

/// Up to here every integer has a float of its own.
pub(crate) const EXACT: f64 = (1u64 << 53) as f64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_numbers_are_one_value_and_long_integers_keep_their_digits() {
        let of = |token: &str| identity(&crate::scalar::read(token.as_bytes()));
        assert_eq!(of("1"), of("1.0"));
        assert_eq!(of(" -0"), of("0.0"));
        assert_eq!(of("-3"), of("-3e0"));
        assert_ne!(of("9007199254740993"), of("9007199254740992"));
        assert_ne!(of("18446744073709551615"), of("18446744073709551614"));
        assert_ne!(of("18446744073709551615"), of("-1"));
        assert_ne!(of("0.5"), of("0"));
    }

    #[test]
    fn sizes_shrink_with_the_number_of_columns() {
        let budget = 16 << 20;
        assert_eq!(SketchSizes::for_columns(0, budget), TIERS[0].1);
        assert_eq!(SketchSizes::for_columns(37, budget), TIERS[0].1);
        assert_eq!(SketchSizes::for_columns(97, budget), TIERS[1].1);
        assert_eq!(SketchSizes::for_columns(1 << 20, budget), TIERS[7].1);
    }
}
