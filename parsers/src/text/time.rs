//! Times as they stand in logs.
//!
//! Promise: what is read is one of the forms below, whole, and a time that exists; all else is none. A time without a
//! year is given the year 0, which nobody takes for one: a decoder knows no clock, and a log no other place to look.
//!
//! | form | example |
//! |---|---|
//! | ISO 8601, also with a blank, slashes or a comma | `2025-08-25T12:00:00.123+08:00`, `2025/08/25 12:00:00,123` |
//! | of web servers | `10/Oct/2000:13:55:36 -0700` |
//! | of syslog | `Oct 11 22:14:15` |
//! | with the day of the week | `Wed Oct 11 14:32:52.123456 2000` |
//! | seconds or milliseconds since 1970 | `1286536308.779`, `1286536308779` |

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::scalar::Scalar;

const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";

/// Digits after the point that mean something; more are passed over.
const FRACTION_DIGITS: usize = 9;

/// Seconds since 1970 that a log may begin with: from 2001 to 2100. Other numbers of ten digits are no times.
const EPOCH_SECONDS: std::ops::Range<i64> = 1_000_000_000..4_102_444_800;

/// The time at the beginning of these bytes, and how many of them it takes.
pub(super) fn read(text: &[u8]) -> Option<(Scalar, usize)> {
    match text.first()? {
        b'0'..=b'9' => match text.get(2)? {
            b'/' => web(text),
            _ => iso(text),
        },
        b'A'..=b'Z' => syslog(text).or_else(|| weekday(text)),
        _ => None,
    }
}

/// A time in the making.
#[derive(Default)]
struct Parts {
    year: i16,
    month: i8,
    day: i8,
    hour: i8,
    minute: i8,
    second: i8,
    nanosecond: i32,
    /// Seconds east of Greenwich.
    offset: Option<i64>,
}

impl Parts {
    fn date(year: &[u8], month: i8, day: &[u8]) -> Parts {
        Parts { year: number(year) as i16, month, day: number(day) as i8, ..Parts::default() }
    }

    /// The time, if there is such a one.
    fn read(&self) -> Option<Scalar> {
        let date = Date::new(self.year, self.month, self.day).ok()?;
        let time = Time::new(self.hour, self.minute, self.second, self.nanosecond).ok()?;
        let at = DateTime::from_parts(date, time);
        Some(match self.offset {
            None => Scalar::Naive(at),
            Some(offset) => Scalar::Aware(at.checked_sub(SignedDuration::from_secs(offset)).ok()?),
        })
    }
}

fn iso(text: &[u8]) -> Option<(Scalar, usize)> {
    let separator = *text.get(4)?;
    let shape = if separator == b'/' { b"0000/00/00" } else { b"0000-00-00" };
    if !has_shape(text, shape) {
        return None;
    }
    let mut parts = Parts::date(&text[..4], number(&text[5..7]) as i8, &text[8..10]);
    if !matches!(text.get(10), Some(b'T' | b' ')) || !has_shape(&text[11..], b"00:00") {
        let day = Date::new(parts.year, parts.month, parts.day).ok()?;
        return ended(text, 10).then_some((Scalar::Date(day.at(0, 0, 0, 0)), 10));
    }
    let end = parts.clock(text, 11);
    let end = parts.zone(text, end);
    ended(text, end).then_some((parts.read()?, end))
}

fn web(text: &[u8]) -> Option<(Scalar, usize)> {
    if !has_shape(text, b"00/") || !has_shape(text.get(6..)?, b"/0000:00:00:00") {
        return None;
    }
    let mut parts = Parts::date(&text[7..11], month(&text[3..6])?, &text[..2]);
    let end = parts.clock(text, 12);
    let end = parts.zone(text, end);
    ended(text, end).then_some((parts.read()?, end))
}

fn syslog(text: &[u8]) -> Option<(Scalar, usize)> {
    let (parts, end) = month_day_clock(text)?;
    ended(text, end).then_some((parts.read()?, end))
}

fn weekday(text: &[u8]) -> Option<(Scalar, usize)> {
    let days: [&[u8]; 7] = [b"Mon ", b"Tue ", b"Wed ", b"Thu ", b"Fri ", b"Sat ", b"Sun "];
    if !days.iter().any(|day| text.starts_with(day)) {
        return None;
    }
    let text = &text[4..];
    let (mut parts, end) = month_day_clock(text)?;
    let year = text.get(end..end + 5).filter(|year| has_shape(year, b" 0000"))?;
    parts.year = number(&year[1..]) as i16;
    ended(text, end + 5).then_some((parts.read()?, end + 9))
}

/// `Oct 11 22:14:15`; the day may lack its first digit, with a blank for it or without.
fn month_day_clock(text: &[u8]) -> Option<(Parts, usize)> {
    let month = month(text.get(..3)?)?;
    let (day, clock_at) = match text.get(3..7)? {
        [b' ', b' ', b'0'..=b'9', b' '] => (&text[5..6], 7),
        [b' ', b'0'..=b'9', b'0'..=b'9', b' '] => (&text[4..6], 7),
        [b' ', b'0'..=b'9', b' ', _] => (&text[4..5], 6),
        _ => return None,
    };
    if !has_shape(text.get(clock_at..)?, b"00:00:00") {
        return None;
    }
    let mut parts = Parts::date(b"0000", month, day);
    let end = parts.clock(text, clock_at);
    Some((parts, end))
}

impl Parts {
    /// Reads `12:00`, `12:00:00` or `12:00:00.123`, of which the first is there; says where it ends.
    fn clock(&mut self, text: &[u8], start: usize) -> usize {
        let end = start + 5;
        (self.hour, self.minute) =
            (number(&text[start..start + 2]) as i8, number(&text[start + 3..end]) as i8);
        if !has_shape(&text[end..], b":00") {
            return end;
        }
        self.second = number(&text[end + 1..end + 3]) as i8;
        let end = end + 3;
        let [b'.' | b',', rest @ ..] = &text[end..] else { return end };
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return end;
        }
        let shown = digits.min(FRACTION_DIGITS);
        self.nanosecond = number(&rest[..shown]) * 10_i32.pow((FRACTION_DIGITS - shown) as u32);
        end + 1 + digits
    }

    /// Reads `Z`, `+08:00` or `+0800`, the last two also behind a blank; says where it ends.
    fn zone(&mut self, text: &[u8], end: usize) -> usize {
        let rest = &text[end..];
        if rest.first() == Some(&b'Z') {
            self.offset = Some(0);
            return end + 1;
        }
        let blank = usize::from(rest.first() == Some(&b' '));
        let (sign, rest) = match &rest[blank..] {
            [b'+', rest @ ..] => (1, rest),
            [b'-', rest @ ..] => (-1, rest),
            _ => return end,
        };
        for (shape, minutes) in [(&b"00:00"[..], 3), (b"0000", 2)] {
            if has_shape(rest, shape) {
                let minutes = number(&rest[..2]) * 60 + number(&rest[minutes..minutes + 2]);
                self.offset = Some(sign * 60 * i64::from(minutes));
                return end + blank + 1 + shape.len();
            }
        }
        end
    }
}

/// Seconds or milliseconds since 1970, at the beginning of a line.
pub(super) fn epoch(line: &[u8]) -> Option<(Scalar, usize)> {
    let digits = line.iter().take(14).take_while(|byte| byte.is_ascii_digit()).count();
    let mut nanoseconds = match digits {
        10 => 0,
        13 => i64::from(number(&line[10..13])) * 1_000_000,
        _ => return None,
    };
    let seconds = i64::from(number(&line[..5])) * 100_000 + i64::from(number(&line[5..10]));
    let mut end = digits;
    if digits == 10 && line.get(10) == Some(&b'.') {
        let mut unit = 100_000_000;
        for digit in line[11..].iter().take_while(|byte| byte.is_ascii_digit()) {
            nanoseconds += i64::from(digit - b'0') * unit;
            unit /= 10;
            end += 1;
        }
        end += usize::from(end > digits);
    }
    if !EPOCH_SECONDS.contains(&seconds) || !ended(line, end) {
        return None;
    }
    let at = Timestamp::new(seconds, nanoseconds as i32).ok()?;
    Some((Scalar::Aware(TimeZone::UTC.to_datetime(at)), end))
}

fn month(name: &[u8]) -> Option<i8> {
    Some(MONTHS.chunks(3).position(|month| month == name)? as i8 + 1)
}

/// The number that at most nine digits are.
fn number(digits: &[u8]) -> i32 {
    digits.iter().fold(0, |number, digit| number * 10 + i32::from(digit - b'0'))
}

/// Whether the text begins like this, with any digits for zeros.
fn has_shape(text: &[u8], shape: &[u8]) -> bool {
    let same = |(byte, like): (&u8, &u8)| if *like == b'0' { byte.is_ascii_digit() } else { byte == like };
    text.len() >= shape.len() && text.iter().zip(shape).all(same)
}

/// Whether a word or a number ends here.
fn ended(text: &[u8], end: usize) -> bool {
    text.get(end).is_none_or(|byte| !byte.is_ascii_alphanumeric())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn shown(found: Option<(Scalar, usize)>) -> String {
        match found {
            Some((Scalar::Date(at), end)) => format!("{} {end}", at.date()),
            Some((Scalar::Naive(at), end)) => format!("{at} {end}"),
            Some((Scalar::Aware(at), end)) => format!("{at}Z {end}"),
            _ => "none".to_owned(),
        }
    }

    #[test]
    fn every_form_is_read() {
        let cases = [
            ("2025-08-25", "2025-08-25 10"),
            ("2025-08-25 started", "2025-08-25 10"),
            ("2025-08-25 12:00 x", "2025-08-25T12:00:00 16"),
            ("2025-08-25T12:00:00Z]", "2025-08-25T12:00:00Z 20"),
            ("2025-08-25 12:00:00,123 x", "2025-08-25T12:00:00.123 23"),
            ("2025/08/25 12:00:00.5+0800", "2025-08-25T04:00:00.5Z 26"),
            ("2025-08-25 12:00:00 -07:00 x", "2025-08-25T19:00:00Z 26"),
            ("2025-08-25T12:00:00.1234567891Z", "2025-08-25T12:00:00.123456789Z 31"),
            ("2025-08-25 12:00:00 - x", "2025-08-25T12:00:00 19"),
            ("10/Oct/2000:13:55:36 -0700] x", "2000-10-10T20:55:36Z 26"),
            ("Oct 11 22:14:15 host", "0000-10-11T22:14:15 15"),
            ("Feb 29 22:14:15.25 host", "0000-02-29T22:14:15.25 18"),
            ("Oct  1 22:14:15", "0000-10-01T22:14:15 15"),
            ("Oct 1 22:14:15", "0000-10-01T22:14:15 14"),
            ("Wed Oct 11 14:32:52.123456 2000]", "2000-10-11T14:32:52.123456 31"),
            ("2025-13-25 12:00:00", "none"),
            ("2025-08-25 25:00:00", "none"),
            ("2025-08/25", "none"),
            ("2025-08-251", "none"),
            ("2025-08-25T12:00:00x", "none"),
            ("10/Okt/2000:13:55:36 -0700", "none"),
            ("Oct 32 22:14:15", "none"),
            ("Oct", "none"),
            ("October", "none"),
            ("Wed Oct 11 14:32:52", "none"),
            ("12:00:00", "none"),
            ("1", "none"),
            ("", "none"),
        ];
        for (text, expected) in cases {
            assert_eq!(shown(read(text.as_bytes())), expected, "{text:?}");
        }
    }

    #[test]
    fn seconds_since_1970_are_read() {
        let cases = [
            ("1286536308 x", "2010-10-08T11:11:48Z 10"),
            ("1286536308.779   180", "2010-10-08T11:11:48.779Z 14"),
            ("1286536308779", "2010-10-08T11:11:48.779Z 13"),
            ("1286536308.", "2010-10-08T11:11:48Z 10"),
            ("0286536308", "none"),
            ("12865363081", "none"),
            ("1286536308a", "none"),
            ("99999999999999999999", "none"),
            ("", "none"),
        ];
        for (text, expected) in cases {
            assert_eq!(shown(epoch(text.as_bytes())), expected, "{text:?}");
        }
    }

    #[test]
    fn a_time_that_is_cut_off_is_no_panic() {
        for text in
            ["2025-08-25 12:00:00,123 -0700", "10/Oct/2000:13:55:36 -0700", "Wed Oct 11 14:32:52.123456 2000"]
        {
            for end in 0..text.len() {
                read(&text.as_bytes()[..end]);
            }
        }
    }
}
