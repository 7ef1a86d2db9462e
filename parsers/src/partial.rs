//! What was read of a file, before the last step: it can still be merged with that of others.
//!
//! Promises: the parts of a file, or the files of a folder, merged in one order give one summary, however many threads
//! read them; what is exact in the parts is exact in the whole as long as memory allows. Written down and read again a
//! partial is the same; bytes that are none are refused.
//!
//! Columns are merged by name. A column that only some files have is null in the rows of the others.

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};
use crate::format::{Compression, Format};
use crate::limits::Limits;
use crate::rows::Rows;
use crate::summary::{Dialect, Summary};

/// What stands in front of a partial that is written down: the name of the format and its version.
const MAGIC: &[u8; 8] = b"PARTIAL1";

/// A summary that is not finished.
#[derive(Clone, Serialize, Deserialize)]
pub struct Partial {
    pub(crate) rows: Rows,
    pub(crate) format: Format,
    pub(crate) dialect: Option<Dialect>,
    /// Where there is no dialect to say it and it is not UTF-8.
    pub(crate) encoding: Option<String>,
    pub(crate) compression: Compression,
}

impl Partial {
    /// How many rows were read.
    pub fn rows(&self) -> u64 {
        self.rows.total
    }

    /// The summary. Of several merged files, format and compression are those of the first, and so are dialect and
    /// encoding when all have the same.
    pub fn finish(self) -> Summary {
        let Partial { rows, format, dialect, encoding, compression } = self;
        rows.finish(format, dialect, encoding, compression)
    }

    /// Takes in what came later: another part of the file, or another file.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] when the two say in different ways what a value is, as CSV and JSON do;
    /// [`ErrorKind::Limit`] when both together have more columns than one may have, or more rows than can be counted.
    pub fn merge(&mut self, mut other: Partial) -> Result<(), Error> {
        self.rows.merge(std::mem::take(&mut other.rows))?;
        self.agree(&other);
        Ok(())
    }

    /// Of dialect and encoding, only what both have stays.
    pub(crate) fn agree(&mut self, other: &Partial) {
        if self.dialect != other.dialect {
            self.dialect = None;
        }
        if self.encoding != other.encoding {
            self.encoding = None;
        }
    }

    /// The partial as bytes (CBOR, RFC 8949, behind eight bytes that name it).
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        // A vector takes everything, and these are plain structs: there is no way for this to fail.
        let written = ciborium::into_writer(self, &mut bytes);
        debug_assert!(written.is_ok());
        bytes
    }

    /// Whether these are the first bytes of a partial.
    pub fn is_one(bytes: &[u8]) -> bool {
        bytes.starts_with(MAGIC)
    }

    /// Reads what [`to_bytes`](Partial::to_bytes) wrote, and goes on within these limits.
    ///
    /// # Errors
    /// [`ErrorKind::Malformed`] when the bytes are no partial of this version, or damaged.
    pub fn from_bytes(bytes: &[u8], limits: &Limits) -> Result<Partial, Error> {
        let refused =
            |why: &str| Error::new(ErrorKind::Malformed, format!("this is no partial summary: {why}"));
        let body = bytes.strip_prefix(MAGIC).ok_or_else(|| {
            refused("it does not begin like one; `pipeline summarize --format partial` writes them")
        })?;
        let mut partial: Partial =
            ciborium::from_reader(body).map_err(|error| refused(&error.to_string()))?;
        if !partial.rows.is_sound() {
            return Err(refused("its parts do not fit together"));
        }
        partial.rows.bound(limits)?;
        Ok(partial)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Few bytes for tables, so that some columns are estimated.
    fn limits() -> Limits {
        Limits { exact_bytes_max: 20_000, ..Limits::default() }
    }

    fn read(name: &str, text: &str) -> Partial {
        let mut decoder = crate::decoder(name, &limits());
        decoder.feed(text.as_bytes()).unwrap();
        decoder.partial().unwrap()
    }

    fn merged(parts: &[String]) -> Partial {
        let mut parts = parts.iter().map(|text| read("t.csv", text));
        let mut whole = parts.next().unwrap();
        parts.for_each(|part| whole.merge(part).unwrap());
        whole
    }

    fn table(rows: std::ops::Range<u32>) -> String {
        let line = |i: u32| format!("{},w{},{}.5\n", i % 50, i.wrapping_mul(2_654_435_761) % 5_000, i % 3);
        format!("a,b,c\n{}", rows.map(line).collect::<String>())
    }

    #[test]
    fn files_are_merged_by_the_names_of_their_columns() {
        let mut whole = read("a.csv", "a,b\n1,x\n2,y\n");
        whole.merge(read("b.csv", "b,c\nx,2020-01-01\n")).unwrap();
        let summary = whole.finish();
        assert_eq!((summary.total_rows, summary.columns), (3, ["a", "b", "c"].map(str::to_owned).to_vec()));
        let nulls: Vec<u64> = summary.schema.iter().map(|column| column.nulls).collect();
        assert_eq!(nulls, [1, 0, 2]);
        assert_eq!(summary.summary[1].1.top.as_deref(), Some("x"));
    }

    #[test]
    fn what_was_repaired_is_added_up() {
        let mut whole = read("a.csv", "a,b\n1,2\n1\n");
        whole.merge(read("b.csv", "a,b\n1\n1,2,3\n")).unwrap();
        let warnings: Vec<(u64, u64)> =
            whole.finish().warnings.iter().map(|warning| (warning.count, warning.first_line)).collect();
        assert_eq!(warnings, [(2, 3), (1, 3)]);
    }

    #[test]
    fn values_that_are_not_written_alike_are_refused() {
        let mut csv = read("a.csv", "a\n1\n");
        let json = read("b.jsonl", "{\"a\":1}\n");
        assert_eq!(csv.merge(json).unwrap_err().kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn a_partial_comes_back_from_its_bytes() {
        let whole = read("t.csv", &table(0..4_000));
        let bytes = whole.to_bytes();
        let again = Partial::from_bytes(&bytes, &limits()).unwrap();
        assert_eq!(again.clone().finish(), whole.clone().finish());
        assert_eq!(again.to_bytes(), bytes);
        // So do its bounds: what is read goes on as what was never written.
        let (mut one, mut other) = (whole.clone(), again);
        one.merge(read("t.csv", &table(4_000..9_000))).unwrap();
        other.merge(read("t.csv", &table(4_000..9_000))).unwrap();
        assert_eq!(one.to_bytes(), other.to_bytes());
        // With less memory, what was exact is estimated.
        let small = Limits { exact_bytes_max: 100, ..limits() };
        let summary = Partial::from_bytes(&bytes, &small).unwrap().finish();
        assert!(summary.schema.iter().all(|column| !column.distinct.exact));
    }

    #[test]
    fn more_columns_than_the_limit_are_refused_before_anything_is_merged() {
        let limits = Limits { columns_max: 3, ..limits() };
        let read = |text: &str| {
            let mut decoder = crate::decoder("t.csv", &limits);
            decoder.feed(text.as_bytes()).unwrap();
            decoder.partial().unwrap()
        };
        let mut whole = read("a,b\n1,2\n");
        let before = whole.to_bytes();
        assert_eq!(whole.merge(read("c,d\n1,2\n")).unwrap_err().kind(), ErrorKind::Limit);
        assert_eq!(whole.to_bytes(), before);
        whole.merge(read("b,c\n1,2\n")).unwrap();
        let few = Limits { columns_max: 2, ..limits.clone() };
        let refused = Partial::from_bytes(&whole.to_bytes(), &few).err().unwrap();
        assert_eq!(refused.kind(), ErrorKind::Limit);
    }

    /// Bytes may be forged, not only damaged: none of these adds up.
    #[test]
    fn counts_that_do_not_add_up_are_refused() {
        let exact = read("t.csv", &table(0..10));
        let estimated = read("t.csv", &table(0..4_000));
        let forge = |partial: &Partial, change: &dyn Fn(&mut Partial)| {
            let mut forged = partial.clone();
            change(&mut forged);
            Partial::from_bytes(&forged.to_bytes(), &limits()).err().map(|error| error.kind())
        };
        for partial in [&exact, &estimated] {
            assert_eq!(forge(partial, &|_| {}), None);
            let changes: [&dyn Fn(&mut Partial); 5] = [
                &|forged| forged.rows.total += 1,
                &|forged| forged.rows.total = u64::MAX,
                &|forged| forged.rows.columns.add_missing(1, u64::MAX),
                &|forged| forged.rows.names[0] = forged.rows.names[1].clone(),
                &|forged| forged.rows.names.push("more".to_owned()),
            ];
            for change in changes {
                assert_eq!(forge(partial, change), Some(ErrorKind::Malformed));
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn parts_say_what_the_whole_says(cuts in proptest::collection::vec(0u32..3_000, 0..6)) {
            let mut cuts = cuts;
            cuts.extend([0, 3_000]);
            cuts.sort_unstable();
            let parts: Vec<String> = cuts.windows(2).map(|pair| table(pair[0]..pair[1])).collect();
            let (parts, whole) = (merged(&parts).finish(), read("t.csv", &table(0..3_000)).finish());
            prop_assert_eq!(parts.total_rows, whole.total_rows);
            for ((ours, theirs), (mine, yours)) in
                parts.schema.iter().zip(&whole.schema).zip(parts.summary.iter().zip(&whole.summary))
            {
                prop_assert_eq!((ours.kind, ours.nulls), (theirs.kind, theirs.nulls));
                prop_assert_eq!(mine.1.count, yours.1.count);
                prop_assert_eq!((&mine.1.min, &mine.1.max), (&yours.1.min, &yours.1.max));
                let (a, b) = (ours.distinct.value as f64, theirs.distinct.value as f64);
                prop_assert!((a - b).abs() <= 0.04 * b, "{} {}", a, b);
            }
        }

        #[test]
        fn damaged_bytes_never_panic(at in 8usize..20_000, value in any::<u8>(), cut in any::<bool>()) {
            let mut bytes = read("t.csv", &table(0..2_000)).to_bytes();
            let at = at % bytes.len();
            bytes[at] = value;
            if cut {
                bytes.truncate(at);
            }
            if let Ok(mut partial) = Partial::from_bytes(&bytes, &limits()) {
                // Whatever it says, it can be used.
                if partial.merge(read("t.csv", &table(0..100))).is_ok() {
                    partial.finish();
                }
            }
        }
    }
}
