//! Detection: what a person would say of small files, and generated tables in every dialect.

use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::*;
use crate::{Error, Limits, RowSink};

/// What is unusual about the dialect of a text.
fn found(text: &str) -> String {
    let dialect = detect(text.as_bytes(), true, b',', &Reading::default());
    let marks = &dialect.marks;
    let mut words = Vec::new();
    let mark = |byte: u8| String::from(char::from(byte));
    if *marks.delimiter != *b"," {
        words.push(format!("delimiter {}", mark(marks.delimiter[0])));
    }
    if marks.quote != Some(b'"') {
        words.push(format!("quote {}", marks.quote.map_or("none".to_owned(), mark)));
    }
    words.extend(marks.escape.map(|escape| format!("escape {}", mark(escape))));
    words.extend(marks.comment.map(|comment| format!("comment {}", mark(comment))));
    let flags = [
        (marks.skip_blanks, "blanks"),
        (!dialect.header, "no header"),
        (dialect.trailing, "trailing"),
        (dialect.widen, "widen"),
    ];
    words.extend(flags.iter().filter(|(is, _)| *is).map(|(_, word)| (*word).to_owned()));
    if dialect.skipped_lines > 0 {
        words.push(format!("skip {}", dialect.skipped_lines));
    }
    words.join(", ")
}

#[test]
fn a_dialect_is_what_a_person_would_say() {
    let cases = [
        ("id,name\n1,ann\n2,bob\n", ""),
        ("id;name;value\n1;ann;1,5\n2;bob;2,5\n", "delimiter ;"),
        ("id;value\n1;1,5\n2;2,5\n", "delimiter ;"),
        ("id\tname\n1\ta, b\n2\tc\n", "delimiter \t"),
        ("a|b\n1|x\n2|y\n", "delimiter |"),
        ("user:id\nann:1\nbob:2\n", "delimiter :"),
        ("a b c\n1 2 3\n4 5 6\n", "delimiter  "),
        ("sep=;\nid;name\n1;ann\n", "delimiter ;, skip 1"),
        // One column is one column, whatever its values hold.
        ("v\n3\n1\n", ""),
        ("t\n05:00\n06:00\n07:00\n", ""),
        ("when\n2013-01-01 05:00\n2013-01-02 06:00\n", ""),
        ("text\nhello there\nsome more words\n", ""),
        ("a\n\"x;y\"\n\"z;w\"\n", ""),
        // Quotes and escapes.
        ("id,name\n1,'a,b'\n2,'c'\n", "quote '"),
        ("n,v\n1,'a'\n2,it's\n", ""),
        ("id,name\n1,\"a \\\"b\\\" c\"\n2,\"d\"\n", "escape \\"),
        ("n,v\n1,\"a\\\"\n2,\\n\n", ""),
        ("id,name\n1, \"a,b\"\n2, \"c\"\n", "blanks"),
        ("a, b\n1, 2\n", ""),
        // What stands above the table.
        ("Report of 2024\n\nid,name\n1,ann\n2,bob\n", "skip 2"),
        ("TITLE,,,\n,,,\na,b,c,d\n1,2,3,4\n5,6,7,8\n", "skip 2"),
        ("# made by hand\nid,name\n1,ann\n# half way\n2,bob\n", "comment #"),
        ("#id,name\n1,ann\n2,bob\n", ""),
        ("a,b\n#N/A,1\n#N/A,2\n", ""),
        ("a,b,c\n2024-11-05 23:44:09\n2024-11-06 01:02:03,x\n2024-11-07 02:03:04,,1\n", ""),
        // A row that is too short, and null.
        ("a,b\n1,2\n3,4\n#N/A N/A\n5,6\n", ""),
        ("only,first,\n1,,\n2,,\n", ""),
        ("a,,\n1,2,3\n4,5,6\n", ""),
        // Rows of another width than the header.
        ("id,name\n1,ann,\n2,bob,\n", "trailing"),
        ("id,name\n1,ann,x\n2,bob,y\n", "widen"),
        ("a,b,c\n1\n2,x\n3,y,1.5\n4\n", ""),
        // A header or none.
        ("1,ann,1.5\n2,bob,2.5\n3,cid,3.5\n", "no header"),
        ("28/01/2018,00:00,x\n29/01/2018,00:15,y\n30/01/2018,00:30,z\n", "no header"),
        ("1,2.5,x\n3,4,a\n5,6,b\n", ""),
        ("country,2019,2020\nde,1,2\nfr,3,4\n", ""),
        (",0,1,2\n0,7,8,9\n1,4,5,6\n", ""),
        ("1,2,3\n4,5,6\n7,8,9\n", ""),
        ("NA,null,nan\n1,2,3\n4,5,6\n", ""),
        ("", ""),
        ("\n\n", ""),
        (",,\n,,\n", ""),
    ];
    for (text, expected) in cases {
        assert_eq!(found(text), expected, "{text:?}");
    }
}

#[test]
fn what_is_told_is_never_overruled() {
    let reading = Reading {
        delimiter: Some("||".to_owned()),
        quote: Some(Mark::None),
        comment: Some(Mark::Byte(b'%')),
        header: Some(false),
        skip_lines: Some(1),
        ..Reading::default()
    };
    let dialect = detect(b"title\na,b;c\n1,2;3\n4,5;6\n", true, b',', &reading);
    assert_eq!(dialect.marks.delimiter, b"||");
    assert_eq!((dialect.marks.quote, dialect.marks.comment), (None, Some(b'%')));
    assert_eq!((dialect.header, dialect.skipped_lines), (false, 1));
}

#[test]
fn tables_are_told_from_other_text() {
    for text in ["a,b\n1,2\n", "x;y;z\n1;2;3\n4;5;6", "a\tb\nc\td\n"] {
        assert!(looks_delimited(text.as_bytes(), true), "{text:?}");
    }
    for text in
        ["", "a,b\n", "one, two\nthree\nfour, five, six\n", "some words\nmore words\n", "{\"a\": 1}\n"]
    {
        assert!(!looks_delimited(text.as_bytes(), true), "{text:?}");
    }
}

/// Gathers the rows of a file, its header first.
#[derive(Clone, Default)]
struct Gather(Arc<Mutex<Vec<Vec<String>>>>);

impl RowSink for Gather {
    fn header(&mut self, names: &[String], _: bool) -> Result<(), Error> {
        self.0.lock().unwrap().push(names.to_vec());
        Ok(())
    }

    fn row(&mut self, values: &mut dyn Iterator<Item = &[u8]>) -> Result<(), Error> {
        let values = values.map(|value| String::from_utf8_lossy(value).into_owned());
        self.0.lock().unwrap().push(values.collect());
        Ok(())
    }
}

fn rows(reading: &Reading, text: &[u8], piece: usize) -> Vec<Vec<String>> {
    let gather = Gather::default();
    let mut decoder = reading.rows("t.csv", &Limits::default(), Box::new(gather.clone()));
    text.chunks(piece).for_each(|piece| decoder.feed(piece).unwrap());
    decoder.finish().unwrap();
    gather.0.lock().unwrap().clone()
}

/// The defects and corners of the csv-spectrum suite, each with a text of its own.
#[test]
fn the_corners_of_csv_spectrum_are_read_right() {
    let cases: [(&str, &[&[&str]]); 12] = [
        (
            "name,town,age\nann,\"york, north\",36\n",
            &[&["name", "town", "age"], &["ann", "york, north", "36"]],
        ),
        ("a,b,c\n1,\"\",\"\"\n2,3,4\n", &[&["a", "b", "c"], &["1", "", ""], &["2", "3", "4"]]),
        ("a,b,c\r\n1,\"\",\"\"\r\n2,3,4\r\n", &[&["a", "b", "c"], &["1", "", ""], &["2", "3", "4"]]),
        ("a,b\n1,\"so \"\"it\"\" is\"\n3,4\n", &[&["a", "b"], &["1", "so \"it\" is"], &["3", "4"]]),
        (
            "key,val\n1,\"{\"\"type\"\": \"\"Point\"\", \"\"at\"\": [1.0, 2.0]}\"\n",
            &[&["key", "val"], &["1", "{\"type\": \"Point\", \"at\": [1.0, 2.0]}"]],
        ),
        (
            "id,where\n1,\"-71.05,42.35\"\n2,\"N 1°\"\n",
            &[&["id", "where"], &["1", "-71.05,42.35"], &["2", "N 1°"]],
        ),
        (
            "a,b,c\n1,2,3\n\"one\n line\",5,6\n7,8,9\n",
            &[&["a", "b", "c"], &["1", "2", "3"], &["one\n line", "5", "6"], &["7", "8", "9"]],
        ),
        (
            "a,b,c\r\n1,2,3\r\n\"one\r\n line\",5,6\r\n",
            &[&["a", "b", "c"], &["1", "2", "3"], &["one\r\n line", "5", "6"]],
        ),
        ("a,b\n1,\"ha\n\"\"ha\"\"\nha\"\n3,4\n", &[&["a", "b"], &["1", "ha\n\"ha\"\nha"], &["3", "4"]]),
        ("a,b,c\n1,2,3\n", &[&["a", "b", "c"], &["1", "2", "3"]]),
        ("a,b,c\r\n1,2,3\r\n", &[&["a", "b", "c"], &["1", "2", "3"]]),
        ("a,b,c\n1,2,3\n4,5,ʤ\n", &[&["a", "b", "c"], &["1", "2", "3"], &["4", "5", "ʤ"]]),
    ];
    for (text, expected) in cases {
        for piece in [1, 7, usize::MAX] {
            assert_eq!(rows(&Reading::default(), text.as_bytes(), piece), expected, "{text:?}");
        }
    }
}

/// Values as they occur in tables; a `|` becomes the delimiter, a `'` the quote.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => (0u32..10_000).prop_map(|number: u32| number.to_string()),
        2 => (0u32..1_000).prop_map(|number: u32| format!("{}.{}", number / 10, number % 10)),
        2 => (1u32..28, 1u32..12).prop_map(|(day, month): (u32, u32)| format!("2013-{month:02}-{day:02}")),
        4 => "[a-z]{1,8}( [a-z]{1,8})?",
        1 => "[a-z]{1,5}\\| [a-z]{1,5}",
        1 => "[a-z]{1,5} '[a-z]{1,5}' [a-z]{1,5}",
        1 => "[a-z]{1,5}\n[a-z]{1,5}",
        1 => Just(String::new()),
    ]
}

/// A table with a header, in the dialect of these marks.
fn written(table: &[Vec<String>], delimiter: &str, quote: char, escape: bool, end: &str) -> String {
    let field = |value: &String| {
        let special =
            |char: char| delimiter.starts_with(char) || char == quote || char == '\n' || char == '\\';
        if !value.contains(special) {
            return value.clone();
        }
        let inner = if escape { format!("\\{quote}") } else { format!("{quote}{quote}") };
        format!("{quote}{}{quote}", value.replace(quote, &inner))
    };
    let line = |row: &Vec<String>| row.iter().map(field).collect::<Vec<_>>().join(delimiter) + end;
    table.iter().map(line).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_table_comes_back_from_every_dialect(
        cells in proptest::collection::vec(value(), 60..90), width in 2usize..6, pick in 0usize..5,
        apostrophes: bool, escape: bool, end in 0usize..3, piece in 1usize..200,
    ) {
        // Apostrophes around cells that need none might as well be part of them.
        prop_assume!(!apostrophes || cells.iter().any(|cell| cell.contains(['|', '\n'])));
        let delimiter = [",", ";", "\t", "|", ","][pick];
        let quote = if apostrophes { '\'' } else { '"' };
        let header = (0..width).map(|column| format!("{}name", char::from(b'a' + column as u8))).collect();
        let cell = |value: &String| value.replace('|', delimiter).replace('\'', &quote.to_string());
        let body = cells.chunks_exact(width).map(|row| row.iter().map(cell).collect());
        let table: Vec<Vec<String>> = std::iter::once(header).chain(body).collect();
        let text = written(&table, delimiter, quote, escape, ["\n", "\r\n", "\r"][end]);
        let read = rows(&Reading::default(), text.as_bytes(), piece);
        prop_assert_eq!(&read, &table, "{}", text);
        // And it is the same when everything is told.
        let told = Reading {
            delimiter: Some(delimiter.to_owned()),
            quote: Some(Mark::Byte(quote as u8)),
            escape: Some(if escape { Mark::Byte(b'\\') } else { Mark::None }),
            header: Some(true),
            ..Reading::default()
        };
        prop_assert_eq!(&rows(&told, text.as_bytes(), piece), &table, "{}", text);
    }
}
