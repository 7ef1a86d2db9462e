//! How many different values there are, estimated in constant memory: a HyperLogLog sketch.
//!
//! Promise: with 99.7 % confidence the true number lies within the error of [`Distinct::finish`]. Merging is exact: the
//! sketch of a whole is that of its merged parts. Source: Flajolet et al. 2007; the estimate is O. Ertl's improved raw
//! one ("New cardinality estimation algorithms for HyperLogLog sketches", 2017, algorithm 6), which needs no tables and
//! has no gap between small and large numbers.

use serde::{Deserialize, Serialize};

/// The fewest and the most registers, as powers of two.
const LG_MIN: u8 = 6;
const LG_MAX: u8 = 18;

/// The standard error of the estimate, times the root of the number of registers.
const ERROR_OF_ONE: f64 = 1.04;

/// With fewer registers than this power of two, estimates do not scatter as a bell curve: large errors are more common.
const LG_NORMAL: u8 = 8;

/// A HyperLogLog sketch of hashes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Distinct {
    /// The power of two that is the number of registers.
    lg: u8,
    /// For each part of the hashes, one more than the most zeros in front that one of them had.
    registers: Vec<u8>,
}

impl Distinct {
    /// An empty sketch of `2^lg` registers of one byte.
    pub fn new(lg: u8) -> Distinct {
        let lg = lg.clamp(LG_MIN, LG_MAX);
        Distinct { lg, registers: vec![0; 1 << lg] }
    }

    /// Whether there are as many registers as there must be, and each is what a hash can give.
    pub(crate) fn is_sound(&self) -> bool {
        (LG_MIN..=LG_MAX).contains(&self.lg)
            && self.registers.len() == 1 << self.lg
            && self.registers.iter().all(|rank| *rank <= 64 - self.lg + 1)
    }

    /// Takes in one value by its hash. Saying it again changes nothing.
    #[inline]
    pub fn add(&mut self, hash: u64) {
        let register = (hash >> (64 - self.lg)) as usize;
        // A one behind the last bit, so that the count of zeros ends.
        let rank = (hash << self.lg | 1 << (self.lg - 1)).leading_zeros() as u8 + 1;
        if let Some(most) = self.registers.get_mut(register)
            && *most < rank
        {
            *most = rank;
        }
    }

    /// Goes on with at most `2^lg` registers, as if there had never been more.
    pub fn shrink(&mut self, lg: u8) {
        if lg.max(LG_MIN) < self.lg {
            *self = self.shrunk(lg.max(LG_MIN));
        }
    }

    /// Takes in the values of another part. The result is as accurate as the smaller of the two.
    pub fn merge(&mut self, other: &Distinct) {
        if self.lg > other.lg {
            *self = self.shrunk(other.lg);
        }
        let shrunk = (other.lg > self.lg).then(|| other.shrunk(self.lg));
        let registers = shrunk.as_ref().map_or(&other.registers, |other| &other.registers);
        for (mine, theirs) in self.registers.iter_mut().zip(registers) {
            *mine = (*mine).max(*theirs);
        }
    }

    /// The sketch of the same values with fewer registers.
    fn shrunk(&self, lg: u8) -> Distinct {
        let bits = self.lg - lg;
        let mut small = Distinct::new(lg);
        for (index, &rank) in self.registers.iter().enumerate().filter(|(_, rank)| **rank > 0) {
            // The lowest bits of the index move in front of what was counted.
            let low = index & ((1 << bits) - 1);
            let rank = match low {
                0 => rank + bits,
                _ => bits - low.ilog2() as u8,
            };
            let mine = &mut small.registers[index >> bits];
            *mine = (*mine).max(rank);
        }
        small
    }

    /// The estimate and its relative error: three standard deviations, four of small sketches.
    pub fn finish(&self) -> (u64, f64) {
        let m = self.registers.len() as f64;
        let q = usize::from(64 - self.lg);
        let mut counts = [0u32; 66];
        for &rank in &self.registers {
            counts[usize::from(rank).min(q + 1)] += 1;
        }
        if f64::from(counts[0]) == m {
            return (0, 0.0);
        }
        let mut z = m * tau(1.0 - f64::from(counts[q + 1]) / m);
        for rank in (1..=q).rev() {
            z = 0.5 * (z + f64::from(counts[rank]));
        }
        z += m * sigma(f64::from(counts[0]) / m);
        let estimate = m * m / (2.0 * std::f64::consts::LN_2 * z);
        let deviations = if self.lg < LG_NORMAL { 4.0 } else { 3.0 };
        // Of few values two may share a register, which is much of so little.
        (estimate.round() as u64, deviations * ERROR_OF_ONE / m.sqrt() + 2.0 / estimate)
    }
}

/// x + Σ x^(2^k) 2^(k-1), for k from 1.
fn sigma(mut x: f64) -> f64 {
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before || !z.is_finite() {
            return z;
        }
    }
}

/// (1 - x - Σ (1 - x^(2^-k))² 2^-k) / 3, for k from 1.
fn tau(mut x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::hash;

    fn of(lg: u8, values: std::ops::Range<u64>) -> Distinct {
        let mut sketch = Distinct::new(lg);
        values.for_each(|v| sketch.add(hash::bytes(&v.to_le_bytes())));
        sketch
    }

    /// Such a register would overflow when it is moved into a smaller sketch.
    #[test]
    fn a_register_that_no_hash_gives_is_not_sound() {
        for rank in [0, 1, 59] {
            let mut sketch = Distinct::new(6);
            sketch.registers[3] = rank;
            assert!(sketch.is_sound(), "{rank}");
        }
        for rank in [60, 255] {
            let mut sketch = Distinct::new(6);
            sketch.registers[3] = rank;
            assert!(!sketch.is_sound(), "{rank}");
        }
    }

    #[test]
    fn the_estimate_stays_within_its_bound() {
        for lg in [6, 8, 10, 12, 15] {
            for n in [0u64, 1, 2, 10, 100, 1_000, 20_000, 300_000, 2_000_000] {
                let (estimate, error) = of(lg, 0..n).finish();
                let off = (estimate as f64 - n as f64).abs();
                assert!(off <= error * n as f64 + 0.5, "{lg} {n}: {estimate} ± {error}");
            }
        }
        assert!(of(15, 0..1_000_000).finish().1 < 0.02);
    }

    #[test]
    fn errors_of_many_sets_scatter_as_published() {
        let (lg, n, sets) = (10, 50_000, 200);
        let squares: f64 = (0..sets)
            .map(|set| {
                let (estimate, _) = of(lg, set * n..(set + 1) * n).finish();
                (estimate as f64 / n as f64 - 1.0).powi(2)
            })
            .sum();
        let deviation = (squares / sets as f64).sqrt();
        assert!(deviation < 1.2 * 1.04 / 32.0, "{deviation}");
    }

    #[test]
    fn a_merged_sketch_is_the_sketch_of_the_whole() {
        let mut merged = of(12, 0..70_000);
        merged.merge(&of(12, 60_000..100_000));
        assert_eq!(merged, of(12, 0..100_000));
        let mut empty = Distinct::new(12);
        empty.merge(&merged);
        assert_eq!(empty, merged);
        // Of different sizes: as if both had been small.
        let small = of(9, 0..100_000);
        for (mut left, right) in
            [(of(12, 0..70_000), of(9, 60_000..100_000)), (of(9, 0..70_000), of(12, 60_000..100_000))]
        {
            left.merge(&right);
            assert_eq!(left, small);
        }
    }
}
