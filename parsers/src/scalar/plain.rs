//! Numbers as most are written, eight characters at once.
//!
//! Promise: what is understood here is what the general way ([`super::any_number`]) understands, to the last bit.

use super::Scalar;
use crate::aggregate::Word;

/// Characters of a register.
const HALF: usize = 8;
/// A byte in each place of a register.
const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x80 * ONES;
const ZEROS: u64 = b'0' as u64 * ONES;
const POINTS: u64 = b'.' as u64 * ONES;

/// The powers of ten that are exact as floats, as far as whole numbers of so many digits are, too: then one division rounds
/// once, as a whole parser would (W. D. Clinger, "How to read floating point numbers accurately", 1990).
const TENS: [f64; 16] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// Up to sixteen digits, perhaps with a minus before them, or fifteen with a point among them. `None`: it may be something
/// else.
#[inline]
pub(super) fn number(word: &Word<'_>) -> Option<Scalar> {
    let (mut text, mut len) = word.inline()?;
    let negative = text as u8 == b'-';
    if negative {
        (text, len) = (text >> 8, len - 1);
    }
    let digit = |byte: u8| byte.wrapping_sub(b'0') <= 9;
    // Not even one digit, or a leading zero, which means something.
    if !digit(text as u8) || (text as u8 == b'0' && digit((text >> 8) as u8)) {
        return None;
    }
    let (text, places) = without_point(text, len);
    let count = len - usize::from(places.is_some());
    let value = match count.checked_sub(HALF) {
        None | Some(0) => eight(text as u64, count)?,
        Some(more) => {
            // The last eight digits, and those before them.
            let last = (text >> (8 * more)) as u64;
            eight(text as u64, more)? * 100_000_000 + eight(last, HALF)?
        }
    };
    Some(match places {
        None if negative => Scalar::Int(-(value as i64)),
        None => Scalar::Int(value as i64),
        Some(places) => {
            let value = value as f64 / TENS[places];
            Scalar::Float(if negative { -value } else { value })
        }
    })
}

/// Takes the first point out; how many characters are behind it.
#[inline]
fn without_point(text: u128, len: usize) -> (u128, Option<usize>) {
    let low = points(text as u64);
    let at = if low != 0 {
        low.trailing_zeros() as usize / 8
    } else if len > HALF {
        match points((text >> 64) as u64) {
            0 => return (text, None),
            high => HALF + high.trailing_zeros() as usize / 8,
        }
    } else {
        return (text, None);
    };
    let before = (1u128 << (8 * at)) - 1;
    (text & before | (text >> 8) & !before, Some(len - 1 - at))
}

/// The highest bit of each byte that is a point; above the first of them perhaps of others.
#[inline]
fn points(text: u64) -> u64 {
    let zero = text ^ POINTS;
    zero.wrapping_sub(ONES) & !zero & HIGH
}

/// The first `count` characters (one to eight) as a number, if they are digits.
#[inline]
fn eight(text: u64, count: usize) -> Option<u64> {
    let shift = 8 * (HALF - count);
    // Zeros in front.
    let text = text << shift | (ZEROS >> 8) >> (56 - shift);
    // 0x30 to 0x39: the upper half of each is 3, and stays so when 6 is added.
    let upper = 0xf0 * ONES;
    if text & upper | (text.wrapping_add(0x06 * ONES) & upper) >> 4 != 0x33 * ONES {
        return None;
    }
    let ones = text - ZEROS;
    let pairs = (ones * 10 + (ones >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    Some((fours * 10_000 + (fours >> 32)) & 0xffff_ffff)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::scalar::any_number;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(50_000))]

        #[test]
        fn what_is_understood_is_what_the_other_way_understands(
            text in prop_oneof![
                "-?[0-9]{0,18}",
                "-?[0-9]{0,9}\\.[0-9]{0,9}",
                "[0-9.eE+-]{0,17}",
                "[ -~]{0,17}",
                "\\PC{0,8}",
            ],
        ) {
            if let Some(scalar) = number(&Word::new(text.as_bytes())) {
                prop_assert_eq!(format!("{scalar:?}"), format!("{:?}", any_number(text.as_bytes()).unwrap()), "{}", text);
            }
        }

        #[test]
        fn what_most_numbers_look_like_is_understood(text in "-?(0|[1-9][0-9]{0,6})(\\.[0-9]{0,7})?") {
            prop_assert!(number(&Word::new(text.as_bytes())).is_some(), "{}", text);
        }
    }
}
