//! Facts of a column from the table of all its tokens. Everything is exact.

use jiff::civil::DateTime;

use crate::aggregate::sketches::EXACT;
use crate::aggregate::{Extent, Kinds, Moments, Tokens};
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
    let mut kinds = Kinds::default();
    let (mut nulls, mut null_tokens, mut count) = (missing, 0, 0);
    for (token, times) in tokens.iter() {
        match syntax.read(token) {
            Scalar::Null => {
                nulls += times;
                null_tokens += 1;
            }
            scalar => {
                kinds.add(&scalar);
                count += times;
            }
        }
    }
    let kind = kinds.finish();
    let mut schema = schema(name, kind, nulls);
    let mut stats = ColumnStats { count, ..ColumnStats::default() };
    match kind {
        // pandas knows no type without rows, and then says that there are no different values.
        ColumnType::Empty if nulls == 0 => stats.unique = Some(0),
        ColumnType::Empty => {}
        ColumnType::Int | ColumnType::Float => numbers(&tokens, syntax, &mut schema, &mut stats),
        ColumnType::Bool => bools(&tokens, syntax, &mut schema, &mut stats),
        ColumnType::Date | ColumnType::Datetime | ColumnType::Text => {
            schema.distinct.value = (tokens.len() - null_tokens) as u64;
            words(&tokens, syntax, &mut schema, &mut stats, top_bytes_max);
        }
    }
    if matches!(kind, ColumnType::Date | ColumnType::Datetime) {
        (stats.min, stats.max) = times(&tokens, syntax, kind, kinds.has_offset());
    }
    (schema, stats)
}

/// A schema of which nothing is known yet but this.
pub(super) fn schema(name: String, kind: ColumnType, nulls: u64) -> ColumnSchema {
    let distinct = Distinct { value: 0, exact: true, error: None };
    ColumnSchema { name, kind, nulls, infinite: 0, distinct, quantiles: None, top: None }
}

pub(super) const KNOWN: Precision = Precision { exact: true, error: None };

fn numbers(tokens: &Tokens, syntax: Syntax, schema: &mut ColumnSchema, stats: &mut ColumnStats) {
    schema.distinct.value = different_numbers(tokens, syntax);
    let mut pairs: Vec<(f64, u64)> = Vec::with_capacity(tokens.len());
    let mut integers = Extent::default();
    let mut fit = true;
    for (token, times) in tokens.iter() {
        match syntax.read(token) {
            Scalar::Int(value) => {
                integers.add(value);
                pairs.push((value as f64, times));
            }
            Scalar::Unsigned(value) => {
                fit = false;
                pairs.push((value as f64, times));
            }
            Scalar::Float(value) | Scalar::Huge(value) | Scalar::Comma(value) => pairs.push((value, times)),
            _ => {}
        }
    }
    pairs.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
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

/// A number as a bound, unless it is infinite.
pub(super) fn number(value: f64) -> Option<Bound> {
    // Adding zero turns the negative zero into the one that people expect.
    value.is_finite().then_some(Bound::Number(value + 0.0))
}

pub(super) fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// The mean in one pass, the deviation in a second one around it: squares of the values themselves could
/// overflow where those of their deviations do not.
fn mean_and_std(pairs: &[(f64, u64)]) -> (Option<f64>, Option<f64>) {
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

/// How many different numbers there are. Long integers differ in digits that floats do not have, so they
/// are compared as integers, apart from the rest.
fn different_numbers(tokens: &Tokens, syntax: Syntax) -> u64 {
    let mut floats: Vec<f64> = Vec::new();
    let mut integers: Vec<i128> = Vec::new();
    for (token, _) in tokens.iter() {
        match syntax.read(token) {
            Scalar::Int(value) if (value as f64).abs() >= EXACT => integers.push(value.into()),
            Scalar::Unsigned(value) => integers.push(value.into()),
            Scalar::Int(value) => floats.push(value as f64),
            Scalar::Float(value) | Scalar::Huge(value) | Scalar::Comma(value) => floats.push(value + 0.0),
            _ => {}
        }
    }
    floats.sort_unstable_by(f64::total_cmp);
    floats.dedup();
    integers.sort_unstable();
    integers.dedup();
    (floats.len() + integers.len()) as u64
}

fn bools(tokens: &Tokens, syntax: Syntax, schema: &mut ColumnSchema, stats: &mut ColumnStats) {
    let mut counts = [0u64; 2];
    let mut first = None;
    for (token, times) in tokens.iter() {
        if let Scalar::Bool(value) = syntax.read(token) {
            counts[usize::from(value)] += times;
            first.get_or_insert(value);
        }
    }
    truths(counts, first, schema, stats);
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

fn words(
    tokens: &Tokens,
    syntax: Syntax,
    schema: &mut ColumnSchema,
    stats: &mut ColumnStats,
    top_bytes_max: usize,
) {
    let mut best: Option<(&[u8], u64)> = None;
    for (token, times) in tokens.iter() {
        if best.is_none_or(|(_, most)| times > most) && syntax.read(token) != Scalar::Null {
            best = Some((token, times));
        }
    }
    stats.unique = Some(schema.distinct.value);
    if let Some((token, times)) = best {
        schema.top = Some(KNOWN);
        stats.top = Some(shown(&syntax.shown(token), top_bytes_max));
        stats.freq = Some(times);
    }
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

fn times(tokens: &Tokens, syntax: Syntax, kind: ColumnType, offset: bool) -> (Option<Bound>, Option<Bound>) {
    let mut extent = Extent::default();
    for (token, _) in tokens.iter() {
        if let Scalar::Date(at) | Scalar::Naive(at) | Scalar::Aware(at) = syntax.read(token) {
            extent.add(at);
        }
    }
    bounds(extent, kind, offset)
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
