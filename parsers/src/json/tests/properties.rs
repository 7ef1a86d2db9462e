//! JSON against `serde_json::Value`, in every layout; and whatever must not matter, on what is nearly JSON.

use std::collections::HashMap;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{batches, cut};
use crate::aggregate::{Columns, Finished, Word};
use crate::scalar::{Scalar, Syntax, tagged};
use crate::{Limits, Summary};

/// The value of a key, or of an array.
fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3i64..4).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        proptest::sample::select(vec!["", "12", "NA", "2013-01-02", "ünï", "a\"b\\c\n\u{1}", "😀", "true"])
            .prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ]
}

fn record() -> impl Strategy<Value = Value> {
    let key =
        || proptest::sample::select(vec!["a", "b", "c", "a.b", "", "é\"", "value"]).prop_map(str::to_owned);
    let object = move |value: BoxedStrategy<Value>| {
        proptest::collection::vec((key(), value), 0..5)
            .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>()))
    };
    let value = leaf().boxed().prop_recursive(3, 12, 4, move |inner| {
        prop_oneof![
            3 => object(inner.clone().boxed()),
            // With a number in front, so that it is no table.
            1 => proptest::collection::vec(inner, 0..3).prop_map(|mut values| {
                values.insert(0, json!(0));
                Value::Array(values)
            }),
        ]
    });
    object(value.boxed())
}

/// The tables of one row a record, by paths, as `serde_json` understood the values.
#[derive(Default)]
struct Expected {
    paths: HashMap<Vec<String>, usize>,
    names: Vec<String>,
    rows: Vec<HashMap<usize, Vec<u8>>>,
}

impl Expected {
    fn of(records: &[Value]) -> Expected {
        let mut expected = Expected::default();
        for record in records {
            expected.rows.push(HashMap::new());
            expected.add(&mut Vec::new(), record);
        }
        expected
    }

    fn add(&mut self, path: &mut Vec<String>, value: &Value) {
        if let Value::Object(members) = value {
            for (key, value) in members {
                path.push(key.clone());
                self.add(path, value);
                path.pop();
            }
            return;
        }
        let next = self.names.len();
        let column = *self.paths.entry(path.clone()).or_insert(next);
        if column == next {
            let name = path.join(".");
            let others = (1..).map(|number| format!("{name}.{number}"));
            let mut free =
                std::iter::once(name.clone()).chain(others).filter(|name| !self.names.contains(name));
            let name = free.next().unwrap();
            self.names.push(name);
        }
        let mut token = Vec::new();
        match value {
            Value::Null => return,
            Value::Bool(value) => tagged::value(&mut token, &Scalar::Bool(*value)),
            Value::Number(number) => tagged::number(&mut token, number.to_string().as_bytes()),
            Value::String(text) => tagged::text(&mut token, text.as_bytes()),
            other => tagged::text(&mut token, serde_json::to_string(other).unwrap().as_bytes()),
        }
        self.rows.last_mut().unwrap().insert(column, token);
    }

    fn finish(&self, limits: &Limits) -> Vec<Finished> {
        let Limits { exact_bytes_max, sketch_bytes_max, .. } = *limits;
        let mut columns = Columns::new(self.names.len(), Syntax::Tagged, exact_bytes_max, sketch_bytes_max);
        for row in &self.rows {
            for index in 0..self.names.len() {
                match row.get(&index) {
                    Some(token) => columns.add(index, Word::new(token), 1),
                    None => columns.add_missing(index, 1),
                }
            }
        }
        columns.finish(&self.names, limits.top_bytes_max)
    }
}

/// The records as a file.
fn written(records: &[Value], layout: usize) -> String {
    let compact: Vec<String> = records.iter().map(Value::to_string).collect();
    let pretty: Vec<String> =
        records.iter().map(|value| serde_json::to_string_pretty(value).unwrap()).collect();
    match layout {
        0 => compact.join("\n"),
        1 => compact.join("\r\n\n") + "\r\n",
        2 => compact.concat(),
        3 => pretty.join("\n"),
        4 => format!("[{}]", compact.join(",")),
        5 => serde_json::to_string_pretty(records).unwrap(),
        _ => format!("{{\"n\": 0, \"rows\": [{}]}}", compact.join(" , ")),
    }
}

/// Limits so small that tables overflow and records are refused.
fn tight() -> Limits {
    Limits {
        columns_max: 8,
        field_bytes_max: 60,
        record_bytes_max: 100,
        exact_bytes_max: 1_200,
        sketch_bytes_max: 200_000,
        ..Limits::default()
    }
}

/// Nearly JSON: what matters, in any order.
fn nearly_json() -> impl Strategy<Value = Vec<u8>> {
    let pieces: Vec<&[u8]> = vec![
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\n",
        b" ",
        b"\"",
        b"\\",
        b"{\"a\":1}\n",
        b"{\"b\":\"x\"}\n",
        b"{\"a\":{\"b\":[1, 2]}}",
        b"\"a\"",
        b"{\"a\":",
        b"[{\"a\":1},",
        b"{\"r\":[{\"a\":1},",
        b"],\"x\":1}",
        b"}\n",
        b"12",
        b"-1.5e3",
        b"true",
        b"null",
        b"NaN",
        b"\xef\xbb\xbf",
        b"\xff",
        b"\xef\xbb",
        b"\0",
        b"\"\\u00e9\"",
        b"\"\\ud800\"",
        b"{\"c\":\"\xc3\xa9 some more text\"}",
        b"\r",
    ];
    proptest::collection::vec(proptest::sample::select(pieces), 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn every_layout_is_what_serde_json_reads(
        records in proptest::collection::vec(record(), 1..20),
        layout in 0usize..7,
        sizes in proptest::collection::vec(1usize..200, 1..5),
        batch_bytes in 1usize..500,
    ) {
        let text = written(&records, layout);
        let limits = Limits::default();
        let name = if layout < 2 { "t.jsonl" } else { "t.json" };
        // An empty object is a line of its own, also where the others have more.
        prop_assume!(layout != 3 || records[0] != json!({}));
        // Without a record that is larger than what is around it, one would not know that it is a wrapper.
        prop_assume!(layout < 6 || records.iter().any(|record| record.to_string().len() > 20));
        let summary = cut(name, &limits, text.as_bytes(), &sizes).unwrap();
        let expected = Expected::of(&records);
        prop_assert_eq!(&summary.columns, &expected.names);
        prop_assert_eq!(summary.total_rows, records.len() as u64);
        let finished = summary.schema.clone().into_iter().zip(summary.summary.iter().map(|pair| pair.1.clone()));
        prop_assert_eq!(finished.collect::<Vec<_>>(), expected.finish(&limits));
        let mut batched = batches(text.as_bytes(), &limits, batch_bytes).unwrap();
        batched.format = summary.format;
        prop_assert_eq!(batched, summary);
    }

    #[test]
    fn the_cut_never_changes_the_result(
        bytes in nearly_json(), sizes in proptest::collection::vec(1usize..30, 1..10), small: bool, lines: bool
    ) {
        let limits = if small { tight() } else { Limits::default() };
        let name = if lines { "t.jsonl" } else { "t.json" };
        let expected = cut(name, &limits, &bytes, &[usize::MAX]);
        prop_assert_eq!(&cut(name, &limits, &bytes, &[1]), &expected);
        prop_assert_eq!(&cut(name, &limits, &bytes, &sizes), &expected);
        if let Ok(summary) = expected {
            prop_assert_eq!(serde_json::from_slice::<Summary>(&summary.to_json()).unwrap(), summary);
        }
    }

    #[test]
    fn the_size_of_batches_changes_nothing(bytes in nearly_json(), size in 1usize..200) {
        let limits = Limits::default();
        prop_assert_eq!(batches(&bytes, &limits, size), batches(&bytes, &limits, usize::MAX));
    }

    /// Threads share out the columns, also when the tables are full, and nothing tells.
    #[test]
    fn threads_change_nothing(bytes in nearly_json(), repeat in 1usize..60, small: bool, pieces in 1usize..5_000) {
        let limits = if small { tight() } else { Limits::default() };
        let bytes = bytes.repeat(repeat);
        let read = || cut("t.jsonl", &limits, &bytes, &[pieces]);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        prop_assert_eq!(pool.install(read), read());
    }

    #[test]
    fn no_input_is_a_panic(bytes: Vec<u8>, head in 0usize..4, name in 0usize..2) {
        let head = [&b""[..], b"{\"a\":1}\n", b"[{\"a\":", b"{\"rows\":[{\"a\":\""][head];
        let bytes = [head, &bytes].concat();
        let name = ["t.json", "t.jsonl"][name];
        let expected = cut(name, &tight(), &bytes, &[usize::MAX]);
        prop_assert_eq!(cut(name, &tight(), &bytes, &[1]), expected);
    }
}
