//! Which kinds of values a column has held, and the type they add up to.
//!
//! Promise: a type is decided by every value of the column, never by a sample, and not by their order.

use serde::{Deserialize, Serialize};

use crate::scalar::Scalar;
use crate::summary::ColumnType;

/// The set of kinds that a column has held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kinds(u16);

const INT: u16 = 1;
const HUGE: u16 = 1 << 1;
const FLOAT: u16 = 1 << 2;
const BOOL: u16 = 1 << 3;
const DATE: u16 = 1 << 4;
const NAIVE: u16 = 1 << 5;
const AWARE: u16 = 1 << 6;
const TEXT: u16 = 1 << 7;
const COMMA: u16 = 1 << 8;

const NUMBER: u16 = INT | HUGE | FLOAT | COMMA;
/// Decimal points and decimal commas in one column: then one of them means something else.
const MIXED: u16 = FLOAT | COMMA;

impl Kinds {
    /// Notes the kind of one value. A null has none.
    pub fn add(&mut self, scalar: &Scalar) {
        self.0 |= match scalar {
            Scalar::Null => 0,
            Scalar::Int(_) | Scalar::Unsigned(_) => INT,
            Scalar::Huge(_) => HUGE,
            Scalar::Float(_) => FLOAT,
            Scalar::Comma(_) => COMMA,
            Scalar::Bool(_) => BOOL,
            Scalar::Date(_) => DATE,
            Scalar::Naive(_) => NAIVE,
            Scalar::Aware(_) => AWARE,
            Scalar::Text => TEXT,
        };
    }

    /// Takes in the kinds of another part of the column.
    pub fn merge(&mut self, other: Kinds) {
        self.0 |= other.0;
    }

    /// Whether every value so far was a number, so that number statistics may still be asked for.
    pub fn only_numbers(self) -> bool {
        self.0 & !NUMBER == 0 && self.0 & MIXED != MIXED
    }

    /// Whether dates in this column have an offset, so that they print with a `Z`.
    pub fn has_offset(self) -> bool {
        self.0 & AWARE != 0
    }

    /// The type that these kinds add up to.
    pub fn finish(self) -> ColumnType {
        match self.0 {
            0 => ColumnType::Empty,
            kinds if kinds & MIXED == MIXED => ColumnType::Text,
            // An integer beyond 64 bits is an identifier among integers, as in pandas, and a number among
            // floats. (pandas lets the first value decide there; here the order must not matter.)
            kinds if kinds & !NUMBER == 0 && kinds & MIXED != 0 => ColumnType::Float,
            kinds if kinds & !NUMBER == 0 && kinds & HUGE != 0 => ColumnType::Text,
            INT => ColumnType::Int,
            BOOL => ColumnType::Bool,
            DATE => ColumnType::Date,
            // Times with and without an offset have no common order, nor has a date with the former.
            kinds if kinds & !(DATE | NAIVE) == 0 => ColumnType::Datetime,
            AWARE => ColumnType::Datetime,
            _ => ColumnType::Text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scalar::{Decimal, Numbers, Syntax};

    /// Both decimal signs are understood, as in files whose delimiter is no comma.
    fn read(token: &str) -> Scalar {
        let numbers = Numbers { decimal: Decimal::Either, ..Numbers::default() };
        Syntax::Local(numbers).read(token.as_bytes())
    }

    fn kind(tokens: &str) -> ColumnType {
        let mut forward = Kinds::default();
        let mut parts = Kinds::default();
        for token in tokens.split('|') {
            forward.add(&read(token));
        }
        for token in tokens.split('|').rev() {
            let mut part = Kinds::default();
            part.add(&read(token));
            parts.merge(part);
        }
        assert_eq!(forward, parts, "{tokens}");
        forward.finish()
    }

    #[test]
    fn the_type_is_that_of_all_values() {
        let cases = [
            ("|NA", ColumnType::Empty),
            ("1||2", ColumnType::Int),
            ("1|18446744073709551615|-1", ColumnType::Int),
            ("1|2.5", ColumnType::Float),
            ("1|18446744073709551616", ColumnType::Text),
            ("1.5|18446744073709551616", ColumnType::Float),
            ("1|2,5|1.234,5", ColumnType::Float),
            ("2,5|2.5", ColumnType::Text),
            ("2,5|inf", ColumnType::Text),
            ("1|word", ColumnType::Text),
            ("1|007", ColumnType::Text),
            ("TRUE|false|", ColumnType::Bool),
            ("true|1", ColumnType::Text),
            ("2013-01-01|2013-01-02", ColumnType::Date),
            ("2013-01-01|2013-01-02 05:00", ColumnType::Datetime),
            ("2013-01-01T05:00Z|2013-01-02T05:00+01:00", ColumnType::Datetime),
            ("2013-01-01T05:00Z|2013-01-02T05:00", ColumnType::Text),
            ("2013-01-01|2013-01-02T05:00Z", ColumnType::Text),
            ("2013-01-01|2013", ColumnType::Text),
        ];
        for (tokens, expected) in cases {
            assert_eq!(kind(tokens), expected, "{tokens}");
        }
    }
}
