//! From a host and a path to a bucket and a key.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;

use super::answer::Refusal;
use super::fault::matches;

/// The hosts a server answers under.
#[derive(Clone, Debug)]
pub(super) struct Addressing {
    /// Patterns of service hosts; a bucket may stand in front of them.
    pub hosts: Vec<String>,
    /// Custom domains, each bound to a bucket.
    pub domains: BTreeMap<String, String>,
}

/// What a request is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Target {
    /// Empty for the service itself.
    pub bucket: String,
    /// Decoded; empty for the bucket itself.
    pub key: String,
    /// The signed resource without its query: the path as it came over the wire, after the bucket's name.
    pub resource: String,
}

impl Addressing {
    /// Reads a bucket bound to a custom domain, a bucket in front of a service host, or, under every other
    /// host, a bucket in the path.
    pub fn resolve(&self, authority: &str, path: &str) -> Result<Target, Refusal> {
        let host = host_of(authority).to_ascii_lowercase();
        if let Some(bucket) = self.domains.get(&host) {
            return target(bucket, &path[1..], format!("/{host}{path}"));
        }
        if let Some(bucket) = self.bucket_in(&host) {
            return target(bucket, &path[1..], format!("/{bucket}{path}"));
        }
        if self.is_service(&host) && path != "/" {
            let message = "Path style is not served here: put the bucket in front of the host.";
            return Err(Refusal::new(400, "VirtualHostDomainRequired", message));
        }
        let (bucket, key) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
        target(&decode(bucket)?, key, path.to_owned())
    }

    fn is_service(&self, host: &str) -> bool {
        self.hosts.iter().any(|pattern| matches(pattern, host))
    }

    /// The shortest bucket name that leaves a service host.
    fn bucket_in<'a>(&self, host: &'a str) -> Option<&'a str> {
        let splits = host.match_indices('.').map(|(dot, _)| (&host[..dot], &host[dot + 1..]));
        splits
            .into_iter()
            .find(|(bucket, rest)| !bucket.is_empty() && self.is_service(rest))
            .map(|(bucket, _)| bucket)
    }
}

fn target(bucket: &str, key: &str, resource: String) -> Result<Target, Refusal> {
    Ok(Target { bucket: bucket.to_owned(), key: decode(key)?, resource })
}

/// Undoes percent-encoding, once. A plus sign is a plus sign.
pub(super) fn decode(text: &str) -> Result<String, Refusal> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(String::from).map_err(|_| Refusal::new(400, "InvalidURI", "The URL is not UTF-8."))
}

/// The host of `host:port`; brackets of an IPv6 address stay.
fn host_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(authority: &str, path: &str, expected: (&str, &str, &str)) {
        let hosts = ["obs.*.myhuaweicloud.com", "obs.private.example"].map(str::to_owned).to_vec();
        let domains = BTreeMap::from([("files.example.test".to_owned(), "bound".to_owned())]);
        let found = Addressing { hosts, domains }.resolve(authority, path);
        let found = found.map_err(|refusal| refusal.code);
        let found = found.as_ref().map(|t| (t.bucket.as_str(), t.key.as_str(), t.resource.as_str()));
        assert_eq!(found, Ok(expected), "{authority}{path}");
    }

    #[test]
    fn the_bucket_is_in_front_of_a_service_host() {
        check("b.obs.test-1.myhuaweicloud.com", "/k", ("b", "k", "/b/k"));
        check("b.obs.test-1.myhuaweicloud.com:90", "/a%20b%2B+", ("b", "a b++", "/b/a%20b%2B+"));
        check("my.own.obs.cn.myhuaweicloud.com", "/", ("my.own", "", "/my.own/"));
        check("obs.obs.cn.myhuaweicloud.com", "/k", ("obs", "k", "/obs/k"));
        check("b.obs.private.example", "//x/", ("b", "/x/", "/b//x/"));
        check("obs.private.example", "/", ("", "", "/"));
    }

    #[test]
    fn the_bucket_is_in_the_path_elsewhere() {
        check("127.0.0.1:9000", "/b/k", ("b", "k", "/b/k"));
        check("[::1]:9000", "/b/", ("b", "", "/b/"));
        check("localhost", "/b", ("b", "", "/b"));
        check("127.0.0.1", "/", ("", "", "/"));
    }

    #[test]
    fn a_custom_domain_is_signed_instead_of_its_bucket() {
        check("files.example.test:80", "/k", ("bound", "k", "/files.example.test/k"));
    }

    #[test]
    fn path_style_on_a_service_host_is_refused() {
        let hosts = vec!["obs.private.example".to_owned()];
        let refusal = Addressing { hosts, domains: BTreeMap::new() }.resolve("obs.private.example", "/b/k");
        assert_eq!(refusal.expect_err("no bucket in front").code, "VirtualHostDomainRequired");
    }
}
