//! Numbers as people write them outside of programs: with a decimal comma, with groups of three digits, with leading
//! zeros.
//!
//! Promise: everything that `scalar::read` knows keeps its meaning, unless the reader was told otherwise; a group is
//! three digits, or the text is no number.

use super::{Decimal, Numbers, Scalar};

/// Longest text that is looked at: no number has more characters.
const NUMBER_BYTES_MAX: usize = 64;

/// Blanks that do not break a line, as typesetters put them between groups.
const HARD_BLANKS: [&str; 2] = ["\u{a0}", "\u{202f}"];

/// Understands the field of a text file with these numbers.
pub(super) fn read(token: &[u8], numbers: Numbers) -> Scalar {
    match super::read(token) {
        Scalar::Text => number(token, numbers).unwrap_or(Scalar::Text),
        // Where the comma is the decimal sign, the point is none.
        Scalar::Float(value) if numbers.decimal == Decimal::Comma && token.contains(&b'.') => {
            number(token, numbers).unwrap_or(if value.is_infinite() {
                Scalar::Float(value)
            } else {
                Scalar::Text
            })
        }
        scalar => scalar,
    }
}

fn number(token: &[u8], numbers: Numbers) -> Option<Scalar> {
    let text = super::trim(token);
    // Most text is told apart by its first character.
    if !matches!(text.first()?, b'0'..=b'9' | b'+' | b'-' | b'.' | b',') || text.len() > NUMBER_BYTES_MAX {
        return None;
    }
    let text = str::from_utf8(text).ok()?;
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => ("-", &text[1..]),
        b'+' => ("", &text[1..]),
        _ => ("", text),
    };
    let comma = numbers.decimal != Decimal::Point;
    // With both signs allowed, the one that stands here decides.
    let point = match numbers.decimal {
        Decimal::Point => true,
        Decimal::Comma => false,
        Decimal::Either => !digits.contains(','),
    };
    let cut =
        if comma && !point { digits.rsplit_once(',') } else { digits.rsplit_once('.').filter(|_| point) };
    // Two points in a row of groups are no decimals.
    let cut = cut.filter(|(whole, _)| !(comma && point && whole.contains('.')));
    let (whole, decimals) = cut.map_or((digits, None), |(whole, decimals)| (whole, Some(decimals)));
    if decimals.is_some_and(|decimals| !decimals.bytes().all(|byte| byte.is_ascii_digit())) {
        return None;
    }
    let (grouped, whole) = groups(whole, numbers, comma, decimals.is_some() && !point)?;
    let whole = match whole.trim_start_matches('0') {
        kept if kept.len() == whole.len() || whole == "0" => whole.as_str(),
        kept if numbers.leading_zeros => {
            if kept.is_empty() {
                "0"
            } else {
                kept
            }
        }
        _ => return None,
    };
    let text = match decimals {
        Some(decimals) => format!("{sign}{whole}.{decimals}"),
        None => format!("{sign}{whole}"),
    };
    let scalar = super::number(text.as_bytes())?;
    let is_comma = comma && (decimals.is_some() && !point || grouped == Some('.'));
    Some(match scalar {
        Scalar::Int(value) if is_comma => Scalar::Comma(value as f64),
        Scalar::Unsigned(value) if is_comma => Scalar::Comma(value as f64),
        Scalar::Float(value) | Scalar::Huge(value) if is_comma => Scalar::Comma(value),
        scalar => scalar,
    })
}

/// The digits in front of the decimals, without what stands between their groups; and what that is.
fn groups(whole: &str, numbers: Numbers, comma: bool, has_comma: bool) -> Option<(Option<char>, String)> {
    if whole.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some((None, whole.to_owned()));
    }
    let separator = whole.chars().find(|char| !char.is_ascii_digit())?;
    let allowed = match numbers.thousands {
        Some(told) => separator == told,
        None if !comma => false,
        None if separator == '.' => true,
        // A plain blank may as well stand between two numbers.
        None if separator == ' ' => has_comma,
        None => HARD_BLANKS.iter().any(|blank| blank.starts_with(separator)),
    };
    let mut parts = whole.split(separator);
    let first = parts.next()?;
    let is_group = |part: &str| part.len() == 3 && part.bytes().all(|byte| byte.is_ascii_digit());
    let starts = (1..=3).contains(&first.len()) && first.bytes().all(|byte| byte.is_ascii_digit());
    let ends: Vec<&str> = parts.collect();
    (allowed && starts && ends.iter().all(|part| is_group(part)))
        .then(|| (Some(separator), format!("{first}{}", ends.concat())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EITHER: Numbers = Numbers { decimal: Decimal::Either, thousands: None, leading_zeros: false };

    #[test]
    fn decimal_commas_and_groups_are_numbers() {
        let cases: &[(&str, Scalar)] = &[
            ("1,5", Scalar::Comma(1.5)),
            ("-1,5", Scalar::Comma(-1.5)),
            ("0,5", Scalar::Comma(0.5)),
            (" 1,5 ", Scalar::Comma(1.5)),
            (",5", Scalar::Comma(0.5)),
            ("1.234,5", Scalar::Comma(1234.5)),
            ("1.234.567,8", Scalar::Comma(1_234_567.8)),
            ("1.234.567", Scalar::Comma(1_234_567.0)),
            ("1 234 567,8", Scalar::Comma(1_234_567.8)),
            ("1\u{a0}234,5", Scalar::Comma(1234.5)),
            ("1\u{202f}234", Scalar::Int(1234)),
            ("1.5", Scalar::Float(1.5)),
            ("1.234", Scalar::Float(1.234)),
            ("15", Scalar::Int(15)),
            ("inf", Scalar::Float(f64::INFINITY)),
        ];
        for (token, scalar) in cases {
            assert_eq!(read(token.as_bytes(), EITHER), *scalar, "{token:?}");
        }
        let text =
            "1,2,3|1,234,567|1.23,4|12.34.567|1234.567,8|1 234|1 23,4|,|1,|01,5|1,5e3|1,x|.|--1,5|1.2.3";
        for token in text.split('|') {
            let expected = if token == "1," { Scalar::Comma(1.0) } else { Scalar::Text };
            assert_eq!(read(token.as_bytes(), EITHER), expected, "{token:?}");
        }
    }

    #[test]
    fn what_is_told_decides() {
        let of = |token: &str, decimal, thousands, leading_zeros| {
            read(token.as_bytes(), Numbers { decimal, thousands, leading_zeros })
        };
        assert_eq!(of("1,234.5", Decimal::Point, Some(','), false), Scalar::Float(1234.5));
        assert_eq!(of("1,234", Decimal::Point, Some(','), false), Scalar::Int(1234));
        assert_eq!(of("1,23", Decimal::Point, Some(','), false), Scalar::Text);
        assert_eq!(of("1,5", Decimal::Point, None, false), Scalar::Text);
        assert_eq!(of("1.5", Decimal::Comma, None, false), Scalar::Text);
        assert_eq!(of("1.234", Decimal::Comma, None, false), Scalar::Comma(1234.0));
        assert_eq!(of("1'234,5", Decimal::Comma, Some('\''), false), Scalar::Comma(1234.5));
        assert_eq!(of("007", Decimal::Point, None, true), Scalar::Int(7));
        assert_eq!(of("-00.50", Decimal::Point, None, true), Scalar::Float(-0.5));
        assert_eq!(of("000", Decimal::Point, None, true), Scalar::Int(0));
        assert_eq!(of("00,5", Decimal::Either, None, true), Scalar::Comma(0.5));
        assert_eq!(of("007", Decimal::Point, None, false), Scalar::Text);
    }
}
