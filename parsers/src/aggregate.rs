//! From tokens to the facts of a column: one aggregator a file, each with `add`, `merge` and `finish`.
//!
//! Promises, each with a property test: `merge(empty, x) == x`, and the parts of any split, merged in order,
//! say what the whole says: exact parts identically, mean and std to 1e-12, estimates within their bound.
//!
//! | module | fact | memory |
//! |---|---|---|
//! | `kinds` | type | 2 bytes |
//! | `extent` | min, max | constant |
//! | `moments` | count, mean, std | constant |
//! | `tokens` | everything, exactly | grows with the distinct tokens, up to a budget |
//! | `quantiles` | quartiles, estimated | by `SketchSizes` |
//! | `distinct` | number of distinct values, estimated | by `SketchSizes` |
//! | `frequent` | most frequent value, estimated | by `SketchSizes` |
//! | `sketches` | all of the estimates, for one column | by `SketchSizes` |
//! | `columns` | all columns of a file under one budget: tokens first, sketches where they do not fit | bounded |

mod columns;
mod distinct;
mod exact;
mod extent;
mod frequent;
mod hash;
mod kinds;
mod lanes;
mod moments;
mod quantiles;
mod sketches;
mod tokens;
mod word;

pub(crate) use self::columns::Twin;
pub use self::columns::{Columns, Finished};
pub use self::distinct::Distinct;
pub use self::extent::Extent;
pub use self::frequent::{Frequent, Top};
pub use self::kinds::Kinds;
pub use self::moments::Moments;
pub use self::quantiles::Quantiles;
pub use self::sketches::{SKETCH_BYTES_MIN, SketchSizes, Sketches};
pub use self::tokens::{Full, Tokens};
pub use self::word::{Sink, Values, Word};

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
