//! Which formats there are, and how a file's name tells its format.
//!
//! Promise: the name decides only the format. Compression is found by content (see `decompress`), so a
//! `.gz` that is none, or a gzip without the ending, is read all the same.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A format that has a decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Format {
    /// Comma-separated values.
    Csv,
    /// Tab-separated values.
    Tsv,
    /// JSON: an array of records, or one record after another.
    Json,
    /// JSON Lines: a record a line.
    Jsonl,
    /// Log lines: when, how bad, which template.
    Log,
    /// Plain text, line by line.
    Text,
    /// Apache Parquet.
    Parquet,
    /// Apache Arrow IPC, a file (Feather) or a stream.
    Arrow,
}

impl Format {
    /// The format of a file with this name: by its ending, in any case, before an optional one of a compression and the
    /// number or date of a rotated log. Of a text the content decides whether it is a log or a table.
    pub fn from_name(name: &str) -> Option<Format> {
        match extension(name)?.as_str() {
            "csv" => Some(Format::Csv),
            "tsv" => Some(Format::Tsv),
            "parquet" | "pq" => Some(Format::Parquet),
            "arrow" | "feather" | "ipc" => Some(Format::Arrow),
            "json" => Some(Format::Json),
            "jsonl" | "ndjson" => Some(Format::Jsonl),
            "log" | "out" | "err" => Some(Format::Log),
            "txt" | "text" => Some(Format::Text),
            other => other.strip_prefix("log").filter(|turn| is_turn(turn)).map(|_| Format::Log),
        }
    }

    /// Whether files of this name hold text of any kind: then only the text itself can tell.
    pub(crate) fn is_text_name(name: &str) -> bool {
        let file = name.rsplit('/').next().unwrap_or(name).to_ascii_lowercase();
        let plain = file.strip_suffix(Compression::from_name(&file).ending()).unwrap_or(&file);
        plain.rsplit_once('.').is_none_or(|(_, end)| matches!(end, "txt" | "dat" | "tab" | "psv" | "asc"))
    }

    /// The format of a file that begins like this; `None` when only its name can tell.
    pub(crate) fn from_content(head: &[u8]) -> Option<Format> {
        if head.starts_with(b"PAR1") {
            return Some(Format::Parquet);
        }
        // The metadata of the first message of a stream is padded to eight bytes, its length stands behind the marker.
        let is_stream =
            head.starts_with(&[0xff; 4]) && head.get(4..8).is_some_and(|len| len[0] % 8 == 0 && len[3] == 0);
        if is_stream || head.starts_with(b"ARROW1\0\0") {
            return Some(Format::Arrow);
        }
        crate::json::is_json(head).then_some(Format::Json)
    }

    /// What a name without an ending may stand for.
    pub(crate) fn from_bare_name(name: &str) -> Option<Format> {
        extension(name).is_none().then_some(Format::Text)
    }

    /// The name of this format in summaries.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Csv => "csv",
            Format::Tsv => "tsv",
            Format::Json => "json",
            Format::Jsonl => "jsonl",
            Format::Log => "log",
            Format::Text => "text",
            Format::Parquet => "parquet",
            Format::Arrow => "arrow",
        }
    }

    pub(crate) fn delimiter(self) -> u8 {
        match self {
            Format::Tsv => b'\t',
            _ => b',',
        }
    }
}

/// The ending of a file's name, in small letters, that tells its format.
fn extension(name: &str) -> Option<String> {
    let file = name.rsplit('/').next().unwrap_or(name).to_ascii_lowercase();
    let plain = file.strip_suffix(Compression::from_name(&file).ending()).unwrap_or(&file);
    plain.split('.').skip(1).filter(|part| !is_turn(part)).last().map(str::to_owned)
}

/// Whether this is the number or the date of a rotated log.
fn is_turn(part: &str) -> bool {
    part.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'_'))
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How the bytes of a file were compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Compression {
    /// Not at all.
    None,
    /// Gzip, of one or several members.
    Gzip,
    /// Zstandard, of one or several frames.
    Zstd,
    /// Bzip2, of one or several streams.
    Bzip2,
    /// Xz, of one or several streams.
    Xz,
    /// LZ4, of one or several frames.
    Lz4,
    /// A zip archive with one file.
    Zip,
}

impl Compression {
    const ALL: [Compression; 6] = [
        Compression::Gzip,
        Compression::Zstd,
        Compression::Bzip2,
        Compression::Xz,
        Compression::Lz4,
        Compression::Zip,
    ];

    /// What the name of a file promises, in any case. A decoder goes by the content.
    pub fn from_name(name: &str) -> Compression {
        let name = name.to_ascii_lowercase();
        let ends = |compression: &Compression| name.ends_with(compression.ending());
        Compression::ALL.into_iter().find(ends).unwrap_or(Compression::None)
    }

    /// How the names of such files usually end.
    fn ending(self) -> &'static str {
        match self {
            Compression::None => "",
            Compression::Gzip => ".gz",
            Compression::Zstd => ".zst",
            Compression::Bzip2 => ".bz2",
            Compression::Xz => ".xz",
            Compression::Lz4 => ".lz4",
            Compression::Zip => ".zip",
        }
    }

    /// The name of this compression in summaries.
    pub fn as_str(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Zstd => "zstd",
            Compression::Bzip2 => "bzip2",
            Compression::Xz => "xz",
            Compression::Lz4 => "lz4",
            Compression::Zip => "zip",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_told_by_its_name_only_as_text() {
        for (name, is) in
            [("a.txt", true), ("b/a.DAT.gz", true), ("a", true), ("a.png", false), ("a.csv.bak", false)]
        {
            assert_eq!(Format::is_text_name(name), is, "{name}");
        }
    }

    #[test]
    fn the_ending_decides_in_any_case_before_that_of_a_compression() {
        let cases = [
            ("a.csv", Some(Format::Csv)),
            ("deep/er/A.CSV", Some(Format::Csv)),
            ("a.csv.gz", Some(Format::Csv)),
            ("a.TSV.GZ", Some(Format::Tsv)),
            ("a.b.tsv", Some(Format::Tsv)),
            ("a.json", Some(Format::Json)),
            ("a.jsonl.gz", Some(Format::Jsonl)),
            ("a.NDJSON", Some(Format::Jsonl)),
            ("a.csv.1", Some(Format::Csv)),
            ("app.log", Some(Format::Log)),
            ("app.log.12.gz", Some(Format::Log)),
            ("app.log-20250825", Some(Format::Log)),
            ("app.log.2025-08-25", Some(Format::Log)),
            ("nohup.out", Some(Format::Log)),
            ("a.txt.zst", Some(Format::Text)),
            ("a.logx", None),
            (".hidden", None),
            ("dir.csv/readme", None),
            ("a.csv.bak", None),
            ("a.csv.zst", Some(Format::Csv)),
            ("a.csv.bz2", Some(Format::Csv)),
            ("a.csv.XZ", Some(Format::Csv)),
            ("a.tsv.lz4", Some(Format::Tsv)),
            ("a.csv.zip", Some(Format::Csv)),
            ("a.csv.gz.zst", None),
            ("a.csv.tgz", None),
            ("a.gz", None),
            ("csv", None),
            ("", None),
        ];
        for (name, format) in cases {
            assert_eq!(Format::from_name(name), format, "{name}");
            let bare = ["a.gz", "csv", "", "dir.csv/readme"].contains(&name).then_some(Format::Text);
            assert_eq!(Format::from_bare_name(name), bare, "{name}");
        }
        assert_eq!(Compression::from_name("a/B.ZIP"), Compression::Zip);
        assert_eq!(Compression::from_name("a.gz/b.csv"), Compression::None);
    }
}
