//! A second engine: records by rust-csv, statistics by the plainest code that can be right.
//!
//! Promise: nothing of `parsers` but the summary that is compared. (rust-csv and the slow way of our reading stand on
//! the same state machine, csv-core; the fast way does not, and pandas judges both: datasets/many.py.)

use std::collections::HashMap;

use parsers::{ColumnSchema, ColumnStats, ColumnType, Summary};

/// Beyond it floats have no place for every integer.
const EXACT_MAX: i128 = 1 << 53;
const NULLS: [&str; 19] = [
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A",
    "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
];

/// Panics where a summary and the second engine differ.
pub fn compare(summary: &Summary, bytes: &[u8], delimiter: u8) {
    let mut records = records(bytes, delimiter).into_iter();
    let Some(header) = records.next() else {
        panic!("no header for the second engine, ours {:?}", summary.columns)
    };
    assert_eq!(summary.columns.len(), header.len(), "columns");
    let rows: Vec<Vec<Vec<u8>>> = records.collect();
    assert_eq!(summary.total_rows, rows.len() as u64, "rows");
    for (index, (schema, (name, stats))) in summary.schema.iter().zip(&summary.summary).enumerate() {
        let values: Vec<&[u8]> =
            rows.iter().map(|row| row.get(index).map_or(&b""[..], Vec::as_slice)).collect();
        column(&format!("column {index} {name:?}"), schema, stats, &values);
    }
}

/// The records, without blank lines.
fn records(bytes: &[u8], delimiter: u8) -> Vec<Vec<Vec<u8>>> {
    // rust-csv takes away one more mark than stands for one: behind a line break it takes none.
    let text = [b"\n", bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)].concat();
    let mut reader = csv::ReaderBuilder::new();
    let mut reader = reader.delimiter(delimiter).has_headers(false).flexible(true).from_reader(&text[..]);
    let mut records = Vec::new();
    for record in reader.byte_records() {
        let record = record.expect("bytes in memory");
        let start = record.position().map_or(0, |position| position.byte() as usize);
        let quoted = text[start..].iter().find(|byte| !matches!(byte, b'\n' | b'\r')) == Some(&b'"');
        let blank = |&byte: &u8| matches!(byte, b' ' | b'\t') && byte != delimiter;
        if record.len() > 1 || quoted || !record[0].iter().all(blank) {
            records.push(record.iter().map(<[u8]>::to_vec).collect());
        }
    }
    records
}

#[derive(Clone, Copy, PartialEq)]
enum Value {
    Integer(i128),
    Huge(f64),
    Float(f64),
    Truth(bool),
    Word,
}

fn column(at: &str, schema: &ColumnSchema, stats: &ColumnStats, tokens: &[&[u8]]) {
    let words: Vec<&[u8]> =
        tokens.iter().copied().filter(|token| !NULLS.iter().any(|n| n.as_bytes() == *token)).collect();
    assert_eq!(stats.count, words.len() as u64, "{at}: count");
    assert_eq!(schema.nulls, (tokens.len() - words.len()) as u64, "{at}: nulls");
    let values: Vec<Value> = words.iter().map(|word| value(word)).collect();
    let all = |test: fn(&Value) -> bool| values.iter().all(test);
    let any = |test: fn(&Value) -> bool| values.iter().any(test);
    let number = |value: &Value| matches!(value, Value::Integer(_) | Value::Huge(_) | Value::Float(_));
    if values.is_empty() {
        assert_eq!(schema.kind, ColumnType::Empty, "{at}");
    } else if all(number)
        && (any(|v| matches!(v, Value::Float(_))) || all(|v| matches!(v, Value::Integer(_))))
    {
        let integers = all(|v| matches!(v, Value::Integer(_)));
        assert_eq!(schema.kind, if integers { ColumnType::Int } else { ColumnType::Float }, "{at}");
        numbers(at, schema, stats, &values);
    } else if all(|v| matches!(v, Value::Truth(_))) {
        assert_eq!(schema.kind, ColumnType::Bool, "{at}");
        let shown = |value: &Value| if *value == Value::Truth(true) { "True" } else { "False" };
        let truths: Vec<&[u8]> = values.iter().map(|value| shown(value).as_bytes()).collect();
        most_frequent(at, schema, stats, &truths);
    } else {
        let kind = schema.kind;
        assert!(matches!(kind, ColumnType::Text | ColumnType::Date | ColumnType::Datetime), "{at}: {kind:?}");
        most_frequent(at, schema, stats, &words);
    }
}

fn value(word: &[u8]) -> Value {
    let Ok(text) = std::str::from_utf8(word) else { return Value::Word };
    match text.to_ascii_lowercase().as_str() {
        "true" => return Value::Truth(true),
        "false" => return Value::Truth(false),
        "inf" | "+inf" | "infinity" | "+infinity" => return Value::Float(f64::INFINITY),
        "-inf" | "-infinity" => return Value::Float(f64::NEG_INFINITY),
        _ => {}
    }
    // C's blanks; inside of a number there are none.
    let text = text.trim_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let zero = digits.len() > 1 && digits.starts_with('0') && digits.as_bytes()[1].is_ascii_digit();
    let foreign = |c: char| !(c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'));
    if zero || digits.is_empty() || digits.starts_with(['+', '-', 'e', 'E']) || digits.contains(foreign) {
        return Value::Word;
    }
    let Ok(float) = text.parse::<f64>() else { return Value::Word };
    if digits.contains(|c: char| !c.is_ascii_digit()) {
        return Value::Float(float);
    }
    match text.parse::<i128>() {
        Ok(integer) if (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(&integer) => {
            Value::Integer(integer)
        }
        _ => Value::Huge(float),
    }
}

fn numbers(at: &str, schema: &ColumnSchema, stats: &ColumnStats, values: &[Value]) {
    let float = |value: &Value| match value {
        Value::Integer(integer) => *integer as f64,
        Value::Float(float) | Value::Huge(float) => *float,
        Value::Truth(_) | Value::Word => unreachable!(),
    };
    let mut floats: Vec<f64> = values.iter().map(|value| float(value) + 0.0).collect();
    floats.sort_by(f64::total_cmp);
    let infinite = floats.iter().filter(|float| float.is_infinite()).count();
    assert_eq!(schema.infinite, infinite as u64, "{at}: infinite");
    let (first, last) = (floats[0], floats[floats.len() - 1]);
    for (what, ours, bound) in [("min", &stats.min, first), ("max", &stats.max, last)] {
        let ours = ours.as_ref().and_then(parsers::Bound::as_f64);
        assert_eq!(ours, bound.is_finite().then_some(bound), "{at}: {what}");
    }
    if infinite == 0 {
        // Around the first value, and in halves, so that nothing overflows or is lost to size.
        let n = floats.len() as f64;
        let mean = floats.iter().map(|float| float / n).sum::<f64>();
        let close = |ours: f64| (ours - mean).abs() <= 1e-9 * first.abs().max(last.abs());
        assert!(stats.mean.is_none_or(close), "{at}: mean {:?}, theirs {mean}", stats.mean);
        assert!(
            stats.mean.is_some() || !(first.abs().max(last.abs()) < 1e150),
            "{at}: no mean, theirs {mean}"
        );
    }
    let integers: Option<Vec<i128>> =
        values.iter().map(|v| if let Value::Integer(i) = v { Some(*i) } else { None }).collect();
    let distinct = match integers {
        Some(mut integers) => {
            integers.sort_unstable();
            integers.dedup();
            Some(integers.len())
        }
        None if floats.iter().all(|float| float.abs() < EXACT_MAX as f64) => {
            floats.dedup();
            Some(floats.len())
        }
        // Long integers among floats: both readings are right.
        None => None,
    };
    if let Some(distinct) = distinct {
        assert_eq!(schema.distinct.value, distinct as u64, "{at}: distinct");
    }
}

fn most_frequent(at: &str, schema: &ColumnSchema, stats: &ColumnStats, words: &[&[u8]]) {
    let mut counts: HashMap<&[u8], u64> = HashMap::new();
    words.iter().for_each(|word| *counts.entry(word).or_default() += 1);
    assert_eq!(schema.distinct.value, counts.len() as u64, "{at}: distinct");
    assert_eq!(stats.unique, Some(counts.len() as u64), "{at}: unique");
    let most = counts.values().copied().max();
    let top = words.iter().find(|word| Some(counts[**word]) == most);
    assert_eq!(stats.freq, most, "{at}: freq");
    assert_eq!(stats.top.as_deref(), top.map(|top| String::from_utf8_lossy(top)).as_deref(), "{at}: top");
}
