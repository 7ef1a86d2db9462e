//! Read onto others, or by itself and merged: the same.

use proptest::prelude::*;

use crate::{Error, ErrorKind, Limits, Partial, Reading};

/// Files that are alike, and such as are not: other columns, another order, another way of writing, repairs, no rows.
const FILES: [(&str, &[u8]); 16] = [
    ("a.csv", b"a,b,c\n1,x,True\n2,y,False\n2,,True\n"),
    ("a.csv", b"a,b,c\n7,z,False\n1.5,x,\n"),
    ("a.csv", b"a,b,c\n3,2020-01-01,yes\n4,2021-01-01,no\n"),
    ("short.csv", b"a,b,c\n1\n2,y\n"),
    ("long.csv", b"a,b,c\n1,x,y,too much\n2,y,z\n"),
    ("again.csv", b"a,b,c\n1,x,y\na,b,c\n2,y,z\n"),
    ("header.csv", b"a,b,c\n"),
    ("marked.csv", b"\xef\xbb\xbfa,b,c\n1,x,y\n"),
    ("latin.csv", b"a,b,c\n1,\xe4\xf6\xfc,y\n2,stra\xdfe,y\n"),
    ("quoted.csv", b"\"a\",\"b\",\"c\"\n\"1\",\"x\n\",\"y\"\n"),
    ("order.csv", b"c,b,a\n1,x,y\n2,y,z\n"),
    ("other.csv", b"b,c,d\n1,x,y\n2,y,z\n"),
    ("alike.tsv", b"a\tb\tc\n1,5\tx\ty\n"),
    ("values.jsonl", b"{\"a\":1,\"b\":\"x\"}\n{\"a\":2}\n"),
    ("lines.log", b"2020-01-01T00:00:00Z INFO started\n2020-01-01T00:00:01Z WARN slow\n"),
    ("empty.csv", b""),
];

fn limits() -> Limits {
    Limits { columns_max: 4, ..Limits::default() }
}

fn feed(mut decoder: Box<dyn crate::Decode>, bytes: &[u8], piece: usize) -> Result<Partial, Error> {
    bytes.chunks(piece).try_for_each(|piece| decoder.feed(piece))?;
    decoder.partial()
}

/// All files as one, each read by itself.
fn merged(files: &[(&str, &[u8])], limits: &Limits) -> Result<Partial, Error> {
    let mut parts = files.iter().map(|(name, bytes)| feed(crate::decoder(name, limits), bytes, 1 << 20));
    let mut whole = parts.next().unwrap()?;
    parts.try_for_each(|part| whole.merge(part?))?;
    Ok(whole)
}

/// The same, each read onto those before it.
fn onto(files: &[(&str, &[u8])], limits: &Limits, piece: usize) -> Result<Partial, Error> {
    let (name, bytes) = files[0];
    let mut whole = feed(crate::decoder(name, limits), bytes, piece)?;
    for (name, bytes) in &files[1..] {
        whole = feed(Reading::default().onto(whole, name, limits), bytes, piece)?;
    }
    Ok(whole)
}

fn lines(rows: std::ops::Range<u32>) -> Vec<u8> {
    let row = |i: u32| format!("{},w{},{}.5\n", i % 50, i.wrapping_mul(2_654_435_761) % 5_000, i % 3);
    format!("a,b,c\n{}", rows.map(row).collect::<String>()).into_bytes()
}

proptest! {
    #[test]
    fn a_file_read_onto_others_is_the_file_merged(
        files in proptest::collection::vec(proptest::sample::select(&FILES[..]), 1..8),
        piece in 1usize..40,
    ) {
        match (onto(&files, &limits(), piece), merged(&files, &limits())) {
            (Ok(ours), Ok(theirs)) => prop_assert_eq!(ours.to_bytes(), theirs.to_bytes()),
            (ours, theirs) => prop_assert_eq!(
                ours.map_err(|error| error.to_string()).err(),
                theirs.map_err(|error| error.to_string()).err()
            ),
        }
    }

    /// With memory for few tables: what is exact stays so, and what is not keeps its bound.
    #[test]
    fn estimates_keep_their_bounds(cuts in proptest::collection::vec(0u32..3_000, 1..6)) {
        let limits = Limits { exact_bytes_max: 20_000, ..Limits::default() };
        let mut cuts = cuts;
        cuts.extend([0, 3_000]);
        cuts.sort_unstable();
        let parts: Vec<Vec<u8>> = cuts.windows(2).map(|pair| lines(pair[0]..pair[1])).collect();
        let parts: Vec<(&str, &[u8])> = parts.iter().map(|part| ("t.csv", &part[..])).collect();
        let ours = onto(&parts, &limits, 1_000).unwrap().finish();
        let whole = merged(&[("t.csv", &lines(0..3_000))], &limits).unwrap().finish();
        prop_assert_eq!(ours.total_rows, whole.total_rows);
        for (column, theirs) in ours.schema.iter().zip(&whole.schema) {
            prop_assert_eq!((column.kind, column.nulls), (theirs.kind, theirs.nulls));
            prop_assert_eq!(column.distinct.exact, theirs.distinct.exact);
            let (a, b) = (column.distinct.value as f64, theirs.distinct.value as f64);
            prop_assert!((a - b).abs() <= 0.04 * b, "{} {}", a, b);
        }
        for (column, theirs) in ours.summary.iter().zip(&whole.summary) {
            prop_assert_eq!(column.1.count, theirs.1.count);
            prop_assert_eq!((&column.1.min, &column.1.max), (&theirs.1.min, &theirs.1.max));
        }
    }
}

/// It has two sets of columns from some place on, and one of them is not its own.
#[test]
fn a_large_file_is_read_onto_a_small_one() {
    let (small, large) = (lines(0..2_000), lines(1_000..900_000));
    assert!(large.len() > 10 << 20);
    let files: [(&str, &[u8]); 3] = [("a.csv", &small), ("b.csv", &large), ("c.csv", &small)];
    let (ours, theirs) = (onto(&files, &Limits::default(), 1 << 20), merged(&files, &Limits::default()));
    assert_eq!(ours.unwrap().finish(), theirs.unwrap().finish());
}

/// Two sets of columns have half of the memory each, for which the tables before were too large.
#[test]
fn a_large_file_onto_large_tables_leaves_them_exact() {
    let before: String = (0..3_000).map(|number| format!("{number}\n")).collect();
    let (before, large) = (format!("a\n{before}"), format!("a\n{}", "1\n".repeat(6 << 20)));
    let limits = Limits { exact_bytes_max: 500_000, ..Limits::default() };
    let files: [(&str, &[u8]); 2] = [("a.csv", before.as_bytes()), ("b.csv", large.as_bytes())];
    let (ours, theirs) = (onto(&files, &limits, 1 << 20).unwrap(), merged(&files, &limits).unwrap());
    let summary = ours.finish();
    assert_eq!(summary, theirs.finish());
    assert!(summary.schema[0].distinct.exact);
}

/// The room that a clone does not have was counted on: what grew then seemed to be there twice, three times, and was folded.
#[test]
fn clones_stay_exact_as_long_as_they_fit() {
    let limits = Limits { exact_bytes_max: 4_000_000, ..Limits::default() };
    let many: String = (0..10_000).map(|number| format!("number-{number}\n")).collect();
    for is_onto in [true, false] {
        let mut whole = merged(&[("a.csv", format!("a\n{many}").as_bytes())], &limits).unwrap();
        for number in 0..20 {
            let more = format!("a\none-more-than-{number}\n");
            let mut clone = whole.clone();
            whole = if is_onto {
                feed(Reading::default().onto(clone, "b.csv", &limits), more.as_bytes(), 100).unwrap()
            } else {
                clone.merge(merged(&[("b.csv", more.as_bytes())], &limits).unwrap()).unwrap();
                clone
            };
        }
        let schema = &whole.finish().schema[0];
        assert_eq!((schema.distinct.value, schema.distinct.exact), (10_020, true), "{is_onto}");
    }
}

#[test]
fn more_rows_than_can_be_counted_are_refused() {
    let row: (&str, &[u8]) = ("a.csv", b"a\n1\n");
    let mut whole = merged(&[row], &limits()).unwrap();
    // Twice as many each time.
    while whole.merge(whole.clone()).is_ok() {}
    let error = feed(Reading::default().onto(whole, row.0, &limits()), row.1, 10).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Limit);
}

/// The repairs of the files before are not its own.
#[test]
fn only_the_file_itself_is_read_strictly() {
    let strict = Reading { strict: true, ..Reading::default() };
    let before = || merged(&[FILES[3], FILES[4]], &limits()).unwrap();
    for (name, bytes) in [FILES[1], FILES[10]] {
        let whole = feed(strict.onto(before(), name, &limits()), bytes, 10).unwrap().finish();
        let warnings: Vec<u64> = whole.warnings.iter().map(|warning| warning.count).collect();
        assert_eq!(warnings, [2, 1], "{name}");
    }
    let (name, bytes) = FILES[3];
    let error = feed(strict.onto(before(), name, &limits()), bytes, 10).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Malformed);
}
