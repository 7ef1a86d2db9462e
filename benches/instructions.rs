//! Instructions from the bytes of a file to its summary, on one thread, counted by valgrind: a slow-down is seen without
//! a clock. Fails when an input needs more than 5 % above the recorded number.
//!
//! `cargo run --release -p tests --bin instructions` compares; `-- --write` records anew, for a change on purpose.
//!
//! What else could move the numbers: the hashes of the token tables are seeded at random (noise below 1 %, see
//! benches/README.md); the compiler (its version is recorded, another one is said aloud); the processor, since
//! memchr and libc choose their code by it: valgrind shows every program the same Intel processor with or without
//! AVX2, as the host has it (recorded, too), and never AVX-512.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a bench prints its result")]

use std::fmt::Write;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use kit::dataset::repeated;
use parsers::{Error, Limits, Partial, Reading};

/// Several times the noise, and less than what anybody would call a slow-down.
const GROWTH_MAX: f64 = 0.05;

/// As the worker hands the bytes over.
const PIECE_BYTES: usize = 512 << 10;

/// Inputs that each take another way through the engine: name, what it shows.
const INPUTS: [(&str, &str); 9] = [
    ("repeated", "few distinct values: token tables"),
    ("unique", "nothing twice, in exact tables: growth, sorting"),
    ("sketched", "the same in tables that overflow: sketches"),
    ("quoted", "every field in quotes, line breaks among them"),
    ("chinese", "long quoted text that is not ASCII"),
    ("latin1", "another encoding: recognised, and read as UTF-8"),
    ("gzip", "the first one, packed"),
    ("small", "the first one in files of 20 KB, a summary each: beginnings and ends"),
    ("merged", "the same in one summary: each read onto those before"),
];

/// Files of one name, and how they are read.
struct Input {
    name: String,
    files: Vec<Vec<u8>>,
    limits: Limits,
    is_merged: bool,
}

fn input(name: &str) -> Input {
    let mut limits = Limits::default();
    let mut file = "input.csv".to_owned();
    let bytes = match name {
        "small" | "merged" => {
            let (files, is_merged) = (small(&repeated("flights.csv", 1 << 20)), name == "merged");
            return Input { name: file, files, limits, is_merged };
        }
        "repeated" => repeated("flights.csv", 4 << 20),
        "unique" => unique(),
        "sketched" => {
            limits.exact_bytes_max = 256 << 10;
            unique()
        }
        "quoted" => quoted(),
        "chinese" => repeated("tang_poems.csv", 2 << 20),
        "latin1" => latin1(),
        "gzip" => {
            file.push_str(".gz");
            let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            packed.write_all(&repeated("flights.csv", 4 << 20)).expect("memory takes everything");
            packed.finish().expect("memory takes everything")
        }
        _ => panic!("there is no input {name:?}"),
    };
    Input { name: file, files: vec![bytes], limits, is_merged: false }
}

/// A table in files of 20 KB, each with the header.
fn small(table: &[u8]) -> Vec<Vec<u8>> {
    let mut lines = table.split_inclusive(|byte| *byte == b'\n');
    let header = lines.next().expect("a table has a header");
    let mut files = vec![header.to_vec()];
    for line in lines {
        if files.last().is_none_or(|file| file.len() > 20_000) {
            files.push(header.to_vec());
        }
        files.last_mut().expect("there is one").extend_from_slice(line);
    }
    files
}

fn rows(header: &str, count: u64, row: impl Fn(u64, u64) -> String) -> Vec<u8> {
    let scattered = |number: u64| number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let rows = (0..count).map(|number| row(number, scattered(number)));
    std::iter::once(format!("{header}\n")).chain(rows).collect::<String>().into_bytes()
}

/// An identifier, a decimal, a moment and a text, none of them twice.
fn unique() -> Vec<u8> {
    rows("id,price,moment,note", 30_000, |number, scattered| {
        let (price, minute) = (scattered >> 40, number % 1440);
        let (day, hour) = (1 + number / 1440, minute / 60);
        format!(
            "{number},{price}.{:02},2024-05-{day:02}T{hour:02}:{:02}:00,note {scattered:x}\n",
            number % 100,
            minute % 60
        )
    })
}

fn quoted() -> Vec<u8> {
    rows("\"id\",\"city\",\"amount\",\"comment\"", 40_000, |number, scattered| {
        let (city, amount) = (scattered >> 61, scattered >> 50);
        format!(
            "\"{}\",\"city, {city}\",\"{amount}.5\",\"said \"\"{}\"\"\nand left\"\n",
            number % 500,
            scattered >> 55
        )
    })
}

fn latin1() -> Vec<u8> {
    let mut bytes = rows("id,city,country", 40_000, |number, scattered| {
        format!("{},Gen?ve {},Suisse\n", number % 1000, scattered >> 58)
    });
    bytes.iter_mut().filter(|byte| **byte == b'?').for_each(|byte| *byte = 0xE8);
    bytes
}

/// What is counted: valgrind is told this function's name. The rows of all summaries.
#[inline(never)]
fn counted_summaries(input: &Input) -> Result<u64, Error> {
    let (mut rows, mut before): (u64, Option<Partial>) = (0, None);
    for bytes in &input.files {
        let reading = Reading::default();
        let mut decoder = match before.take() {
            Some(before) => reading.onto(before, &input.name, &input.limits),
            None => reading.decoder(&input.name, &input.limits),
        };
        // No closures here: one that is not inlined would have this function's name, and end the counting.
        for piece in bytes.chunks(PIECE_BYTES) {
            decoder.feed(piece)?;
        }
        let partial = decoder.partial()?;
        if input.is_merged {
            before = Some(partial);
        } else {
            rows += partial.finish().total_rows;
        }
    }
    if let Some(whole) = before {
        rows += whole.finish().total_rows;
    }
    Ok(rows)
}

/// What this processor is to code that chooses by it.
fn processor() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if std::is_x86_feature_detected!("avx2") { "x86-64 with AVX2" } else { "x86-64 without AVX2" }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        std::env::consts::ARCH
    }
}

/// What one input needs: runs this program on it, under valgrind. And the processor that it saw.
fn count(name: &str) -> (u64, String) {
    let program = std::env::current_exe().expect("a program knows itself");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*counted_summaries*"])
        .arg(program)
        .args(["--input", name])
        .output()
        .expect("valgrind should be installed");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {told}");
    let counted = told.lines().find_map(|line| line.split("Collected :").nth(1)?.trim().parse().ok());
    let counted = counted.unwrap_or_else(|| panic!("{name}: valgrind tells no number: {told}"));
    assert!(counted > 1_000_000, "{name}: {counted} instructions: was the function inlined or renamed?");
    (counted, String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn compiler() -> String {
    let output = Command::new("rustc").arg("--version").output().expect("rustc should be installed");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn baseline() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.txt")
}

/// The line that begins with `key`, without it.
fn recorded<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| Some(line.strip_prefix(key)?.strip_prefix(": ")?.trim()))
}

/// Compares with what is recorded; says whether all is well.
fn compare(text: &str, counts: &[(&str, u64)]) -> bool {
    let mut good = true;
    for &(name, counted) in counts {
        let Some(before) = recorded(text, name).and_then(|number| number.parse::<u64>().ok()) else {
            println!("{name:<10} {counted:>14}  is not recorded");
            good = false;
            continue;
        };
        let growth = counted as f64 / before as f64 - 1.0;
        let verdict = match growth {
            growth if growth > GROWTH_MAX => "SLOWER",
            growth if growth < -GROWTH_MAX => "faster: record it, or the next slow-down is not seen",
            _ => "",
        };
        println!("{name:<10} {counted:>14}  {:>+6.1} %  {verdict}", growth * 100.0);
        good &= growth <= GROWTH_MAX;
    }
    good
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let ["--input", name] = arguments[..] {
        let rows = counted_summaries(&input(name)).expect("a good input");
        assert!(rows > 1_000, "{name}: only {rows} rows");
        println!("{}", processor());
        return ExitCode::SUCCESS;
    }

    let measured = INPUTS.map(|(name, _)| (name, count(name)));
    let (compiler, processor) = (compiler(), measured[0].1.1.clone());
    let counts: Vec<(&str, u64)> = measured.iter().map(|(name, (counted, _))| (*name, *counted)).collect();
    if arguments == ["--write"] {
        let mut text = format!("compiler: {compiler}\nprocessor: {processor}\n");
        for (name, counted) in counts {
            let _ = writeln!(text, "{name}: {counted}");
        }
        std::fs::write(baseline(), &text).expect("a place in benches/");
        print!("{text}");
        return ExitCode::SUCCESS;
    }

    let text = std::fs::read_to_string(baseline()).expect("a baseline in benches/instructions.txt");
    for (what, now) in [("compiler", &compiler), ("processor", &processor)] {
        let before = recorded(&text, what).unwrap_or("none");
        if before != now {
            eprintln!("NOT THE SAME {what}: recorded {before}, now {now}; compared all the same");
        }
    }
    if compare(&text, &counts) {
        return ExitCode::SUCCESS;
    }
    eprintln!(
        "more than {} % above benches/instructions.txt; if that is meant: -- --write",
        GROWTH_MAX * 100.0
    );
    for (name, what) in INPUTS {
        eprintln!("  {name}: {what}");
    }
    ExitCode::FAILURE
}
