//! Where in a block of bytes the marks of CSV are: one bit a byte.

use wide::u8x16;

/// Bytes that are looked at together.
pub(super) const BLOCK: usize = 64;

/// For each bit, whether the number of ones up to it, itself included, is odd.
pub(super) fn parity(mut bits: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        bits ^= bits << shift;
    }
    bits
}

/// Where in a block something is: one bit a byte, the first byte's the lowest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Masks {
    pub(super) delimiters: u64,
    /// `\n` and `\r`.
    pub(super) breaks: u64,
    /// None where the quote is the delimiter: then there are none.
    pub(super) quotes: u64,
    pub(super) zeros: u64,
    /// Bytes that are not ASCII.
    pub(super) high: u64,
    /// Bytes that are there.
    pub(super) seen: u64,
}

impl Masks {
    #[inline]
    pub(super) fn of(block: &[u8; BLOCK], delimiter: u8, quote: u8) -> Masks {
        let mut masks = Masks { seen: u64::MAX, ..Masks::default() };
        for (part, bytes) in block.as_chunks::<16>().0.iter().enumerate() {
            let (lane, shift) = (u8x16::new(*bytes), part * 16);
            let equal = |byte| lane.simd_eq(u8x16::splat(byte));
            let bits = |lane: u8x16| u64::from(lane.to_bitmask()) << shift;
            masks.delimiters |= bits(equal(delimiter));
            masks.breaks |= bits(equal(b'\n') | equal(b'\r'));
            masks.quotes |= bits(equal(quote));
            masks.zeros |= bits(equal(0));
            masks.high |= bits(lane);
        }
        if quote == delimiter {
            masks.quotes = 0;
        }
        masks
    }

    /// Without all but the first bytes.
    pub(super) fn first(self, count: usize) -> Masks {
        let seen = u64::MAX >> (BLOCK - count);
        Masks {
            delimiters: self.delimiters & seen,
            breaks: self.breaks & seen,
            quotes: self.quotes & seen,
            zeros: self.zeros & seen,
            high: self.high & seen,
            seen,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found_at_every_place() {
        for at in 0..BLOCK {
            let of = |byte: u8| {
                let mut block = [b'x'; BLOCK];
                block[at] = byte;
                let masks = Masks::of(&block, b',', b'"');
                let all = [masks.delimiters, masks.breaks, masks.quotes, masks.zeros, masks.high];
                assert_eq!(all.iter().map(|mask| mask.count_ones()).sum::<u32>(), 1, "{byte}");
                all.map(|mask| mask == 1 << at)
            };
            assert_eq!(of(b','), [true, false, false, false, false]);
            assert_eq!(of(b'\n'), [false, true, false, false, false]);
            assert_eq!(of(b'\r'), [false, true, false, false, false]);
            assert_eq!(of(b'"'), [false, false, true, false, false]);
            assert_eq!(of(0), [false, false, false, true, false]);
            assert_eq!(of(0x80), [false, false, false, false, true]);
        }
        let masks = Masks::of(&[b','; BLOCK], b',', b',');
        assert_eq!((masks.delimiters, masks.quotes), (u64::MAX, 0), "no quote at all");
        assert_eq!(masks.first(3).delimiters, 7);
        assert_eq!(parity(0b1001_0010), !0 << 7 | 0b1110);
    }
}
