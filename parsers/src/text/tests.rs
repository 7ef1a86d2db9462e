//! Lines through the public decoder, whole and in pieces.

use std::collections::HashMap;

use proptest::prelude::*;

use crate::decode::fed;
use crate::text::LinesDecoder;
use crate::{Bound, ColumnType, Error, Format, Limits, Summary, WarningKind, decoder};

fn cut(name: &str, limits: &Limits, bytes: &[u8], sizes: &[usize]) -> Result<Summary, Error> {
    fed(decoder(name, limits), bytes, sizes)
}

/// The same without the look at the head of the file, which would put its pieces together again.
fn lines(format: Format, limits: &Limits, bytes: &[u8], sizes: &[usize]) -> Result<Summary, Error> {
    fed(Box::new(LinesDecoder::new(format, limits)), bytes, sizes)
}

fn whole(name: &str, text: &str) -> Summary {
    cut(name, &Limits::default(), text.as_bytes(), &[usize::MAX]).unwrap()
}

/// A column: its type, nulls, distinct values, most frequent value.
fn column(summary: &Summary, name: &str) -> String {
    let at = summary.columns.iter().position(|column| column == name).unwrap();
    let (schema, stats) = (&summary.schema[at], &summary.summary[at].1);
    let top = stats.top.as_deref().unwrap_or("-");
    format!("{} {} null, {}: {top}", schema.kind.as_str(), schema.nulls, schema.distinct.value)
}

const LOG: &str = "\
2025-08-25 12:00:00,123 INFO [main] listening on 0.0.0.0:8080
2025-08-25 12:00:01,000 INFO [w-1] took 12 ms for /data/a.csv
2025-08-25 12:00:01,500 ERROR [w-2] failed
java.lang.IllegalStateException: closed
\tat app.Worker.run(Worker.java:17)
\tat java.lang.Thread.run(Thread.java:750)
Caused by: java.io.IOException: gone

2025-08-25 12:00:02 warn: took long
2025-08-25 12:00:03,250 INFO [w-1] took 7 ms for /data/b.csv
";

#[test]
fn a_log_gives_times_levels_and_templates() {
    for name in ["app.log", "app.txt", "app", "app.log.3"] {
        let summary = whole(name, LOG);
        assert_eq!(
            (summary.format, summary.total_rows, &summary.dialect),
            (Format::Log, 10, &None),
            "{name}"
        );
        assert_eq!(column(&summary, "timestamp"), "datetime 5 null, 5: 2025-08-25T12:00:00.123");
        assert_eq!(column(&summary, "level"), "text 5 null, 3: INFO");
        assert_eq!(
            column(&summary, "template"),
            "text 4 null, 5: <time> INFO [w-<n>] took <n> ms for <path>"
        );
        assert_eq!(column(&summary, "continuation"), "bool 1 null, 2: False");
        assert_eq!(column(&summary, "blank"), "bool 0 null, 2: False");
        let (time, length) = (&summary.summary[0].1, &summary.summary[5].1);
        assert_eq!(time.max, Some(Bound::Time("2025-08-25T12:00:03.25".to_owned())));
        assert_eq!((length.min.clone(), length.max.clone()), (Some(Bound::Int(0)), Some(Bound::Int(61))));
        assert_eq!(summary.warnings, []);
    }
}

#[test]
fn plain_text_gives_words_and_lengths() {
    let summary = whole("a.txt", "To be, or not to be,\r\nthat is the question:\n\n  \nJa ä\rx");
    assert_eq!((summary.format, summary.total_rows), (Format::Text, 5));
    assert_eq!(summary.columns, ["words", "blank", "line_length"]);
    let sums: Vec<f64> = [0, 2].iter().map(|at| summary.summary[*at].1.mean.unwrap() * 5.0).collect();
    assert_eq!(sums, [13.0, 20.0 + 21.0 + 0.0 + 2.0 + 7.0]);
    assert_eq!(column(&summary, "blank"), "bool 0 null, 2: False");
}

#[test]
fn text_is_what_its_content_says() {
    let cases = [
        ("a.txt", "a,b\n1,2\n3,4\n", Format::Csv),
        ("a", "a\tb\n1\t2\n3\t4", Format::Tsv),
        ("a.txt", "2025-01-01,a\n2025-01-02,b\n", Format::Csv),
        ("a.txt", "2025-01-01 12:00:00,123 a\n2025-01-01 12:00:00,123 b\n", Format::Log),
        ("a", "127.0.0.1 - - [10/Oct/2000:13:55:36 -0700] \"GET /\" 200 1\n", Format::Log),
        ("a.txt", "Well, well.\nSo, it is.\nNo comma here.\n", Format::Text),
        ("a.txt", "one line, one comma", Format::Text),
        ("a.log", "a,b\n1,2\n3,4\n", Format::Log),
        ("a.csv", LOG, Format::Csv),
        ("a.txt", "", Format::Text),
        ("a.log", "", Format::Log),
    ];
    for (name, text, format) in cases {
        assert_eq!(whole(name, text).format, format, "{name} {text:?}");
    }
    let error = cut("a.md", &Limits::default(), b"# a", &[1]).unwrap_err();
    assert_eq!(error.kind(), crate::ErrorKind::Unsupported);
}

#[test]
fn no_line_is_an_error() {
    let limits = Limits { field_bytes_max: 10, ..Limits::default() };
    let bytes = b"\xef\xbb\xbfok\n0123456789\n0123456789a\n\xff\xfe\xe9\nINFO \0\x01\n\xe5\xe5\n\xe5\x8c\x97\xe5\x8c\x97\xe5\x8c\x97\xe5\x8c\x97\n\xe5";
    for sizes in [&[usize::MAX][..], &[1], &[3, 7]] {
        let summary = lines(Format::Log, &limits, bytes, sizes).unwrap();
        let seen: Vec<_> = summary.warnings.iter().map(|w| (w.kind, w.count, w.first_line)).collect();
        assert_eq!(seen, [(WarningKind::InvalidUtf8, 3, 4), (WarningKind::LineTooLong, 2, 3)], "{sizes:?}");
        assert_eq!((summary.total_rows, summary.encoding.as_deref()), (8, None));
        let length = &summary.summary[5].1;
        assert_eq!((length.min.clone(), length.max.clone()), (Some(Bound::Int(1)), Some(Bound::Int(12))));
    }
    let wide: Vec<u8> = "INFO 北京\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let summary = cut("a.log", &limits, &wide, &[1]).unwrap();
    assert_eq!((summary.encoding.as_deref(), summary.total_rows), (Some("utf-16le"), 1));
}

/// The columns are full of different values; the summary says so and stays right where it must.
#[test]
fn a_long_log_stays_in_its_budget() {
    let limits = Limits { exact_bytes_max: 100_000, ..Limits::default() };
    let line =
        |n: u64| format!("2025-08-25T{:02}:{:02}:{:02}.{n:06}Z INFO n{n}\n", n / 3600, n / 60 % 60, n % 60);
    let text: String = (0..20_000).map(line).collect();
    let summary = cut("a.log", &limits, text.as_bytes(), &[usize::MAX]).unwrap();
    assert_eq!(cut("a.log", &limits, text.as_bytes(), &[4093]), Ok(summary.clone()));
    let time = &summary.schema[0];
    assert_eq!((time.kind, time.nulls, time.distinct.exact), (ColumnType::Datetime, 0, false));
    assert!((time.distinct.value as f64 / 20_000.0 - 1.0).abs() < 0.02, "{:?}", time.distinct);
    assert_eq!(column(&summary, "template"), "text 0 null, 1: <time> INFO n<n>");
}

/// Nearly a log: what matters to the reading of lines, in any order.
fn nearly_a_log() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop_oneof![
        4 => Just(&b"\n"[..]), 1 => Just(&b"\r\n"[..]), 1 => Just(&b"\r"[..]), 2 => Just(&b" "[..]), 1 => Just(&b"\t"[..]),
        2 => Just(&b"2025-08-25 12:00:00,123 "[..]), 1 => Just(&b"Oct 11 22:14:15 "[..]), 1 => Just(&b"INFO "[..]),
        1 => Just(&b"[error] "[..]), 1 => Just(&b"took 12 ms"[..]), 1 => Just(&b"/a/b"[..]), 1 => Just(&b"\"x"[..]),
        1 => Just(&b"Caused by: "[..]), 1 => Just("北".as_bytes()), 1 => Just(&b"\xff"[..]), 1 => Just(&b"\0"[..]),
        1 => Just(&b"\xef\xbb\xbf"[..]), 1 => Just(&b"\xe5\x8c"[..]), 1 => Just(&b","[..]),
    ];
    proptest::collection::vec(pieces, 0..120).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_cut_never_changes_the_result(
        bytes in nearly_a_log(), times in 1usize..40, sizes in proptest::collection::vec(1usize..300, 1..8), text: bool, small: bool
    ) {
        let tight = Limits { field_bytes_max: 20, exact_bytes_max: 3_000, ..Limits::default() };
        let limits = if small { tight } else { Limits::default() };
        let (format, bytes) = ([Format::Log, Format::Text][usize::from(text)], bytes.repeat(times));
        let expected = lines(format, &limits, &bytes, &[usize::MAX]);
        prop_assert_eq!(lines(format, &limits, &bytes, &[1]), expected.clone());
        prop_assert_eq!(lines(format, &limits, &bytes, &sizes), expected.clone());
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        prop_assert_eq!(pool.install(|| lines(format, &limits, &bytes, &sizes)), expected);
    }

    /// Lines, lengths and the most frequent template are those of a plain count, in any order of the lines.
    #[test]
    fn a_template_is_of_one_line_only(lines in proptest::collection::vec("INFO [a-c]{1,2} [0-9]{1,3}", 1..60)) {
        let mut counts: HashMap<String, u64> = HashMap::new();
        for line in &lines {
            *counts.entry(line.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned() + "<n>").or_default() += 1;
        }
        let mut sorted = lines.clone();
        sorted.sort();
        for lines in [&lines, &sorted] {
            let summary = whole("a.log", &lines.join("\n"));
            let template = &summary.summary[2].1;
            prop_assert_eq!(template.unique, Some(counts.len() as u64));
            prop_assert_eq!(template.freq, counts.values().max().copied());
            prop_assert_eq!(counts.get(template.top.as_deref().unwrap()), counts.values().max());
            prop_assert_eq!(summary.total_rows, lines.len() as u64);
        }
    }
}
