//! The bounds of one decoder.
//!
//! Promise: whatever the input, a decoder holds at most `Limits::memory_bytes_max` bytes. What a bound
//! refuses is an error of kind `limit` with its place, never a crash and never a silent cut.

use crate::format::Format;

/// Bytes of working memory that do not depend on the limits: the head of a file, small vectors.
const FIXED_BYTES: u64 = 3 << 20;

/// Batches of delimited text with the places of their fields: nine, of a mebibyte each.
const BATCHES_BYTES: u64 = 10 << 20;

/// The least that unpacking may need, whatever the window: lz4 has a block of 4 MiB twice, packed and unpacked;
/// bzip2 takes 4 MB.
const WINDOW_BYTES_MIN: u64 = 8 << 20;

/// The memory of one column before it holds a value: its struct, its name three times, its statistics.
const COLUMN_BYTES: u64 = 1 << 10;

/// What a decoder accepts and how much memory it may use. The defaults suit a worker that runs several
/// decoders at once in a few hundred MiB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most columns of a header, and most fields of a record; of JSON all keys together. Default 10,000: wider tables are rare,
    /// and each column costs memory before it holds a value.
    pub columns_max: usize,
    /// Most bytes of all column names together. Default 1 MiB: names are kept and repeated in the summary.
    pub header_bytes_max: usize,
    /// Most bytes of one field. Default 8 MiB: beyond it a "field" is nearly always a quote nobody closed.
    pub field_bytes_max: usize,
    /// Most bytes of one record, as it lies in the file. Default 16 MiB: one record is held whole.
    pub record_bytes_max: usize,
    /// Most bytes a compressed file may unfold to. Default 64 GiB: far above real files, low enough that
    /// reading it ends. Plain files are not bounded: their size was known before the download.
    pub decompressed_bytes_max: u64,
    /// Most bytes that one compressed byte may stand for, on average. Default 500: repetitive tables reach
    /// 100, a bomb 1,000. It counts only after the first 16 MiB, which are harmless.
    pub decompressed_ratio_max: u64,
    /// Most bytes that a compressed stream may refer back, which must be kept: the window of zstd (there the power of
    /// two below), the dictionary of xz. Default 8 MiB: what `zstd -19`, `xz -6` and all below them write. Beyond it are
    /// `zstd --ultra` and `--long`, `xz -7` to `-9`. The other compressions need less.
    pub window_bytes_max: usize,
    /// Memory for what a file of columns makes one hold: a batch of Arrow, the footer and some columns of a row group of
    /// Parquet, a small Parquet file whole. Default 32 MiB: what writers make by default, but for very long texts.
    pub whole_bytes_max: usize,
    /// Memory for the exact tables of distinct values, all columns together. Default 24 MiB: hundreds of
    /// thousands of values. Beyond it the largest column is estimated from then on. In a large file of delimited text two
    /// sets of columns count by turns, with half of it each.
    pub exact_bytes_max: usize,
    /// Memory for the sketches of all estimated columns together. Default 16 MiB: distinct values to 2 % and
    /// quartiles to 0.5 % of rank up to a hundred columns, less for wider files.
    pub sketch_bytes_max: usize,
    /// Most bytes of a `top` value in the summary; a longer one is cut. Default 64 KiB: the summary of a
    /// table of documents must not hold documents.
    pub top_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            columns_max: 10_000,
            header_bytes_max: 1 << 20,
            field_bytes_max: 8 << 20,
            record_bytes_max: 16 << 20,
            decompressed_bytes_max: 64 << 30,
            decompressed_ratio_max: 500,
            whole_bytes_max: 32 << 20,
            window_bytes_max: 8 << 20,
            exact_bytes_max: 24 << 20,
            sketch_bytes_max: 16 << 20,
            top_bytes_max: 64 << 10,
        }
    }
}

impl Limits {
    /// The same limits for a file with this name: one that is not called a file of columns may turn out to be one, but
    /// then it has only the memory that a record would have.
    pub fn for_name(&self, name: &str) -> Limits {
        let is_named = matches!(Format::from_name(name), Some(Format::Parquet | Format::Arrow));
        let whole_bytes_max =
            if is_named { self.whole_bytes_max } else { self.whole_bytes_max.min(self.record()) };
        Limits { whole_bytes_max, ..self.clone() }
    }

    /// The memory of a record. A growing buffer exists twice for a moment: the old half and the new whole.
    fn record(&self) -> usize {
        self.record_bytes_max / 2 * 3
    }

    /// The upper bound of the memory that a decoder with these limits may hold at any moment.
    ///
    /// Reading and finishing do not overlap: the record's buffer is given back before the tables are
    /// sorted, so the larger of the two counts.
    pub fn memory_bytes_max(&self) -> u64 {
        let columns = self.columns_max as u64;
        // A file has records, or is made of columns.
        let record = (self.record() as u64 + BATCHES_BYTES).max(self.whole_bytes_max as u64);
        // A numeric column at finish: 16 bytes a value beside its token, which takes at least 44; and 8 more if it is so
        // large that floats do not tell it from the next. Before that two sets of columns become one, in tables anew.
        let sorting = self.exact_bytes_max as u64;
        // Those of a table that is not wide, twice.
        let sketches =
            (2 * self.sketch_bytes_max as u64).max(columns * crate::aggregate::SKETCH_BYTES_MIN as u64);
        let names = self.header_bytes_max as u64 * 4;
        self.exact_bytes_max as u64
            + record.max(sorting)
            + sketches
            + names
            + columns * COLUMN_BYTES
            + (self.window_bytes_max as u64).max(WINDOW_BYTES_MIN)
            + crate::decompress::STREAM_BYTES
            + FIXED_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_stay_below_120_mebibytes() {
        let limits = Limits::default();
        let bytes = |name: &str| limits.for_name(name).memory_bytes_max();
        assert!(bytes("a.csv") < 120 << 20, "{}", bytes("a.csv"));
        assert_eq!(bytes("a.parquet.csv"), bytes("a.csv"));
        assert!(bytes("a.parquet") < 120 << 20, "{}", bytes("a.parquet"));
        assert_eq!(bytes("A.FEATHER"), limits.memory_bytes_max());
    }
}
