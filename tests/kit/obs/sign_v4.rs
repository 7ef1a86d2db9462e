//! The AWS signature V4, as far as OBS takes it: in the header, over a payload that is not signed. It is what
//! opendal's S3 backend sends, and the way to OBS under `s3://`.

use hmac::{Hmac, KeyInit, Mac};
use jiff::{Timestamp, civil::DateTime, fmt::rfc2822, tz::TimeZone};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode, utf8_percent_encode};
use sha2::{Digest, Sha256};

use super::answer::Refusal;
use super::content::hex;
use super::wire::Head;

/// The first word of the `Authorization` header.
pub(super) const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// What stays bare in a canonical query.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// What stays bare in a canonical path.
const ENCODED_PATH: &AsciiSet = &ENCODED.remove(b'/');

/// How the time is signed.
const TIME: &str = "%Y%m%dT%H%M%SZ";

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

    /// When the request was signed: by the dialect's own header, else by the common one.
    pub fn time(head: &Head) -> Option<Timestamp> {
        match (head.header("x-amz-date"), head.header("date")) {
            (Some(date), _) => TimeZone::UTC.to_timestamp(DateTime::strptime(TIME, date).ok()?).ok(),
            (None, date) => rfc2822::DateTimeParser::new().parse_timestamp(date?).ok(),
        }
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
        // Unlike in the older schemes, the path is signed in one spelling, whatever spelling came over the
        // wire.
        let path = percent_decode_str(&head.path).collect::<Vec<u8>>();
        let path = percent_encode(&path, ENCODED_PATH);
        format!("{}\n{path}\n{query}\n{headers}\n{names}\n{payload}", head.method)
    }

    fn signature(&self, head: &Head, secret_key: &str, request: &str) -> String {
        let time = Self::time(head).unwrap_or_default().strftime(TIME);
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
                Claim::time(&head).map(|time| time.to_string()).as_deref(),
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

    #[test]
    fn what_the_signature_covers_cannot_be_altered() {
        let parse = |text: &str| Head::parse(text.as_bytes()).expect("valid").expect("whole").0;
        let text = "PUT /a%20b?uploadId=1 HTTP/1.1\r\nhost: h\r\nx-amz-date: 20130524T000000Z\r\n\
                    x-amz-content-sha256: UNSIGNED-PAYLOAD\r\nx-amz-meta-a: 1\r\n\r\n";
        let names = "host;x-amz-content-sha256;x-amz-date;x-amz-meta-a";
        let claim = |names: &str, signature: &str| {
            format!("Credential=A/20130524/r/s3/aws4_request,SignedHeaders={names},Signature={signature}")
        };
        let unsigned = claim(names, "");
        let unsigned = Claim::parse(&unsigned).expect("a claim");
        let signature = unsigned.signature(&parse(text), "secret", &unsigned.canonical_request(&parse(text)));
        let verify = |text: &str, names: &str, secret: &str| {
            let claim = claim(names, &signature);
            let verdict = Claim::parse(&claim).expect("a claim").verify(&parse(text), secret);
            verdict.map_err(|refusal| refusal.code)
        };
        assert_eq!(verify(text, names, "secret"), Ok(()));
        assert_eq!(verify(&text.replace("/a", "/%61"), names, "secret"), Ok(()), "another spelling");
        let wrong = Err("SignatureDoesNotMatch".to_owned());
        assert_eq!(verify(text, names, "Secret"), wrong);
        for (from, to) in
            [("PUT", "GET"), ("a%20b", "a%20c"), ("Id=1", "Id=2"), ("T000000Z", "T000001Z"), ("a: 1", "a: 2")]
        {
            assert_eq!(verify(&text.replace(from, to), names, "secret"), wrong, "{to}");
        }
        let denied = Err("AccessDenied".to_owned());
        assert_eq!(verify(text, "host;x-amz-content-sha256;x-amz-date", "secret"), denied);
        assert_eq!(verify(&text.replace("UNSIGNED-PAYLOAD", "0123"), names, "secret"), denied);
    }
}
