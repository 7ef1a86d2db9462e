//! Bytes in, summary out.
//!
//! ```
//! let mut decoder = parsers::decoder("people.csv", &parsers::Limits::default());
//! decoder.feed(b"name,age\nAda,36\n")?;
//! decoder.feed(b"Alan,41\n")?;
//! let summary = decoder.finish()?;
//! assert_eq!(summary.total_rows, 2);
//! assert_eq!(summary.summary[1].1.mean, Some(38.5));
//! # Ok::<(), parsers::Error>(())
//! ```
//!
//! ```text
//!  bytes ─▶ decompress ─▶ sniff ─▶ csv::batch ─▶ scalar ─▶ aggregate::columns ─▶ summary ─▶ JSON, Arrow, Polars
//!           256 KiB a piece format, records        a token   exact or sketched     plain values
//!                           encoding
//! ```
//!
//! Promises:
//! - No panic, whatever the input; memory within [`Limits::memory_bytes_max`].
//! - The summary does not depend on how the bytes were cut, and the same bytes give the same summary.
//! - Where it is exact it equals pandas' `read_csv` or `json_normalize`, and `describe`; where it is not it says so, with a bound.
//! - No I/O, clock, environment or globals; no threads of its own: inside of a rayon pool a decoder shares its work out to
//!   that pool's threads, with the same result.

pub mod aggregate;
mod both;
#[cfg(feature = "columnar")]
mod columnar;
mod csv;
mod decode;
mod decompress;
mod encoding;
mod error;
mod format;
mod json;
mod limits;
mod onto;
mod output;
mod partial;
mod reading;
mod rows;
pub mod scalar;
mod sniff;
mod summary;
mod text;

#[cfg(feature = "columnar")]
pub use self::columnar::ParquetRows;
pub use self::csv::CsvRows;
pub use self::decode::{Decode, decoder};
pub use self::encoding::Encoding;
pub use self::error::{Error, ErrorKind, Position};
pub use self::format::{Compression, Format};
pub use self::limits::Limits;
pub use self::output::Output;
pub use self::partial::Partial;
pub use self::reading::{Mark, Reading, RowSink};
pub use self::summary::{
    Bound, ColumnSchema, ColumnStats, ColumnType, Dialect, Distinct, Precision, SCHEMA_VERSION, Summary,
    Warning, WarningKind,
};
