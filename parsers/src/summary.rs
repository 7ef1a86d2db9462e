//! The summary of a file: plain values, the same for every format.
//!
//! Promises: the same bytes give the same summary and the same JSON, byte for byte; columns keep the order
//! of the file; a statistic that does not apply, or is not finite, is left out (JSON has no NaN); every
//! number that is an estimate says so in `schema`, with its bound. The names in `summary` are those of
//! pandas' `describe()`, and so are the values wherever both are exact.

use serde::{Deserialize, Serialize};

use crate::format::{Compression, Format};

/// The version of the layout that this crate writes. It grows when a reader would have to change.
pub const SCHEMA_VERSION: u32 = 1;

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Records; of delimited text those below the header, blank lines left out. Of logs and plain text all lines.
    pub total_rows: u64,
    /// The names of the columns, in order, made unique and never empty, as pandas does it.
    pub columns: Vec<String>,
    /// The statistics of each column, in the order of the file.
    #[serde(with = "in_order")]
    pub summary: Vec<(String, ColumnStats)>,
    /// The version of this layout.
    pub schema_version: u32,
    /// The format that the file was read as.
    pub format: Format,
    /// How the fields were told apart; only of delimited text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dialect: Option<Dialect>,
    /// The encoding of the text, where there is no dialect to say it and it is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// How the bytes were compressed.
    pub compression: Compression,
    /// What is known of each column, and how well, in the order of the file.
    pub schema: Vec<ColumnSchema>,
    /// What was repaired or dropped while reading, in a fixed order of kinds.
    pub warnings: Vec<Warning>,
}

impl Summary {
    /// The summary as JSON: UTF-8, two blanks of indentation, fields in a fixed order.
    pub fn to_json(&self) -> Vec<u8> {
        // Plain structs with string keys always serialise; there is no other way for this to fail.
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }
}

/// How the fields of a text file were told apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dialect {
    /// What stands between fields; nearly always one character.
    pub delimiter: String,
    /// Whether blanks behind a delimiter were no part of the fields.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub blanks_skipped: bool,
    /// The character around fields that hold delimiters, quotes or line breaks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quote: Option<char>,
    /// The character in front of one that is meant as itself. A quote is doubled in any case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escape: Option<char>,
    /// The character at the beginning of lines that were skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<char>,
    /// How many lines above the table were skipped.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skipped_lines: u64,
    /// Whether the first record named the columns; if not, they are called `column_1` and so on.
    pub header: bool,
    /// The encoding of the text.
    pub encoding: String,
    /// Whether a byte order mark stood in front.
    pub byte_order_mark: bool,
}

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ColumnType {
    /// Integers of 64 bits, with or without a sign.
    Int,
    /// Numbers, at least one of them with a point, an exponent or no end.
    Float,
    /// `true` and `false`.
    Bool,
    /// ISO 8601 dates.
    Date,
    /// ISO 8601 dates with times; bare dates among them count as midnight.
    Datetime,
    /// Anything else, a mix of types included.
    Text,
    /// Nothing but nulls.
    Empty,
}

impl ColumnType {
    /// The name of this type in summaries.
    pub fn as_str(self) -> &'static str {
        match self {
            ColumnType::Int => "int",
            ColumnType::Float => "float",
            ColumnType::Bool => "bool",
            ColumnType::Date => "date",
            ColumnType::Datetime => "datetime",
            ColumnType::Text => "text",
            ColumnType::Empty => "empty",
        }
    }
}

/// What is known of a column, and how well. `count`, `nulls`, `min`, `max`, `mean` and `std` are always
/// exact (the last two to 1e-12); the rest is exact while its memory fits the budget.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnSchema {
    /// The name of the column.
    pub name: String,
    /// Its type, decided by every value.
    #[serde(rename = "type")]
    pub kind: ColumnType,
    /// Values that are missing: nothing, one of pandas' null words, or a record that was too short.
    pub nulls: u64,
    /// Values that are infinite. They are counted, but statistics that would not be finite are left out.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub infinite: u64,
    /// How many different values there are: numbers by value, truth values by truth, the rest as written.
    pub distinct: Distinct,
    /// How well `25%`, `50%` and `75%` are known; only for numbers. `error` is a part of all values: the true
    /// rank of the value shown is at most that far from the rank asked for (99 % confidence).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantiles: Option<Precision>,
    /// How well `top` and `freq` are known; only where there is a `top`. `error` is a number of values:
    /// `freq` is at most that far off, and no other value is more frequent by more than that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top: Option<Precision>,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// A number of different values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Distinct {
    /// The number.
    pub value: u64,
    /// Whether it was counted; otherwise it is an estimate.
    pub exact: bool,
    /// The relative error of the estimate (99.7 % confidence).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<f64>,
}

/// How well a statistic is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Precision {
    /// Whether it is exact; otherwise it is an estimate.
    pub exact: bool,
    /// The bound of the estimate's error, in the unit that the field says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<f64>,
}

/// The statistics of a column, under pandas' names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ColumnStats {
    /// Values that are not null.
    pub count: u64,
    /// Different values; not for numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unique: Option<u64>,
    /// The most frequent value, of equals the first; not for numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top: Option<String>,
    /// How often `top` occurs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freq: Option<u64>,
    /// The mean; only for numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean: Option<f64>,
    /// The standard deviation of a sample; only for two numbers or more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub std: Option<f64>,
    /// The smallest value; for numbers and dates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Bound>,
    /// The first quartile, interpolated linearly when exact; only for numbers.
    #[serde(rename = "25%", default, skip_serializing_if = "Option::is_none")]
    pub p25: Option<f64>,
    /// The median.
    #[serde(rename = "50%", default, skip_serializing_if = "Option::is_none")]
    pub p50: Option<f64>,
    /// The third quartile.
    #[serde(rename = "75%", default, skip_serializing_if = "Option::is_none")]
    pub p75: Option<f64>,
    /// The largest value; for numbers and dates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Bound>,
}

/// The smallest or largest value of a column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Bound {
    /// Of a column of integers.
    Int(i64),
    /// Of a column of numbers, and of integers above `i64::MAX`.
    Number(f64),
    /// Of a column of dates, in ISO 8601: with an offset as UTC, ending in `Z`.
    Time(String),
}

impl Bound {
    /// The value as a number; `None` for dates.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Bound::Int(value) => Some(*value as f64),
            Bound::Number(value) => Some(*value),
            Bound::Time(_) => None,
        }
    }

    /// The value as a time in ISO 8601; `None` for numbers.
    pub fn as_time(&self) -> Option<&str> {
        match self {
            Bound::Time(text) => Some(text),
            Bound::Int(_) | Bound::Number(_) => None,
        }
    }
}

/// Something that was repaired or dropped while reading.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Warning {
    /// What it was.
    pub kind: WarningKind,
    /// How many records it befell.
    pub count: u64,
    /// The line where it happened first.
    pub first_line: u64,
}

/// What was repaired or dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WarningKind {
    /// A record had fewer fields than the header; the rest count as nulls.
    RowTooShort,
    /// A record had more fields than the header; they were dropped.
    RowTooLong,
    /// Text was not UTF-8; it is shown with replacement characters.
    InvalidUtf8,
    /// A line of JSON Lines was no record; it was left out.
    BadRecord,
    /// An object had a key twice; its last value counts.
    RepeatedKey,
    /// Text had one half of a character (a surrogate); it is a replacement character.
    LoneSurrogate,
    /// A member of the object around the records; it is no part of them and was left out.
    OutsideRecords,
    /// Text broke the rules of its encoding, another than UTF-8; it is shown with replacement characters. Counted by line.
    InvalidEncoding,
    /// A line was longer than a field may be; only its beginning was looked at.
    LineTooLong,
    /// A quote stood where none belongs; the record was read as its number of fields suggests.
    StrayQuote,
    /// A quote was opened and never closed; it was taken for text.
    UnclosedQuote,
    /// A record held zero bytes; they were kept.
    NulBytes,
    /// Behind the last record stood zero bytes or an end-of-file mark; they were skipped.
    Padding,
    /// The header came again as a row, as in files that were put together; it was skipped.
    RepeatedHeader,
    /// The header had fewer names than all records had fields; columns without a name were added.
    HeaderTooShort,
}

impl WarningKind {
    /// The name of this kind in summaries.
    pub fn as_str(self) -> &'static str {
        match self {
            WarningKind::RowTooShort => "row_too_short",
            WarningKind::RowTooLong => "row_too_long",
            WarningKind::InvalidUtf8 => "invalid_utf8",
            WarningKind::BadRecord => "bad_record",
            WarningKind::RepeatedKey => "repeated_key",
            WarningKind::LoneSurrogate => "lone_surrogate",
            WarningKind::OutsideRecords => "outside_records",
            WarningKind::InvalidEncoding => "invalid_encoding",
            WarningKind::LineTooLong => "line_too_long",
            WarningKind::StrayQuote => "stray_quote",
            WarningKind::UnclosedQuote => "unclosed_quote",
            WarningKind::NulBytes => "nul_bytes",
            WarningKind::Padding => "padding",
            WarningKind::RepeatedHeader => "repeated_header",
            WarningKind::HeaderTooShort => "header_too_short",
        }
    }

    /// What is wrong, for people.
    pub(crate) fn sentence(self) -> &'static str {
        match self {
            WarningKind::RowTooShort => "a record has fewer fields than the table has columns",
            WarningKind::RowTooLong => "a record has more fields than the table has columns",
            WarningKind::InvalidUtf8 => "a record holds bytes that are not UTF-8",
            WarningKind::StrayQuote => "a quote stands where none belongs",
            WarningKind::UnclosedQuote => "a quote is opened here and never closed",
            WarningKind::NulBytes => "a record holds zero bytes",
            WarningKind::Padding => "zero bytes or an end-of-file mark stand behind the last record",
            WarningKind::RepeatedHeader => "the header comes again as a row",
            WarningKind::HeaderTooShort => "the header has fewer names than records have fields",
            WarningKind::BadRecord => "a line is no record",
            WarningKind::RepeatedKey => "an object has a key twice",
            WarningKind::LoneSurrogate => "text holds one half of a character",
            WarningKind::OutsideRecords => "something stands beside the records",
            WarningKind::InvalidEncoding => "text breaks the rules of its encoding",
            WarningKind::LineTooLong => "a line is longer than a field may be",
        }
    }
}

/// A list of pairs as a JSON object that keeps its order.
mod in_order {
    use std::fmt;

    use serde::de::{MapAccess, Visitor};
    use serde::{Deserializer, Serializer};

    use super::ColumnStats;

    type Pairs = Vec<(String, ColumnStats)>;

    pub fn serialize<S: Serializer>(pairs: &Pairs, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(pairs.iter().map(|(name, stats)| (name, stats)))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Pairs, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of column statistics")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(pairs)
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}
