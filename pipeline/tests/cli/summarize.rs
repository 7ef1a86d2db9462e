//! What is made of local files: `summarize`, `merge`, `convert`.

use std::process::Output;
use std::slice::from_ref;

use super::{pipeline, text};

fn summarize(arguments: &[&str], files: &[String]) -> Output {
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    pipeline(&[&["summarize"], arguments, &files[..]].concat(), &[])
}

#[test]
fn summarize_writes_json_or_a_table_and_goes_on_after_a_bad_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("good.csv"), "name,age\nAda,36\nAlan,41\n").unwrap();
    std::fs::write(path("photo.png"), [0x89, b'P', b'N', b'G']).unwrap();

    let output = pipeline(&["summarize", &path("photo.png"), &path("good.csv")], &[]);
    assert_eq!(output.status.code(), Some(1), "one file failed");
    assert!(text(&output.stderr).contains("photo.png"));
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["total_rows"], 2);
    assert_eq!(summary["summary"]["age"]["mean"], 38.5);

    let output = pipeline(&["summarize", "--format", "table", &path("good.csv")], &[]);
    assert!(output.status.success());
    let table = text(&output.stdout);
    assert!(table.contains("2 rows, 2 columns") && table.contains("38.5"), "{table}");
}

/// Small ones and large, packed ones and plain: each by whoever is free, and written in the order in which they were named.
#[test]
fn summaries_come_in_the_order_of_the_files() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let sample = |name: &str| format!("{}/../datasets/samples/{name}", env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![sample("weather.csv.gz"), sample("corrupt.csv.gz")];
    for file in 0..40 {
        files.push(path(&format!("{file}.csv")));
        std::fs::write(files.last().unwrap(), format!("number\n{file}\n")).unwrap();
        if file % 13 == 5 {
            files.push(path(&format!("{file}-large.csv")));
            std::fs::write(files.last().unwrap(), format!("number\n{}", "1\n".repeat(600_000))).unwrap();
            files.push(sample("corrupt.csv.gz"));
        }
    }
    let apart: String = files.iter().map(|file| text(&summarize(&[], from_ref(file)).stdout)).collect();
    let together = summarize(&[], &files);
    assert_eq!(text(&together.stdout), apart);
    assert_eq!(together.status.code(), Some(1));
    assert_eq!(text(&together.stderr).matches("corrupt.csv.gz: ").count(), 4, "{}", text(&together.stderr));
}

/// Small files are read side by side and merged in neighbourhoods: the answer is that of one file with all rows, in their
/// order. All words are equally frequent, so that `top` is the one that came first.
#[test]
fn merged_files_are_as_one_and_partials_merge_later() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (mut rows, mut files) = (String::from("id,word\n"), Vec::new());
    for file in 0..50 {
        let lines: String = (0..20).map(|row| format!("{},w{file}\n", file * 20 + row)).collect();
        files.push(path(&format!("{file}.csv")));
        std::fs::write(&files[file], format!("id,word\n{lines}")).unwrap();
        rows += &lines;
    }
    std::fs::write(path("all.csv"), rows).unwrap();
    let whole = summarize(&[], &[path("all.csv")]);
    let together = summarize(&["--merge"], &files);
    assert!(together.status.success(), "{}", text(&together.stderr));
    assert_eq!(text(&together.stdout), text(&whole.stdout));

    for (name, files) in [("first.partial", &files[..30]), ("second.partial", &files[30..])] {
        let partial = summarize(&["--merge", "--format", "partial"], files);
        assert!(partial.status.success(), "{}", text(&partial.stderr));
        std::fs::write(path(name), partial.stdout).unwrap();
    }
    let merged = pipeline(&["merge", &path("first.partial"), &path("second.partial")], &[]);
    assert!(merged.status.success(), "{}", text(&merged.stderr));
    assert_eq!(text(&merged.stdout), text(&whole.stdout));

    // A total that lacks a file is none.
    let lacking = summarize(&["--merge"], &[files[0].clone(), path("not.csv"), files[1].clone()]);
    assert_eq!((lacking.status.code(), text(&lacking.stdout)), (Some(1), String::new()));
    assert!(text(&lacking.stderr).contains("not.csv"), "{}", text(&lacking.stderr));
    let no_partial = pipeline(&["merge", &path("first.partial"), &path("all.csv")], &[]);
    assert_eq!((no_partial.status.code(), text(&no_partial.stdout)), (Some(1), String::new()));
    assert!(text(&no_partial.stderr).contains("--format partial"), "{}", text(&no_partial.stderr));
    let several = summarize(&["--format", "partial"], &files);
    assert_eq!((several.status.code(), text(&several.stdout)), (Some(1), String::new()));
    assert!(text(&several.stderr).contains("--merge"), "{}", text(&several.stderr));
}

/// Also those that do not fit to the ones before, and no other.
#[test]
fn all_files_that_cannot_be_merged_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let good: Vec<String> = (0..6).map(|file| path(&format!("{file}.csv"))).collect();
    good.iter().for_each(|file| std::fs::write(file, "id,word\n1,one\n").unwrap());
    std::fs::write(path("other.jsonl"), "{\"id\":1}\n").unwrap();
    std::fs::write(path("empty.csv"), "").unwrap();
    std::fs::write(path("large.csv"), format!("id,word\n{}", "1,one\n".repeat(200_000))).unwrap();
    let [other, empty, large] = ["other.jsonl", "empty.csv", "large.csv"].map(path);
    for (all, failing) in [
        ([&good[..3], from_ref(&other), &good[3..], from_ref(&empty)].concat(), [&other, &empty]),
        ([&good[..3], &[empty.clone(), other.clone()], &good[3..]].concat(), [&empty, &other]),
        // By itself, and then a share that begins with none.
        (vec![large, empty.clone(), other.clone()], [&empty, &other]),
    ] {
        let unfit = summarize(&["--merge"], &all);
        assert_eq!((unfit.status.code(), text(&unfit.stdout)), (Some(1), String::new()));
        let said = text(&unfit.stderr);
        let named: Vec<&str> = said.lines().filter_map(|line| line.split(": ").nth(1)).collect();
        assert_eq!(named[..2], failing, "{said}");
        let count = format!("2 of {} files failed", all.len());
        assert!(said.contains(&count) && said.contains("written with their types"), "{said}");
    }
}

#[test]
fn convert_writes_rows_as_they_were_understood() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("odd.csv"), "Ages\n\nname;age\nAda;36\n\"Alan;41\nKurt\n").unwrap();
    std::fs::write(path("empty.csv"), "").unwrap();

    let output = pipeline(&["convert", &path("odd.csv"), "--to", "csv"], &[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "name,age\nAda,36\n\"\"\"Alan\",41\nKurt,\n");
    assert!(text(&output.stderr).contains("1 unclosed_quote, first in line 5"), "{}", text(&output.stderr));

    let output = pipeline(&["convert", &path("odd.csv"), "--to", "csv", "--strict"], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("line 5"), "{}", text(&output.stderr));

    let told = ["--delimiter", ",", "--header", "no", "--skip-lines", "2", "--quote", "none"];
    let output = pipeline(&[&["convert", &path("odd.csv"), "--to", "csv"], &told[..]].concat(), &[]);
    assert_eq!(text(&output.stdout).lines().next(), Some("name;age"));

    let output = pipeline(&["convert", &path("empty.csv"), "--to", "csv", "-o", &path("out.csv")], &[]);
    assert!(output.status.success() && std::fs::read(path("out.csv")).unwrap().is_empty());

    let output = pipeline(&["convert", &path("odd.csv"), "--to", "parquet", "-o", &path("out.parquet")], &[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(std::fs::read(path("out.parquet")).unwrap().starts_with(b"PAR1"));
    let output = pipeline(&["convert", "-", "--to", "parquet"], &[]);
    assert_eq!(output.status.code(), Some(1), "standard input cannot be read twice");
}
