//! Numbers in as few bytes as they need: seven bits a byte, lowest first, the high bit on all but the last (LEB128).
//!
//! Never: a number that does not fit, or more bytes than ten.

/// The bytes of `number`.
pub(super) fn len(number: u64) -> usize {
    (number | 1).ilog2() as usize / 7 + 1
}

/// Appends `number`.
pub(super) fn write(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Takes a number off the front. `None`: there is none, or it is larger than 64 bits.
pub(super) fn read(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        number |= bits.checked_shl(shift).filter(|shifted| shifted >> shift == bits)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_again(number in prop_oneof![any::<u64>(), 0_u64..300], rest in any::<[u8; 3]>()) {
            let mut bytes = Vec::new();
            write(&mut bytes, number);
            prop_assert_eq!(bytes.len(), len(number));
            bytes.extend(rest);
            let mut left = &bytes[..];
            prop_assert_eq!(read(&mut left), Some(number));
            prop_assert_eq!(left, rest);
        }

        #[test]
        fn hostile_bytes_are_refused_or_are_a_number(bytes in prop::collection::vec(any::<u8>(), 0..16)) {
            let mut left = &bytes[..];
            let _ = read(&mut left);
            prop_assert!(left.len() <= bytes.len());
        }
    }

    #[test]
    fn the_ends_of_the_range() {
        for (number, bytes) in [(0, 1), (127, 1), (128, 2), (u64::MAX, 10)] {
            assert_eq!(len(number), bytes, "{number}");
        }
        assert_eq!(read(&mut &[0xff; 9][..]), None, "cut off");
        assert_eq!(read(&mut &[0xff; 11][..]), None, "too large");
        assert_eq!(
            read(&mut &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02][..]),
            None,
            "too large"
        );
    }
}
