//! Tokens of formats that say themselves what a value is: JSON, Parquet, Arrow.
//!
//! The first byte is a tag, the rest the value: text as it is, numbers of JSON as they are written, values of typed
//! columns as their bytes, without a detour through text. So such values go through the same tables as the fields of a
//! text file, and each different one is understood once. Promise: tokens are equal exactly when the values are, as
//! long as a column is written with one way for its numbers.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

use crate::aggregate::Word;
use crate::scalar::{self, Scalar};

/// Text; an ISO 8601 date or time in it is known as one, a number or a null word is not.
pub(crate) const TEXT: u8 = b's';
/// A number as it is written, in ASCII, or `Infinity`.
pub(crate) const NUMBER: u8 = b'n';
const INT: u8 = b'i';
const UNSIGNED: u8 = b'u';
const FLOAT: u8 = b'f';
/// One byte: 0 or 1.
pub(crate) const BOOL: u8 = b'b';
/// What [`Moment`] has: a tag each, then the decimals of its unit, then its number.
const DATE: u8 = b'd';
const NAIVE: u8 = b'p';
const AWARE: u8 = b'z';
const CLOCK: u8 = b'c';

const DAY_SECONDS: i64 = 86_400;

/// What a number of time units stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Days since 1970-01-01.
    Day,
    /// Since the beginning of 1970, wherever that was.
    Naive,
    /// Since 1970 began in UTC.
    Aware,
    /// Since midnight. It has no day, and is text.
    Clock,
}

/// Writes `text` as a token to `token`, whose bytes are replaced.
pub fn text(token: &mut Vec<u8>, text: &[u8]) {
    tag(token, TEXT, text);
}

/// Writes a number, given as it is written, for instance `-1.5e3`.
pub fn number(token: &mut Vec<u8>, digits: &[u8]) {
    tag(token, NUMBER, digits);
}

/// Writes a typed value. A null, and what is only known to be text, have no token of their own: see [`text`].
pub fn value(token: &mut Vec<u8>, scalar: &Scalar) {
    match *scalar {
        Scalar::Int(value) => tag(token, INT, &value.to_le_bytes()),
        Scalar::Unsigned(value) => tag(token, UNSIGNED, &value.to_le_bytes()),
        Scalar::Float(value) | Scalar::Huge(value) | Scalar::Comma(value) => {
            tag(token, FLOAT, &value.to_le_bytes())
        }
        Scalar::Bool(value) => tag(token, BOOL, &[u8::from(value)]),
        Scalar::Date(at) => time(token, Moment::Day, at),
        Scalar::Naive(at) => time(token, Moment::Naive, at),
        Scalar::Aware(at) => time(token, Moment::Aware, at),
        Scalar::Null | Scalar::Text => token.clear(),
    }
}

/// Writes a time in the largest unit that has it exactly, so that equal times are equal tokens.
fn time(token: &mut Vec<u8>, kind: Moment, at: DateTime) {
    let nanos = Offset::UTC.to_timestamp(at).map_or(0, Timestamp::as_nanosecond);
    let decimals = [0, 3, 6].into_iter().find(|decimals| nanos % nanos_of(*decimals) == 0).unwrap_or(9);
    token.clear();
    match (kind, i64::try_from(nanos / nanos_of(decimals))) {
        (Moment::Day, _) => {
            let days = nanos.div_euclid(nanos_of(0) * i128::from(DAY_SECONDS)) as i64;
            token.extend_from_slice(moment(kind, 0, days).text());
        }
        (_, Ok(number)) => token.extend_from_slice(moment(kind, decimals, number).text()),
        // Nanoseconds of all years do not fit into 64 bits.
        _ => {
            let zone = if kind == Moment::Aware { "Z" } else { "" };
            tag(token, TEXT, format!("{at}{zone}").as_bytes());
        }
    }
}

/// The nanoseconds of a unit of which ten to the power of `decimals` are a second.
fn nanos_of(decimals: u8) -> i128 {
    10_i128.pow(9_u32.saturating_sub(decimals.into()))
}

fn tag(token: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    token.clear();
    token.push(tag);
    token.extend_from_slice(bytes);
}

/// The token of an integer.
#[inline]
pub fn int(value: i64) -> Word<'static> {
    Word::made(INT, u128::from(value as u64), 8)
}

/// The token of an integer that has no sign.
#[inline]
pub fn unsigned(value: u64) -> Word<'static> {
    Word::made(UNSIGNED, u128::from(value), 8)
}

/// The token of a float. All values that are no number have one and the same, which is a null.
#[inline]
pub fn float(value: f64) -> Word<'static> {
    let value = if value.is_nan() { f64::NAN } else { value };
    Word::made(FLOAT, u128::from(value.to_bits()), 8)
}

/// The token of a truth value.
#[inline]
pub fn truth(value: bool) -> Word<'static> {
    Word::made(BOOL, u128::from(value), 1)
}

/// The token of a time in units of which ten to the power of `decimals` are a second; of days these do not matter.
#[inline]
pub fn moment(moment: Moment, decimals: u8, value: i64) -> Word<'static> {
    let tag = match moment {
        Moment::Day => DATE,
        Moment::Naive => NAIVE,
        Moment::Aware => AWARE,
        Moment::Clock => CLOCK,
    };
    Word::made(tag, u128::from(value as u64) << 8 | u128::from(decimals), 9)
}

/// The token of a text, which is put together in `room` when it is long.
#[inline]
pub fn word<'a>(text: &[u8], room: &'a mut Vec<u8>) -> Word<'a> {
    if text.len() >= 16 {
        tag(room, TEXT, text);
        return Word::new(room);
    }
    let mut bytes = [0; 16];
    bytes[..text.len()].copy_from_slice(text);
    Word::made(TEXT, u128::from_le_bytes(bytes), text.len())
}

/// Understands a token. What is no token is a null.
pub(super) fn read(token: &[u8]) -> Scalar {
    understood(token).unwrap_or(Scalar::Null)
}

fn understood(token: &[u8]) -> Option<Scalar> {
    let (&tag, bytes) = token.split_first()?;
    Some(match tag {
        TEXT => match bytes.first() {
            Some(b'0'..=b'9') => scalar::date(bytes).unwrap_or(Scalar::Text),
            _ => Scalar::Text,
        },
        NUMBER => scalar::read(bytes),
        INT => Scalar::Int(i64::from_le_bytes(bytes.try_into().ok()?)),
        UNSIGNED => match u64::from_le_bytes(bytes.try_into().ok()?) {
            value @ ..=0x7fff_ffff_ffff_ffff => Scalar::Int(value as i64),
            value => Scalar::Unsigned(value),
        },
        FLOAT => match f64::from_le_bytes(bytes.try_into().ok()?) {
            value if value.is_nan() => Scalar::Null,
            value => Scalar::Float(value),
        },
        BOOL => Scalar::Bool(*bytes.first()? != 0),
        // Beyond the years that can be written, a time is only text.
        DATE => day(number_of(bytes)?.1).map_or(Scalar::Text, Scalar::Date),
        NAIVE => at(bytes).map_or(Scalar::Text, Scalar::Naive),
        AWARE => at(bytes).map_or(Scalar::Text, Scalar::Aware),
        CLOCK => Scalar::Text,
        _ => return None,
    })
}

/// The decimals and the number of a moment.
fn number_of(bytes: &[u8]) -> Option<(u8, i64)> {
    let (&decimals, number) = bytes.split_first()?;
    Some((decimals, i64::from_le_bytes(number.try_into().ok()?)))
}

fn day(number: i64) -> Option<DateTime> {
    let at = Timestamp::from_second(number.checked_mul(DAY_SECONDS)?).ok()?;
    Some(Offset::UTC.to_datetime(at))
}

fn at(bytes: &[u8]) -> Option<DateTime> {
    let (decimals, number) = number_of(bytes)?;
    let nanos = i128::from(number) * 10_i128.checked_pow(9_u32.checked_sub(decimals.into())?)?;
    Some(Offset::UTC.to_datetime(Timestamp::from_nanosecond(nanos).ok()?))
}

/// A time of day, `05:06:07`, with a fraction when it has one.
fn clock(decimals: u8, number: i64) -> Option<String> {
    let second = 10_i64.checked_pow(decimals.into())?;
    let (whole, part) = (number.div_euclid(second), number.rem_euclid(second));
    let mut text = format!("{:02}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
    if part > 0 {
        let digits = format!("{part:0width$}", width = usize::from(decimals));
        text = format!("{text}.{}", digits.trim_end_matches('0'));
    }
    Some(text)
}

/// The value as a person would write it.
pub(super) fn shown(token: &[u8]) -> Cow<'_, [u8]> {
    let Some((&tag, bytes)) = token.split_first() else { return Cow::Borrowed(token) };
    match tag {
        TEXT | NUMBER => Cow::Borrowed(bytes),
        _ => match read(token) {
            Scalar::Int(value) => Cow::Owned(value.to_string().into_bytes()),
            Scalar::Unsigned(value) => Cow::Owned(value.to_string().into_bytes()),
            Scalar::Float(value) | Scalar::Huge(value) | Scalar::Comma(value) => {
                Cow::Owned(value.to_string().into_bytes())
            }
            Scalar::Bool(value) => Cow::Borrowed(if value { b"True" } else { b"False" }),
            Scalar::Date(at) => Cow::Owned(at.date().to_string().into_bytes()),
            Scalar::Naive(at) => Cow::Owned(at.to_string().into_bytes()),
            Scalar::Aware(at) => Cow::Owned(format!("{at}Z").into_bytes()),
            Scalar::Text => match number_of(bytes) {
                Some((decimals, number)) if tag == CLOCK => {
                    Cow::Owned(clock(decimals, number).unwrap_or_default().into_bytes())
                }
                Some((_, number)) => Cow::Owned(number.to_string().into_bytes()),
                None => Cow::Borrowed(bytes),
            },
            Scalar::Null => Cow::Borrowed(bytes),
        },
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn typed_values_come_back_as_they_were() {
        let cases = [
            (Scalar::Int(i64::MIN), int(i64::MIN), "-9223372036854775808"),
            (Scalar::Unsigned(u64::MAX), unsigned(u64::MAX), "18446744073709551615"),
            (Scalar::Float(-0.5), float(-0.5), "-0.5"),
            (Scalar::Float(f64::INFINITY), float(f64::INFINITY), "inf"),
            (Scalar::Bool(true), truth(true), "True"),
        ];
        let mut token = Vec::new();
        for (scalar, word, text) in cases {
            value(&mut token, &scalar);
            assert_eq!(word.text(), token);
            assert_eq!(read(&token), scalar);
            assert_eq!(String::from_utf8_lossy(&shown(&token)), text);
        }
        for text in [
            "2013-01-02T03:04:05.123456789",
            "-000044-03-15T00:00:00",
            "2500-01-01T00:00:00.000000001",
            "1969-12-31T23:59:59.5",
        ] {
            let at: DateTime = text.parse().unwrap();
            for (scalar, end) in [(Scalar::Naive(at), ""), (Scalar::Aware(at), "Z")] {
                value(&mut token, &scalar);
                assert_eq!(read(&token), scalar);
                assert_eq!(String::from_utf8_lossy(&shown(&token)), format!("{text}{end}"));
            }
            let day = at.date().to_datetime(jiff::civil::Time::midnight());
            value(&mut token, &Scalar::Date(day));
            assert_eq!(
                (read(&token), &*shown(&token)),
                (Scalar::Date(day), day.date().to_string().as_bytes())
            );
        }
        assert_eq!(read(float(-f64::NAN).text()), Scalar::Null);
        assert_eq!(float(-f64::NAN).text(), float(f64::NAN).text());
    }

    #[test]
    fn moments_are_times_of_their_unit() {
        let at = |text: &str| -> DateTime { text.parse().unwrap() };
        let (day, naive, aware, clock) = (Moment::Day, Moment::Naive, Moment::Aware, Moment::Clock);
        let cases = [
            (moment(day, 0, -719528 - 44 * 365), Scalar::Date(at("-000044-01-12T00:00:00")), "-000044-01-12"),
            (moment(day, 0, i64::MAX), Scalar::Text, "9223372036854775807"),
            (moment(naive, 0, 1), Scalar::Naive(at("1970-01-01T00:00:01")), "1970-01-01T00:00:01"),
            (
                moment(naive, 9, -1),
                Scalar::Naive(at("1969-12-31T23:59:59.999999999")),
                "1969-12-31T23:59:59.999999999",
            ),
            (moment(aware, 3, 1_500), Scalar::Aware(at("1970-01-01T00:00:01.5")), "1970-01-01T00:00:01.5Z"),
            (moment(aware, 6, i64::MIN), Scalar::Text, "-9223372036854775808"),
            (moment(clock, 6, 18_367_000_500), Scalar::Text, "05:06:07.0005"),
            (moment(clock, 0, 86_399), Scalar::Text, "23:59:59"),
        ];
        for (word, scalar, text) in cases {
            assert_eq!(read(word.text()), scalar);
            assert_eq!(String::from_utf8_lossy(&shown(word.text())), text);
        }
    }

    #[test]
    fn words_of_text_are_its_tokens() {
        let (mut token, mut room) = (Vec::new(), Vec::new());
        for len in 0..40 {
            let bytes = "a".repeat(len);
            text(&mut token, bytes.as_bytes());
            assert_eq!(word(bytes.as_bytes(), &mut room).text(), token);
        }
    }

    #[test]
    fn text_is_no_number_and_no_null_but_may_be_a_date() {
        let mut token = Vec::new();
        for word in ["", "NA", "1", "true", "null", "ä"] {
            text(&mut token, word.as_bytes());
            assert_eq!((read(&token), &*shown(&token)), (Scalar::Text, word.as_bytes()));
        }
        text(&mut token, b"2013-01-02");
        assert!(matches!(read(&token), Scalar::Date(_)));
        number(&mut token, b"-Infinity");
        assert_eq!(read(&token), Scalar::Float(f64::NEG_INFINITY));
        number(&mut token, b"-1.5e3");
        assert_eq!((read(&token), &*shown(&token)), (Scalar::Float(-1500.0), &b"-1.5e3"[..]));
    }

    #[test]
    fn what_is_no_token_is_a_null() {
        for bytes in [&b""[..], b"i", b"i123", b"d\0\0", b"?", b"b"] {
            assert_eq!(read(bytes), Scalar::Null);
            shown(bytes);
        }
    }
}
