//! The smallest and the largest value. Constant memory, always exact.

use serde::{Deserialize, Serialize};

/// The range of the values seen so far.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Extent<T> {
    range: Option<(T, T)>,
}

impl<T> Default for Extent<T> {
    fn default() -> Extent<T> {
        Extent { range: None }
    }
}

impl<T: PartialOrd + Copy> Extent<T> {
    /// Takes in one value.
    pub fn add(&mut self, value: T) {
        self.range = Some(match self.range {
            None => (value, value),
            Some((min, max)) => {
                (if value < min { value } else { min }, if value > max { value } else { max })
            }
        });
    }

    /// Takes in the values of another part.
    pub fn merge(&mut self, other: Extent<T>) {
        if let Some((min, max)) = other.range {
            self.add(min);
            self.add(max);
        }
    }

    /// The smallest and the largest value, if there was any.
    pub fn finish(self) -> Option<(T, T)> {
        self.range
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[i64]) -> Extent<i64> {
        let mut extent = Extent::default();
        values.iter().for_each(|&v| extent.add(v));
        extent
    }

    proptest! {
        #[test]
        fn any_split_equals_the_whole(values: Vec<i64>, cut in 0usize..100) {
            let (left, right) = values.split_at(cut.min(values.len()));
            let mut merged = of(left);
            merged.merge(of(right));
            prop_assert_eq!(merged, of(&values));
            let mut empty = Extent::default();
            empty.merge(of(&values));
            prop_assert_eq!(empty, of(&values));
            let pair = values.iter().copied().min().zip(values.iter().copied().max());
            prop_assert_eq!(merged.finish(), pair);
        }
    }
}
