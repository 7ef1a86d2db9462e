//! How many different values there are, estimated in constant memory: a HyperLogLog sketch.
//!
//! Promise: with 99.7 % confidence the true number lies within `relative_error` of the estimate. The hash is
//! fixed, so the same values give the same answer.

use datasketches::common::NumStdDev;
use datasketches::hash::value::raw_bytes;
use datasketches::hll::{HllSketch, HllType, HllUnion};

use crate::error::{Error, ErrorKind};

/// A HyperLogLog sketch of byte strings.
#[derive(Clone)]
pub struct Distinct {
    sketch: HllSketch,
}

impl Distinct {
    /// An empty sketch of `2^lg_k` registers of one byte.
    pub fn new(lg_k: u8) -> Result<Distinct, Error> {
        Ok(Distinct { sketch: HllSketch::new(lg_k, HllType::Hll8).map_err(refused)? })
    }

    /// Takes in one value. Saying it again changes nothing.
    pub fn add(&mut self, value: &[u8]) {
        self.sketch.update(raw_bytes::from_slice(value));
    }

    /// Takes in the values of another part.
    pub fn merge(&mut self, other: &Distinct) -> Result<(), Error> {
        if other.sketch.is_empty() {
            return Ok(());
        }
        if self.sketch.is_empty() {
            *self = other.clone();
            return Ok(());
        }
        let lg_k = self.sketch.lg_config_k().min(other.sketch.lg_config_k());
        let mut union = HllUnion::new(lg_k).map_err(refused)?;
        union.update(&self.sketch);
        union.update(&other.sketch);
        self.sketch = union.to_sketch(HllType::Hll8);
        Ok(())
    }

    /// The estimate and its relative error at three standard deviations.
    pub fn finish(&self) -> (u64, f64) {
        let estimate = self.sketch.estimate();
        if estimate <= 0.0 {
            return (0, 0.0);
        }
        let above = self.sketch.upper_bound(NumStdDev::Three) / estimate - 1.0;
        let below = 1.0 - self.sketch.lower_bound(NumStdDev::Three) / estimate;
        (estimate.round() as u64, above.max(below))
    }
}

fn refused(error: datasketches::error::Error) -> Error {
    Error::new(ErrorKind::Internal, format!("the distinct sketch was refused: {error}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn of(values: std::ops::Range<u64>) -> Distinct {
        let mut sketch = Distinct::new(14).unwrap();
        values.for_each(|v| sketch.add(&v.to_le_bytes()));
        sketch
    }

    #[test]
    fn the_estimate_stays_within_its_bound_whole_or_merged() {
        for n in [0u64, 1, 10, 1_000, 20_000, 300_000] {
            let whole = of(0..n);
            let (estimate, error) = whole.finish();
            assert!(error < 0.025, "{n}: bound {error}");
            assert!(
                (estimate as f64 - n as f64).abs() <= error * estimate as f64 + 0.5,
                "{n}: {estimate} ± {error}"
            );

            let mut merged = Distinct::new(14).unwrap();
            merged.merge(&of(0..n / 3)).unwrap();
            merged.merge(&of(n / 4..n)).unwrap();
            let (estimate, error) = merged.finish();
            assert!(
                (estimate as f64 - n as f64).abs() <= error * estimate as f64 + 0.5,
                "{n}: {estimate} ± {error}"
            );

            let mut empty = Distinct::new(14).unwrap();
            empty.merge(&whole).unwrap();
            assert_eq!(empty.finish(), whole.finish());
        }
    }
}
