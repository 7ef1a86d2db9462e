//! Rows as CSV: RFC 4180 but for line ends, which are LF.
//!
//! Promise: UTF-8, commas, quotes only where a value needs them; what is written here is read back the same. The
//! header is written if the file had one; names that were made up are not.

use crate::error::Error;
use crate::output::Output;
use crate::reading::RowSink;

/// Writes rows as CSV.
#[derive(Debug, Default)]
pub struct CsvRows(Output);

impl CsvRows {
    /// Where the text is taken from.
    pub fn output(&self) -> Output {
        self.0.clone()
    }

    fn line<'a>(&self, values: impl Iterator<Item = &'a [u8]>) {
        self.0.with(|out| {
            let begin = out.len();
            for (index, value) in values.enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                field(out, &String::from_utf8_lossy(value));
            }
            // A line of nothing but blanks would be skipped.
            if out[begin..].iter().all(|byte| matches!(byte, b' ' | b'\t')) {
                out.insert(begin, b'"');
                out.push(b'"');
            }
            out.push(b'\n');
        });
    }
}

fn field(out: &mut Vec<u8>, value: &str) {
    if !value.contains([',', '"', '\n', '\r']) {
        out.extend_from_slice(value.as_bytes());
        return;
    }
    out.push(b'"');
    out.extend_from_slice(value.replace('"', "\"\"").as_bytes());
    out.push(b'"');
}

impl RowSink for CsvRows {
    fn header(&mut self, names: &[String], in_file: bool) -> Result<(), Error> {
        if in_file {
            self.line(names.iter().map(String::as_bytes));
        }
        Ok(())
    }

    fn row(&mut self, values: &mut dyn Iterator<Item = &[u8]>) -> Result<(), Error> {
        self.line(values);
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Limits, Reading};

    fn converted(reading: &Reading, text: &[u8]) -> String {
        let rows = CsvRows::default();
        let output = rows.output();
        let mut decoder = reading.rows("t.csv", &Limits::default(), Box::new(rows));
        decoder.feed(text).unwrap();
        decoder.finish().unwrap();
        String::from_utf8(output.take()).unwrap()
    }

    #[test]
    fn rows_are_written_as_they_were_understood() {
        let cases = [
            ("a;b\n1;\"x;y\"\n2;z\n", "a,b\n1,x;y\n2,z\n"),
            ("a\tb\n1\tx,y\n2\t\"p\"\"q\"\n", "a,b\n1,\"x,y\"\n2,\"p\"\"q\"\n"),
            ("a,b,c\n1\n1,2,3,4\n5,6,7\n", "a,b,c\n1,,\n1,2,3\n5,6,7\n"),
            ("1,ann\n2,bob\n3,cid\n", "1,ann\n2,bob\n3,cid\n"),
            ("a\n\"\"\n\" \"\n", "a\n\"\"\n\" \"\n"),
            ("a,b\n\"x\ny\",NA\n", "a,b\n\"x\ny\",NA\n"),
        ];
        for (text, expected) in cases {
            assert_eq!(converted(&Reading::default(), text.as_bytes()), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_the_same(
            cells in proptest::collection::vec("[ab,;\"'\n\r \t1é]{0,6}", 2..40), width in 1usize..4
        ) {
            let rows = CsvRows::default();
            for row in cells.chunks_exact(width) {
                rows.line(row.iter().map(String::as_bytes));
            }
            let text = rows.output().take();
            // A byte order mark aside, every value survives when the dialect is told.
            let told = Reading {
                delimiter: Some(",".to_owned()),
                quote: Some(crate::Mark::Byte(b'"')),
                escape: Some(crate::Mark::None),
                comment: Some(crate::Mark::None),
                header: Some(false),
                skip_lines: Some(0),
                ..Reading::default()
            };
            prop_assume!(!text.is_empty());
            prop_assert_eq!(converted(&told, &text).into_bytes(), text);
        }
    }
}
