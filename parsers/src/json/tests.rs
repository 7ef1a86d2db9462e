//! JSON through the public decoder: every layout and every rule of reading, whole and in pieces.

mod properties;

use crate::decode::Decode;
use crate::decode::fed;
use crate::json::JsonDecoder;
use crate::summary::ColumnType;
use crate::{Error, ErrorKind, Limits, Summary, decoder};

fn cut(name: &str, limits: &Limits, bytes: &[u8], sizes: &[usize]) -> Result<Summary, Error> {
    fed(decoder(name, limits), bytes, sizes)
}

fn whole(name: &str, text: &str) -> Result<Summary, Error> {
    cut(name, &Limits::default(), text.as_bytes(), &[usize::MAX])
}

/// The same by batches of so many bytes.
fn batches(bytes: &[u8], limits: &Limits, batch_bytes: usize) -> Result<Summary, Error> {
    let head = &bytes[..bytes.len().min(crate::sniff::HEAD_BYTES)];
    let mut decoder = Box::new(JsonDecoder::with_batch(None, head, limits, batch_bytes));
    decoder.feed(bytes)?;
    decoder.finish()
}

/// What the decoder understood: rows, columns (type, count, nulls, most frequent value), warnings.
fn shape(name: &str, text: &[u8]) -> String {
    match cut(name, &Limits::default(), text, &[usize::MAX]) {
        Err(error) => format!("{}: {error}", error.kind()),
        Ok(summary) => {
            let mut shape = format!("{} {}", summary.format, summary.total_rows);
            for (schema, (_, stats)) in summary.schema.iter().zip(&summary.summary) {
                let top = stats.top.as_ref().map_or(String::new(), |top| format!("={top}"));
                let kind = schema.kind.as_str();
                shape += &format!(" {}:{kind}:{}:{}{top}", schema.name, stats.count, schema.nulls);
            }
            for warning in &summary.warnings {
                shape += &format!(" !{}:{}:{}", warning.kind.as_str(), warning.count, warning.first_line);
            }
            shape
        }
    }
}

#[test]
fn every_layout_has_its_rows() {
    let cases = [
        ("{\"a\":1,\"b\":\"x\"}\n{\"a\":2}\n", "jsonl 2 a:int:2:0 b:text:1:1=x"),
        ("{\"a\":1}\r\n\r\n{\"b\":2}", "jsonl 2 a:int:1:1 b:int:1:1"),
        ("{\"a\":1}{\"a\":2} {\"a\":3}\n{\"a\":4}", "json 4 a:int:4:0"),
        ("{\n \"a\": 1\n}\n{\n \"a\": 2\n}\n", "json 2 a:int:2:0"),
        ("[{\"a\":1},{\"a\":2}]", "json 2 a:int:2:0"),
        ("\u{feff} [ { \"a\" : 1 } ,\n null , { } ] \n", "json 3 a:int:1:2"),
        ("{\"a\":1}", "json 1 a:int:1:0"),
        ("{}", "json 1"),
        ("[]", "json 0"),
        (
            "{\"n\":2,\"d\":[{\"a\":1},{\"a\":2},{\"a\":3}],\"e\":null}",
            "json 3 a:int:3:0 !outside_records:2:1",
        ),
        ("{\n\"n\":2,\n\"data\":[{\"a\":1}, {\"a\":222222}]\n}", "json 2 a:int:2:0 !outside_records:1:2"),
        ("[1,2.5,null]", "json 3 value:float:2:1"),
        ("[[1, 2],[ ],[1,2]]", "json 3 value:text:3:0=[1,2]"),
        ("[1]\n[2, 3]\n", "jsonl 2 value:text:2:0=[1]"),
        ("\u{feff}\u{feff}{\"a\":1}\n\u{feff}{\"a\":2}\n", "jsonl 2 a:int:2:0"),
    ];
    for (text, expected) in cases {
        assert_eq!(shape("t.json", text.as_bytes()), expected, "{text:?}");
        // By content, whatever the name.
        assert_eq!(shape("t.csv", text.as_bytes()), expected, "{text:?}");
    }
    assert_eq!(shape("t.jsonl", b"{\"d\":[{\"a\":1}]}"), "jsonl 1 d:text:1:0=[{\"a\":1}]");
    assert_eq!(shape("t.jsonl", b"1\n\n\"x\"\n"), "jsonl 2 value:text:2:0=1");
}

#[test]
fn values_are_what_they_are_written_as() {
    let cases = [
        ("\"12\"", "text:1:0=12"),
        ("\"NA\"", "text:1:0=NA"),
        ("\"\"", "text:1:0="),
        ("\"2013-01-02\"", "date:1:0=2013-01-02"),
        ("\"2013-01-02T03:04:05Z\"", "datetime:1:0=2013-01-02T03:04:05Z"),
        ("true", "bool:1:0=True"),
        ("false", "bool:1:0=False"),
        ("null", "empty:0:1"),
        ("NaN", "empty:0:1"),
        ("-Infinity", "float:1:0"),
        ("-0", "int:1:0"),
        ("18446744073709551615", "int:1:0"),
        ("123456789012345678901234567890", "text:1:0=123456789012345678901234567890"),
        ("1e999", "float:1:0"),
        ("\"\\u00e9\\ud83d\\ude00\\n\\/\"", "text:1:0=é😀\n/"),
        ("[ 1, \"a b\", { \"x\" : 2 } ]", "text:1:0=[1,\"a b\",{\"x\":2}]"),
        ("\"\\ud83d\"", "text:1:0=\u{fffd} !lone_surrogate:1:1"),
    ];
    for (value, expected) in cases {
        let text = format!("{{\"a\":{value}}}");
        assert_eq!(shape("t.json", text.as_bytes()), format!("json 1 a:{expected}"), "{value}");
    }
    assert_eq!(
        shape("t.jsonl", b"{\"a\":\"x\"}\n{\"a\":\"\xff\"}\n{\"a\xfe\":1}\n"),
        "jsonl 3 a:text:2:1=x a\u{fffd}:int:1:2 !invalid_utf8:2:2"
    );
    // A late value decides the type, as everywhere.
    let late = format!("{}{{\"a\":\"x\"}}", "{\"a\":1}\n".repeat(100_000));
    assert_eq!(whole("t.jsonl", &late).unwrap().schema[0].kind, ColumnType::Text);
}

#[test]
fn keys_lead_to_columns_that_have_one_name_each() {
    let cases = [
        ("{\"a\":{\"b\":{\"c\":1}},\"d\":2}", "a.b.c:int:1:0 d:int:1:0"),
        ("{\"a.b\":1,\"a\":{\"b\":2}}", "a.b:int:1:0 a.b.1:int:1:0"),
        ("{\"a\":{\"b\":2},\"a.b\":1,\"a.b.1\":3}", "a.b:int:1:0 a.b.1:int:1:0 a.b.1.1:int:1:0"),
        ("{\"\":1,\"a\":{\"\":2}}", ":int:1:0 a.:int:1:0"),
        ("{\"a\\\"\":1,\"\\u0061\":2,\"b\\\\\":3}", "a\":int:1:0 a:int:1:0 b\\:int:1:0"),
        ("{\"a\":1,\"a\":2}", "a:int:1:0 !repeated_key:1:1"),
        ("{\"a\":1,\"\\u0061\":{\"b\":2}}", "a.b:int:1:0 !repeated_key:1:1"),
        ("{\"a\":{\"b\":1,\"c\":1},\"a\":{\"b\":2}}", "a.b:int:1:0 !repeated_key:1:1"),
        ("{\"a\":{\"b\":1},\"a\":null}", "a:empty:0:1 !repeated_key:1:1"),
        ("{\"a\":[{\"b\":1,\"b\":1}]}", "a:text:1:0=[{\"b\":1,\"b\":1}]"),
        ("{\"a\\ud800\":1}", "a\u{fffd}:int:1:0 !lone_surrogate:1:1"),
    ];
    for (text, expected) in cases {
        assert_eq!(shape("t.jsonl", text.as_bytes()), format!("jsonl 1 {expected}"), "{text}");
    }
    // An object here, a value there; keys in any order.
    let text =
        "{\"a\":1,\"b\":{\"c\":1}}\n{\"b\":{\"c\":2},\"a\":{\"b\":3}}\n{\"b\":4}\n{\"a\":{},\"b\":null}";
    assert_eq!(shape("t.jsonl", text.as_bytes()), "jsonl 4 a:int:1:3 b.c:int:2:2 a.b:int:1:3 b:int:1:3");
    // A key of a bad line is no trace that another could be taken for.
    let text = "{\"a\":1,\"p\":{}}\n{\"a\":1,\"x\":oops}\n{\"p\":{\"x\":1}}\n{\"a\":1,\"x\":2}";
    assert_eq!(shape("t.jsonl", text.as_bytes()), "jsonl 3 a:int:2:1 p.x:int:1:2 x:int:1:2 !bad_record:1:2");
    let text = "{\"a\":1,\"a\":2}\n{\"b\":1,\"a\":3}\n{\"a\":1,\"b\":1,\"b\":7}";
    assert_eq!(shape("t.jsonl", text.as_bytes()), "jsonl 3 a:int:3:0 b:int:2:1 !repeated_key:2:1");
}

#[test]
fn a_bad_line_costs_that_line() {
    let good = "{\"a\":1}\n";
    for bad in [
        "{\"a\":1,}",
        "{\"a\":1",
        "{\"a\":\"x",
        "oops",
        "{\"a\":1}}",
        "{\"a\":1} // one",
        "{\"a\":01}",
        "{'a':1}",
        "{\"b\":[1,2}",
        "\0\0\0",
        "{\"a\":1},",
        "{\"new\":1,\"a\":",
        "\"a\":1,",
        "}",
        "{\"a\":\u{feff}1}",
        "\u{feff}x",
    ] {
        let text = format!("{good}{bad}\n{good}{good}{bad}\r\n");
        assert_eq!(shape("t.jsonl", text.as_bytes()), "jsonl 3 a:int:3:0 !bad_record:2:2", "{bad}");
        // At the beginning, too, unless the next line could belong to it.
        if bad.ends_with(':') {
            continue;
        }
        let text = format!("{bad}\n{good}");
        assert_eq!(shape("t.jsonl", text.as_bytes()), "jsonl 1 a:int:1:0 !bad_record:1:1", "{bad}");
    }
    let many = format!("{}{good}", "oops\n".repeat(99));
    assert_eq!(shape("t.jsonl", many.as_bytes()), "jsonl 1 a:int:1:0 !bad_record:99:1");
    let many = format!("{}{good}", "oops\n".repeat(100));
    let error = "malformed: no valid JSON: a value was expected, not `o` (record 1, line 1, byte 0)";
    assert_eq!(shape("t.jsonl", many.as_bytes()), error);
    assert_eq!(shape("t.jsonl", b"oops\noops\n"), error);
}

#[test]
fn what_is_no_json_is_an_error_with_its_place() {
    let cases = [
        (
            "[{\"a\":1},\n{\"a\":2,}]",
            "a key in double quotes was expected, not `}` (record 2, line 2, byte 17)",
        ),
        ("[{\"a\":1},\n]", "a value was expected, not `]` (record 2, line 2, byte 10)"),
        (
            "[{\"a\":1}\n{\"a\":2}]",
            "a comma or a closing bracket was expected, not `{` (record 2, line 2, byte 9)",
        ),
        ("[{\"a\":1}]\n1", "the end of the file was expected, not `1` (record 2, line 2, byte 10)"),
        ("{\n\"a\": oops\n}", "a value was expected, not `o` (record 1, line 2, byte 7)"),
        (
            "{\n\"a\": \"x\ty\"\n}",
            "a character above U+001F or the end of the string was expected, not the byte 0x09 (record 1, line 2, byte 9)",
        ),
        (
            "{\"d\":[{\"a\":1},{\"a\":2}],}",
            "a key in double quotes was expected, not `}` (record 1, line 1, byte 23)",
        ),
        ("<html>", "a value was expected, not `<` (record 1, line 1, byte 0)"),
        ("{'a': 1}", "a key in double quotes was expected, not `'` (record 1, line 1, byte 1)"),
        ("// [\n[]", "a value was expected, not `/` (record 1, line 1, byte 0)"),
    ];
    for (text, expected) in cases {
        assert_eq!(
            shape("t.json", text.as_bytes()),
            format!("malformed: no valid JSON: {expected}"),
            "{text:?}"
        );
    }
    for text in ["", " \n ", "\u{feff}"] {
        assert_eq!(whole("t.json", text).unwrap_err().kind(), ErrorKind::Empty, "{text:?}");
    }
}

/// Whatever a file that was cut off has, there is no summary of it, unless it was cut between two records.
#[test]
fn a_file_that_is_cut_off_is_an_error() {
    let record = "{\"a\":{\"b\":[1,\"x\"]},\"c\":-1.5e3,\"d\":true}";
    for (text, whole_at) in [
        (format!("[{record},\n{record}]"), vec![]),
        (format!("{record}\n{record}"), vec![record.len(), record.len() + 1]),
        (format!("{{\"d\":[{record},{record}]}}"), vec![]),
    ] {
        assert!(whole("t.json", &text).is_ok());
        for end in 1..text.len() {
            let result = whole("t.json", &text[..end]);
            if whole_at.contains(&end) {
                assert_eq!(result.unwrap().total_rows, 1);
            } else {
                assert_eq!(result.unwrap_err().kind(), ErrorKind::Malformed, "{}", &text[..end]);
            }
        }
    }
    let error = whole("t.jsonl", "{\"a\":1}\n{\"a\":").unwrap_err().to_string();
    assert_eq!(error, "the file ends inside of the record that begins here (record 2, line 2, byte 8)");
}

#[test]
fn limits_reject_with_a_place_however_the_bytes_are_cut() {
    let limits = Limits {
        columns_max: 3,
        field_bytes_max: 30,
        record_bytes_max: 60,
        header_bytes_max: 40,
        ..Limits::default()
    };
    let deep = format!("{{\"a\":{}", "[".repeat(129));
    let empty = (0..9).map(|i| format!("\"{i}\":{{}}")).collect::<Vec<_>>().join(",");
    let cases = [
        (
            "{\"a\":1,\"b\":2,\"c\":3,\"d\":4}\n".to_owned(),
            "there are more than 3 columns; are values used as keys? (record 1, line 1, byte 0)",
        ),
        (
            "{\"a\":1}\n{\"b\":1,\"c\":1,\"d\":1}\n".to_owned(),
            "there are more than 3 columns; are values used as keys? (record 2, line 2, byte 8)",
        ),
        (
            format!("{{\"a\":1}}\n{{{empty}}}\n"),
            "there are more than 3 columns; are values used as keys? (record 2, line 2, byte 47)",
        ),
        (
            "{\"a\":1,\"a\":1,\"a\":1,\"a\":1,\"a\":1,\"a\":1,\"a\":1}\n".to_owned(),
            "a record has more than 6 values (record 1, line 1, byte 42)",
        ),
        (
            format!("{{\"{}\":1}}\n", "k".repeat(41)),
            "the column names are longer than 40 bytes (record 1, line 1, byte 44)",
        ),
        (
            format!("{{\"k\":\"{}\"}}\n", "v".repeat(31)),
            "a value is longer than 30 bytes (record 1, line 1, byte 38)",
        ),
        (
            format!("{{\"a\":1}}\n[{}]\n", "1,".repeat(99)),
            "a record is longer than 60 bytes (record 2, line 2, byte 8)",
        ),
        (
            format!("{{\"a\":1}}\n{{\"a\":\"{}\"}}\n", "x".repeat(99)),
            "a record is longer than 60 bytes (record 2, line 2, byte 8)",
        ),
        (format!("[{}", "\n".repeat(99)), ""),
    ];
    for (text, message) in cases {
        for sizes in [&[usize::MAX][..], &[1], &[2, 5]] {
            let error = cut("t.jsonl", &limits, text.as_bytes(), sizes).unwrap_err();
            if !message.is_empty() {
                assert_eq!(error.to_string(), message, "{text:?} {sizes:?}");
                assert_eq!(error.kind(), ErrorKind::Limit);
            }
        }
    }
    for text in
        [deep, "[".repeat(1_000_000), "{\"a\":".repeat(100_000), format!("[{}", "[".repeat(1_000_000))]
    {
        let error = whole("t.json", &text).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
    }
    // What a bad line would have had costs nothing.
    let bad: String = (0..50).map(|i| format!("{{\"k{i}\":1,\"{i}\":{{\"deep\":oops}}}}\n")).collect();
    let text = format!("{{\"a\":1}}\n{bad}{{\"b\":{{\"c\":1}}}}\n");
    let summary = cut("t.jsonl", &limits, text.as_bytes(), &[7]).unwrap();
    assert_eq!((summary.columns, summary.warnings[0].count), (vec!["a".to_owned(), "b.c".to_owned()], 50));
    let random = |row: u32| format!("{{\"k{}\":1}}\n", row.wrapping_mul(2_654_435_761));
    let error = whole("t.jsonl", &(0..20_000).map(random).collect::<String>()).unwrap_err();
    assert_eq!((error.kind(), error.position().unwrap().line), (ErrorKind::Limit, 10_001));
}

#[test]
fn records_longer_than_a_batch_are_read_all_the_same() {
    let long = "x".repeat(1 << 20);
    let array = format!("[{}1]", "1, ".repeat(200_000));
    let mut text = String::new();
    for i in 0..3000 {
        text += &format!("{{\"i\":{i}}}\n");
        if i % 700 == 0 {
            text += &format!("{{\"long\":\"{long}\",\"array\":{array}}}\n{{\"bad\":\"{long}\n");
        }
    }
    let summary = whole("t.jsonl", &text).unwrap();
    assert_eq!(
        (summary.total_rows, &summary.columns[..]),
        (3005, &["i", "long", "array"].map(str::to_owned)[..])
    );
    assert_eq!(summary.schema.iter().map(|column| column.nulls).collect::<Vec<_>>(), [5, 3000, 3000]);
    assert_eq!(summary.warnings[0].count, 5);
    assert_eq!(cut("t.jsonl", &Limits::default(), text.as_bytes(), &[100_003]).unwrap(), summary);
}
