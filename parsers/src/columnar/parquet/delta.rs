//! Texts whose lengths are packed as differences: the library takes memory for as many of them as a page says, and writes
//! out each text of which only the end is stored.
//!
//! Promise: what they come to is known before.

use parquet::basic::{Encoding, Type};
use parquet::column::page::Page;
use parquet::schema::types::ColumnDescriptor;

use super::thrift::Compact;

/// The memory of the lengths of a text.
const LENGTHS_BYTES: usize = 8;
/// Bits of a length.
const BITS_MAX: u8 = 32;

/// What the texts of an unpacked page need beside it, and their lengths.
/// `None` when there are more lengths than values, or some that can be none.
pub(super) fn expanded(page: &Page, column: &ColumnDescriptor) -> Option<usize> {
    let has_shared = match page.encoding() {
        Encoding::DELTA_LENGTH_BYTE_ARRAY => false,
        Encoding::DELTA_BYTE_ARRAY => true,
        _ => return Some(0),
    };
    if !matches!(column.physical_type(), Type::BYTE_ARRAY | Type::FIXED_LEN_BYTE_ARRAY) {
        return Some(0);
    }
    let values = values(page, column)?;
    let mut numbers = Compact::new(values);
    // Without a value there may be no lengths at all.
    if values.is_empty() {
        return Some(0);
    }
    let count = page.num_values();
    let shared = if has_shared { sum(&mut numbers, count)? } else { 0 };
    let own = sum(&mut numbers, count)?;
    let lengths = (count as usize).saturating_mul(LENGTHS_BYTES);
    let texts = if has_shared { shared.saturating_add(own) } else { 0 };
    Some(usize::try_from(texts).ok()?.saturating_add(lengths))
}

/// Passes over a list of lengths, and adds them up. In front stand the size of a block, the number of its parts, how many
/// lengths there are, and the first; each block has the smallest difference, the bits of its parts, and the parts.
fn sum(numbers: &mut Compact<'_>, count_max: u32) -> Option<u64> {
    let (block, parts) = (numbers.varint()?, numbers.varint()?);
    let count = numbers.varint().filter(|count| *count <= count_max.into())?;
    // They are 32 bits wide, and may pass over the end of them and back.
    let mut last = i32::try_from(numbers.signed()?).ok()?;
    let per_part = block.checked_div(parts).filter(|size| *size > 0 && size % 8 == 0)?;
    let (mut left, mut sum) = (count, 0_u64);
    if left > 0 {
        left -= 1;
        sum = u64::try_from(last).ok()?;
    }
    while left > 0 {
        let least = numbers.signed()? as i32;
        for width in numbers.pass(usize::try_from(parts).ok()?)? {
            if left == 0 {
                break;
            }
            let here = left.min(per_part);
            let bits = Some(*width).filter(|bits| *bits <= BITS_MAX)?;
            let whole = usize::try_from((per_part / 8).checked_mul(bits.into())?).ok()?;
            // The last part may be cut off behind its last number.
            let cut = usize::try_from((here * u64::from(bits)).div_ceil(8)).ok()?;
            let packed = numbers.pass(whole).or_else(|| numbers.pass(cut))?;
            let mut packed = Bits { bytes: packed.iter(), held: 0, count: 0 };
            for _ in 0..here {
                last = last.wrapping_add(least).wrapping_add(packed.next(bits)? as i32);
                sum = sum.saturating_add(u64::try_from(last).ok()?);
            }
            left -= here;
        }
    }
    Some(sum)
}

/// Numbers of some bits each, the lowest first.
struct Bits<'a> {
    bytes: std::slice::Iter<'a, u8>,
    held: u64,
    count: u8,
}

impl Bits<'_> {
    fn next(&mut self, bits: u8) -> Option<u32> {
        while self.count < bits {
            self.held |= u64::from(*self.bytes.next()?) << self.count;
            self.count += 8;
        }
        let value = self.held & ((1 << bits) - 1);
        self.held >>= bits;
        self.count -= bits;
        Some(value as u32)
    }
}

/// The part of a page behind the levels.
fn values<'a>(page: &'a Page, column: &ColumnDescriptor) -> Option<&'a [u8]> {
    match page {
        Page::DataPage { buf, num_values, def_level_encoding, rep_level_encoding, .. } => {
            let mut rest = &buf[..];
            let levels = [
                (column.max_rep_level(), *rep_level_encoding),
                (column.max_def_level(), *def_level_encoding),
            ];
            for (max, encoding) in levels.into_iter().filter(|(max, _)| *max > 0) {
                let len = if encoding == Encoding::RLE {
                    let (len, behind) = rest.split_first_chunk()?;
                    rest = behind;
                    u32::from_le_bytes(*len).into()
                } else {
                    let bits = u64::from(max.unsigned_abs().ilog2()) + 1;
                    (u64::from(*num_values) * bits).div_ceil(8)
                };
                rest = rest.get(usize::try_from(len).ok()?..)?;
            }
            Some(rest)
        }
        Page::DataPageV2 { buf, def_levels_byte_len, rep_levels_byte_len, .. } => {
            let levels = def_levels_byte_len.checked_add(*rep_levels_byte_len)?;
            buf.get(usize::try_from(levels).ok()?..)
        }
        Page::DictionaryPage { .. } => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use bytes::Bytes;
    use parquet::schema::types;

    use super::*;

    /// 128 to a block, 4 parts; so many lengths, 0, 1, 2 and so on, in no bits.
    fn lengths(count: u8) -> Vec<u8> {
        let block: &[u8] = if count > 1 { &[2, 0, 0, 0, 0] } else { &[] };
        [&[0x80, 1, 4, count, 0], block].concat()
    }

    fn expanded(encoding: Encoding, bytes: Vec<u8>) -> Option<usize> {
        let leaf = types::Type::primitive_type_builder("a", Type::BYTE_ARRAY).build().unwrap();
        let column = ColumnDescriptor::new(leaf.into(), 0, 0, "a".into());
        let page = Page::DataPage {
            buf: Bytes::from(bytes),
            num_values: 100,
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        super::expanded(&page, &column).map(|bytes| bytes - if bytes > 0 { 800 } else { 0 })
    }

    #[test]
    fn lengths_are_counted_and_added_up() {
        let two = |first, second| [lengths(first), lengths(second)].concat();
        for (count, total) in [(1, Some(0)), (4, Some(6)), (100, Some(4950)), (101, None)] {
            let own = expanded(Encoding::DELTA_LENGTH_BYTE_ARRAY, lengths(count));
            assert_eq!(own, total.map(|_| 0), "{count}");
            assert_eq!(expanded(Encoding::DELTA_BYTE_ARRAY, two(4, count)), total.map(|t| t + 6), "{count}");
            assert_eq!(expanded(Encoding::DELTA_BYTE_ARRAY, two(count, 4)), total.map(|t| t + 6), "{count}");
        }
        assert_eq!(expanded(Encoding::PLAIN, lengths(101)), Some(0));
        assert_eq!(expanded(Encoding::DELTA_BYTE_ARRAY, Vec::new()), Some(0));
        assert_eq!(expanded(Encoding::DELTA_BYTE_ARRAY, lengths(100)), None);
        // A first length of 3, then one more of 2 bits: 3 + 1 + 2. Then the same of less than none.
        let shared = |bytes: &[u8]| expanded(Encoding::DELTA_BYTE_ARRAY, [bytes, &lengths(1)].concat());
        assert_eq!(shared(&[&[0x80, 1, 4, 2, 6, 2, 2, 0, 0, 0, 2][..], &[0; 7]].concat()), Some(9));
        assert_eq!(shared(&[0x80, 1, 4, 2, 6, 9, 0, 0, 0, 0]), None);
        // A million million of them, in a few bytes.
        let many = vec![0x80, 1, 4, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40, 0, 2, 0, 0, 0, 0];
        assert_eq!(expanded(Encoding::DELTA_LENGTH_BYTE_ARRAY, many), None);
    }
}
