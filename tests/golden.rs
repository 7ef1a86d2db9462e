//! Summaries against pandas, and files with defects against a table of what becomes of them.
//!
//! `datasets/golden` holds pairs: a file, and what `read_csv` or `json_normalize`, and `describe`, make of it
//! (datasets/golden.py wrote it; logs and texts it takes apart by itself); `target/generated` holds a thousand more CSV
//! files, made from a seed (datasets/many.py). Every file goes four ways: whole, in small pieces, gzipped, and by a
//! partial that is written down; all must agree with each other exactly and with pandas to 1e-9.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use parsers::{ColumnType, Compression, Error, Format, Limits, Partial, Summary, decoder};
use serde_json::Value;

fn datasets() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("datasets")
}

fn read(name: &str, bytes: &[u8], piece: usize) -> Result<Summary, Error> {
    partial(name, bytes, piece, &Limits::default()).map(Partial::finish)
}

fn partial(name: &str, bytes: &[u8], piece: usize, limits: &Limits) -> Result<Partial, Error> {
    let mut decoder = decoder(name, limits);
    for bytes in bytes.chunks(piece) {
        decoder.feed(bytes)?;
    }
    decoder.partial()
}

/// What every format has counted adds up, in tables and in sketches: its partial is believed when it is read again.
fn comes_back_from_its_bytes(name: &str, bytes: &[u8]) {
    let estimated = Limits { exact_bytes_max: 0, ..Limits::default() };
    for limits in [Limits::default(), estimated] {
        let before = partial(name, bytes, usize::MAX, &limits).unwrap();
        let after = Partial::from_bytes(&before.to_bytes(), &limits);
        let after = after.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(after.finish(), before.finish(), "{name}: its partial has changed");
    }
}

/// Single bytes, unless that would take too long.
fn small_piece(bytes: &[u8]) -> usize {
    if bytes.len() < 1 << 20 { 1 } else { 4093 }
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The summary of a file, after checking that all routes give it.
fn summary(name: &str, bytes: &[u8]) -> Result<Summary, Error> {
    let whole = read(name, bytes, usize::MAX);
    let pieces = read(name, bytes, small_piece(bytes));
    assert_eq!(pieces, whole, "{name}: pieces and whole differ");
    let Ok(whole) = whole else { return whole };
    assert_eq!(pieces.unwrap().to_json(), whole.to_json(), "{name}: the JSON differs");
    comes_back_from_its_bytes(name, bytes);
    if whole.compression == Compression::None {
        let mut unpacked = read(name, &gzipped(bytes), usize::MAX).unwrap();
        assert_eq!(unpacked.compression, Compression::Gzip);
        unpacked.compression = Compression::None;
        assert_eq!(unpacked, whole, "{name}: gzipped and whole differ");
    }
    Ok(whole)
}

/// A sample as columns says what it says as text.
#[test]
fn columns_say_what_their_sample_says() {
    let mut seen = 0;
    for entry in std::fs::read_dir(datasets().join("columns")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let sample = format!("{}.csv", name.split('.').next().unwrap());
        let told =
            read(&sample, &std::fs::read(datasets().join("samples").join(&sample)).unwrap(), usize::MAX)
                .unwrap();
        let ours = summary(&name, &std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(ours.total_rows, told.total_rows, "{name}");
        assert_eq!(ours.schema, told.schema, "{name}");
        assert_eq!(ours.summary, told.summary, "{name}");
        assert_eq!((&ours.dialect, ours.warnings.len()), (&None, 0), "{name}");
        assert_eq!(Format::from_name(&name), Some(ours.format), "{name}");
        seen += 1;
    }
    assert_eq!(seen, 12);
}

/// What two answers differ in: numbers to 1e-9 relative, and a deviation also to 1e-12 of the values, since
/// that of equal values is rounding noise in pandas.
fn difference(stat: &str, ours: Option<&Value>, pandas: &Value, scale: f64) -> Option<String> {
    let same = match (ours.and_then(Value::as_f64), pandas.as_f64()) {
        (Some(a), Some(b)) if pandas.is_f64() || ours.is_some_and(Value::is_f64) => {
            let noise = if matches!(stat, "std" | "mean") { 1e-12 * scale } else { 0.0 };
            (a - b).abs() <= (1e-9 * a.abs().max(b.abs())).max(noise)
        }
        _ => ours == Some(pandas),
    };
    let short = |value: String| value.chars().take(200).collect::<String>();
    let ours = ours.map_or("nothing".to_owned(), Value::to_string);
    (!same).then(|| format!("{stat}: ours {}, pandas {}", short(ours), short(pandas.to_string())))
}

fn compare(ours: &Summary, expected: &Value) -> Vec<String> {
    // Through JSON, since that is what readers get.
    let json: Value = serde_json::from_slice(&ours.to_json()).unwrap();
    let mut differences = Vec::new();
    for key in ["total_rows", "columns"] {
        if json[key] != expected[key] {
            differences.push(format!("{key}: ours {}, pandas {}", json[key], expected[key]));
        }
    }
    for (name, pandas) in expected["summary"].as_object().unwrap() {
        let column = &json["summary"][name];
        let scale =
            ["min", "max"].iter().filter_map(|key| column[key].as_f64()).fold(0.0, |a, b| b.abs().max(a));
        for (stat, value) in pandas.as_object().unwrap() {
            differences
                .extend(difference(stat, column.get(stat), value, scale).map(|d| format!("{name}.{d}")));
        }
        let Some(schema) = ours.schema.iter().find(|column| column.name == *name) else { continue };
        // The generated files tell these as well.
        for (what, value) in [("nulls", schema.nulls), ("distinct", schema.distinct.value)] {
            let known = expected.get(what).and_then(|columns| columns[name].as_u64());
            if known.is_some_and(|known| known != value) {
                differences.push(format!("{name}: {what}: ours {value}, pandas {known:?}"));
            }
        }
        // Nothing beyond pandas but the range of dates.
        let dates = matches!(schema.kind, ColumnType::Date | ColumnType::Datetime);
        for stat in column.as_object().map(|stats| stats.keys()).into_iter().flatten() {
            if pandas.get(stat).is_none() && !(dates && (stat == "min" || stat == "max")) {
                differences.push(format!("{name}.{stat}: pandas has none, ours {}", column[stat]));
            }
        }
    }
    differences
}

/// Every data file of a folder, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    let is_data = |name: &str| Format::from_name(name).is_some() && !name.ends_with(".expected.json");
    files.retain(|path| is_data(&path.to_string_lossy()));
    files.sort();
    files
}

/// Compares each file that has an expected answer; says how many had one.
fn check(folder: &Path, expected: impl Fn(&str) -> PathBuf) -> usize {
    let mut differences = Vec::new();
    let mut compared = 0;
    for path in files(folder) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let Ok(answer) = std::fs::read(expected(&name)) else { continue };
        compared += 1;
        match summary(&name, &std::fs::read(&path).unwrap()) {
            Ok(ours) => {
                let found = compare(&ours, &serde_json::from_slice(&answer).unwrap());
                differences.extend(found.into_iter().map(|difference| format!("{name}: {difference}")));
            }
            Err(error) => differences.push(format!("{name}: {error}")),
        }
    }
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
    compared
}

#[test]
fn golden_files_are_what_pandas_says() {
    let folder = datasets().join("golden");
    let compared = check(&folder, |name| {
        let case = name.split('.').next().unwrap();
        folder.join(format!("{case}.expected.json"))
    });
    assert!(compared > 100, "only {compared} golden files were found");
}

#[test]
fn samples_are_what_pandas_says() {
    let golden = datasets().join("golden").join("samples");
    let compared = check(&datasets().join("samples"), |name| golden.join(format!("{name}.expected.json")));
    assert!(compared > 10, "only {compared} samples were found");
}

#[test]
fn generated_files_are_what_pandas_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target").join("generated");
    let Ok(seed) = std::fs::read_to_string(folder.join("seed")) else {
        assert!(std::env::var_os("CI").is_none(), "CI must make them: step `generated` of .ci/run");
        eprintln!("SKIPPED the generated files: make them with datasets/many.py, see CONTRIBUTING.md");
        return;
    };
    eprintln!("target/generated, made with the seed {}", seed.trim());
    let compared = check(&folder, |name| folder.join(name.replace(".csv", ".expected.json")));
    assert!(compared >= 1_000, "only {compared} generated files were found");
}

/// What becomes of a file: its rows and columns, what its dialect is but for commas, double quotes and a header, and
/// warnings (how many, first line); or the kind of its error.
fn outcome(result: &Result<Summary, Error>) -> String {
    match result {
        Err(error) => error.kind().to_string(),
        Ok(summary) => {
            let mut said = format!("{} × {}", summary.total_rows, summary.columns.len());
            let plain = [("delimiter", ","), ("quote", "\""), ("header", "true"), ("encoding", "utf-8")];
            let dialect = serde_json::to_value(&summary.dialect).unwrap();
            for (name, value) in dialect.as_object().into_iter().flatten() {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                if name != "byte_order_mark" && !plain.contains(&(name, &value)) {
                    said += &format!(", {name} {value}");
                }
            }
            for warning in &summary.warnings {
                said += &format!(
                    ", {} {} from line {}",
                    warning.count,
                    warning.kind.as_str(),
                    warning.first_line
                );
            }
            said
        }
    }
}

#[test]
fn defects_are_repaired_and_counted_or_refused() {
    let folder = datasets().join("malformed");
    let table: BTreeMap<&str, &str> = OUTCOMES.iter().copied().collect();
    let files = files(&folder);
    assert_eq!(files.len(), table.len(), "files and OUTCOMES differ in number");
    let mut differences = Vec::new();
    for path in files {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let outcome = outcome(&summary(&name, &std::fs::read(&path).unwrap()));
        if table.get(name.as_str()) != Some(&outcome.as_str()) {
            differences.push(format!("    (\"{name}\", \"{outcome}\"),"));
        }
    }
    assert!(differences.is_empty(), "these became something else:\n{}", differences.join("\n"));
}

/// One defect a file; `datasets/malformed/README.md` says which, and what pandas makes of it.
const OUTCOMES: &[(&str, &str)] = &[
    ("all_rows_too_long.csv", "3 × 3, 1 header_too_short from line 1"),
    ("backslash_escaped_quotes.csv", "2 × 2, escape \\"),
    ("bare_cr_in_field.csv", "3 × 2, 1 row_too_short from line 3"),
    ("blank_before_quote.csv", "2 × 2, blanks_skipped true"),
    ("bom_in_the_middle.csv", "4 × 3"),
    ("bom_twice.csv", "3 × 3"),
    ("bzip2_trailing_garbage.csv.bz2", "corrupt"),
    ("bzip2_truncated.csv.bz2", "corrupt"),
    ("bzip2_within_gzip.csv.gz", "unsupported"),
    ("comment_lines.csv", "2 × 2, comment #"),
    ("control_z.csv", "3 × 3, 1 padding from line 5"),
    ("csv_named_json.json", "malformed"),
    ("decimal_commas.csv", "2 × 2, delimiter ;"),
    ("duplicate_header_clash.csv", "1 × 3"),
    ("empty.csv", "empty"),
    ("float_overflow.csv", "2 × 2"),
    ("footer.csv", "3 × 2, 1 row_too_short from line 4"),
    ("gb18030.csv", "2 × 2, encoding gb18030"),
    ("gzip_bad_block.csv.gz", "corrupt"),
    ("gzip_bad_checksum.csv.gz", "corrupt"),
    ("gzip_bad_length.csv.gz", "corrupt"),
    ("gzip_bomb.csv.gz", "limit"),
    ("gzip_header_only.csv.gz", "corrupt"),
    ("gzip_named_csv.csv", "3 × 3"),
    ("gzip_of_nothing.csv.gz", "empty"),
    ("gzip_second_member_corrupt.csv.gz", "corrupt"),
    ("gzip_trailing_garbage.csv.gz", "corrupt"),
    ("gzip_trailing_zeros.csv.gz", "3 × 3"),
    ("gzip_truncated.csv.gz", "corrupt"),
    ("gzip_twice.csv.gz", "unsupported"),
    ("gzip_without_trailer.csv.gz", "corrupt"),
    ("gzip_zero_bytes.csv.gz", "empty"),
    ("header_only.csv", "0 × 3"),
    ("html_error_page.csv", "2 × 1"),
    ("infinities.csv", "4 × 2"),
    ("ints_beyond_int64.csv", "3 × 2"),
    ("ints_beyond_int64_and_null.csv", "3 × 2"),
    ("ints_beyond_uint64.csv", "3 × 2"),
    ("invalid_utf8.csv", "2 × 2, 2 invalid_utf8 from line 2"),
    ("json_bad_line.jsonl", "2 × 2, 1 bad_record from line 2"),
    ("json_bom_twice.jsonl", "3 × 2"),
    ("json_comments.json", "malformed"),
    ("json_deep.json", "limit"),
    ("json_dotted_keys.jsonl", "1 × 2"),
    ("json_empty.json", "empty"),
    ("json_empty_array.json", "0 × 0"),
    ("json_huge_ints.jsonl", "2 × 1"),
    ("json_infinity.jsonl", "4 × 1"),
    ("json_invalid_utf8.jsonl", "2 × 1, 1 invalid_utf8 from line 1"),
    ("json_leading_zeros.jsonl", "1 × 2, 1 bad_record from line 2"),
    ("json_lone_surrogate.jsonl", "2 × 2, 1 lone_surrogate from line 1"),
    ("json_named_csv.csv", "3 × 2"),
    ("json_no_good_line.jsonl", "malformed"),
    ("json_nul_padding.jsonl", "3 × 2, 1 bad_record from line 4"),
    ("json_raw_tab.jsonl", "1 × 2, 1 bad_record from line 2"),
    ("json_repeated_keys.jsonl", "2 × 2, 1 repeated_key from line 2"),
    ("json_single_quotes.json", "malformed"),
    ("json_trailing_comma.json", "malformed"),
    ("json_trailing_commas.jsonl", "malformed"),
    ("json_truncated.json", "malformed"),
    ("json_truncated.jsonl", "malformed"),
    ("json_two_arrays.json", "malformed"),
    ("latin1.csv", "2 × 2, encoding windows-1252"),
    ("leading_zeros.csv", "3 × 2"),
    ("long_field.csv", "2 × 2"),
    ("many_columns.csv", "1 × 10000"),
    ("mixed_line_ends.csv", "3 × 2"),
    ("newline_in_number.csv", "2 × 2"),
    ("no_header.csv", "3 × 3, header false"),
    ("noise.csv", "unsupported"),
    ("nul_bytes.csv", "3 × 2, 3 nul_bytes from line 2"),
    ("nul_padding.csv", "3 × 3, 1 padding from line 5"),
    ("odd_run_of_quotes.csv", "2 × 2, 1 unclosed_quote from line 2"),
    ("only_blank_lines.csv", "empty"),
    ("only_bom.csv", "empty"),
    ("only_delimiters.csv", "1 × 3"),
    ("only_newline.csv", "empty"),
    ("plain_named_gz.csv.gz", "3 × 3"),
    ("preamble.csv", "2 × 2, skipped_lines 2"),
    ("repeated_header.csv", "2 × 2, 1 repeated_header from line 3"),
    ("row_too_long.csv", "3 × 2, 1 row_too_long from line 3"),
    ("row_too_short.csv", "3 × 3, 1 row_too_short from line 3"),
    ("semicolons.csv", "2 × 3, delimiter ;"),
    ("separator_line.csv", "1 × 2, delimiter ;, skipped_lines 1"),
    ("single_quotes.csv", "2 × 2, quote '"),
    ("stray_quote.csv", "2 × 2"),
    ("tabs_named_csv.csv", "2 × 2, delimiter 	"),
    ("text_after_closing_quote.csv", "2 × 2, 2 stray_quote from line 2"),
    ("trailing_comma_in_one_row.csv", "3 × 2, 1 row_too_long from line 3"),
    ("trailing_comma_in_rows.csv", "3 × 2"),
    ("truncated_row.csv", "2 × 3, 1 row_too_short from line 3"),
    ("unclosed_quote.csv", "3 × 2, 1 unclosed_quote from line 2"),
    ("unclosed_quote_last_field.csv", "2 × 2, 1 unclosed_quote from line 3"),
    ("utf16_be.csv", "2 × 2, encoding utf-16be"),
    ("utf16_le.csv", "2 × 2, encoding utf-16le"),
    ("utf16_no_bom.csv", "2 × 2, encoding utf-16le"),
    ("utf8_cut_at_end.csv", "1 × 2, 1 invalid_utf8 from line 2"),
    ("utf8_overlong.csv", "1 × 2, 1 invalid_utf8 from line 2"),
    ("utf8_surrogate.csv", "1 × 2, 1 invalid_utf8 from line 2"),
    ("xml_error.csv", "1 × 1"),
    ("xz_bad_checksum.csv.xz", "corrupt"),
    ("xz_large_dictionary.csv.xz", "limit"),
    ("xz_odd_padding.csv.xz", "corrupt"),
    ("xz_padding.csv.xz", "4 × 3"),
    ("xz_truncated.csv.xz", "corrupt"),
    ("zip_bad_checksum.csv.zip", "corrupt"),
    ("zip_beside_macos.csv.zip", "3 × 3"),
    ("zip_encrypted.csv.zip", "unsupported"),
    ("zip_method.csv.zip", "unsupported"),
    ("zip_of_nothing.csv.zip", "empty"),
    ("zip_two_files.csv.zip", "unsupported"),
    ("zip_without_directory.csv.zip", "corrupt"),
    ("zstd_bad_checksum.csv.zst", "corrupt"),
    ("zstd_trailing_garbage.csv.zst", "corrupt"),
    ("zstd_truncated.csv.zst", "corrupt"),
];
