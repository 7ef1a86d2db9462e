//! The promises of the aggregation as a whole: any split equals the whole, and estimates keep their bounds.

use proptest::prelude::*;

use crate::aggregate::{Columns, Finished, Word};
use crate::scalar::{self, Scalar, Syntax};
use crate::summary::ColumnType;

const EXACT: usize = usize::MAX / 2;
const SKETCHES: usize = 1 << 20;

/// Stands for a field that its record did not have.
const MISSING: &str = "(missing)";

fn of(tokens: &[String], exact_bytes_max: usize) -> Columns {
    let mut columns = Columns::new(1, Syntax::Field, exact_bytes_max, SKETCHES);
    for token in tokens {
        match token.as_str() {
            MISSING => columns.add_missing(0, 1),
            token => columns.add(0, Word::new(token.as_bytes()), 1),
        }
    }
    columns
}

fn finish(columns: Columns) -> Finished {
    columns.finish(&["c".to_owned()], 100).remove(0)
}

fn merged(tokens: &[String], cuts: &[usize], exact_bytes_max: usize) -> Columns {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (tokens.len() + 1)).collect();
    cuts.extend([0, tokens.len()]);
    cuts.sort_unstable();
    // The first part is an empty one.
    let mut whole = of(&[], exact_bytes_max);
    let mut names = vec!["c".to_owned()];
    for pair in cuts.windows(2) {
        let part = of(&tokens[pair[0]..pair[1]], exact_bytes_max);
        let (before, more) = (pair[0] as u64, (pair[1] - pair[0]) as u64);
        whole.merge_by_name(&mut names, before, part, &["c".to_owned()], more);
    }
    whole
}

fn near(a: Option<f64>, b: Option<f64>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => (a - b).abs() <= 1e-12 * a.abs().max(b.abs()),
        (a, b) => a == b,
    }
}

/// Checks what must be true of estimates, given the exact answer and the tokens.
fn check_estimates(estimate: &Finished, exact: &Finished, tokens: &[String]) {
    let ((schema, stats), (true_schema, true_stats)) = (estimate, exact);
    assert_eq!(
        (schema.kind, schema.nulls, schema.infinite),
        (true_schema.kind, true_schema.nulls, true_schema.infinite)
    );
    assert_eq!(stats.count, true_stats.count);
    assert_eq!((&stats.min, &stats.max), (&true_stats.min, &true_stats.max));
    assert!(near(stats.mean, true_stats.mean), "{:?} {:?}", stats.mean, true_stats.mean);
    assert!(near(stats.std, true_stats.std), "{:?} {:?}", stats.std, true_stats.std);
    let (value, truth) = (schema.distinct.value as f64, true_schema.distinct.value as f64);
    // Half a value for rounding, beside the bound.
    assert!((value - truth).abs() <= schema.distinct.error.unwrap_or(0.0) * value + 0.5, "{value} {truth}");
    if let (Some(top), Some(freq)) = (&schema.top, stats.freq) {
        let error = top.error.unwrap_or(0.0);
        assert!((true_stats.freq.unwrap_or(0) as f64) <= freq as f64 + error);
        let shown = stats.top.as_deref().unwrap_or_default();
        if schema.kind != ColumnType::Bool {
            let count = tokens.iter().filter(|token| *token == shown).count() as f64;
            assert!((count - freq as f64).abs() <= error, "{shown}: {count} {freq} {error}");
        }
    }
    let mut values: Vec<f64> = tokens.iter().filter_map(|token| number(token)).collect();
    values.sort_unstable_by(f64::total_cmp);
    let n = values.len() as f64;
    for (rank, value) in [(0.25, stats.p25), (0.5, stats.p50), (0.75, stats.p75)] {
        let (Some(value), Some(precision)) = (value, &schema.quantiles) else { continue };
        // One value of rank for the step between neighbours; twice the 99 % bound, as many are asked.
        let error = 2.0 * precision.error.unwrap_or(0.0) + 1.0 / n;
        let low = values.partition_point(|v| *v < value) as f64 / n;
        let high = values.partition_point(|v| *v <= value) as f64 / n;
        assert!(low - error <= rank && rank <= high + error, "{rank}: {low} to {high} ± {error}");
    }
}

fn number(token: &str) -> Option<f64> {
    match scalar::read(token.as_bytes()) {
        Scalar::Int(value) => Some(value as f64),
        Scalar::Unsigned(value) => Some(value as f64),
        Scalar::Float(value) | Scalar::Huge(value) => Some(value),
        _ => None,
    }
}

/// Columns of one type with nulls, and now and then a value that changes the type.
fn tokens() -> impl Strategy<Value = Vec<String>> {
    let kind = prop_oneof![Just(0u8), Just(1), Just(2), Just(3), Just(4), Just(5)];
    (kind, proptest::collection::vec((any::<u32>(), 0u8..40), 0..600), any::<bool>()).prop_map(
        |(kind, seeds, mixed)| {
            let one = |(seed, dice): &(u32, u8)| match (dice, kind) {
                (0, _) => String::new(),
                (1, _) => "NA".to_owned(),
                (4, _) => MISSING.to_owned(),
                (2, _) if mixed && seed % 9 == 0 => "word".to_owned(),
                (3, _) if mixed && seed % 9 == 0 => "1e3".to_owned(),
                (_, 0) => (seed % 1000).to_string(),
                (_, 1) => format!("{}.{}", seed % 700, seed % 7),
                (_, 2) => format!("w{}", (seed % 300).pow(2) / 300),
                (_, 3) => ["true", "False", "TRUE"][(seed % 3) as usize].to_owned(),
                (_, 4) => format!("20{:02}-0{}-1{}", seed % 90 + 10, seed % 9 + 1, seed % 10),
                _ => format!("{}", i64::from(*seed) * 2_000_000_007),
            };
            seeds.iter().map(one).collect()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_split_equals_the_whole_exactly(
        tokens in tokens(),
        cuts in proptest::collection::vec(0usize..1000, 0..6),
    ) {
        prop_assert_eq!(finish(merged(&tokens, &cuts, EXACT)), finish(of(&tokens, EXACT)));
    }

    #[test]
    fn estimates_keep_their_bounds_whole_or_merged(
        tokens in tokens(), cuts in proptest::collection::vec(0usize..1000, 0..6), budget in 0usize..8000
    ) {
        let exact = finish(of(&tokens, EXACT));
        check_estimates(&finish(of(&tokens, budget)), &exact, &tokens);
        check_estimates(&finish(merged(&tokens, &cuts, budget)), &exact, &tokens);
    }
}

#[test]
fn many_values_are_estimated_within_two_and_half_a_percent() {
    let tokens: Vec<String> = (0..400_000u64).map(|i| (i * 7_919 % 1_000_003).to_string()).collect();
    let estimate = finish(of(&tokens, 1 << 20));
    assert!(!estimate.0.distinct.exact);
    assert!((estimate.0.distinct.value as f64 / 400_000.0 - 1.0).abs() < 0.02, "{:?}", estimate.0.distinct);
    assert!(estimate.0.quantiles.as_ref().unwrap().error.unwrap() < 0.005);
    check_estimates(&estimate, &finish(of(&tokens, EXACT)), &tokens);
}

#[test]
fn the_largest_table_is_folded_and_the_budget_kept() {
    let mut columns = Columns::new(4, Syntax::Field, 200_000, SKETCHES);
    for i in 0..50_000u32 {
        for (index, token) in [i % 10, i, i % 100, i + 1].iter().enumerate() {
            columns.add(index, Word::new(token.to_string().as_bytes()), 1);
        }
        assert!(columns.exact_bytes() <= 200_000);
    }
    let names = ["a", "b", "c", "d"].map(str::to_owned);
    let exact: Vec<bool> = columns.finish(&names, 100).iter().map(|column| column.0.distinct.exact).collect();
    assert_eq!(exact, [true, false, true, false]);
}

/// The same by batches, in which each column has but its share of the room before they come together.
#[test]
fn batches_keep_the_budget_and_lose_nothing() {
    // Columns that grow alike want more room at the same time, at every size once.
    for exact_bytes_max in (100_000..800_000).step_by(20_000) {
        let mut columns = Columns::new(8, Syntax::Field, exact_bytes_max, SKETCHES);
        for batch in 0..20u32 {
            let tokens: Vec<String> = (batch * 300..(batch + 1) * 300).map(|i| i.to_string()).collect();
            columns.add_batch(|_| tokens.iter().map(|token| Word::new(token.as_bytes())));
            assert!(columns.exact_bytes() <= exact_bytes_max, "{exact_bytes_max}");
        }
        let names = ["a", "b", "c", "d", "e", "f", "g", "h"].map(str::to_owned);
        let finished = columns.finish(&names, 100);
        assert!(finished.iter().all(|column| column.1.count == 6_000));
    }
}

/// Columns that come one after another have sketches as large as if all had been known from the beginning.
#[test]
fn columns_that_come_late_share_the_memory_of_sketches() {
    const WIDTH: usize = 60;
    let tokens: Vec<String> = (0..4_000u64).map(|i| (i * 7_919 % 4_001).to_string()).collect();
    let names: Vec<String> = (0..WIDTH).map(|index| index.to_string()).collect();
    let finish = |late: bool| {
        let mut columns = Columns::new(if late { 0 } else { WIDTH }, Syntax::Field, 0, SKETCHES);
        for index in 0..WIDTH {
            if late {
                columns.push_column(7);
            }
            for token in &tokens {
                columns.add(index, Word::new(token.as_bytes()), 1);
            }
        }
        columns.finish(&names, 100)
    };
    let exact = self::finish(of(&tokens, EXACT));
    for (late, early) in finish(true).into_iter().zip(finish(false)) {
        assert_eq!(late.0.nulls, 7);
        assert_eq!(late.0.quantiles, early.0.quantiles);
        let error = |column: &Finished| column.0.distinct.error.unwrap();
        assert!((error(&late) / error(&early) - 1.0).abs() < 0.3, "{} {}", error(&late), error(&early));
        let late = (crate::ColumnSchema { nulls: 0, ..late.0 }, late.1);
        check_estimates(&late, &exact, &tokens);
    }
}

/// The table of these rows, each with the fields it has, as a format without a header gathers it.
fn table(rows: &[Vec<(u8, String)>], exact_bytes_max: usize) -> (Vec<String>, Columns) {
    let mut names: Vec<String> = Vec::new();
    let mut columns = Columns::new(0, Syntax::Field, exact_bytes_max, SKETCHES);
    for (row, fields) in rows.iter().enumerate() {
        let mut missing: Vec<usize> = (0..names.len()).collect();
        for (name, token) in fields {
            let name = name.to_string();
            let index = names.iter().position(|other| *other == name).unwrap_or_else(|| {
                names.push(name);
                columns.push_column(row as u64);
                names.len() - 1
            });
            columns.add(index, Word::new(token.as_bytes()), 1);
            missing.retain(|other| *other != index);
        }
        missing.into_iter().for_each(|index| columns.add_missing(index, 1));
    }
    (names, columns)
}

/// Rows in which each of a few fields occurs once at most, in any order.
fn rows() -> impl Strategy<Value = Vec<Vec<(u8, String)>>> {
    let field = (0u8..6, any::<u16>());
    let row = proptest::collection::vec(field, 0..6).prop_map(|mut fields| {
        let mut seen = Vec::new();
        fields.retain(|(name, _)| !seen.contains(name) && (seen.push(*name), true).1);
        let token =
            |(name, seed): (u8, u16)| (name, format!("{}{}", ["", "w"][usize::from(name % 2)], seed % 500));
        fields.into_iter().map(token).collect()
    });
    proptest::collection::vec(row, 0..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn parts_with_other_columns_merge_by_name(
        rows in rows(), cuts in proptest::collection::vec(0usize..200, 0..4), budget in 0usize..20_000
    ) {
        let merged = |exact_bytes_max| {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (rows.len() + 1)).collect();
            cuts.extend([0, rows.len()]);
            cuts.sort_unstable();
            let (mut names, mut columns) = table(&[], exact_bytes_max);
            for pair in cuts.windows(2) {
                let (other_names, other) = table(&rows[pair[0]..pair[1]], exact_bytes_max);
                let (before, more) = (pair[0] as u64, (pair[1] - pair[0]) as u64);
                columns.merge_by_name(&mut names, before, other, &other_names, more);
            }
            (columns.finish(&names, 100), names)
        };
        let (names, whole) = table(&rows, EXACT);
        let whole = whole.finish(&names, 100);
        prop_assert_eq!(merged(EXACT), (whole.clone(), names.clone()));
        for (estimate, exact) in merged(budget).0.iter().zip(&whole) {
            let of_column = |row: &Vec<(u8, String)>| {
                row.iter().find(|field| field.0.to_string() == exact.0.name).map(|field| field.1.clone())
            };
            check_estimates(estimate, exact, &rows.iter().filter_map(of_column).collect::<Vec<_>>());
        }
    }
}
