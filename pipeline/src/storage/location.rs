//! Names of buckets and keys: what they mean, and which cannot be used. Pure.

use crate::failure::{Failure, Kind, Stage};

/// Where a bucket lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A bucket at an OBS endpoint.
    Obs {
        /// The endpoint.
        endpoint: Endpoint,
        /// The bucket.
        bucket: String,
        /// Keys are below this; empty for none.
        prefix: String,
    },
    /// A bucket at an S3 endpoint.
    S3 {
        /// The bucket.
        bucket: String,
        /// Keys are below this; empty for none.
        prefix: String,
    },
    /// A folder.
    Folder(String),
    /// A store in this process's memory, shared by everyone who uses its name.
    Memory(String),
}

/// An OBS endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `http` or `https`.
    pub scheme: String,
    /// The host, without the bucket.
    pub host: String,
    /// The port, when it is not the scheme's own.
    pub port: Option<u16>,
}

impl Endpoint {
    /// Reads `https://host[:port]`; without a scheme it is `https`.
    fn read(server: &str) -> Option<Endpoint> {
        let uri: http::Uri =
            if server.contains("://") { server.parse() } else { format!("https://{server}").parse() }.ok()?;
        let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"))?.to_owned();
        let host = uri.host().filter(|host| !host.is_empty())?.to_owned();
        Some(Endpoint { scheme, host, port: uri.port_u16() })
    }

    /// An address has no room for the bucket in front: there the path begins with it.
    pub fn is_address(&self) -> bool {
        self.host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok()
    }
}

/// The place that `name` means: a plain bucket name at `server`, or a URL of its own.
///
/// # Errors
/// [`Kind::Misconfigured`] when the server cannot be used, [`Kind::ForbiddenLocation`] when the name cannot.
pub fn locate(name: &str, server: &str, stage: Stage) -> Result<Location, Failure> {
    match name.split_once("://") {
        Some((scheme, rest)) => locate_url(name, scheme, rest, server, stage),
        None => locate_bucket(name, server, stage),
    }
}

fn locate_url(name: &str, scheme: &str, rest: &str, server: &str, stage: Stage) -> Result<Location, Failure> {
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let (bucket, prefix) = (bucket.to_owned(), prefix.trim_matches('/').to_owned());
    match scheme {
        "obs" | "s3" if !is_bucket_name(&bucket) => Err(no_bucket_name(name, stage)),
        "obs" => Ok(Location::Obs { endpoint: obs_endpoint(server, stage)?, bucket, prefix }),
        "s3" => Ok(Location::S3 { bucket, prefix }),
        "file" if rest.starts_with('/') => Ok(Location::Folder(rest.to_owned())),
        "memory" => Ok(Location::Memory(rest.to_owned())),
        _ => {
            let context = format!("{name} is no bucket: use a name, obs://, s3://, file:/// or memory://");
            Err(Failure::new(stage, Kind::ForbiddenLocation, context))
        }
    }
}

fn locate_bucket(name: &str, server: &str, stage: Stage) -> Result<Location, Failure> {
    if !is_bucket_name(name) {
        return Err(no_bucket_name(name, stage));
    }
    match server.split_once("://") {
        Some(("file", folder)) if folder.starts_with('/') => {
            Ok(Location::Folder(format!("{}/{name}", folder.trim_end_matches('/'))))
        }
        Some(("memory", _)) => Ok(Location::Memory(name.to_owned())),
        _ => {
            let (bucket, prefix) = (name.to_owned(), String::new());
            Ok(Location::Obs { endpoint: obs_endpoint(server, stage)?, bucket, prefix })
        }
    }
}

fn obs_endpoint(server: &str, stage: Stage) -> Result<Endpoint, Failure> {
    Endpoint::read(server).ok_or_else(|| {
        let context = match server {
            "" => "OBS_SERVER is not set; it says where buckets live, such as https://obs.cn-north-4.myhuaweicloud.com".to_owned(),
            _ => format!("OBS_SERVER={server} is no endpoint; it looks like https://obs.cn-north-4.myhuaweicloud.com"),
        };
        Failure::new(stage, Kind::Misconfigured, context)
    })
}

/// OBS and S3 allow these; a `/` or `..` would leave the folder that stands for the server.
fn is_bucket_name(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    !name.is_empty()
        && name.len() <= 255
        && name.chars().all(legal)
        && !name.contains("..")
        && !name.starts_with('.')
}

fn no_bucket_name(name: &str, stage: Stage) -> Failure {
    let context = format!("{name:?} is no bucket name: letters, digits, '.', '-' and '_'");
    Failure::new(stage, Kind::ForbiddenLocation, context)
}

/// Refuses keys that the storage client would change on the way, and so read or write another object.
///
/// opendal trims white space and leading `/` and joins `//`; URL parsers resolve `.` and `..`.
///
/// # Errors
/// [`Kind::UnaddressableKey`] with the reason.
pub fn check_key(key: &str, stage: Stage) -> Result<(), Failure> {
    let reason = if key.is_empty() {
        "it is empty"
    } else if key.starts_with('/') {
        "it begins with '/'"
    } else if key.ends_with('/') {
        "it ends with '/', which names a folder"
    } else if key.contains("//") {
        "it contains '//'"
    } else if key.trim() != key {
        "it begins or ends with white space"
    } else if key.contains('\0') {
        "it contains a NUL character"
    } else if key.split('/').any(|part| part == "." || part == "..") {
        "it contains '.' or '..' as a part of the path"
    } else {
        return Ok(());
    };
    let context = format!("the key {key:?} cannot be addressed unchanged: {reason}; rename the object");
    Err(Failure::new(stage, Kind::UnaddressableKey, context))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OBS: &str = "https://obs.cn-north-4.myhuaweicloud.com";

    fn at(name: &str, server: &str) -> Result<Location, Kind> {
        locate(name, server, Stage::Download).map_err(|failure| failure.kind)
    }

    fn obs(host: &str, port: Option<u16>, bucket: &str, prefix: &str) -> Location {
        let endpoint = Endpoint { scheme: "https".into(), host: host.into(), port };
        Location::Obs { endpoint, bucket: bucket.into(), prefix: prefix.into() }
    }

    #[test]
    fn names_and_urls() {
        let host = "obs.cn-north-4.myhuaweicloud.com";
        assert_eq!(at("input-files", OBS), Ok(obs(host, None, "input-files", "")));
        assert_eq!(at("obs://input-files/2024/08/", OBS), Ok(obs(host, None, "input-files", "2024/08")));
        assert_eq!(at("b", "obs.private.example:8443"), Ok(obs("obs.private.example", Some(8443), "b", "")));
        assert_eq!(at("s3://b/x", ""), Ok(Location::S3 { bucket: "b".into(), prefix: "x".into() }));
        assert_eq!(at("in", "file:///data/"), Ok(Location::Folder("/data/in".into())));
        assert_eq!(at("file:///data/in", OBS), Ok(Location::Folder("/data/in".into())));
        assert_eq!(at("in", "memory://"), Ok(Location::Memory("in".into())));
    }

    #[test]
    fn what_is_no_place_is_refused() {
        assert_eq!(at("in", ""), Err(Kind::Misconfigured));
        assert_eq!(at("in", "ftp://host"), Err(Kind::Misconfigured));
        for name in ["", "../etc", "a/b", "a b", ".hidden", "ftp://x/y", "file://relative", "obs:///key"] {
            assert_eq!(at(name, OBS), Err(Kind::ForbiddenLocation), "{name}");
        }
    }

    #[test]
    fn keys_that_would_become_other_keys_are_refused() {
        for key in ["", "/a", "a/", "a//b", " a", "a ", "a\u{3000}", "./a", "a/../b", "a/.", "a\0b"] {
            assert!(check_key(key, Stage::Download).is_err(), "{key:?}");
        }
        for key in ["a", "a/b.csv", "a b/c", "数据/文件.csv", "a+b%2F", "..a/b..", "a/...", "?#&=", "a\\b"]
        {
            assert!(check_key(key, Stage::Download).is_ok(), "{key:?}");
        }
    }
}
