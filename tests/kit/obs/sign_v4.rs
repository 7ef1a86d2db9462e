//! The AWS signature V4, as far as OBS takes it: in the header, over a payload that is not signed. It is what opendal's
//! S3 backend sends, and the way to OBS under `s3://`.

use hmac::{Hmac, KeyInit, Mac};
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};

use super::answer::Refusal;
use super::content::hex;
use super::wire::Head;

/// The first word of the `Authorization` header.
pub(super) const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// What stays bare in a canonical query.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The parts of `Credential=key/scope,SignedHeaders=…,Signature=…`.
pub(super) struct Claim<'a> {
    pub access_key: &'a str,
    /// Day, region, service and a fixed word.
    scope: &'a str,
    headers: Vec<&'a str>,
    signature: &'a str,
}

impl<'a> Claim<'a> {
    /// Reads what follows the algorithm in an `Authorization` header.
    pub fn parse(text: &'a str) -> Option<Self> {
        let mut fields = text.split(',').filter_map(|field| field.trim().split_once('='));
        let mut field = |name| fields.next().filter(|(own, _)| *own == name).map(|(_, value)| value);
        let (access_key, scope) = field("Credential")?.split_once('/')?;
        let headers = field("SignedHeaders")?.split(';').collect();
        Some(Claim { access_key, scope, headers, signature: field("Signature")? })
    }

    /// When the request was signed.
    pub fn time(&self, head: &Head) -> Option<Timestamp> {
        let civil = DateTime::strptime("%Y%m%dT%H%M%SZ", head.header("x-amz-date")?).ok()?;
        Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp())
    }

    /// Checks the signature, and that it covers what it must.
    pub fn verify(&self, head: &Head, secret_key: &str) -> Result<(), Refusal> {
        let refused = |code: &str, message: &str| Err(Refusal::new(403, code, message));
        let own =
            head.headers.iter().map(|(name, _)| name.as_str()).filter(|name| name.starts_with("x-amz-"));
        if own.chain(["host"]).any(|name| !self.headers.contains(&name)) {
            return refused("AccessDenied", "Host and every x-amz- header must be signed.");
        }
        if head.header("x-amz-content-sha256") != Some("UNSIGNED-PAYLOAD") {
            return refused("AccessDenied", "x-amz-content-sha256 must be UNSIGNED-PAYLOAD.");
        }
        let request = self.canonical_request(head);
        match self.signature(head, secret_key, &request) == self.signature {
            true => Ok(()),
            false => {
                let message = format!("The signature does not match. The server signed {request:?}.");
                refused("SignatureDoesNotMatch", &message)
            }
        }
    }

    fn canonical_request(&self, head: &Head) -> String {
        let encode = |text: &str| utf8_percent_encode(text, ENCODED).to_string();
        let mut parameters: Vec<_> =
            head.parameters.iter().map(|(name, value)| (encode(name), encode(value))).collect();
        parameters.sort();
        let parameters: Vec<_> = parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let header = |name: &&str| {
            let values = head.headers.iter().filter(|(own, _)| own == name).map(|(_, value)| value.trim());
            format!("{name}:{}\n", values.collect::<Vec<_>>().join(","))
        };
        let headers: String = self.headers.iter().map(header).collect();
        let payload = head.header("x-amz-content-sha256").unwrap_or_default();
        let (query, names) = (parameters.join("&"), self.headers.join(";"));
        format!("{}\n{}\n{query}\n{headers}\n{names}\n{payload}", head.method, head.path)
    }

    fn signature(&self, head: &Head, secret_key: &str, request: &str) -> String {
        let time = head.header("x-amz-date").unwrap_or_default();
        let digest = hex(&Sha256::digest(request));
        let text = format!("{ALGORITHM}\n{time}\n{}\n{digest}", self.scope);
        let key =
            self.scope.split('/').fold(format!("AWS4{secret_key}").into_bytes(), |key, part| mac(&key, part));
        hex(&mac(&key, &text))
    }
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of Amazon's documentation, "Signature Calculations for the Authorization Header".
    #[test]
    fn signatures_equal_the_documented_ones() {
        let check = |line: &str, range: &str, signature: &str| {
            let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
            let text = format!(
                "GET {line} HTTP/1.1\r\nHost: examplebucket.s3.amazonaws.com\r\n{range}\
                 x-amz-content-sha256: {empty}\r\nx-amz-date: 20130524T000000Z\r\n\r\n"
            );
            let (head, _) = Head::parse(text.as_bytes()).expect("valid").expect("whole");
            let names = if range.is_empty() { "host" } else { "host;range" };
            let claim = format!(
                "Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,\
                 SignedHeaders={names};x-amz-content-sha256;x-amz-date,Signature={signature}"
            );
            let claim = Claim::parse(&claim).expect("a claim");
            let request = claim.canonical_request(&head);
            let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
            assert_eq!(claim.signature(&head, secret, &request), signature, "{request}");
            assert_eq!(
                claim.time(&head).map(|time| time.to_string()).as_deref(),
                Some("2013-05-24T00:00:00Z")
            );
        };
        check(
            "/test.txt",
            "Range: bytes=0-9\r\n",
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        );
        check("/?lifecycle", "", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
        check(
            "/?max-keys=2&prefix=J",
            "",
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        );
    }
}
