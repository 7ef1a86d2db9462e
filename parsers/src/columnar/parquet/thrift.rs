//! Thrift's compact protocol, as far as Parquet's footer and page headers need it.
//!
//! Promises: no memory is taken for what bytes claim; a value that goes on behind the bytes is told from one that is
//! broken; nesting is bounded.

/// Structs within structs: those of Parquet are six deep.
const DEPTH_MAX: u8 = 32;

pub(super) const BINARY: u8 = 8;
pub(super) const LIST: u8 = 9;
pub(super) const STRUCT: u8 = 12;

/// Why a value could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It goes on behind the bytes.
    Short,
    /// It is none.
    Broken,
}

/// A field of a struct: its number and the type of its value. The value of a truth is its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) id: i16,
    pub(super) kind: u8,
}

impl Field {
    pub(super) fn is_true(self) -> bool {
        self.kind == 1
    }
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

    fn take(&mut self, len: usize) -> Result<&'a [u8], Trouble> {
        let end = self.at.checked_add(len).ok_or(Trouble::Broken)?;
        let bytes = self.bytes.get(self.at..end).ok_or(Trouble::Short)?;
        self.at = end;
        Ok(bytes)
    }

    fn byte(&mut self) -> Result<u8, Trouble> {
        Ok(self.take(1)?[0])
    }

    fn varint(&mut self) -> Result<u64, Trouble> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Trouble::Broken)
    }

    pub(super) fn i64(&mut self) -> Result<i64, Trouble> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    pub(super) fn i32(&mut self) -> Result<i32, Trouble> {
        i32::try_from(self.i64()?).map_err(|_| Trouble::Broken)
    }

    /// The number of elements of a list, and their type.
    pub(super) fn list(&mut self) -> Result<(usize, u8), Trouble> {
        let head = self.byte()?;
        let len = match head >> 4 {
            15 => usize::try_from(self.varint()?).map_err(|_| Trouble::Broken)?,
            len => len.into(),
        };
        Ok((len, head & 15))
    }

    /// The next field of a struct, after the one before; `None` at its end.
    pub(super) fn field(&mut self, before: &mut i16) -> Result<Option<Field>, Trouble> {
        let head = self.byte()?;
        if head == 0 {
            return Ok(None);
        }
        let id = match head >> 4 {
            0 => i16::try_from(self.i64()?).map_err(|_| Trouble::Broken)?,
            step => before.checked_add(step.into()).ok_or(Trouble::Broken)?,
        };
        *before = id;
        Ok(Some(Field { id, kind: head & 15 }))
    }

    /// Reads a struct: `field` takes the values it wants, or says that it does not.
    pub(super) fn fields(
        &mut self,
        mut field: impl FnMut(&mut Compact<'a>, Field) -> Result<bool, Trouble>,
    ) -> Result<(), Trouble> {
        let mut before = 0;
        while let Some(next) = self.field(&mut before)? {
            if !field(self, next)? {
                self.skip(next.kind)?;
            }
        }
        Ok(())
    }

    /// Passes over a value.
    pub(super) fn skip(&mut self, kind: u8) -> Result<(), Trouble> {
        self.skip_within(kind, DEPTH_MAX)
    }

    fn skip_within(&mut self, kind: u8, depth: u8) -> Result<(), Trouble> {
        let depth = depth.checked_sub(1).ok_or(Trouble::Broken)?;
        match kind {
            1 | 2 => {}
            3 => _ = self.byte()?,
            4..=6 => _ = self.varint()?,
            7 => _ = self.take(8)?,
            BINARY => {
                let len = usize::try_from(self.varint()?).map_err(|_| Trouble::Broken)?;
                self.take(len)?;
            }
            LIST | 10 => {
                let (len, kind) = self.list()?;
                for _ in 0..len {
                    self.skip_element(kind, depth)?;
                }
            }
            11 => {
                let len = self.varint()?;
                let kinds = if len > 0 { self.byte()? } else { 0 };
                for _ in 0..len {
                    self.skip_element(kinds >> 4, depth)?;
                    self.skip_element(kinds & 15, depth)?;
                }
            }
            STRUCT => {
                let mut before = 0;
                while let Some(field) = self.field(&mut before)? {
                    self.skip_within(field.kind, depth)?;
                }
            }
            13 => _ = self.take(16)?,
            _ => return Err(Trouble::Broken),
        }
        Ok(())
    }

    /// Every element has bytes, so that a count that lies ends with the bytes. A truth has one of its own here.
    fn skip_element(&mut self, kind: u8, depth: u8) -> Result<(), Trouble> {
        match kind {
            1 | 2 => self.byte().map(|_| ()),
            _ => self.skip_within(kind, depth),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_off_is_short_and_what_lies_is_broken() {
        // A struct: field 1 an integer, field 3 a list of two texts, field 20 a truth.
        let bytes = [0x15, 0x05, 0x29, 0x28, 1, b'a', 0, 0x01, 40, 0];
        let mut seen = Vec::new();
        let mut whole = Compact::new(&bytes);
        whole
            .fields(|value, field| {
                seen.push((field.id, field.kind));
                Ok(field.id == 1 && value.i32()? == -3)
            })
            .unwrap();
        assert_eq!(seen, [(1, 5), (3, 9), (20, 1)]);
        assert_eq!(whole.at(), bytes.len());
        for len in 0..bytes.len() {
            assert_eq!(Compact::new(&bytes[..len]).skip(STRUCT), Err(Trouble::Short), "{len}");
        }
        assert_eq!(Compact::new(&[0xff; 20]).i64(), Err(Trouble::Broken));
        assert_eq!(Compact::new(&[0x1e]).skip(STRUCT), Err(Trouble::Broken));
        // Deep nesting, and a list that claims a million million truths.
        assert_eq!(Compact::new(&[0x1c; 100_000]).skip(STRUCT), Err(Trouble::Broken));
        assert_eq!(Compact::new(&[0xf1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40]).skip(LIST), Err(Trouble::Short));
    }
}
