//! Reading single variables: remembers which there are, and collects what is wrong instead of giving up.

use std::fmt::{self, Display};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use crate::config::{Secret, Variables};
use crate::pattern::Bytes;

/// One variable that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// The variable.
    pub name: String,
    /// Its value, when it has one and is no secret.
    pub value: Option<String>,
    /// What is allowed.
    pub allowed: String,
}

/// Everything that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(pub Vec<Invalid>);

impl std::error::Error for ConfigError {}

impl Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the configuration is wrong in {} place(s):", self.0.len())?;
        for Invalid { name, value, allowed } in &self.0 {
            match value {
                Some(value) => writeln!(f, "  {name}={value}: must be {allowed}")?,
                None => writeln!(f, "  {name}: must be {allowed}")?,
            }
        }
        Ok(())
    }
}

/// A variable that is read, and what it comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The variable.
    pub name: String,
    /// The value that takes effect; none when there is none.
    pub value: Option<String>,
    /// Never to be shown.
    pub is_secret: bool,
    /// The variable that the value is taken from, when it is another one.
    pub taken_from: Option<&'static str>,
}

/// Reads variables, remembers which there are and what was wrong.
pub(super) struct Reader<'a> {
    pub(super) variables: &'a Variables,
    pub(super) invalid: Vec<Invalid>,
    settings: Vec<Setting>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(variables: &'a Variables) -> Reader<'a> {
        Reader { variables, invalid: Vec::new(), settings: Vec::new() }
    }

    pub(super) fn settings(self) -> Vec<Setting> {
        self.settings
    }

    pub(super) fn done<T>(self, read: T) -> Result<T, ConfigError> {
        if self.invalid.is_empty() { Ok(read) } else { Err(ConfigError(self.invalid)) }
    }

    /// An empty value counts as absent: `.env` templates are full of them.
    pub(super) fn get(&self, name: &str) -> Option<&'a str> {
        self.variables.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    pub(super) fn record(&mut self, name: &str, value: Option<String>, is_secret: bool) {
        // Some are read twice, by others that depend on them.
        if self.settings.iter().all(|setting| setting.name != name) {
            let name = name.to_owned();
            self.settings.push(Setting { name, value, is_secret, taken_from: None });
        }
    }

    pub(super) fn text(&mut self, name: &'static str) -> Option<String> {
        let text = self.get(name).map(str::to_owned);
        self.record(name, text.clone(), false);
        text
    }

    /// A text, else what follows from another variable.
    pub(super) fn text_or_of(
        &mut self,
        name: &'static str,
        other: &'static str,
        of_other: Option<String>,
    ) -> Option<String> {
        let own = self.text(name);
        if let (None, Some(value), Some(setting)) = (&own, &of_other, self.settings.last_mut()) {
            (setting.value, setting.taken_from) = (Some(value.clone()), Some(other));
        }
        own.or(of_other)
    }

    pub(super) fn text_or(&mut self, name: &'static str, default: &str) -> String {
        let text = self.get(name).unwrap_or(default).to_owned();
        self.record(name, Some(text.clone()), false);
        text
    }

    pub(super) fn secret(&mut self, name: &'static str) -> Option<Secret> {
        let secret = self.get(name).map(Secret::new);
        self.record(name, self.get(name).map(str::to_owned), true);
        secret
    }

    pub(super) fn refuse(&mut self, name: &str, allowed: impl Into<String>) {
        let is_secret = self.settings.iter().any(|setting| setting.name == name && setting.is_secret);
        let value = self.get(name).filter(|_| !is_secret).map(str::to_owned);
        self.invalid.push(Invalid { name: name.to_owned(), value, allowed: allowed.into() });
    }

    pub(super) fn refuse_unless(&mut self, good: bool, name: &str, allowed: impl Into<String>) {
        if !good {
            self.refuse(name, allowed);
        }
    }

    /// A value of one of the notations of [`crate::pattern`].
    pub(super) fn parsed<T: FromStr<Err = String> + Display>(&mut self, name: &'static str) -> Option<T> {
        let parsed = self.get(name).map(str::parse::<T>).transpose();
        let value = parsed.unwrap_or_else(|allowed| {
            self.refuse(name, allowed);
            None
        });
        self.record(name, value.as_ref().map(T::to_string), false);
        value
    }

    pub(super) fn optional_number<T>(&mut self, name: &'static str, min: T, max: T) -> Option<T>
    where
        T: FromStr + PartialOrd + Display + Copy,
    {
        let number = self.get(name).map(|value| {
            value.parse().ok().filter(|number| (min..=max).contains(number)).ok_or_else(|| {
                let allowed = format!("a whole number from {min} to {max}");
                self.refuse(name, allowed);
            })
        });
        number.and_then(Result::ok)
    }

    pub(super) fn number<T>(&mut self, name: &'static str, default: T, min: T, max: T) -> T
    where
        T: FromStr + PartialOrd + Display + Copy,
    {
        let number = self.optional_number(name, min, max).unwrap_or(default);
        self.record(name, Some(number.to_string()), false);
        number
    }

    pub(super) fn millis(&mut self, name: &'static str, default: u64, min: u64, max: u64) -> Duration {
        Duration::from_millis(self.number(name, default, min, max))
    }

    pub(super) fn flag(&mut self, name: &'static str, default: bool) -> bool {
        let flag = match self.get(name).map(str::to_ascii_lowercase).as_deref() {
            None => default,
            Some("true" | "1" | "yes" | "on") => true,
            Some("false" | "0" | "no" | "off") => false,
            Some(_) => {
                self.refuse(name, "true or false");
                default
            }
        };
        self.record(name, Some(flag.to_string()), false);
        flag
    }

    pub(super) fn choice<T: Copy + PartialEq>(
        &mut self,
        name: &'static str,
        default: T,
        all: &[(&str, T)],
    ) -> T {
        let written = self.get(name);
        let choice = match written {
            None => default,
            Some(value) => match all.iter().find(|(text, _)| text.eq_ignore_ascii_case(value)) {
                Some((_, choice)) => *choice,
                None => {
                    let names: Vec<&str> = all.iter().map(|(text, _)| *text).collect();
                    self.refuse(name, format!("one of {}", names.join(", ")));
                    default
                }
            },
        };
        let text = all.iter().find(|(_, known)| *known == choice).map(|(text, _)| (*text).to_owned());
        self.record(name, text, false);
        choice
    }

    pub(super) fn bytes(&mut self, name: &'static str, default: u64, min: u64) -> u64 {
        let bytes = match self.get(name).map(str::parse::<Bytes>) {
            None => default,
            Some(Ok(Bytes(bytes))) if bytes >= min => bytes,
            Some(_) => {
                self.refuse(name, format!("a number of bytes, at least {min}, such as 512MiB"));
                default
            }
        };
        self.record(name, Some(bytes.to_string()), false);
        bytes
    }

    pub(super) fn file(&mut self, name: &'static str) -> Option<PathBuf> {
        let path = self.text(name).map(PathBuf::from);
        let is_there = path.as_deref().is_none_or(Path::is_file);
        self.refuse_unless(is_there, name, "a file that is there");
        path
    }
}
