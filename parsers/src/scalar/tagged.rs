//! Tokens of formats that say themselves what a value is: JSON, Parquet, Arrow.
//!
//! The first byte is a tag, the rest the value: text as it is, numbers of JSON as they are written, values of typed
//! columns as their bytes, without a detour through text. So such values go through the same tables as the fields of a
//! text file, and each different one is understood once. Promise: tokens are equal exactly when the values are, as
//! long as a column is written with one way for its numbers.

use std::borrow::Cow;

use jiff::civil::{Date, DateTime};

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
/// A day, a time without and one with an offset: in the fields of [`time`].
const DATE: u8 = b'd';
const NAIVE: u8 = b'p';
const AWARE: u8 = b'z';

/// Bytes of a time: year, month, day, hour, minute, second, nanoseconds.
const TIME_BYTES: usize = 11;

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
        Scalar::Date(at) => tag(token, DATE, &time(at)),
        Scalar::Naive(at) => tag(token, NAIVE, &time(at)),
        Scalar::Aware(at) => tag(token, AWARE, &time(at)),
        Scalar::Null | Scalar::Text => token.clear(),
    }
}

fn tag(token: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    token.clear();
    token.push(tag);
    token.extend_from_slice(bytes);
}

fn time(at: DateTime) -> [u8; TIME_BYTES] {
    let mut bytes = [0; TIME_BYTES];
    bytes[..2].copy_from_slice(&at.year().to_le_bytes());
    for (byte, part) in bytes[2..].iter_mut().zip([at.month(), at.day(), at.hour(), at.minute(), at.second()])
    {
        *byte = part as u8;
    }
    bytes[7..].copy_from_slice(&at.subsec_nanosecond().to_le_bytes());
    bytes
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
        DATE => Scalar::Date(at(bytes)?),
        NAIVE => Scalar::Naive(at(bytes)?),
        AWARE => Scalar::Aware(at(bytes)?),
        _ => return None,
    })
}

fn at(bytes: &[u8]) -> Option<DateTime> {
    let &[y0, y1, month, day, hour, minute, second, n0, n1, n2, n3] = bytes.first_chunk::<TIME_BYTES>()?;
    let date = Date::new(i16::from_le_bytes([y0, y1]), month as i8, day as i8).ok()?;
    Some(date.at(hour as i8, minute as i8, second as i8, i32::from_le_bytes([n0, n1, n2, n3])))
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
            Scalar::Null | Scalar::Text => Cow::Borrowed(bytes),
        },
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn typed_values_come_back_as_they_were() {
        let time: DateTime = "2013-01-02T03:04:05.123456789".parse().unwrap();
        let day: DateTime = "-000044-03-15T00:00:00".parse().unwrap();
        let cases = [
            (Scalar::Int(i64::MIN), "-9223372036854775808"),
            (Scalar::Unsigned(u64::MAX), "18446744073709551615"),
            (Scalar::Float(-0.5), "-0.5"),
            (Scalar::Float(f64::INFINITY), "inf"),
            (Scalar::Bool(true), "True"),
            (Scalar::Date(day), "-000044-03-15"),
            (Scalar::Naive(time), "2013-01-02T03:04:05.123456789"),
            (Scalar::Aware(time), "2013-01-02T03:04:05.123456789Z"),
        ];
        let mut token = Vec::new();
        for (scalar, text) in cases {
            value(&mut token, &scalar);
            assert_eq!(read(&token), scalar);
            assert_eq!(String::from_utf8_lossy(&shown(&token)), text);
        }
        value(&mut token, &Scalar::Float(f64::NAN));
        assert_eq!(read(&token), Scalar::Null);
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
        for bytes in [&b""[..], b"i", b"i123", b"d\0\0\x0d\0\0\0\0\0\0\0\0", b"?", b"b"] {
            assert_eq!(read(bytes), Scalar::Null);
            shown(bytes);
        }
    }
}
