//! Batches: a file of named jobs, each a choice of objects or a list of keys.
//!
//! Promises: the file is read and checked as a whole before anything is sent; an error names the place in it.
//!
//! ```toml
//! [jobs.daily-csv]
//! bucket = "input-files"          # default: SOURCE_BUCKET
//! prefix = "data/2024/08/"
//! include = ["**/*.csv"]
//! max_files = 1000
//! dest_bucket = "processed-files"
//!
//! [jobs.urgent]
//! files = ["urgent/data.csv"]     # keys instead of a listing
//! ```

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};

use crate::failure::{Kind, Stage};
use crate::generator::Selection;
use crate::pattern::{Bytes, Globs, Routes, Since};
use crate::storage::location::locate;

/// A file of jobs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// The jobs by name, in the order of their names.
    pub jobs: BTreeMap<String, Job>,
}

/// The language of a file of jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// TOML.
    Toml,
    /// YAML.
    Yaml,
}

/// One job.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Job {
    /// The bucket; the generator's default when absent.
    pub bucket: Option<String>,
    /// Keys begin with this.
    pub prefix: String,
    /// Only keys that match one of these.
    #[serde(deserialize_with = "globs")]
    pub include: Globs,
    /// No keys that match one of these.
    #[serde(deserialize_with = "globs")]
    pub exclude: Globs,
    /// Objects of at least so many bytes: a number, or a text such as `"1MiB"`.
    #[serde(deserialize_with = "bytes")]
    pub min_size: Option<Bytes>,
    /// Objects of at most so many bytes.
    #[serde(deserialize_with = "bytes")]
    pub max_size: Option<Bytes>,
    /// Objects written since a time, a date, or so long ago.
    #[serde(deserialize_with = "since")]
    pub modified_since: Option<Since>,
    /// At most so many tasks.
    pub max_files: Option<usize>,
    /// Where the summaries go.
    pub dest_bucket: Option<String>,
    /// Topics by type of file.
    #[serde(deserialize_with = "routes")]
    pub route: Routes,
    /// These keys, and no listing.
    pub files: Option<Vec<String>>,
}

impl Batch {
    /// Reads a file of jobs.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn read(text: &str, language: Language) -> Result<Batch, String> {
        let batch: Batch = match language {
            Language::Toml => toml::from_str(text).map_err(|error| error.to_string())?,
            Language::Yaml => serde_saphyr::from_str(text).map_err(|error| error.to_string())?,
        };
        for (name, job) in &batch.jobs {
            job.check().map_err(|reason| format!("the job {name}: {reason}"))?;
        }
        Ok(batch)
    }
}

impl Job {
    fn check(&self) -> Result<(), String> {
        let lists = !self.prefix.is_empty()
            || !self.include.is_empty()
            || !self.exclude.is_empty()
            || self.min_size.is_some()
            || self.max_size.is_some()
            || self.modified_since.is_some();
        if self.files.is_some() && lists {
            return Err(
                "`files` names keys, so nothing is listed: leave prefix, globs, sizes and time away".into()
            );
        }
        for (name, bucket) in [("bucket", &self.bucket), ("dest_bucket", &self.dest_bucket)] {
            // At any server: whether there is one is another question.
            if bucket.as_deref().is_some_and(|bucket| {
                locate(bucket, "memory://", Stage::Claim)
                    .is_err_and(|failure| failure.kind != Kind::Misconfigured)
            }) {
                return Err(format!("`{name}` must be a bucket's name, or obs://…, s3://…, file:///folder"));
            }
        }
        if self.max_files == Some(0) {
            return Err("`max_files` must be at least 1".into());
        }
        if self.max_size.is_some_and(|max| max < self.min_size.unwrap_or_default()) {
            return Err("`max_size` must be at least `min_size`".into());
        }
        Ok(())
    }

    /// The choice of objects.
    pub fn selection(&self) -> Selection {
        Selection {
            bucket: self.bucket.clone().unwrap_or_default(),
            prefix: self.prefix.clone(),
            include: self.include.clone(),
            exclude: self.exclude.clone(),
            size_min: self.min_size.unwrap_or_default().0,
            size_max: self.max_size.map(|max| max.0),
            modified_since: self.modified_since.clone(),
            dest_bucket: self.dest_bucket.clone(),
        }
    }
}

/// What a field of a job may be written as.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Number(i64),
    Time(toml::value::Datetime),
}

fn parsed<'de, D: Deserializer<'de>, T: FromStr<Err = String>>(from: D) -> Result<Option<T>, D::Error> {
    let text = match Written::deserialize(from)? {
        Written::Text(text) => text,
        Written::Number(number) => number.to_string(),
        Written::Time(time) => time.to_string(),
    };
    text.parse().map(Some).map_err(|allowed| de::Error::custom(format!("{text:?} must be {allowed}")))
}

fn bytes<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Bytes>, D::Error> {
    parsed(from)
}

fn since<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Since>, D::Error> {
    parsed(from)
}

fn globs<'de, D: Deserializer<'de>>(from: D) -> Result<Globs, D::Error> {
    let globs = Vec::<String>::deserialize(from)?;
    Globs::new(&globs).map_err(|allowed| de::Error::custom(format!("{globs:?} must be {allowed}")))
}

fn routes<'de, D: Deserializer<'de>>(from: D) -> Result<Routes, D::Error> {
    let routes = BTreeMap::<String, String>::deserialize(from)?;
    Routes::new(routes).map_err(|allowed| de::Error::custom(format!("routes must be {allowed}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOML: &str = r#"
[jobs.daily-csv]
bucket = "input-files"
prefix = "data/2024/08/"
include = ["**/*.csv"]
min_size = 10
max_size = "1MiB"
modified_since = "2d"
max_files = 1000
dest_bucket = "processed-files"
route = { csv = "csv-processing-tasks" }

[jobs.urgent]
files = ["urgent/data.csv"]
"#;

    const YAML: &str = "
jobs:
  daily-csv:
    bucket: input-files
    prefix: data/2024/08/
    include: ['**/*.csv']
    min_size: 10
    max_size: 1MiB
    modified_since: 2d
    max_files: 1000
    dest_bucket: processed-files
    route: { csv: csv-processing-tasks }
  urgent:
    files: [urgent/data.csv]
";

    #[test]
    fn a_batch_is_the_same_in_toml_and_yaml() {
        let toml = Batch::read(TOML, Language::Toml).unwrap();
        let yaml = Batch::read(YAML, Language::Yaml).unwrap();
        assert_eq!(format!("{toml:?}"), format!("{yaml:?}"));
        let daily = &toml.jobs["daily-csv"];
        let selection = daily.selection();
        assert_eq!(
            (selection.bucket.as_str(), selection.size_min, selection.size_max),
            ("input-files", 10, Some(1 << 20))
        );
        assert_eq!(daily.route.topic("a.csv"), Some("csv-processing-tasks"));
        assert_eq!(toml.jobs["urgent"].files.as_deref(), Some(&["urgent/data.csv".to_owned()][..]));
    }

    #[test]
    fn errors_say_what_and_where() {
        for (text, language, reason) in [
            ("[jobs.a]\nprefx = 'x'\n", Language::Toml, "prefx"),
            ("[jobs.a]\nmax_size = '1 elephant'\n", Language::Toml, "must be a number of bytes"),
            ("[jobs.a]\nmodified_since = 'soon'\n", Language::Toml, "must be a time"),
            ("[jobs.a]\nmin_size = -1\n", Language::Toml, "must be a number of bytes"),
            ("[jobs.a]\nbucket = '../x'\n", Language::Toml, "`bucket` must be"),
            ("[jobs.a]\nmax_files = 0\n", Language::Toml, "`max_files` must be"),
            ("[jobs.a]\nmin_size = 2\nmax_size = 1\n", Language::Toml, "`max_size` must be"),
            ("[jobs.a]\nfiles = ['a']\nprefix = 'b'\n", Language::Toml, "the job a: `files`"),
            ("jobs:\n  a:\n    include: ['[']\n", Language::Yaml, "must be globs"),
            ("", Language::Toml, "jobs"),
        ] {
            let error = Batch::read(text, language).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
        let error = Batch::read("[jobs.a]\n\nmax_files = 'x'\n", Language::Toml).unwrap_err();
        assert!(error.contains("line 3"), "{error}");
        let dated = Batch::read("[jobs.a]\nmodified_since = 2025-08-25\n", Language::Toml).unwrap();
        assert_eq!(dated.jobs["a"].modified_since.as_ref().unwrap().to_string(), "2025-08-25T00:00:00Z");
    }
}
