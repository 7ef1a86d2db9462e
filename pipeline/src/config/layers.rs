//! Where settings come from: flags, environment, `.env`, `pipeline.toml`; the first that has a value wins.
//!
//! Promises: every value has an origin; a name that nothing reads is found, with the nearest one that is read.

use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::path::Path;

use crate::config::{
    ConfigError, Invalid, LIBRDKAFKA_PREFIX, Setting, Variables, env_file, env_file::EnvFile,
};

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The command line.
    Flag,
    /// The environment of the process.
    Environment,
    /// The file `.env` in the working directory.
    EnvFile,
    /// The file `pipeline.toml` in the working directory.
    File,
    /// None was given.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Origin::Flag => "flag",
            Origin::Environment => "environment",
            Origin::EnvFile => ".env",
            Origin::File => "pipeline.toml",
            Origin::Default => "default",
        })
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Unknown { name, origin, nearest } = self;
        write!(f, "{name} ({origin}) is read by nothing; ")?;
        match nearest {
            Some(nearest) => write!(f, "did you mean {nearest}?"),
            None => f.write_str("`pipeline config show` has all names"),
        }
    }
}

/// Every source of settings, the strongest first.
#[derive(Clone, Debug)]
pub struct Layers {
    layers: [(Origin, Variables); 4],
    /// Lines of `.env` that say nothing that could be read.
    unread: Vec<usize>,
}

/// A name that nothing reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// The name.
    pub name: String,
    /// Where it is.
    pub origin: Origin,
    /// The name that was meant, most likely.
    pub nearest: Option<String>,
}

impl Layers {
    /// The settings of this process: these flags, its environment, and the files in its working directory.
    ///
    /// # Errors
    /// When a file is there but cannot be read.
    pub fn of_process(flags: Variables) -> Result<Layers, ConfigError> {
        let (env, toml) = (env_file(Path::new(".env")), toml_file(Path::new("pipeline.toml")));
        match (env, toml) {
            (Ok(EnvFile { variables, unread }), Ok(file)) => Ok(Layers {
                layers: [
                    (Origin::Flag, flags),
                    (Origin::Environment, environment()),
                    (Origin::EnvFile, variables),
                    (Origin::File, file),
                ],
                unread,
            }),
            (env, toml) => Err(ConfigError(env.err().into_iter().chain(toml.err()).collect())),
        }
    }

    /// All variables, each with the strongest value there is. An empty value takes a weaker one away.
    pub fn variables(&self) -> Variables {
        let mut variables = Variables::new();
        for (_, layer) in self.layers.iter().rev() {
            variables.extend(layer.clone());
        }
        variables
    }

    /// Where the value of a setting comes from, for a person.
    pub fn source(&self, setting: &Setting) -> String {
        match setting.taken_from {
            Some(other) if self.origin(other) != Origin::Default => {
                format!("{other}, {}", self.origin(other))
            }
            _ => self.origin(&setting.name).to_string(),
        }
    }

    /// Where the value of a variable comes from.
    pub fn origin(&self, name: &str) -> Origin {
        let strongest = self.layers.iter().find_map(|(origin, layer)| Some((*origin, layer.get(name)?)));
        match strongest {
            Some((origin, value)) if !value.trim().is_empty() => origin,
            _ => Origin::Default,
        }
    }

    /// What a person should know of these sources: lines and names that have no effect.
    pub fn remarks(&self, settings: &[Setting]) -> Vec<String> {
        let lines =
            self.unread.iter().map(|line| format!(".env: line {line} is not NAME=value, and has no effect"));
        lines.chain(self.unknown(settings).iter().map(Unknown::to_string)).collect()
    }

    /// Names that look like ours and are read by nothing. In the environment those that begin like ours, without what
    /// an orchestrator sets for its services; in a file or a flag all of them.
    pub fn unknown(&self, settings: &[Setting]) -> Vec<Unknown> {
        let known: Vec<&str> = settings.iter().map(|setting| setting.name.as_str()).collect();
        let mut unknown = BTreeMap::new();
        for (origin, layer) in &self.layers {
            let of_others = |name: &str| match origin {
                Origin::Environment => !begins_like_ours(name) || is_service_link(name),
                // `.env` is shared with compose files and other programs.
                Origin::EnvFile => !begins_like_ours(name),
                _ => false,
            };
            for name in layer.keys() {
                if !known.contains(&name.as_str()) && !name.starts_with(LIBRDKAFKA_PREFIX) && !of_others(name)
                {
                    let nearest = nearest(name, &known);
                    unknown.entry(name.clone()).or_insert(Unknown {
                        name: name.clone(),
                        origin: *origin,
                        nearest,
                    });
                }
            }
        }
        unknown.into_values().collect()
    }
}

fn begins_like_ours(name: &str) -> bool {
    ["KAFKA_", "OBS_", "PIPELINE_"].iter().any(|prefix| name.starts_with(prefix))
}

/// What Kubernetes sets in every container for a service named `kafka`: `KAFKA_SERVICE_HOST`, `KAFKA_PORT_9092_TCP`…
fn is_service_link(name: &str) -> bool {
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.ends_with("_PORT")
        || name.contains("_PORT_") && (name.contains("_TCP") || name.contains("_UDP"))
}

/// Below this two names are not alike.
const LIKENESS_MIN: f64 = 0.8;

fn nearest(name: &str, known: &[&str]) -> Option<String> {
    let name = name.to_ascii_uppercase();
    let likeness = |other: &&&str| strsim::normalized_damerau_levenshtein(&name, other);
    let best = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(&best) >= LIKENESS_MIN).then(|| (*best).to_owned())
}

fn environment() -> Variables {
    // A name or value that is not UTF-8 is none of ours.
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

fn wrong_file(path: &Path, allowed: String) -> Invalid {
    Invalid { name: path.display().to_string(), value: None, allowed }
}

/// `NAME=value` lines. What is no such file is empty: a folder of that name is a Python environment.
fn env_file(path: &Path) -> Result<EnvFile, Invalid> {
    let text = read(path)?.unwrap_or_default();
    Ok(env_file::parse(&text, |name| std::env::var(name).ok()))
}

/// The text of a file that may be missing.
fn read(path: &Path) -> Result<Option<String>, Invalid> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::IsADirectory) => Ok(None),
        Err(error) => Err(wrong_file(path, format!("a readable file ({error})"))),
    }
}

/// TOML, its tables joined to the names of the variables. A file that is not there is empty.
fn toml_file(path: &Path) -> Result<Variables, Invalid> {
    match read(path)? {
        Some(text) => toml_variables(&text).map_err(|allowed| wrong_file(path, allowed)),
        None => Ok(Variables::new()),
    }
}

fn toml_variables(text: &str) -> Result<Variables, String> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        // The message, and where; the error's own text would quote the line, and with it a secret.
        let before = error.span().map_or("", |span| &text[..span.start.min(text.len())]);
        format!("TOML ({} in line {})", error.message(), before.matches('\n').count() + 1)
    })?;
    let mut variables = Variables::new();
    flatten("", &table, &mut variables)?;
    Ok(variables)
}

fn flatten(above: &str, table: &toml::Table, variables: &mut Variables) -> Result<(), String> {
    for (name, value) in table {
        let name = name.to_ascii_uppercase().replace(['.', '-'], "_");
        let name = if above.is_empty() { name } else { format!("{above}_{name}") };
        let value = match value {
            toml::Value::Table(below) => {
                flatten(&name, below, variables)?;
                continue;
            }
            toml::Value::Array(items) => {
                items.iter().map(scalar).collect::<Option<Vec<_>>>().map(|items| items.join(","))
            }
            value => scalar(value),
        };
        let value = value.ok_or_else(|| format!("plain values and lists of them, which {name} is not"))?;
        if variables.insert(name.clone(), value).is_some() {
            return Err(format!("each name once, and {name} is there twice"));
        }
    }
    Ok(())
}

fn scalar(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(truth) => Some(truth.to_string()),
        toml::Value::Datetime(time) => Some(time.to_string()),
        toml::Value::Table(_) | toml::Value::Array(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{WorkerType, settings};

    fn variables(pairs: &[(&str, &str)]) -> Variables {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn layers(flags: &[(&str, &str)], environment: &[(&str, &str)], file: &[(&str, &str)]) -> Layers {
        let layers = [
            (Origin::Flag, variables(flags)),
            (Origin::Environment, variables(environment)),
            (Origin::EnvFile, Variables::new()),
            (Origin::File, variables(file)),
        ];
        Layers { layers, unread: Vec::new() }
    }

    #[test]
    fn the_strongest_value_wins_and_an_empty_one_takes_away() {
        let layers = layers(
            &[("POOL_SIZE", "1")],
            &[("POOL_SIZE", "2"), ("LOG_LANG", "")],
            &[("POOL_SIZE", "3"), ("LOG_LANG", "zh"), ("LOG_FORMAT", "pretty")],
        );
        let merged = layers.variables();
        assert_eq!((merged["POOL_SIZE"].as_str(), merged["LOG_LANG"].as_str()), ("1", ""));
        assert_eq!(layers.origin("POOL_SIZE"), Origin::Flag);
        assert_eq!(layers.origin("LOG_LANG"), Origin::Default);
        assert_eq!(layers.origin("LOG_FORMAT"), Origin::File);
        assert_eq!(layers.origin("LOG_LEVEL"), Origin::Default);
    }

    #[test]
    fn misspelt_names_are_found_with_the_nearest_known_one() {
        let layers = layers(
            &[],
            &[
                ("KAFKA_BOOTSTRAP_SERVER", "x"),
                ("OBS_ACESS_KEY", "x"),
                ("KAFKA_SOMETHING_ELSE", "x"),
                ("KAFKA_GROUP_ID", "known"),
                ("KAFKA_LIBRDKAFKA_FETCH_MIN_BYTES", "1"),
                ("KAFKA_PORT_9092_TCP_ADDR", "kubernetes"),
                ("KAFKA_SERVICE_HOST", "kubernetes"),
                ("HOME", "/root"),
            ],
            &[("POOLSIZE", "4")],
        );
        let settings = settings(&Variables::new(), WorkerType::MultiProcess);
        let unknown = layers.unknown(&settings);
        let found: Vec<_> =
            unknown.iter().map(|unknown| (unknown.name.as_str(), unknown.nearest.as_deref())).collect();
        assert_eq!(
            found,
            [
                ("KAFKA_BOOTSTRAP_SERVER", Some("KAFKA_BOOTSTRAP_SERVERS")),
                ("KAFKA_SOMETHING_ELSE", None),
                ("OBS_ACESS_KEY", Some("OBS_ACCESS_KEY")),
                ("POOLSIZE", Some("POOL_SIZE")),
            ]
        );
    }

    #[test]
    fn toml_tables_are_joined_to_the_names() {
        let read = toml_variables(
            "pool_size = 4\n[kafka]\nbootstrap_servers = \"a:1\"\nenable_producer = true\n\
             [kafka.librdkafka]\n\"fetch.min.bytes\" = 1\n[file]\ninclude = [\"*.csv\", \"*.tsv\"]\n",
        )
        .unwrap();
        let expected = variables(&[
            ("POOL_SIZE", "4"),
            ("KAFKA_BOOTSTRAP_SERVERS", "a:1"),
            ("KAFKA_ENABLE_PRODUCER", "true"),
            ("KAFKA_LIBRDKAFKA_FETCH_MIN_BYTES", "1"),
            ("FILE_INCLUDE", "*.csv,*.tsv"),
        ]);
        assert_eq!(read, expected);
    }

    #[test]
    fn a_wrong_toml_file_names_the_line_and_quotes_no_secret() {
        let reason = toml_variables("pool_size = 4\n[obs]\nsecret_key = hush\n").unwrap_err();
        assert!(reason.contains("line 3") && !reason.contains("hush"), "{reason}");
        assert!(toml_variables("pool_size = [[1]]").unwrap_err().contains("POOL_SIZE"));
        assert!(toml_variables("pool_size = 1\n[pool]\nsize = 2").unwrap_err().contains("twice"));
    }
}
