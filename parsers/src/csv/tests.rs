//! CSV, perhaps packed: every rule of reading, whole and in pieces.

use proptest::prelude::*;

use crate::csv::CsvDecoder;
use crate::csv::dialect::detect;
use crate::decode::Decode;
use crate::decode::fed;
use crate::decompress::Unpacked;
use crate::format::Format;
use crate::reading::Target;
use crate::summary::{Bound, ColumnType};
use crate::{Error, ErrorKind, Limits, Mark, Reading, Summary, WarningKind};

/// Without the look at the head of the file, which would put its pieces together again.
fn cut(name: &str, limits: &Limits, bytes: &[u8], sizes: &[usize]) -> Result<Summary, Error> {
    let format = Format::from_name(name).unwrap();
    let dialect = detect(bytes, true, format.delimiter(), &Reading::default());
    let csv = CsvDecoder::new(format, dialect, limits, Target::default());
    fed(Box::new(Unpacked::new(csv, limits)), bytes, sizes)
}

fn whole(text: &str) -> Result<Summary, Error> {
    cut("t.csv", &Limits::default(), text.as_bytes(), &[usize::MAX])
}

/// Rows as the decoder understood them, column by column: type, count, nulls.
fn shape(text: &str) -> String {
    match whole(text) {
        Ok(summary) => {
            let columns = summary.schema.iter().zip(&summary.summary);
            let columns = columns.map(|(schema, (_, stats))| {
                format!("{}:{}:{}:{}", schema.name, schema.kind.as_str(), stats.count, schema.nulls)
            });
            format!("{} | {}", summary.total_rows, columns.collect::<Vec<_>>().join(" "))
        }
        Err(error) => error.to_string(),
    }
}

#[test]
fn rows_are_those_of_pandas() {
    let cases = [
        ("a\n", "0 | a:empty:0:0"),
        ("a\n\n1\n\n2\n", "2 | a:int:2:0"),
        ("a\n   \n1\n \t \n", "1 | a:int:1:0"),
        ("a\n\"\"\n1\n", "2 | a:int:1:1"),
        ("a\n\"  \"\n1\n", "2 | a:text:2:0"),
        ("a,b\n,\n", "1 | a:empty:0:1 b:empty:0:1"),
        ("a,b\n  ,\n", "1 | a:text:1:0 b:empty:0:1"),
        ("\n  \na,b\n1,2", "1 | a:int:1:0 b:int:1:0"),
        ("a,b\n\"x\ny\",2\n", "1 | a:text:1:0 b:int:1:0"),
        ("a,b\r1,2\r3,4", "2 | a:int:2:0 b:int:2:0"),
        ("a,b\r\n1,2\r\n\r\n3,4", "2 | a:int:2:0 b:int:2:0"),
        ("a,b\n\r\r1,2\r", "1 | a:int:1:0 b:int:1:0"),
        ("a\n1\n ", "1 | a:int:1:0"),
        ("a,b\n\"\"\n", "1 | a:empty:0:1 b:empty:0:1"),
        ("a\n\"\n\"\n", "1 | a:text:1:0"),
        ("\"a\nb\"\n1\n", "1 | a\nb:int:1:0"),
        ("\u{feff}a,b\n1,2\n", "1 | a:int:1:0 b:int:1:0"),
        ("\u{feff}\"a\",b\n1,2\n", "1 | a:int:1:0 b:int:1:0"),
        ("\u{feff}\u{feff}a\n1\n", "1 | \u{feff}a:int:1:0"),
        ("a,b\n\0 1,2\n", "1 | a:text:1:0 b:int:1:0"),
        ("a,b\n\"NA\",\"1\"\n", "1 | a:empty:0:1 b:int:1:0"),
        ("", "no header: the file is empty or holds only blank lines"),
        ("\u{feff}", "no header: the file is empty or holds only blank lines"),
        ("\n \n", "no header: the file is empty or holds only blank lines"),
    ];
    for (text, expected) in cases {
        assert_eq!(shape(text), expected, "{text:?}");
    }
}

#[test]
fn values_keep_their_quotes_and_breaks() {
    let cases = [
        ("a\n\"1\"x\n", "1x"),
        ("a\nx\"1\"\n", "x\"1\""),
        ("a\n\"a\"\"b\"\n", "a\"b"),
        ("a\n\"x\r\ny\"\n", "x\r\ny"),
        ("a\nx\0y\n", "x\0y"),
        ("a\nFALSE\ntrue\ntRUE\n", "True"),
        ("a\nb\na\na\nb\n", "b"),
    ];
    for (text, top) in cases {
        assert_eq!(whole(text).unwrap().summary[0].1.top.as_deref(), Some(top), "{text:?}");
    }
}

#[test]
fn a_late_value_decides_the_type() {
    let rows = "7\n".repeat(100_000);
    let of = |late: &str| whole(&format!("a\n{rows}{late}\n")).unwrap().schema[0].kind;
    assert_eq!(of("7"), ColumnType::Int);
    assert_eq!(of("1.5"), ColumnType::Float);
    assert_eq!(of("NA"), ColumnType::Int);
    assert_eq!(of("word"), ColumnType::Text);
    assert_eq!(of("007"), ColumnType::Text);
}

#[test]
fn ragged_rows_and_broken_text_are_counted_with_their_first_line() {
    let bytes = b"a,b\n1,2\n\"x\ny\",2,3\n1\n\xff,4\n1\n";
    let summary = cut("t.csv", &Limits::default(), bytes, &[3]).unwrap();
    let seen: Vec<_> = summary.warnings.iter().map(|w| (w.kind, w.count, w.first_line)).collect();
    assert_eq!(
        seen,
        [(WarningKind::RowTooShort, 2, 5), (WarningKind::RowTooLong, 1, 3), (WarningKind::InvalidUtf8, 1, 6)]
    );
    assert_eq!(summary.schema[1].nulls, 2);
}

#[test]
fn an_open_quote_is_text_and_in_strict_mode_an_error_with_the_line_it_began() {
    let strict = Reading { strict: true, ..Reading::default() };
    for (text, line, top) in [
        ("a,b\n1,2\n\"x,3\n\n4,2\n", 3, "1"),
        ("a,b\r\n\"p\nq\",1\r\n1,\"x\r\n", 4, "p\nq"),
        ("a\n\"\n2\n3\n3\n", 2, "3"),
        ("a\n\"x\"\"", 2, "x\""),
    ] {
        let summary = whole(text).unwrap();
        let seen: Vec<_> = summary.warnings.iter().map(|w| (w.kind, w.count, w.first_line)).collect();
        assert_eq!(seen, [(WarningKind::UnclosedQuote, 1, line)], "{text:?}");
        assert_eq!(summary.summary[0].1.top.as_deref(), Some(top), "{text:?}");
        let mut decoder = strict.decoder("t.csv", &Limits::default());
        let error = decoder.feed(text.as_bytes()).and_then(|()| decoder.finish()).unwrap_err();
        assert_eq!((error.kind(), error.position().unwrap().line), (ErrorKind::Malformed, line), "{text:?}");
    }
}

#[test]
fn limits_reject_with_a_place_however_the_bytes_are_cut() {
    let limits = Limits { columns_max: 3, field_bytes_max: 10, record_bytes_max: 20, ..Limits::default() };
    let cases = [
        ("a,b,c,d\n", "a record has more than 3 fields (record 0, line 1, byte 0)"),
        ("a\n\n1,2,3,4,5\n", "a record has more than 3 fields (record 1, line 3, byte 3)"),
        (
            "a\n12345678901\n",
            "a field is longer than 10 bytes; is a quote left open? (record 1, line 2, byte 2)",
        ),
        (
            "a\n1234567890,1234567890,1\n",
            "a record is longer than 20 bytes; is a quote left open? (record 1, line 2, byte 2)",
        ),
        ("a\n1,2,3,4,12345678901\n", "a record has more than 3 fields (record 1, line 2, byte 2)"),
        (
            "a\n12345678901,2,3,4,5",
            "a field is longer than 10 bytes; is a quote left open? (record 1, line 2, byte 2)",
        ),
    ];
    for (text, message) in cases {
        for sizes in [&[usize::MAX][..], &[1], &[2, 5]] {
            let error = cut("t.csv", &limits, text.as_bytes(), sizes).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Limit);
            assert_eq!(error.to_string(), message, "{text:?} {sizes:?}");
        }
    }
    assert!(cut("t.csv", &limits, b"a\n1234567890,123456789\n", &[1]).is_ok());
    assert!(cut("t.csv", &limits, b"a\n1,2,3", &[usize::MAX]).is_ok());
}

#[test]
fn numbers_that_are_not_finite_never_reach_the_json() {
    let summary = whole("a,b,c\ninf,1e400,nan\n1,-inf,\n2,3,\n").unwrap();
    let text = String::from_utf8(summary.to_json()).unwrap();
    assert!(!text.contains(": null") && !text.contains(": inf") && !text.contains("NaN"), "{text}");
    assert_eq!(summary.schema[0].infinite, 1);
    assert_eq!(summary.schema[1].infinite, 2);
    let first = &summary.summary[0].1;
    assert_eq!((first.count, first.mean, first.max.clone()), (3, None, None));
    assert_eq!((first.min.clone(), first.p25), (Some(Bound::Number(1.0)), Some(1.5)));
    assert_eq!(serde_json::from_slice::<Summary>(&summary.to_json()).unwrap(), summary);
}

#[test]
fn dates_have_a_first_and_a_last() {
    let first = "2013-01-02,2013-01-01 05:00,2013-01-01T23:00:00-05:00";
    let second = "2013-01-01,2013-01-01,2013-01-02T00:00:00.5Z";
    let summary = whole(&format!("d,t,z\n{first}\n{second}\n")).unwrap();
    let range = |i: usize| match (&summary.summary[i].1.min, &summary.summary[i].1.max) {
        (Some(Bound::Time(min)), Some(Bound::Time(max))) => format!("{min} {max}"),
        other => format!("{other:?}"),
    };
    assert_eq!(range(0), "2013-01-01 2013-01-02");
    assert_eq!(range(1), "2013-01-01T00:00:00 2013-01-01T05:00:00");
    assert_eq!(range(2), "2013-01-02T00:00:00.5Z 2013-01-02T04:00:00Z");
    assert_eq!(summary.summary[0].1.unique, Some(2));
}

#[test]
fn half_a_byte_order_mark_is_data() {
    for (bytes, name) in
        [(&b"\xef\xbba\n1\n"[..], "\u{fffd}a"), (b"\xef\xbb", "\u{fffd}"), (b"\xefa\n", "\u{fffd}a")]
    {
        for sizes in [&[usize::MAX][..], &[1], &[2]] {
            let summary = cut("t.csv", &Limits::default(), bytes, sizes).unwrap();
            assert_eq!(summary.columns, [name], "{bytes:?} {sizes:?}");
            assert!(!summary.dialect.unwrap().byte_order_mark);
        }
    }
}

/// Text that is nearly CSV: the characters that matter, in any order.
fn nearly_csv() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop_oneof![
        4 => Just(&b","[..]), 4 => Just(&b"\n"[..]), 1 => Just(&b"\r"[..]), 1 => Just(&b"\r\n"[..]),
        2 => Just(&b"\""[..]), 1 => Just(&b"\"\""[..]), 2 => Just(&b" "[..]), 1 => Just(&b"\t"[..]),
        3 => Just(&b"1"[..]), 2 => Just(&b"2.5"[..]), 1 => Just(&b"NA"[..]), 2 => Just(&b"word"[..]),
        1 => Just(&b"true"[..]), 1 => Just(&b"2013-01-01"[..]), 1 => Just(&b"\xef\xbb\xbf"[..]),
        1 => Just(&b"\xff"[..]), 1 => Just(&b"\0"[..]), 1 => Just(&b"\xef\xbb"[..]), 1 => Just("é".as_bytes()),
    ];
    proptest::collection::vec(pieces, 0..120).prop_map(|pieces| pieces.concat())
}

/// Rows as programs write them, over many blocks of the scanner, with a quote out of place now and then.
fn mostly_csv() -> impl Strategy<Value = Vec<u8>> {
    let field = prop_oneof![
        20 => "[a-z0-9é]{0,12}", 20 => "\"[a-z ,é]{0,20}\"", 3 => "\"[a-z]{0,70}\"\"[a-z]{0,9}\"",
        3 => "\"[a-z]{0,9}\r?\n[a-z,]{0,9}\"", 1 => Just("5\"".to_owned()), 1 => Just("\"x\"y".to_owned()),
        2 => Just("\"\"".to_owned()), 1 => Just("\"\"\"\"".to_owned()), 1 => Just(" \"a\"".to_owned()),
    ];
    let row = (proptest::collection::vec(field, 3), prop_oneof![9 => Just("\n"), 1 => Just("\r\n")]);
    proptest::collection::vec(row, 1..60).prop_map(|rows| {
        let rows: String = rows.iter().map(|(fields, end)| fields.join(",") + end).collect();
        format!("a,b,c\n{rows}").into_bytes()
    })
}

/// Limits so small that tables overflow and records are refused.
fn tight() -> Limits {
    Limits {
        columns_max: 20,
        field_bytes_max: 60,
        record_bytes_max: 100,
        exact_bytes_max: 1_200,
        sketch_bytes_max: 200_000,
        ..Limits::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn the_cut_never_changes_the_result(
        bytes in nearly_csv(), sizes in proptest::collection::vec(1usize..30, 1..10), small: bool, tabs: bool
    ) {
        let limits = if small { tight() } else { Limits::default() };
        let name = if tabs { "t.tsv" } else { "t.csv" };
        let expected = cut(name, &limits, &bytes, &[usize::MAX]);
        prop_assert_eq!(&cut(name, &limits, &bytes, &[1]), &expected);
        prop_assert_eq!(&cut(name, &limits, &bytes, &sizes), &expected);
        if let Ok(summary) = expected {
            let json = summary.to_json();
            prop_assert_eq!(serde_json::from_slice::<Summary>(&json).unwrap(), summary);
        }
    }

    /// The fast way through whole batches, the slow one through single records, and any mixture of them; in every
    /// dialect, whether it fits the file or not.
    #[test]
    fn both_ways_of_reading_agree(
        bytes in nearly_csv(), size in 2usize..200, small: bool, delimiter in 0usize..4, quote in 0usize..3,
        comment: bool, header: bool, strict: bool, lines in 0u64..3, detected: bool,
    ) {
        let Limits { exact_bytes_max, .. } = Limits::default();
        let limits = if small { Limits { exact_bytes_max, ..tight() } } else { Limits::default() };
        let told = Reading {
            delimiter: Some(["," , "\t", "1", " "][delimiter].to_owned()),
            quote: Some([Mark::Byte(b'"'), Mark::Byte(b'w'), Mark::None][quote]),
            comment: Some(if comment { Mark::Byte(b'2') } else { Mark::None }),
            header: Some(header),
            skip_lines: Some(lines),
            strict,
            ..Reading::default()
        };
        let reading = if detected { Reading { strict, ..Reading::default() } } else { told };
        let dialect = detect(&bytes, true, b',', &reading);
        let read = |batch_bytes| {
            let mut decoder =
                Box::new(CsvDecoder::with_batch(Format::Csv, dialect.clone(), &limits, Target::default(), batch_bytes));
            decoder.feed(&bytes)?;
            decoder.finish()
        };
        prop_assert_eq!(read(size), read(1));
        prop_assert_eq!(read(usize::MAX), read(1));
    }

    /// The same for rows in which quotes are mostly where they should be.
    #[test]
    fn quotes_in_and_out_of_place_are_read_alike(bytes in mostly_csv(), size in 64usize..1_000) {
        let dialect = detect(&bytes, true, b',', &Reading {
            delimiter: Some(",".to_owned()), quote: Some(Mark::Byte(b'"')), ..Reading::default()
        });
        let read = |batch_bytes| {
            let limits = Limits::default();
            let mut decoder =
                Box::new(CsvDecoder::with_batch(Format::Csv, dialect.clone(), &limits, Target::default(), batch_bytes));
            decoder.feed(&bytes)?;
            decoder.finish()
        };
        prop_assert_eq!(read(size), read(1));
        prop_assert_eq!(read(usize::MAX), read(1));
    }

    /// Threads share out the columns, also when the tables are full, and nothing tells.
    #[test]
    fn threads_change_nothing(bytes in nearly_csv(), repeat in 1usize..60, small: bool, pieces in 1usize..5_000) {
        let limits = if small { tight() } else { Limits::default() };
        let bytes = bytes.repeat(repeat);
        let read = || cut("t.csv", &limits, &bytes, &[pieces]);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        prop_assert_eq!(pool.install(read), read());
    }

    /// A large file goes to two sets of columns by turns. On any number of threads they become the same, and what is exact is
    /// what one set says, down to which of several values came first.
    #[test]
    fn two_sets_of_columns_say_what_one_says(
        rows in proptest::collection::vec((0u32..60, 0u32..300, 0u8..9), 100..400),
        batch_bytes in 12usize..60, memory in 0usize..12_000, pieces in 1usize..2_000,
    ) {
        // As many of the one truth as of the other, so that the first one counts.
        let truths = rows.iter().map(|row| row.2).chain(rows.iter().rev().map(|row| 1 - row.2.min(1)));
        let lines = rows.iter().chain(&rows).zip(truths).map(|((word, number, odd), truth)| match odd {
            8 => format!("w{word}\n"),
            _ => format!("w{word},{},{number},\"a text of {}, with {word}\"\n", truth == 0, word * number),
        });
        let bytes = format!("word,truth,number,text\n{}", lines.collect::<String>()).into_bytes();
        let dialect = detect(&bytes, true, b',', &Reading::default());
        let read = |batch_bytes, threads, exact_bytes_max| {
            let limits = Limits { exact_bytes_max, ..Limits::default() };
            let csv = CsvDecoder::with_batch(Format::Csv, dialect.clone(), &limits, Target::default(), batch_bytes);
            let feed = || {
                let mut decoder = Box::new(csv);
                bytes.chunks(pieces).try_for_each(|piece| decoder.feed(piece))?;
                decoder.partial()
            };
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            if threads == 0 { feed() } else { pool.install(feed) }
        };
        let one = read(1, 0, usize::MAX).unwrap().finish();
        for exact_bytes_max in [memory, usize::MAX] {
            let whole = read(batch_bytes, 0, exact_bytes_max).unwrap();
            for threads in [1, 2, 5] {
                let same = read(batch_bytes, threads, exact_bytes_max).unwrap();
                prop_assert_eq!(same.to_bytes(), whole.to_bytes());
            }
            let two = whole.finish();
            prop_assert_eq!((two.total_rows, &two.warnings), (one.total_rows, &one.warnings));
            for ((ours, mine), (theirs, yours)) in
                two.schema.iter().zip(&two.summary).zip(one.schema.iter().zip(&one.summary))
            {
                if ours.distinct.exact {
                    prop_assert_eq!((ours, mine), (theirs, yours));
                }
                prop_assert_eq!((ours.kind, ours.nulls), (theirs.kind, theirs.nulls));
                prop_assert_eq!((mine.1.count, &mine.1.min, &mine.1.max), (yours.1.count, &yours.1.min, &yours.1.max));
            }
        }
    }

    #[test]
    fn no_input_is_a_panic(bytes: Vec<u8>, head in 0usize..3) {
        let head = [&b""[..], b"\x1f\x8b", b"\x1f\x8b\x08\0\0\0\0\0\0\x03"][head];
        let bytes = [head, &bytes].concat();
        let expected = cut("t.csv", &tight(), &bytes, &[usize::MAX]);
        prop_assert_eq!(cut("t.csv", &tight(), &bytes, &[1]), expected);
    }
}
