//! The hash of the sketches: 64 bits of a value, the same on every machine and in every version.
//!
//! Two folded multiplications for sixteen bytes, the mixing step of wyhash (public domain, W. Yi) and its descendants.
//! Promise: equal bytes give equal hashes, for ever, since sketches that were written down are merged with later ones.
//! It has no secret: a file that is made to collide can spoil the estimates of its own columns, and nothing else.

/// Digits of π, the last bit set: odd, and otherwise nothing special.
const KEYS: [u64; 4] =
    [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7345, 0xa409_3822_299f_31d1, 0x082e_fa98_ec4e_6c89];

/// The two halves of the product, folded into one.
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// The hash of up to sixteen bytes, given as one number with zeros behind them, and of their number.
pub(super) fn short(head: u128, len: usize) -> u64 {
    let (low, high) = (head as u64, (head >> 64) as u64);
    fold(fold(low ^ KEYS[0], high ^ KEYS[1]) ^ len as u64, KEYS[2])
}

/// The hash of any bytes; of up to sixteen the same as [`short`].
pub(super) fn bytes(bytes: &[u8]) -> u64 {
    let (chunks, rest) = bytes.as_chunks::<16>();
    let (body, tail): (&[[u8; 16]], &[u8]) = match chunks.split_last() {
        Some((last, body)) if rest.is_empty() => (body, last),
        _ => (chunks, rest),
    };
    let mut state = 0;
    for chunk in body {
        state = fold(short(u128::from_le_bytes(*chunk), 16) ^ state, KEYS[3]);
    }
    let mut last = [0; 16];
    last[..tail.len()].copy_from_slice(tail);
    state ^ short(u128::from_le_bytes(last), tail.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_never_changes() {
        let text: Vec<u8> = (0..100).collect();
        let known = [
            (0, bytes(&text[..0])),
            (1, bytes(&text[..1])),
            (16, bytes(&text[..16])),
            (17, bytes(&text[..17])),
            (100, bytes(&text)),
        ];
        let folded = known.iter().fold(0u64, |all, (len, hash)| all.rotate_left(7) ^ hash ^ *len);
        assert_eq!(folded, 6_814_011_920_378_865_190, "{known:x?}");
    }

    #[test]
    fn each_byte_and_the_length_count() {
        for len in [1usize, 8, 15, 16, 17, 31, 32, 33, 64] {
            let zeros = vec![0u8; len];
            let mut seen = vec![bytes(&zeros), bytes(&zeros[1..])];
            for at in 0..len {
                let mut other = zeros.clone();
                other[at] = 1;
                seen.push(bytes(&other));
            }
            let count = seen.len();
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), count, "{len} bytes");
        }
    }
}
