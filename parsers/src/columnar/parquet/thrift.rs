//! Thrift's compact protocol, as far as it must be known what a footer or a page header claims before the library
//! believes it.
//!
//! Promises: no memory is taken for what bytes claim; nesting is bounded. `None` when the bytes are no such value.

/// Structs within structs: those of Parquet are six deep.
const DEPTH_MAX: u8 = 32;

pub(super) const I32: u8 = 5;
pub(super) const LIST: u8 = 9;
pub(super) const STRUCT: u8 = 12;

/// A field of a struct: its number and the type of its value. The value of a truth is its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) id: i16,
    pub(super) kind: u8,
}

/// A reader of values.
#[derive(Clone, Debug)]
pub(super) struct Compact<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Compact<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Compact<'a> {
        Compact { bytes, at: 0 }
    }

    /// How many bytes were read.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Passes over so many bytes.
    pub(super) fn pass(&mut self, len: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(len)?;
        let bytes = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(bytes)
    }

    fn byte(&mut self) -> Option<u8> {
        self.pass(1)?.first().copied()
    }

    pub(super) fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    pub(super) fn signed(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// The value of a field that must be a 32-bit integer, and must not be negative.
    pub(super) fn count(&mut self, field: Field) -> Option<usize> {
        let value = i32::try_from(self.signed()?).ok().filter(|_| field.kind == I32)?;
        usize::try_from(value).ok()
    }

    /// The number of elements of a list, and their type.
    pub(super) fn list(&mut self) -> Option<(usize, u8)> {
        let head = self.byte()?;
        let len = match head >> 4 {
            15 => usize::try_from(self.varint()?).ok()?,
            len => len.into(),
        };
        Some((len, head & 15))
    }

    /// The next field of a struct, after the one before; `Some(None)` at its end.
    fn field(&mut self, before: &mut i16) -> Option<Option<Field>> {
        let head = self.byte()?;
        if head & 15 == 0 {
            return Some(None);
        }
        let id = match head >> 4 {
            0 => i16::try_from(self.signed()?).ok()?,
            step => before.checked_add(step.into())?,
        };
        *before = id;
        Some(Some(Field { id, kind: head & 15 }))
    }

    /// Reads a struct: `field` takes the values it wants, or says that it does not.
    pub(super) fn fields(
        &mut self,
        mut field: impl FnMut(&mut Compact<'a>, Field) -> Option<bool>,
    ) -> Option<()> {
        let mut before = 0;
        while let Some(next) = self.field(&mut before)? {
            if !field(self, next)? {
                self.skip(next.kind, DEPTH_MAX)?;
            }
        }
        Some(())
    }

    /// Passes over a value.
    fn skip(&mut self, kind: u8, depth: u8) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match kind {
            1 | 2 => {}
            3 => _ = self.byte()?,
            4..=6 => _ = self.varint()?,
            7 => _ = self.pass(8)?,
            8 => {
                let len = usize::try_from(self.varint()?).ok()?;
                self.pass(len)?;
            }
            LIST | 10 => {
                let (len, kind) = self.list()?;
                (0..len).try_for_each(|_| self.skip_element(kind, depth))?;
            }
            STRUCT => {
                let mut before = 0;
                while let Some(field) = self.field(&mut before)? {
                    self.skip(field.kind, depth)?;
                }
            }
            // Parquet has no maps.
            _ => return None,
        }
        Some(())
    }

    /// Every element has bytes, so that a count that lies ends with the bytes. A truth has one of its own here.
    fn skip_element(&mut self, kind: u8, depth: u8) -> Option<()> {
        match kind {
            1 | 2 => self.byte().map(|_| ()),
            _ => self.skip(kind, depth),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_off_or_lies_is_none() {
        // A struct: field 1 an integer, field 3 a list of two texts, field 20 a truth.
        let bytes = [0x15, 0x05, 0x29, 0x28, 1, b'a', 0, 0x01, 40, 0];
        let mut seen = Vec::new();
        let mut whole = Compact::new(&bytes);
        let read = whole.fields(|value, field| {
            seen.push((field.id, field.kind));
            Some(field.id == 1 && value.signed()? == -3)
        });
        assert_eq!((read, whole.at()), (Some(()), bytes.len()));
        assert_eq!(seen, [(1, I32), (3, LIST), (20, 1)]);
        for len in 0..bytes.len() {
            assert_eq!(Compact::new(&bytes[..len]).skip(STRUCT, DEPTH_MAX), None, "{len}");
        }
        assert_eq!(Compact::new(&[0xff; 20]).signed(), None);
        // Deep nesting, and a list that claims a million million truths.
        assert_eq!(Compact::new(&[0x1c; 100_000]).skip(STRUCT, DEPTH_MAX), None);
        assert_eq!(Compact::new(&[0xf1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40]).skip(LIST, DEPTH_MAX), None);
    }
}
