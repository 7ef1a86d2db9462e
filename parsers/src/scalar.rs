//! What one token of a text file means: a null, a number, a truth value, a date, or just text.
//!
//! Promise: the meaning of a token depends on its bytes alone, and is what pandas' C parser reads, with
//! these deliberate differences: a leading zero (`007`) is text, because the zero means something; ISO
//! dates are known as dates. Quoting does not matter: `"NA"` is a null and `"1"` a number, as in pandas.

mod local;
mod plain;
pub mod tagged;

use std::borrow::Cow;

use jiff::SignedDuration;
use jiff::civil::{Date, DateTime};
use serde::{Deserialize, Serialize};

use crate::aggregate::Word;

/// How the values of a file are written as tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Syntax {
    /// As the fields of a text file: what a field means is found in its text.
    #[default]
    Field,
    /// The same, with numbers that are written in other ways.
    Local(Numbers),
    /// As [`tagged`] tokens: the format said what each value is.
    Tagged,
}

/// How the numbers of a text file are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbers {
    /// What stands in front of their decimals.
    pub decimal: Decimal,
    /// What stands between groups of three digits. Without it, only numbers with a decimal comma have groups.
    pub thousands: Option<char>,
    /// Whether `007` is the number 7.
    pub leading_zeros: bool,
}

/// What stands in front of decimals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Decimal {
    /// A point.
    #[default]
    Point,
    /// A comma.
    Comma,
    /// Either of them, but a column has only one.
    Either,
}

impl Syntax {
    /// How the values are written, for people.
    pub(crate) fn told(self) -> String {
        let Numbers { decimal, thousands, leading_zeros } = match self {
            Syntax::Field => Numbers::default(),
            Syntax::Local(numbers) => numbers,
            Syntax::Tagged => return "with their types".to_owned(),
        };
        let decimal = match decimal {
            Decimal::Point => "points",
            Decimal::Comma => "commas",
            Decimal::Either => "points or commas",
        };
        let thousands = thousands.map_or(String::new(), |mark| format!(" and {mark:?} between thousands"));
        let zeros = if leading_zeros { " and leading zeros that mean nothing" } else { "" };
        format!("as text with decimal {decimal}{thousands}{zeros}")
    }

    /// Understands one token.
    pub fn read(self, token: &[u8]) -> Scalar {
        match self {
            Syntax::Field => read(token),
            Syntax::Local(numbers) => local::read(token, numbers),
            Syntax::Tagged => tagged::read(token),
        }
    }

    /// Understands one token that is prepared.
    #[inline]
    pub(crate) fn read_word(self, word: &Word<'_>) -> Scalar {
        match self {
            Syntax::Field => plain::number(word).unwrap_or_else(|| read(word.text())),
            _ => self.read(word.text()),
        }
    }

    /// A token as a person would write it.
    pub fn shown(self, token: &[u8]) -> Cow<'_, [u8]> {
        match self {
            Syntax::Field | Syntax::Local(_) => Cow::Borrowed(token),
            Syntax::Tagged => tagged::shown(token),
        }
    }
}

/// A token, understood.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar {
    /// One of pandas' null words, or nothing at all.
    Null,
    /// An integer of 64 bits.
    Int(i64),
    /// An integer above `i64::MAX` that fits in 64 bits without a sign.
    Unsigned(u64),
    /// An integer beyond 64 bits, as the nearest float. Most often an identifier.
    Huge(f64),
    /// A number with a point or an exponent, or an infinity.
    Float(f64),
    /// A number with a decimal comma.
    Comma(f64),
    /// `true` or `false`, in any case.
    Bool(bool),
    /// An ISO 8601 date, at midnight.
    Date(DateTime),
    /// An ISO 8601 date and time without an offset.
    Naive(DateTime),
    /// An ISO 8601 date and time with an offset, in UTC.
    Aware(DateTime),
    /// Anything else.
    Text,
}

/// Understands the field of a text file.
pub fn read(token: &[u8]) -> Scalar {
    let Some(&first) = token.first() else { return Scalar::Null };
    match first {
        b'0'..=b'9' => number_or_date(token),
        b'+' | b'-' | b'.' | b' ' | b'\t' | b'\x0b' | b'\x0c' | b'\r' | b'\n' => match number(token) {
            Some(scalar) => scalar,
            None => word(token),
        },
        _ => word(token),
    }
}

fn number_or_date(token: &[u8]) -> Scalar {
    // No number has two of these.
    if token.len() >= 10 && token[4] == b'-' && token[7] == b'-' {
        return date(token).unwrap_or(Scalar::Text);
    }
    if let Some(scalar) = number(token) {
        return scalar;
    }
    // `1.#IND` and `1.#QNAN` are the only words that begin with a digit.
    if is_null(token) {
        return Scalar::Null;
    }
    date(token).unwrap_or(Scalar::Text)
}

fn word(token: &[u8]) -> Scalar {
    if is_null(token) {
        return Scalar::Null;
    }
    match token.len() {
        4 if token.eq_ignore_ascii_case(b"true") => return Scalar::Bool(true),
        5 if token.eq_ignore_ascii_case(b"false") => return Scalar::Bool(false),
        _ => {}
    }
    let (negative, magnitude) = match token {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if magnitude.eq_ignore_ascii_case(b"inf") || magnitude.eq_ignore_ascii_case(b"infinity") {
        return Scalar::Float(if negative { f64::NEG_INFINITY } else { f64::INFINITY });
    }
    Scalar::Text
}

fn is_null(token: &[u8]) -> bool {
    matches!(
        token,
        b"" | b"#N/A"
            | b"#N/A N/A"
            | b"#NA"
            | b"-1.#IND"
            | b"-1.#QNAN"
            | b"-NaN"
            | b"-nan"
            | b"1.#IND"
            | b"1.#QNAN"
            | b"<NA>"
            | b"N/A"
            | b"NA"
            | b"NULL"
            | b"NaN"
            | b"None"
            | b"n/a"
            | b"nan"
            | b"null"
    )
}

/// A number in pandas' syntax: blanks around it are tolerated, blanks inside are not.
fn number(token: &[u8]) -> Option<Scalar> {
    plain::number(&Word::new(token)).or_else(|| any_number(token))
}

fn any_number(token: &[u8]) -> Option<Scalar> {
    let text = trim(token);
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    match digits {
        // A leading zero is kept as written.
        [b'0', b'0'..=b'9', ..] => return None,
        [b'0'..=b'9', ..] | [b'.', b'0'..=b'9', ..] => {}
        _ => return None,
    }
    if digits.iter().all(u8::is_ascii_digit) {
        return Some(integer(negative, digits));
    }
    if !digits.iter().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-')) {
        return None;
    }
    let value: f64 = str::from_utf8(text).ok()?.parse().ok()?;
    Some(Scalar::Float(value))
}

fn integer(negative: bool, digits: &[u8]) -> Scalar {
    let mut magnitude: u64 = 0;
    for &digit in digits {
        let shifted = magnitude.checked_mul(10).and_then(|m| m.checked_add(u64::from(digit - b'0')));
        let Some(next) = shifted else { return huge(negative, digits) };
        magnitude = next;
    }
    if negative {
        match 0i64.checked_sub_unsigned(magnitude) {
            Some(value) => Scalar::Int(value),
            None => huge(true, digits),
        }
    } else {
        match i64::try_from(magnitude) {
            Ok(value) => Scalar::Int(value),
            Err(_) => Scalar::Unsigned(magnitude),
        }
    }
}

fn huge(negative: bool, digits: &[u8]) -> Scalar {
    // Digits always parse: a very long run of them is an infinity.
    let magnitude: f64 =
        str::from_utf8(digits).ok().and_then(|text| text.parse().ok()).unwrap_or(f64::INFINITY);
    Scalar::Huge(if negative { -magnitude } else { magnitude })
}

/// C's `isspace`, which has the vertical tab that Rust's `trim_ascii` leaves.
fn trim(mut text: &[u8]) -> &[u8] {
    let blank = |b: &u8| matches!(b, b' ' | b'\t'..=b'\r');
    while let [first, rest @ ..] = text
        && blank(first)
    {
        text = rest;
    }
    while let [rest @ .., last] = text
        && blank(last)
    {
        text = rest;
    }
    text
}

/// `YYYY-MM-DD`, alone or followed by `T` or a blank, a time and perhaps an offset.
fn date(token: &[u8]) -> Option<Scalar> {
    if token.len() < 10 || token[4] != b'-' || token[7] != b'-' {
        return None;
    }
    let year = decimal(&token[..4])? as i16;
    let day = Date::new(year, decimal(&token[5..7])? as i8, decimal(&token[8..10])? as i8).ok()?;
    match &token[10..] {
        [] => Some(Scalar::Date(day.at(0, 0, 0, 0))),
        [b'T' | b't' | b' ', time @ ..] => at_time(day, time),
        _ => None,
    }
}

/// `HH:MM`, `HH:MM:SS` or `HH:MM:SS.fraction`, then nothing, `Z`, `±HH:MM`, `±HHMM` or `±HH`.
fn at_time(day: Date, text: &[u8]) -> Option<Scalar> {
    if text.len() < 5 || text[2] != b':' {
        return None;
    }
    let (hour, minute) = (decimal(&text[..2])?, decimal(&text[3..5])?);
    let mut rest = &text[5..];
    let (mut second, mut nanos) = (0, 0);
    if let [b':', tail @ ..] = rest {
        second = decimal(tail.get(..2)?)?;
        rest = &tail[2..];
        if let [b'.', tail @ ..] = rest {
            let len = tail.iter().take_while(|b| b.is_ascii_digit()).count();
            nanos = fraction(&tail[..len])?;
            rest = &tail[len..];
        }
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let at = day.at(hour as i8, minute as i8, second as i8, nanos);
    let offset = match rest {
        [] => return Some(Scalar::Naive(at)),
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), rest @ ..] => {
            let (hours, minutes) = match rest {
                [a, b] => (decimal(&[*a, *b])?, 0),
                [a, b, c, d] | [a, b, b':', c, d] => (decimal(&[*a, *b])?, decimal(&[*c, *d])?),
                _ => return None,
            };
            if hours > 23 || minutes > 59 {
                return None;
            }
            let seconds = i64::from(hours * 3600 + minutes * 60);
            if *sign == b'-' { -seconds } else { seconds }
        }
        _ => return None,
    };
    // Beyond the last year that can be written, a date is only text.
    at.checked_sub(SignedDuration::from_secs(offset)).ok().map(Scalar::Aware)
}

fn decimal(digits: &[u8]) -> Option<i32> {
    let mut value = 0;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value * 10 + i32::from(digit - b'0');
    }
    Some(value)
}

/// The nanoseconds of one to nine digits after the point.
fn fraction(digits: &[u8]) -> Option<i32> {
    if digits.is_empty() || digits.len() > 9 {
        return None;
    }
    Some(decimal(digits)? * 10_i32.pow(9 - digits.len() as u32))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        /// The short way gives the float that the standard library's parser gives, bit for bit.
        #[test]
        fn decimal_fractions_are_rounded_once(text in "[+-]?(0|[1-9][0-9]{0,16})\\.[0-9]{0,17}") {
            let whole: f64 = text.parse().unwrap();
            let Scalar::Float(ours) = read(text.as_bytes()) else { panic!("{text} is a float") };
            prop_assert_eq!(ours.to_bits(), whole.to_bits(), "{}", text);
        }
    }

    #[test]
    fn numbers_are_what_pandas_reads() {
        let cases: &[(&str, Scalar)] = &[
            ("1", Scalar::Int(1)),
            (" 1", Scalar::Int(1)),
            ("1\x0b", Scalar::Int(1)),
            ("\t1\t", Scalar::Int(1)),
            ("+1", Scalar::Int(1)),
            ("-0", Scalar::Int(0)),
            ("-9223372036854775808", Scalar::Int(i64::MIN)),
            ("9223372036854775808", Scalar::Unsigned(1 << 63)),
            ("18446744073709551616", Scalar::Huge(18446744073709551616.0)),
            ("-9223372036854775809", Scalar::Huge(-9223372036854775809.0)),
            ("1.", Scalar::Float(1.0)),
            (".5", Scalar::Float(0.5)),
            ("-.5", Scalar::Float(-0.5)),
            ("0.5", Scalar::Float(0.5)),
            ("0e5", Scalar::Float(0.0)),
            ("1E+5", Scalar::Float(1e5)),
            ("1e05", Scalar::Float(1e5)),
            ("1.e5", Scalar::Float(1e5)),
            ("1e400", Scalar::Float(f64::INFINITY)),
            ("-Infinity", Scalar::Float(f64::NEG_INFINITY)),
            ("iNf", Scalar::Float(f64::INFINITY)),
        ];
        for (token, scalar) in cases {
            assert_eq!(read(token.as_bytes()), *scalar, "{token:?}");
        }
        let text = "- 1|+ 1|.|1e|1e+|0x10|1_000| inf|inf |nan |NAN|+nan|1.5f|1d5| True|yes|1 2|１|1 e5|$1|1%\
            |--1|+-1|e5|.e5|1.2.3|007|-007|00|00.5| NA|Null|NaT|-|?|+|1-1";
        for token in text.split('|') {
            assert_eq!(read(token.as_bytes()), Scalar::Text, "{token:?}");
        }
    }

    #[test]
    fn null_words_are_those_of_pandas() {
        let words = "|#N/A|#N/A N/A|#NA|-1.#IND|-1.#QNAN|-NaN|-nan|1.#IND|1.#QNAN|<NA>|N/A|NA|NULL|NaN|None\
            |n/a|nan|null";
        assert_eq!(words.split('|').count(), 19);
        for word in words.split('|') {
            assert_eq!(read(word.as_bytes()), Scalar::Null, "{word:?}");
        }
    }

    #[test]
    fn dates_are_iso_8601() {
        let at = |text: &str| -> DateTime { text.parse().unwrap() };
        let cases = [
            ("2013-01-01", Scalar::Date(at("2013-01-01T00:00:00"))),
            ("2013-01-01T05:00:00Z", Scalar::Aware(at("2013-01-01T05:00:00"))),
            ("2013-01-01 05:00:00.25+01:30", Scalar::Aware(at("2013-01-01T03:30:00.25"))),
            ("2013-01-01 05:00", Scalar::Naive(at("2013-01-01T05:00:00"))),
            ("2013-01-01T05:00:00.123456789", Scalar::Naive(at("2013-01-01T05:00:00.123456789"))),
            ("9999-12-31T23:59:59Z", Scalar::Aware(at("9999-12-31T23:59:59"))),
            ("2012-02-29", Scalar::Date(at("2012-02-29T00:00:00"))),
            ("2013-02-29", Scalar::Text),
            ("2013-13-01", Scalar::Text),
            ("2013-01-01T24:00:00", Scalar::Text),
            ("2013-01-01T05:00:60", Scalar::Text),
            ("2013-01-01T05:00:00.", Scalar::Text),
            ("2013-1-1", Scalar::Text),
            ("20130101x", Scalar::Text),
            ("2013-01-01 ", Scalar::Text),
        ];
        for (token, scalar) in cases {
            assert_eq!(read(token.as_bytes()), scalar, "{token:?}");
        }
    }
}
