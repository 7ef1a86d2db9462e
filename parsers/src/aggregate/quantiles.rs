//! Quantiles of any number of values in bounded memory: a KLL sketch.
//!
//! Promise: the value returned for a rank has a true rank within `rank_error` of it, with 99 % confidence
//! for each question asked. The same values in the same order give the same answer: the coin that picks
//! which half of a full level survives is a generator seeded with a constant. (The `datasketches` crate has
//! a KLL, but its coin cannot be seeded, so two runs over one file would differ.)
//!
//! Memory: about 3k values in levels that shrink by 2/3 downwards, and at most k heavy ones above them.

use serde::{Deserialize, Serialize};

/// How much smaller each level is than the one above it.
const SHRINK: f64 = 2.0 / 3.0;

/// The least capacity of a level: smaller ones would compact at every step. Tiny sketches have smaller ones,
/// since thirty levels of eight would be most of their memory.
const LEVEL_MIN: usize = 8;

/// The largest sketch that is believed.
const K_MAX: usize = 1 << 16;

/// A KLL sketch of finite or infinite numbers. NaN must stay outside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    k: usize,
    count: u64,
    coin: u64,
    /// Level `i` holds values that stand for 2^i values each, as keys of their order.
    levels: Vec<Vec<i64>>,
    /// How many values the lowest level may hold, as of the last time it was full.
    room: usize,
}

/// A number in the order of numbers: integers are sorted faster. It is its own inverse.
fn key(bits: i64) -> i64 {
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

impl Quantiles {
    /// An empty sketch. Accuracy and memory grow with `k`.
    pub fn new(k: usize) -> Quantiles {
        Quantiles {
            k: k.max(LEVEL_MIN),
            count: 0,
            coin: 0x9e37_79b9_7f4a_7c15,
            levels: vec![Vec::new()],
            room: k.max(LEVEL_MIN),
        }
    }

    /// Whether its levels stand for as many values as it says.
    pub(crate) fn is_sound(&self) -> bool {
        let weight = |(level, values): (usize, &Vec<i64>)| {
            (values.len() as u64).checked_mul(1u64.checked_shl(level as u32)?)
        };
        let mut weights = self.levels.iter().enumerate().map(weight);
        let total = weights.try_fold(0u64, |sum, weight| sum.checked_add(weight?));
        (LEVEL_MIN..=K_MAX).contains(&self.k)
            && !self.levels.is_empty()
            && self.room > 0
            && total == Some(self.count)
    }

    /// Takes in one value, `times` times.
    pub fn add(&mut self, value: f64, times: u64) {
        self.count += times;
        let value = key(value.to_bits() as i64);
        if times == 1 {
            let lowest = self.level(0);
            lowest.push(value);
            if lowest.len() >= self.room {
                self.compact(0);
                self.room = self.capacity(0);
            }
            return;
        }
        let mut rest = times;
        while rest != 0 {
            let level = rest.trailing_zeros() as usize;
            rest &= rest - 1;
            self.level(level).push(value);
            if self.levels[level].len() >= self.capacity(level) {
                self.compact(level);
            }
        }
    }

    /// Goes on with at most this `k`.
    pub fn shrink(&mut self, k: usize) {
        if k < self.k {
            self.k = k.max(LEVEL_MIN);
            self.settle();
            self.levels.iter_mut().for_each(Vec::shrink_to_fit);
        }
    }

    /// Takes in the values of another part.
    pub fn merge(&mut self, other: &Quantiles) {
        if self.count == 0 && self.k >= other.k {
            *self = other.clone();
            return;
        }
        self.k = self.k.min(other.k);
        self.count += other.count;
        for (level, values) in other.levels.iter().enumerate() {
            self.level(level).extend_from_slice(values);
        }
        self.settle();
    }

    /// Brings every level within its capacity.
    fn settle(&mut self) {
        for level in 0..self.levels.len() {
            if self.levels[level].len() >= self.capacity(level) {
                self.compact(level);
            }
        }
        self.room = self.capacity(0);
    }

    /// How many values there were.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The bound of the rank error, as a part of all values: the published one of KLL sketches.
    pub fn rank_error(&self) -> f64 {
        if self.levels.len() == 1 { 0.0 } else { 2.296 / (self.k as f64).powf(0.9021) }
    }

    /// The values at these ranks (0 to 1, ascending); `None` without values.
    pub fn finish(&self, ranks: &[f64]) -> Option<Vec<f64>> {
        let mut weighted: Vec<(i64, u64)> = Vec::new();
        for (level, values) in self.levels.iter().enumerate() {
            weighted.extend(values.iter().map(|&value| (value, 1u64 << level)));
        }
        weighted.sort_unstable();
        let total: u64 = weighted.iter().map(|pair| pair.1).sum();
        let last = weighted.last()?.0;
        let mut answers = Vec::with_capacity(ranks.len());
        let mut position = 0;
        let mut below = 0;
        for rank in ranks {
            let wanted = rank * total.saturating_sub(1) as f64;
            while position < weighted.len() && ((below + weighted[position].1) as f64) <= wanted {
                below += weighted[position].1;
                position += 1;
            }
            answers.push(f64::from_bits(key(weighted.get(position).map_or(last, |pair| pair.0)) as u64));
        }
        Some(answers)
    }

    fn level(&mut self, level: usize) -> &mut Vec<i64> {
        while self.levels.len() <= level {
            self.levels.push(Vec::new());
        }
        &mut self.levels[level]
    }

    /// The top is where about k values stand for all; above it are only values that came in heavy.
    fn capacity(&self, level: usize) -> usize {
        let top = (self.count / self.k as u64).checked_ilog2().map_or(0, |log| log as usize + 1);
        let depth = top.saturating_sub(level).min(64) as i32;
        LEVEL_MIN.min(self.k / 4).max((self.k as f64 * SHRINK.powi(depth)) as usize)
    }

    /// Halves a level: sorted, every other value moves up and stands for its neighbour too.
    fn compact(&mut self, level: usize) {
        let mut level = level;
        while self.levels[level].len() >= self.capacity(level) {
            let mut values = std::mem::take(&mut self.levels[level]);
            let odd = self.toss(values.first());
            // One value is left over from an odd number; it stays.
            let kept = if values.len() % 2 == 1 { values.pop() } else { None };
            values.sort_unstable();
            let promoted = self.level(level + 1);
            promoted.extend(values.iter().skip(odd).step_by(2));
            values.clear();
            values.extend(kept);
            self.levels[level] = values;
            level += 1;
        }
    }

    /// One bit of a SplitMix64 sequence that the data stir, so that the parts of a file do not all err alike.
    fn toss(&mut self, stir: Option<&i64>) -> usize {
        self.coin ^= stir.map_or(0, |value| *value as u64);
        self.coin = self.coin.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.coin;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) & 1) as usize
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RANKS: [f64; 5] = [0.0, 0.25, 0.5, 0.75, 1.0];

    /// How far the answers are from their ranks in the sorted values, at worst.
    fn worst(sketch: &Quantiles, sorted: &[f64]) -> f64 {
        let n = sorted.len() as f64;
        let answers = sketch.finish(&RANKS).unwrap();
        let mut worst: f64 = 0.0;
        for (rank, answer) in RANKS.iter().zip(answers) {
            let low = sorted.partition_point(|v| *v < answer) as f64 / n;
            let high = sorted.partition_point(|v| *v <= answer) as f64 / n;
            worst = worst.max(if *rank < low { low - rank } else { (rank - high).max(0.0) });
        }
        worst
    }

    fn patterns(n: usize) -> Vec<(&'static str, Vec<f64>)> {
        let ramp: Vec<f64> = (0..n).map(|i| i as f64).collect();
        let mut state = 1u64;
        let mut noise = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 11) as f64 / (1u64 << 53) as f64
        };
        vec![
            ("descending", ramp.iter().rev().copied().collect()),
            ("zigzag", (0..n).map(|i| if i % 2 == 0 { i as f64 } else { (n - i) as f64 }).collect()),
            ("steps", (0..n).map(|i| (i % 97) as f64).collect()),
            ("uniform", (0..n).map(|_| noise()).collect()),
            ("skewed", (0..n).map(|_| (-noise().ln()).exp().powi(3)).collect()),
            ("ascending", ramp),
        ]
    }

    #[test]
    fn the_rank_error_stays_within_its_bound() {
        for k in [32, 256, 1024, 2048] {
            for (name, mut values) in patterns(300_000) {
                let mut sketch = Quantiles::new(k);
                values.iter().for_each(|&v| sketch.add(v, 1));
                let size: usize = sketch.levels.iter().map(Vec::len).sum();
                assert!(size <= 4 * k + 200, "{name} {k}: {size} values kept");
                values.sort_unstable_by(f64::total_cmp);
                let error = worst(&sketch, &values);
                assert!(error <= sketch.rank_error(), "{name} {k}: {error} > {}", sketch.rank_error());
            }
        }
    }

    #[test]
    fn heavy_values_keep_the_bound() {
        for k in [256, 1024] {
            let mut sketch = Quantiles::new(k);
            let mut sorted = Vec::new();
            for i in 0..40_000u64 {
                let value = (i * 7_919 % 40_000) as f64;
                let times = 1 + (i * i) % 60;
                sketch.add(value, times);
                sorted.extend(std::iter::repeat_n(value, times as usize));
            }
            sorted.sort_unstable_by(f64::total_cmp);
            let size: usize = sketch.levels.iter().map(Vec::len).sum();
            assert!(size <= 4 * k + 200, "{k}: {size} values kept");
            let error = worst(&sketch, &sorted);
            assert!(error <= sketch.rank_error(), "{k}: {error} > {}", sketch.rank_error());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn any_split_stays_within_the_bound(
            values in proptest::collection::vec(-1e6f64..1e6, 1..20_000),
            cuts in proptest::collection::vec(0usize..20_000, 0..5),
        ) {
            let mut cuts: Vec<usize> = cuts.iter().map(|c| c % values.len()).collect();
            cuts.extend([0, values.len()]);
            cuts.sort_unstable();
            let mut merged = Quantiles::new(256);
            for pair in cuts.windows(2) {
                let mut part = Quantiles::new(256);
                values[pair[0]..pair[1]].iter().for_each(|&v| part.add(v, 1));
                merged.merge(&part);
            }
            let mut sorted = values.clone();
            sorted.sort_unstable_by(f64::total_cmp);
            prop_assert_eq!(merged.count(), values.len() as u64);
            // The bound holds with 99 %; thousands of random questions would find the rest. Ranks are
            // met to one value.
            let bound = 2.0 * merged.rank_error() + 1.0 / values.len() as f64;
            prop_assert!(worst(&merged, &sorted) <= bound);

            let mut whole = Quantiles::new(256);
            values.iter().for_each(|&v| whole.add(v, 1));
            let mut empty = Quantiles::new(256);
            empty.merge(&whole);
            prop_assert_eq!(empty.finish(&RANKS), whole.finish(&RANKS));
        }
    }
}
