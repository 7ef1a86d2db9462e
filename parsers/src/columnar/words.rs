//! From the values of an array to tokens, without a detour through text.
//!
//! Promise: a type gives one kind of token, so that equal values are equal tokens. Floats are widened exactly. A decimal
//! without a scale is an integer where it fits 64 bits, else the nearest float. Days and times are moments, a duration is
//! a number of seconds. Bytes are text. Whatever has parts, or no token of its own, is the text of `text`.

use arrow::array::types::{
    ArrowPrimitiveType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
    DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType, DurationSecondType,
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, Time32MillisecondType,
    Time32SecondType, Time64MicrosecondType, Time64NanosecondType, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, TimeUnit};

use crate::aggregate::{Sink, Word};
use crate::columnar::text;
use crate::error::{Error, ErrorKind};
use crate::scalar::tagged::{self, Moment};

/// Milliseconds of a day.
const DAY_MILLIS: i64 = 86_400_000;
/// Powers of ten that floats have exactly.
const SCALE_EXACT: i8 = 22;

/// Rows of an array, none of them null.
pub(super) trait Rows {
    /// Shows a token for each.
    fn made(self, word: impl Fn(usize) -> Word<'static>, sink: &mut impl Sink);

    /// Calls `each` with every row and how often it counts, as long as it answers true.
    fn each(self, each: impl FnMut(usize, u64) -> Result<bool, Error>) -> Result<(), Error>;
}

/// Rows that count once.
pub(super) struct Once<I>(pub(super) I);

impl<I: Iterator<Item = usize>> Rows for Once<I> {
    #[inline]
    fn made(self, word: impl Fn(usize) -> Word<'static>, sink: &mut impl Sink) {
        sink.all(self.0.map(word));
    }

    #[inline]
    fn each(mut self, mut each: impl FnMut(usize, u64) -> Result<bool, Error>) -> Result<(), Error> {
        while let Some(row) = self.0.next()
            && each(row, 1)?
        {}
        Ok(())
    }
}

/// Rows, and how often each counts.
pub(super) struct Often<I>(pub(super) I);

impl<I: Iterator<Item = (usize, u64)>> Rows for Often<I> {
    fn made(mut self, word: impl Fn(usize) -> Word<'static>, sink: &mut impl Sink) {
        while let Some((row, times)) = self.0.next()
            && sink.one(word(row), times)
        {}
    }

    fn each(mut self, mut each: impl FnMut(usize, u64) -> Result<bool, Error>) -> Result<(), Error> {
        while let Some((row, times)) = self.0.next()
            && each(row, times)?
        {}
        Ok(())
    }
}

/// Shows the tokens of these rows.
pub(super) fn show(
    array: &dyn Array,
    rows: impl Rows,
    text_bytes_max: usize,
    sink: &mut impl Sink,
) -> Result<(), Error> {
    macro_rules! numbers {
        ($type:ty, $word:expr) => {{
            primitive::<$type>(array, rows, sink, $word);
            Ok(())
        }};
    }
    macro_rules! moments {
        ($type:ty, $moment:expr, $decimals:expr) => {
            numbers!($type, |value| tagged::moment($moment, $decimals, value.into()))
        };
    }
    macro_rules! texts {
        ($array:expr) => {{
            let array = $array;
            texts(rows, text_bytes_max, sink, |row| array.value(row).as_ref())
        }};
    }
    match array.data_type() {
        DataType::Boolean => {
            let array = array.as_boolean();
            rows.made(|row| tagged::truth(array.value(row)), sink);
            Ok(())
        }
        DataType::Int8 => numbers!(Int8Type, |value| tagged::int(value.into())),
        DataType::Int16 => numbers!(Int16Type, |value| tagged::int(value.into())),
        DataType::Int32 => numbers!(Int32Type, |value| tagged::int(value.into())),
        DataType::Int64 => numbers!(Int64Type, tagged::int),
        DataType::UInt8 => numbers!(UInt8Type, |value| tagged::int(value.into())),
        DataType::UInt16 => numbers!(UInt16Type, |value| tagged::int(value.into())),
        DataType::UInt32 => numbers!(UInt32Type, |value| tagged::int(value.into())),
        DataType::UInt64 => numbers!(UInt64Type, tagged::unsigned),
        DataType::Float16 => numbers!(Float16Type, |value| tagged::float(value.to_f64())),
        DataType::Float32 => numbers!(Float32Type, |value| tagged::float(value.into())),
        DataType::Float64 => numbers!(Float64Type, tagged::float),
        DataType::Decimal32(_, scale) => numbers!(Decimal32Type, |value| decimal(value.into(), *scale)),
        DataType::Decimal64(_, scale) => numbers!(Decimal64Type, |value| decimal(value.into(), *scale)),
        DataType::Decimal128(_, scale) => numbers!(Decimal128Type, |value| decimal(value, *scale)),
        DataType::Decimal256(_, scale) => numbers!(Decimal256Type, |value| match value.to_i128() {
            Some(value) => decimal(value, *scale),
            None => tagged::float(nearest(&value, *scale)),
        }),
        DataType::Date32 => moments!(Date32Type, Moment::Day, 0),
        DataType::Date64 => {
            numbers!(Date64Type, |value| tagged::moment(Moment::Day, 0, value.div_euclid(DAY_MILLIS)))
        }
        DataType::Time32(TimeUnit::Second) => moments!(Time32SecondType, Moment::Clock, 0),
        DataType::Time32(_) => moments!(Time32MillisecondType, Moment::Clock, 3),
        DataType::Time64(TimeUnit::Microsecond) => moments!(Time64MicrosecondType, Moment::Clock, 6),
        DataType::Time64(_) => moments!(Time64NanosecondType, Moment::Clock, 9),
        DataType::Timestamp(unit, zone) => {
            let moment = if zone.is_some() { Moment::Aware } else { Moment::Naive };
            match unit {
                TimeUnit::Second => moments!(TimestampSecondType, moment, 0),
                TimeUnit::Millisecond => moments!(TimestampMillisecondType, moment, 3),
                TimeUnit::Microsecond => moments!(TimestampMicrosecondType, moment, 6),
                TimeUnit::Nanosecond => moments!(TimestampNanosecondType, moment, 9),
            }
        }
        DataType::Duration(TimeUnit::Second) => {
            numbers!(DurationSecondType, |value| decimal(value.into(), 0))
        }
        DataType::Duration(TimeUnit::Millisecond) => {
            numbers!(DurationMillisecondType, |value| decimal(value.into(), 3))
        }
        DataType::Duration(TimeUnit::Microsecond) => {
            numbers!(DurationMicrosecondType, |value| decimal(value.into(), 6))
        }
        DataType::Duration(TimeUnit::Nanosecond) => {
            numbers!(DurationNanosecondType, |value| decimal(value.into(), 9))
        }
        DataType::Utf8 => texts!(array.as_string::<i32>()),
        DataType::LargeUtf8 => texts!(array.as_string::<i64>()),
        DataType::Utf8View => texts!(array.as_string_view()),
        DataType::Binary => texts!(array.as_binary::<i32>()),
        DataType::LargeBinary => texts!(array.as_binary::<i64>()),
        DataType::BinaryView => texts!(array.as_binary_view()),
        DataType::FixedSizeBinary(_) => texts!(array.as_fixed_size_binary()),
        _ => parts(array, rows, text_bytes_max, sink),
    }
}

fn primitive<T: ArrowPrimitiveType>(
    array: &dyn Array,
    rows: impl Rows,
    sink: &mut impl Sink,
    word: impl Fn(T::Native) -> Word<'static>,
) {
    let values = array.as_primitive::<T>().values();
    rows.made(|row| word(values[row]), sink);
}

fn texts<'a>(
    rows: impl Rows,
    text_bytes_max: usize,
    sink: &mut impl Sink,
    value: impl Fn(usize) -> &'a [u8],
) -> Result<(), Error> {
    let mut room = Vec::new();
    rows.each(|row, times| {
        let text = value(row);
        match text.len() > text_bytes_max {
            true => Err(too_long(text_bytes_max)),
            false => Ok(sink.one(tagged::word(text, &mut room), times)),
        }
    })
}

/// What has no token of its own, as text.
fn parts(
    array: &dyn Array,
    rows: impl Rows,
    text_bytes_max: usize,
    sink: &mut impl Sink,
) -> Result<(), Error> {
    let (mut text, mut room) = (Vec::new(), Vec::new());
    rows.each(|row, times| {
        text.clear();
        text::write(array, row, &mut text, text_bytes_max)?;
        Ok(sink.one(tagged::word(&text, &mut room), times))
    })
}

pub(super) fn too_long(bytes_max: usize) -> Error {
    Error::new(ErrorKind::Limit, format!("a value is longer than {bytes_max} bytes"))
}

/// A decimal, `unscaled` divided by ten to the power of `scale`.
#[inline]
fn decimal(unscaled: i128, scale: i8) -> Word<'static> {
    if scale <= 0
        && let Some(power) = 10_i128.checked_pow(scale.unsigned_abs().into())
        && let Some(value) = unscaled.checked_mul(power).and_then(|value| i64::try_from(value).ok())
    {
        return tagged::int(value);
    }
    // Both numbers are exact, so their quotient is the nearest float.
    if (0..=SCALE_EXACT).contains(&scale) && unscaled.unsigned_abs() < 1 << 53 {
        return tagged::float(unscaled as f64 / 10_f64.powi(scale.into()));
    }
    tagged::float(nearest(&unscaled, scale))
}

#[cold]
fn nearest(unscaled: &dyn std::fmt::Display, scale: i8) -> f64 {
    // Digits with an exponent always parse.
    format!("{unscaled}e{}", -i16::from(scale)).parse().unwrap_or(f64::NAN)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::scalar::{Scalar, Syntax};

    #[test]
    fn decimals_are_integers_or_the_nearest_floats() {
        let of = |unscaled: i128, scale: i8| Syntax::Tagged.read(decimal(unscaled, scale).text());
        assert_eq!(of(1234, 2), Scalar::Float(12.34));
        assert_eq!(of(-5, 1), Scalar::Float(-0.5));
        assert_eq!(of(7, 0), Scalar::Int(7));
        assert_eq!(of(7, -2), Scalar::Int(700));
        assert_eq!(of(i128::from(i64::MAX) + 1, 0), Scalar::Float(9223372036854775808.0));
        assert_eq!(of(i128::MAX, 38), Scalar::Float(1.7014118346046923));
        assert_eq!(of(1, 38), Scalar::Float(1e-38));
        assert_eq!(of(7, i8::MIN), Scalar::Float(7e128));
    }
}
