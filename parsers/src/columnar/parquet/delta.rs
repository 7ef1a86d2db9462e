//! Texts of which only the ends are stored, each after the number of bytes it shares with the one before, and the
//! numbers that are packed as differences with which they begin.
//!
//! Promise: what is written out stays within a bound.

/// The largest size of a part, so that its numbers fit into memory: writers have 32.
const PART_MAX: u64 = 1 << 16;
/// Bits of the numbers, which are lengths.
const BITS_MAX: u8 = 32;

/// A reader of numbers packed as differences. In front stand the size of a block, the number of its parts, the count,
/// and the first number; each block has the smallest difference, the bits of its parts, and the parts.
struct Differences<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Differences<'_> {
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn signed(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// The numbers, which must be lengths and not more than `count_max`.
    fn lengths(&mut self, count_max: u32) -> Option<Vec<usize>> {
        let (block, parts, count) = (self.varint()?, self.varint()?, self.varint()?);
        let first = self.signed()?;
        let per_part =
            block.checked_div(parts).filter(|size| (1..=PART_MAX).contains(size) && size % 8 == 0)?;
        let per_part = usize::try_from(per_part).ok()?;
        let count = usize::try_from(count).ok().filter(|count| *count <= count_max as usize)?;
        let mut lengths = Vec::with_capacity(count);
        let mut last = first;
        if count > 0 {
            lengths.push(usize::try_from(last).ok()?);
        }
        while lengths.len() < count {
            let least = self.signed()?;
            let widths = self.bytes.get(self.at..self.at.checked_add(usize::try_from(parts).ok()?)?)?;
            self.at += widths.len();
            for &bits in widths {
                let left = count - lengths.len();
                if left == 0 {
                    break;
                }
                if bits > BITS_MAX {
                    return None;
                }
                let packed = self.bytes.get(self.at..)?;
                let mut numbers = Bits { bytes: packed, at: 0, held: 0, count: 0 };
                for _ in 0..left.min(per_part) {
                    last = last.wrapping_add(least).wrapping_add(numbers.next(bits)?);
                    // They are 32 bits wide, and may pass over the end of them and back.
                    last = i64::from(last as i32);
                    lengths.push(usize::try_from(last).ok()?);
                }
                self.at += per_part / 8 * usize::from(bits);
            }
        }
        // The last part may be cut off behind its last number.
        self.at = self.at.min(self.bytes.len());
        Some(lengths)
    }
}

/// Numbers of some bits each, the lowest first.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    held: u64,
    count: u8,
}

impl Bits<'_> {
    fn next(&mut self, bits: u8) -> Option<i64> {
        while self.count < bits {
            self.held |= u64::from(*self.bytes.get(self.at)?) << self.count;
            self.at += 1;
            self.count += 8;
        }
        let value = self.held & ((1 << bits) - 1);
        self.held >>= bits;
        self.count -= bits;
        Some(value as i64)
    }
}

/// How many numbers are packed here, by their own account.
pub(super) fn count(bytes: &[u8]) -> Option<u64> {
    let mut numbers = Differences { bytes, at: 0 };
    numbers.varint()?;
    numbers.varint()?;
    numbers.varint()
}

/// Writes texts out, behind what is in `plain`: each after its length, or without. Not more than `count_max` of them, and
/// not more than `bytes_max`.
pub(super) fn texts(
    bytes: &[u8],
    count_max: u32,
    has_lengths: bool,
    bytes_max: usize,
    plain: &mut Vec<u8>,
) -> Option<()> {
    if bytes.is_empty() {
        return Some(());
    }
    let mut numbers = Differences { bytes, at: 0 };
    let shared = numbers.lengths(count_max)?;
    let mut numbers = Differences { bytes: bytes.get(numbers.at..)?, at: 0 };
    let own = numbers.lengths(count_max)?;
    if shared.len() != own.len() {
        return None;
    }
    let mut rest = numbers.bytes.get(numbers.at..)?;
    let mut before = 0..0;
    for (shared, own) in shared.into_iter().zip(own) {
        let (text, behind) = rest.split_at_checked(own)?;
        rest = behind;
        let (Some(len), true) = (shared.checked_add(own), shared <= before.len()) else { return None };
        if plain.len().checked_add(len)?.checked_add(4)? > bytes_max {
            return None;
        }
        if has_lengths {
            plain.extend_from_slice(&u32::try_from(len).ok()?.to_le_bytes());
        }
        let start = plain.len();
        plain.extend_from_within(before.start..before.start + shared);
        plain.extend_from_slice(text);
        before = start..plain.len();
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shared_is_written_out_within_a_bound() {
        // 128 to a block, 4 parts; two numbers: 0 and 3, one difference of two bits.
        let shared = [0x80, 1, 4, 2, 0, 6, 0, 0, 0, 0];
        // Two numbers: 4 and 1, one difference.
        let own = [0x80, 1, 4, 2, 8, 5, 0, 0, 0, 0];
        let bytes = [&shared[..], &own, b"textt"].concat();
        let written = |has_lengths, bytes_max| {
            let mut plain = b"levels".to_vec();
            texts(&bytes, 2, has_lengths, bytes_max, &mut plain).map(|()| plain)
        };
        assert_eq!(written(false, 100).as_deref(), Some(&b"levelstexttext"[..]));
        assert_eq!(written(true, 100).as_deref(), Some(&b"levels\x04\0\0\0text\x04\0\0\0text"[..]));
        assert_eq!(written(true, 20), None);
        for len in 1..bytes.len() {
            assert_eq!(texts(&bytes[..len], 2, true, 100, &mut Vec::new()), None, "{len}");
        }
        assert_eq!(texts(&bytes, 1, true, 100, &mut Vec::new()), None);
    }
}
