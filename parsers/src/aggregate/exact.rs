//! Facts of a column from the table of all its tokens. Everything is exact.

use std::cmp::Ordering;

use jiff::civil::DateTime;

use crate::aggregate::sketches::EXACT;
use crate::aggregate::{Extent, Kinds, Moments, Tokens, Word};
use crate::scalar::{Scalar, Syntax};
use crate::summary::{Bound, ColumnSchema, ColumnStats, ColumnType, Distinct, Precision};

/// Works out what a column is and holds. `missing` are nulls that had no token.
pub(super) fn finish(
    mut tokens: Tokens,
    syntax: Syntax,
    missing: u64,
    name: String,
    top_bytes_max: usize,
) -> (ColumnSchema, ColumnStats) {
    tokens.seal();
    let facts = Facts::of(&tokens, syntax);
    let (kind, nulls) = (facts.kinds.finish(), facts.nulls + missing);
    let mut schema = schema(name, kind, nulls);
    let mut stats = ColumnStats { count: facts.count, ..ColumnStats::default() };
    match kind {
        // pandas knows no type without rows, and then says that there are no different values.
        ColumnType::Empty if nulls == 0 => stats.unique = Some(0),
        ColumnType::Empty => {}
        ColumnType::Int | ColumnType::Float => facts.numbers.finish(&mut schema, &mut stats),
        ColumnType::Bool => truths(facts.bools, facts.bool_first, &mut schema, &mut stats),
        ColumnType::Date | ColumnType::Datetime | ColumnType::Text => {
            schema.distinct.value = (tokens.len() - facts.null_tokens) as u64;
            stats.unique = Some(schema.distinct.value);
            if let Some((token, times)) = facts.top {
                schema.top = Some(KNOWN);
                stats.top = Some(shown(&syntax.shown(token.text()), top_bytes_max));
                stats.freq = Some(times);
            }
        }
    }
    if matches!(kind, ColumnType::Date | ColumnType::Datetime) {
        (stats.min, stats.max) = bounds(facts.times, kind, facts.kinds.has_offset());
    }
    (schema, stats)
}

/// What one look at each token tells.
#[derive(Default)]
struct Facts<'a> {
    kinds: Kinds,
    nulls: u64,
    null_tokens: usize,
    count: u64,
    /// As long as nothing else was there.
    numbers: Numbers,
    /// How often false and true are there, and which came first.
    bools: [u64; 2],
    bool_first: Option<bool>,
    times: Extent<DateTime>,
    /// The most frequent value, the first one of several.
    top: Option<(Word<'a>, u64)>,
}

impl<'a> Facts<'a> {
    fn of(tokens: &'a Tokens, syntax: Syntax) -> Facts<'a> {
        let mut facts = Facts::default();
        for (token, times) in tokens.iter() {
            let scalar = syntax.read_word(&token);
            if scalar == Scalar::Null {
                facts.nulls += times;
                facts.null_tokens += 1;
                continue;
            }
            facts.count += times;
            facts.kinds.add(&scalar);
            if facts.top.is_none_or(|(_, most)| times > most) {
                facts.top = Some((token, times));
            }
            match scalar {
                Scalar::Bool(value) => {
                    facts.bools[usize::from(value)] += times;
                    facts.bool_first.get_or_insert(value);
                }
                Scalar::Date(at) | Scalar::Naive(at) | Scalar::Aware(at) => facts.times.add(at),
                _ if facts.kinds.only_numbers() => facts.numbers.add(scalar, times, tokens.len()),
                _ => facts.numbers = Numbers::default(),
            }
        }
        facts
    }
}

/// The numbers of a column.
#[derive(Default)]
struct Numbers {
    /// All of them as floats, with their counts.
    pairs: Vec<(f64, u64)>,
    integers: Extent<i64>,
    /// Those of which floats do not tell one from the next: long integers differ in digits that floats do not have.
    long: Vec<i64>,
    unsigned: Vec<u64>,
    large: Vec<f64>,
}

impl Numbers {
    /// `most`: how many there can be.
    fn add(&mut self, scalar: Scalar, times: u64, most: usize) {
        let value = match scalar {
            Scalar::Int(value) => {
                self.integers.add(value);
                if value.unsigned_abs() >= EXACT as u64 {
                    push(&mut self.long, value, most);
                }
                value as f64
            }
            Scalar::Unsigned(value) => {
                push(&mut self.unsigned, value, most);
                value as f64
            }
            Scalar::Float(value) | Scalar::Huge(value) | Scalar::Comma(value) => {
                if value.abs() >= EXACT {
                    push(&mut self.large, value, most);
                }
                value
            }
            _ => return,
        };
        push(&mut self.pairs, (value, times), most);
    }

    fn finish(self, schema: &mut ColumnSchema, stats: &mut ColumnStats) {
        let Numbers { mut pairs, integers, long, unsigned, large } = self;
        pairs.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let small = pairs.chunk_by(|a, b| a.0 == b.0).filter(|same| same[0].0.abs() < EXACT).count();
        let fit = unsigned.is_empty();
        schema.distinct.value = small as u64
            + different(long, i64::cmp)
            + different(unsigned, u64::cmp)
            + different(large, f64::total_cmp);
        schema.infinite = pairs.iter().filter(|pair| pair.0.is_infinite()).map(|pair| pair.1).sum();
        if schema.infinite == 0 {
            (stats.mean, stats.std) = mean_and_std(&pairs);
        }
        if let (ColumnType::Int, true, Some((min, max))) = (schema.kind, fit, integers.finish()) {
            (stats.min, stats.max) = (Some(Bound::Int(min)), Some(Bound::Int(max)));
        } else if let (Some(first), Some(last)) = (pairs.first(), pairs.last()) {
            (stats.min, stats.max) = (number(first.0), number(last.0));
        }
        schema.quantiles = Some(KNOWN);
        stats.p25 = quantile(&pairs, stats.count, 0.25);
        stats.p50 = quantile(&pairs, stats.count, 0.5);
        stats.p75 = quantile(&pairs, stats.count, 0.75);
    }
}

/// Room is made once, for all that can come: doubling would take more than the limits allow for.
fn push<T>(values: &mut Vec<T>, value: T, most: usize) {
    if values.is_empty() {
        values.reserve_exact(most);
    }
    values.push(value);
}

fn different<T: PartialEq>(mut values: Vec<T>, order: impl FnMut(&T, &T) -> Ordering) -> u64 {
    values.sort_unstable_by(order);
    values.dedup();
    values.len() as u64
}

/// A schema of which nothing is known yet but this.
pub(super) fn schema(name: String, kind: ColumnType, nulls: u64) -> ColumnSchema {
    let distinct = Distinct { value: 0, exact: true, error: None };
    ColumnSchema { name, kind, nulls, infinite: 0, distinct, quantiles: None, top: None }
}

pub(super) const KNOWN: Precision = Precision { exact: true, error: None };

/// A number as a bound, unless it is infinite.
pub(super) fn number(value: f64) -> Option<Bound> {
    // Adding zero turns the negative zero into the one that people expect.
    value.is_finite().then_some(Bound::Number(value + 0.0))
}

pub(super) fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// The mean and the standard deviation of a sample.
fn mean_and_std(pairs: &[(f64, u64)]) -> (Option<f64>, Option<f64>) {
    match whole_mean_and_std(pairs) {
        Some((mean, std)) => (Some(mean), std),
        None => any_mean_and_std(pairs),
    }
}

/// Those of whole numbers, from their exact sums, as long as these fit.
fn whole_mean_and_std(pairs: &[(f64, u64)]) -> Option<(f64, Option<f64>)> {
    let (mut count, mut sum, mut squares) = (0i128, 0i128, 0i128);
    for &(value, times) in pairs {
        let whole = i128::from(value as i32);
        if whole as f64 != value {
            return None;
        }
        let times = i128::from(times);
        count += times;
        sum += whole * times;
        squares += whole * whole * times;
    }
    let spread = count.checked_mul(squares)?.checked_sub(sum.checked_mul(sum)?)?;
    let pairings = count.checked_mul(count - 1)?;
    Some((sum as f64 / count as f64, (pairings > 0).then(|| (spread as f64 / pairings as f64).sqrt())))
}

/// The mean in one pass, the deviation in a second one around it: squares of the values themselves could
/// overflow where those of their deviations do not.
fn any_mean_and_std(pairs: &[(f64, u64)]) -> (Option<f64>, Option<f64>) {
    let mut moments = Moments::default();
    pairs.iter().for_each(|&(value, times)| moments.add(value, times));
    let Some(mean) = moments.mean().and_then(finite) else { return (None, None) };
    let mut deviations = Moments::default();
    pairs.iter().for_each(|&(value, times)| deviations.add(value - mean, times));
    let std = if pairs.len() == 1 { deviations.std().map(|_| 0.0) } else { deviations.std() };
    (Some(mean), std)
}

/// The value at a rank of sorted values, between neighbours by numpy's linear rule.
fn quantile(pairs: &[(f64, u64)], count: u64, rank: f64) -> Option<f64> {
    let position = rank * count.checked_sub(1)? as f64;
    let below = position.floor() as u64;
    let part = position - position.floor();
    let (low, high) = (at(pairs, below)?, at(pairs, (below + 1).min(count - 1))?);
    let step = high - low;
    finite(if part < 0.5 { low + step * part } else { high - step * (1.0 - part) })
}

fn at(pairs: &[(f64, u64)], index: u64) -> Option<f64> {
    let mut passed = 0;
    for &(value, times) in pairs {
        passed += times;
        if index < passed {
            return Some(value);
        }
    }
    None
}

/// The facts of a column of truth values: how often false and true occur, and which came first.
pub(super) fn truths(
    counts: [u64; 2],
    first: Option<bool>,
    schema: &mut ColumnSchema,
    stats: &mut ColumnStats,
) {
    let unique = counts.iter().filter(|count| **count > 0).count() as u64;
    schema.distinct.value = unique;
    schema.top = Some(KNOWN);
    let top = if counts[0] == counts[1] { first == Some(true) } else { counts[1] > counts[0] };
    stats.unique = Some(unique);
    stats.top = Some(if top { "True" } else { "False" }.to_owned());
    stats.freq = Some(counts[usize::from(top)]);
}

/// A token as text, cut where it is too long for a summary.
pub(super) fn shown(token: &[u8], bytes_max: usize) -> String {
    if token.len() <= bytes_max {
        return String::from_utf8_lossy(token).into_owned();
    }
    let cut = String::from_utf8_lossy(&token[..bytes_max]);
    // The cut may have split a character.
    let mut text = cut.trim_end_matches(char::REPLACEMENT_CHARACTER).to_owned();
    text.push('…');
    text
}

/// The first and the last time of a column, in ISO 8601.
pub(super) fn bounds(
    extent: Extent<DateTime>,
    kind: ColumnType,
    offset: bool,
) -> (Option<Bound>, Option<Bound>) {
    let text = |at: DateTime| {
        Bound::Time(match kind {
            ColumnType::Date => at.date().to_string(),
            _ if offset => format!("{at}Z"),
            _ => at.to_string(),
        })
    };
    extent.finish().map_or((None, None), |(min, max)| (Some(text(min)), Some(text(max))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Both ways tell the same, to the last digits.
        #[test]
        fn whole_numbers_have_the_moments_that_any_have(
            pairs in prop::collection::vec((any::<i32>(), 1u64..1_000_000), 1..50),
        ) {
            let pairs: Vec<(f64, u64)> = pairs.into_iter().map(|(value, times)| (f64::from(value), times)).collect();
            let near = |a: Option<f64>, b: Option<f64>| match (a, b) {
                (Some(a), Some(b)) => (a - b).abs() <= 1e-14 * a.abs().max(b.abs()),
                (a, b) => a == b,
            };
            let (mean, std) = any_mean_and_std(&pairs);
            let whole = whole_mean_and_std(&pairs);
            prop_assert!(near(whole.map(|whole| whole.0), mean), "{:?} {:?}", whole, mean);
            prop_assert!(near(whole.and_then(|whole| whole.1), std), "{:?} {:?}", whole, std);
        }
    }

    #[test]
    fn other_numbers_are_not_taken_for_whole_ones() {
        for value in [0.5, 1e10, -1e10, f64::INFINITY] {
            assert_eq!(whole_mean_and_std(&[(value, 2)]), None, "{value}");
        }
        assert_eq!(whole_mean_and_std(&[(-0.0, 1)]), Some((0.0, None)));
        // The squares of so many would not fit.
        let most = f64::from(i32::MAX);
        assert_eq!(whole_mean_and_std(&[(most, 1 << 47), (-most, 1 << 47)]), None);
    }
}
