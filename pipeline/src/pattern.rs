//! What people write to choose things: globs, times, sizes, routes. Text in, a checked value or the reason out. Pure.
//!
//! The reasons continue "must be …", so that every error reads alike, whether a variable, a flag or a file is wrong.

use std::fmt;
use std::str::FromStr;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// Keys that match any of some globs. `*` stays within a folder, `**` does not.
#[derive(Clone, Debug, Default)]
pub struct Globs {
    set: GlobSet,
    text: String,
}

impl Globs {
    /// Whether there is no glob at all.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    /// Whether a key matches one of them.
    pub fn matches(&self, key: &str) -> bool {
        self.set.is_match(key)
    }

    /// Compiles globs.
    ///
    /// # Errors
    /// What a glob must be.
    pub fn new<T: AsRef<str>>(globs: impl IntoIterator<Item = T>) -> Result<Globs, String> {
        let mut builder = GlobSetBuilder::new();
        let mut texts = Vec::new();
        for glob in globs {
            let glob = glob.as_ref();
            let compiled = GlobBuilder::new(glob).literal_separator(true).backslash_escape(true).build();
            let compiled =
                compiled.map_err(|error| format!("globs, such as data/**/*.csv ({})", error.kind()))?;
            builder.add(compiled);
            texts.push(glob.to_owned());
        }
        let set = builder.build().map_err(|error| format!("globs of a reasonable size ({error})"))?;
        Ok(Globs { set, text: texts.join(",") })
    }
}

impl FromStr for Globs {
    type Err = String;

    /// Globs with commas between them. A comma within braces belongs to its glob: `*.{csv,tsv}`.
    fn from_str(text: &str) -> Result<Globs, String> {
        let mut depth = 0_usize;
        let globs = text.split(|c| {
            match c {
                '{' => depth += 1,
                '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            c == ',' && depth == 0
        });
        Globs::new(globs.map(str::trim).filter(|glob| !glob.is_empty()))
    }
}

impl fmt::Display for Globs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A moment, or how long ago.
#[derive(Clone, Debug)]
pub enum Since {
    /// This moment.
    At(Timestamp),
    /// So long before the moment it is asked for.
    Ago(Span),
}

impl Since {
    /// The moment it means now. One before all time is the beginning of time.
    pub fn moment(&self, now: Timestamp) -> Timestamp {
        match self {
            Since::At(moment) => *moment,
            Since::Ago(span) => {
                let before = now.to_zoned_datetime(TimeZone::UTC).checked_sub(*span);
                before.map_or(Timestamp::MIN, |zoned| zoned.timestamp())
            }
        }
    }
}

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Since, String> {
        if let Ok(moment) = text.parse() {
            return Ok(Since::At(moment));
        }
        if let Some(midnight) =
            Date::strptime("%Y-%m-%d", text).ok().and_then(|date| date.to_zoned_datetime(TimeZone::UTC).ok())
        {
            return Ok(Since::At(midnight.timestamp()));
        }
        match text.parse::<Span>() {
            Ok(span) if !span.is_negative() => Ok(Since::Ago(span)),
            _ => Err(
                "a time such as 2025-08-25T12:00:00Z, a date (midnight UTC), or how long ago, such as 36h or 2d"
                    .to_owned(),
            ),
        }
    }
}

impl fmt::Display for Since {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Since::At(moment) => moment.fmt(f),
            Since::Ago(span) => write!(f, "{span:#}"),
        }
    }
}

/// A number of bytes, with an optional binary unit: `512MiB`, `2GiB`, `1048576`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Bytes, String> {
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let unit = match text[digits.len()..].trim().to_ascii_lowercase().as_str() {
            "" | "b" => Some(1),
            "k" | "kb" | "kib" => Some(1 << 10),
            "m" | "mb" | "mib" => Some(1 << 20),
            "g" | "gb" | "gib" => Some(1_u64 << 30),
            _ => None,
        };
        let bytes = digits.parse::<u64>().ok().zip(unit).and_then(|(number, unit)| number.checked_mul(unit));
        bytes.map(Bytes).ok_or_else(|| "a number of bytes, such as 1048576 or 512MiB".to_owned())
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which topic a key's task goes to, by the file's type: `csv=csv-tasks,json=json-tasks`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes(Vec<(String, String)>);

/// Endings of compressed files, which are no types.
const COMPRESSIONS: [&str; 4] = ["gz", "zst", "bz2", "xz"];

impl Routes {
    /// Routes from types to topics.
    ///
    /// # Errors
    /// What a route must be.
    pub fn new(routes: impl IntoIterator<Item = (String, String)>) -> Result<Routes, String> {
        let allowed = || {
            "TYPE=TOPIC with commas between, such as csv=csv-tasks,json=json-tasks, each type once".to_owned()
        };
        let mut known: Vec<(String, String)> = Vec::new();
        for (kind, topic) in routes {
            let kind = kind.trim().trim_start_matches('.').to_ascii_lowercase();
            let topic = topic.trim().to_owned();
            if kind.is_empty() || !is_topic(&topic) || known.iter().any(|(other, _)| *other == kind) {
                return Err(allowed());
            }
            known.push((kind, topic));
        }
        Ok(Routes(known))
    }

    /// The topic of a key, when a route takes it. The type is the last part of the name that is no compression:
    /// `a.csv.gz` is a `csv`.
    pub fn topic(&self, key: &str) -> Option<&str> {
        let name = key.rsplit('/').next().unwrap_or(key);
        // What stands before the first dot is the name itself, and no type.
        let (_, endings) = name.split_once('.')?;
        let mut parts = endings.rsplit('.').map(str::to_ascii_lowercase);
        let kind = parts.find(|part| !COMPRESSIONS.contains(&part.as_str()))?;
        self.0.iter().find(|(known, _)| *known == kind).map(|(_, topic)| topic.as_str())
    }

    /// Every topic that a route leads to.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(_, topic)| topic.as_str())
    }
}

impl FromStr for Routes {
    type Err = String;

    fn from_str(text: &str) -> Result<Routes, String> {
        let routes = text.split(',').map(str::trim).filter(|route| !route.is_empty());
        Routes::new(routes.map(|route| {
            let (kind, topic) = route.split_once('=').unwrap_or((route, ""));
            (kind.to_owned(), topic.to_owned())
        }))
    }
}

impl fmt::Display for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let routes: Vec<String> = self.0.iter().map(|(kind, topic)| format!("{kind}={topic}")).collect();
        f.write_str(&routes.join(","))
    }
}

/// Whether Kafka takes a name for a topic.
pub fn is_topic(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    !name.is_empty() && name.len() <= 249 && name != "." && name != ".." && name.chars().all(legal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stay_in_a_folder_and_braces_keep_their_commas() {
        let globs: Globs = "data/*.{csv,tsv}, logs/**/*.csv.gz".parse().unwrap();
        for key in ["data/a.csv", "data/b.tsv", "logs/2025/08/x.csv.gz", "logs/x.csv.gz"] {
            assert!(globs.matches(key), "{key}");
        }
        for key in ["data/2025/a.csv", "a.csv", "data/a.json"] {
            assert!(!globs.matches(key), "{key}");
        }
        assert!("".parse::<Globs>().unwrap().is_empty());
        assert!("a/[".parse::<Globs>().unwrap_err().contains("globs"));
    }

    #[test]
    fn times_are_moments_dates_or_how_long_ago() {
        let now: Timestamp = "2025-08-25T12:00:00Z".parse().unwrap();
        for (text, moment) in [
            ("2025-08-24T10:00:00Z", "2025-08-24T10:00:00Z"),
            ("2025-08-24T10:00:00+08:00", "2025-08-24T02:00:00Z"),
            ("2025-08-24", "2025-08-24T00:00:00Z"),
            ("36h", "2025-08-24T00:00:00Z"),
            ("2d", "2025-08-23T12:00:00Z"),
            ("1h 30m", "2025-08-25T10:30:00Z"),
        ] {
            assert_eq!(text.parse::<Since>().unwrap().moment(now).to_string(), moment, "{text}");
        }
        assert_eq!("19000y".parse::<Since>().unwrap().moment(now), Timestamp::MIN);
        for text in ["yesterday", "-2d", "12", "", "2025-08-25T12:00:00", "2025-08-25 12:00", "2025-08-25T12"]
        {
            assert!(text.parse::<Since>().is_err(), "{text}");
        }
    }

    #[test]
    fn units_of_bytes() {
        for (text, bytes) in
            [("512MiB", 512 << 20), ("1 GiB", 1 << 30), ("268435456", 268_435_456), ("2k", 2048)]
        {
            assert_eq!(text.parse(), Ok(Bytes(bytes)));
        }
        for text in ["", "MiB", "1 elephant", "-1", "99999999999G"] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_route_goes_by_the_type_of_the_file() {
        let routes: Routes = "csv=csv-tasks, .JSON = json-tasks".parse().unwrap();
        assert_eq!(routes.topic("a/b.csv"), Some("csv-tasks"));
        assert_eq!(routes.topic("a/b.CSV.gz"), Some("csv-tasks"));
        assert_eq!(routes.topic("a.csv/b.json"), Some("json-tasks"));
        assert_eq!(routes.topic("a.csv/README"), None);
        assert_eq!(routes.topic("data/json"), None);
        assert_eq!(routes.topic("csv.gz"), None);
        for text in ["csv", "=topic", "csv=", "csv=a b", "csv=a,csv=b"] {
            assert!(text.parse::<Routes>().is_err(), "{text}");
        }
    }
}
