//! Count, mean and standard deviation in one pass and constant memory.
//!
//! The sums of the values and of their squares are kept in double-double arithmetic (about 32 digits), so
//! that the textbook formula loses nothing to cancellation and merging is plain addition. Single values are added in the
//! way of A. Neumaier (1974): what the sum loses to rounding is summed beside it, and counts at the end. Promise: mean and
//! std of any split agree with the whole to 1e-12. (Welford's update in plain doubles drifts with the order
//! of the values and costs a division each.)

use serde::{Deserialize, Serialize};

/// An unevaluated sum of two doubles, the second below the last digit of the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Double {
    high: f64,
    low: f64,
}

impl Double {
    fn of_sum(a: f64, b: f64) -> Double {
        let high = a + b;
        let shadow = high - a;
        Double { high, low: (a - (high - shadow)) + (b - shadow) }
    }

    /// The exact product, by the halves of T. J. Dekker (1971) where nothing overflows: every processor has that.
    fn of_product(a: f64, b: f64) -> Double {
        const USUAL: std::ops::Range<f64> = 1e-140..1e150;
        let high = a * b;
        if a == 0.0 || b == 0.0 {
            return Double { high, low: 0.0 };
        }
        if !USUAL.contains(&a.abs()) || !USUAL.contains(&b.abs()) {
            return Double { high, low: a.mul_add(b, -high) };
        }
        let ((a, a_low), (b, b_low)) = (halves(a), halves(b));
        Double { high, low: ((a * b - high) + (a * b_low + a_low * b)) + a_low * b_low }
    }

    fn of_square(a: f64) -> Double {
        Double::of_product(a, a)
    }

    /// Adds a number, and does not bring both parts in order: that is for later.
    fn add(&mut self, value: f64) {
        let sum = Double::of_sum(self.high, value);
        *self = Double { high: sum.high, low: self.low + sum.low };
    }

    /// The same number, both parts in order.
    fn ordered(self) -> Double {
        Double::of_sum(self.high, self.low)
    }

    fn plus(self, other: Double) -> Double {
        let (own, other) = (self.ordered(), other.ordered());
        let sum = Double::of_sum(own.high, other.high);
        let low = Double::of_sum(own.low, other.low);
        let sum = Double::of_sum(sum.high, sum.low + low.high);
        Double::of_sum(sum.high, sum.low + low.low)
    }

    fn times(self, factor: f64) -> Double {
        let own = self.ordered();
        let product = Double::of_product(own.high, factor);
        Double::of_sum(product.high, product.low + own.low * factor)
    }

    fn over(self, divisor: f64) -> Double {
        let quotient = self.ordered().high / divisor;
        let rest = self.plus(Double::of_product(quotient, -divisor));
        Double::of_sum(quotient, (rest.high + rest.low) / divisor)
    }

    fn value(self) -> f64 {
        self.high + self.low
    }
}

/// A number as two that have half of its digits each.
fn halves(value: f64) -> (f64, f64) {
    let shadow = ((1u64 << 27) + 1) as f64 * value;
    let head = shadow - (shadow - value);
    (head, value - head)
}

/// The first two moments of the values seen so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    count: u64,
    sum: Double,
    squares: Double,
}

impl Moments {
    /// Takes in one finite value, `times` times.
    pub fn add(&mut self, value: f64, times: u64) {
        self.count += times;
        let square = Double::of_square(value);
        if times == 1 {
            self.sum.add(value);
            self.squares.add(square.high);
            self.squares.low += square.low;
        } else {
            self.sum = self.sum.plus(Double::of_product(value, times as f64));
            self.squares = self.squares.plus(square.times(times as f64));
        }
    }

    /// Takes in the values of another part.
    pub fn merge(&mut self, other: &Moments) {
        self.count += other.count;
        self.sum = self.sum.plus(other.sum);
        self.squares = self.squares.plus(other.squares);
    }

    /// How many values there were.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The mean; `None` without values.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum.over(self.count as f64).value())
    }

    /// The standard deviation of a sample (divisor n - 1), as pandas' `std`; `None` below two values.
    pub fn std(&self) -> Option<f64> {
        if self.count < 2 {
            return None;
        }
        let n = self.count as f64;
        // Σx² - (Σx)²/n, with the square of the mean taken apart so that it keeps its low half.
        let mean = self.sum.over(n);
        let explained = self.sum.times(mean.high).plus(self.sum.times(mean.low));
        let spread = self.squares.plus(explained.times(-1.0)).value();
        Some((spread.max(0.0) / (n - 1.0)).sqrt())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[f64]) -> Moments {
        let mut moments = Moments::default();
        values.iter().for_each(|&v| moments.add(v, 1));
        moments
    }

    fn near(a: Option<f64>, b: Option<f64>) -> bool {
        match (a, b) {
            (Some(a), Some(b)) => (a - b).abs() <= 1e-12 * a.abs().max(b.abs()),
            (None, None) => true,
            _ => false,
        }
    }

    #[test]
    fn a_large_offset_costs_no_digits() {
        let moments = of(&[1e15 + 1.0, 1e15 + 2.0, 1e15 + 3.0]);
        assert_eq!(moments.mean(), Some(1e15 + 2.0));
        assert_eq!(moments.std(), Some(1.0));
        assert_eq!(of(&[0.1; 10]).std().unwrap(), 0.0);
        assert_eq!(of(&[5.0]).std(), None);
        assert_eq!(of(&[]).mean(), None);
    }

    proptest! {
        #[test]
        fn any_split_equals_the_whole(
            values in proptest::collection::vec(-1e9f64..1e9, 0..200),
            offset in -1e12f64..1e12,
            cut in 0usize..200,
        ) {
            let values: Vec<f64> = values.iter().map(|v| v + offset).collect();
            let whole = of(&values);
            let (left, right) = values.split_at(cut.min(values.len()));
            let mut merged = of(left);
            merged.merge(&of(right));
            prop_assert_eq!(merged.count(), whole.count());
            prop_assert!(near(merged.mean(), whole.mean()));
            prop_assert!(near(merged.std(), whole.std()));
            let mut empty = Moments::default();
            empty.merge(&whole);
            prop_assert_eq!((empty.mean(), empty.std()), (whole.mean(), whole.std()));
        }

        #[test]
        fn many_times_is_adding_often(value in -1e6f64..1e6, other in -1e6f64..1e6, times in 1u64..50) {
            let mut weighted = of(&[other]);
            weighted.add(value, times);
            let mut repeated = of(&[other]);
            (0..times).for_each(|_| repeated.add(value, 1));
            prop_assert!(near(weighted.mean(), repeated.mean()));
            prop_assert!(near(weighted.std(), repeated.std()));
        }
    }
}
