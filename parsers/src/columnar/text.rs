//! Values that have parts, as JSON without blanks.
//!
//! Promise: the text never grows beyond its bound, however often one long value is referred to.

use std::fmt::{self, Write};

use arrow::array::{Array, ArrayRef, AsArray, StructArray, downcast_dictionary_array};
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::aggregate::{Sink, Word};
use crate::columnar::words::{self, Once, too_long};
use crate::error::{Error, ErrorKind};
use crate::scalar::{Scalar, Syntax};

/// Appends the value of a row, which may be null.
pub(super) fn write(
    array: &dyn Array,
    row: usize,
    text: &mut Vec<u8>,
    bytes_max: usize,
) -> Result<(), Error> {
    if text.len() > bytes_max {
        return Err(too_long(bytes_max));
    }
    if array.is_null(row) || array.data_type() == &DataType::Null {
        text.extend_from_slice(b"null");
        return Ok(());
    }
    match array.data_type() {
        DataType::List(_) => list(&array.as_list::<i32>().value(row), text, bytes_max),
        DataType::LargeList(_) => list(&array.as_list::<i64>().value(row), text, bytes_max),
        DataType::ListView(_) => list(&array.as_list_view::<i32>().value(row), text, bytes_max),
        DataType::LargeListView(_) => list(&array.as_list_view::<i64>().value(row), text, bytes_max),
        DataType::FixedSizeList(_, _) => list(&array.as_fixed_size_list().value(row), text, bytes_max),
        DataType::Struct(_) => fields(array.as_struct(), row, text, bytes_max),
        DataType::Map(_, _) => map(&array.as_map().value(row), text, bytes_max),
        DataType::Dictionary(_, _) => downcast_dictionary_array! {
            array => array.key(row).map_or(Ok(()), |key| write(array.values(), key, text, bytes_max)),
            _ => Ok(())
        },
        DataType::Interval(_) | DataType::Union(_, _) | DataType::RunEndEncoded(_, _) => {
            shown(array, row, text, bytes_max)
        }
        _ => scalar(array, row, text, bytes_max),
    }
}

fn list(items: &ArrayRef, text: &mut Vec<u8>, bytes_max: usize) -> Result<(), Error> {
    text.push(b'[');
    for row in 0..items.len() {
        if row > 0 {
            text.push(b',');
        }
        write(items, row, text, bytes_max)?;
    }
    text.push(b']');
    Ok(())
}

fn fields(fields: &StructArray, row: usize, text: &mut Vec<u8>, bytes_max: usize) -> Result<(), Error> {
    text.push(b'{');
    for (index, (name, column)) in fields.column_names().iter().zip(fields.columns()).enumerate() {
        if index > 0 {
            text.push(b',');
        }
        quote(name, text);
        text.push(b':');
        write(column, row, text, bytes_max)?;
    }
    text.push(b'}');
    Ok(())
}

fn map(entries: &StructArray, text: &mut Vec<u8>, bytes_max: usize) -> Result<(), Error> {
    let [keys, values] = entries.columns() else { return Ok(()) };
    text.push(b'{');
    for row in 0..entries.len() {
        if row > 0 {
            text.push(b',');
        }
        let start = text.len();
        write(keys, row, text, bytes_max)?;
        // The names of an object are texts, whatever the keys of the map are.
        if text.get(start) != Some(&b'"') {
            let key = text.split_off(start);
            quote(&String::from_utf8_lossy(&key), text);
        }
        text.push(b':');
        write(values, row, text, bytes_max)?;
    }
    text.push(b'}');
    Ok(())
}

/// A value without parts: numbers and truth values as they are, all else as a text.
fn scalar(array: &dyn Array, row: usize, text: &mut Vec<u8>, bytes_max: usize) -> Result<(), Error> {
    words::show(array, Once(std::iter::once(row)), bytes_max, &mut Scalars(text))
}

/// Appends what the tokens of single values mean.
struct Scalars<'a>(&'a mut Vec<u8>);

impl Sink for Scalars<'_> {
    fn all<'a>(&mut self, words: impl Iterator<Item = Word<'a>>) {
        words.for_each(|word| _ = self.one(word, 1));
    }

    fn one(&mut self, word: Word<'_>, _: u64) -> bool {
        let Scalars(text) = self;
        match Syntax::Tagged.read(word.text()) {
            Scalar::Null => text.extend_from_slice(b"null"),
            Scalar::Bool(value) => text.extend_from_slice(if value { b"true" } else { b"false" }),
            Scalar::Float(value) if value.is_infinite() => text.extend_from_slice(b"null"),
            Scalar::Int(_) | Scalar::Unsigned(_) | Scalar::Huge(_) | Scalar::Float(_) => {
                text.extend_from_slice(&Syntax::Tagged.shown(word.text()));
            }
            _ => quote(&String::from_utf8_lossy(&Syntax::Tagged.shown(word.text())), text),
        }
        true
    }
}

/// Appends a text in quotes.
fn quote(value: &str, text: &mut Vec<u8>) {
    // Writing to memory does not fail, and a text always serialises.
    let _ = serde_json::to_writer(text, value);
}

/// What is rare, as its own library writes it.
fn shown(array: &dyn Array, row: usize, text: &mut Vec<u8>, bytes_max: usize) -> Result<(), Error> {
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(array, &options).map_err(|error| {
        Error::new(
            ErrorKind::Unsupported,
            format!("values of type {} cannot be shown: {error}", array.data_type()),
        )
    })?;
    let mut bounded = Bounded { text: String::new(), bytes_max };
    if write!(bounded, "{}", formatter.value(row)).is_err() {
        return Err(too_long(bytes_max));
    }
    quote(&bounded.text, text);
    Ok(())
}

/// A text that refuses to grow beyond its bound.
struct Bounded {
    text: String,
    bytes_max: usize,
}

impl Write for Bounded {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        if self.text.len() + part.len() > self.bytes_max {
            return Err(fmt::Error);
        }
        self.text.push_str(part);
        Ok(())
    }
}
