//! The signature: what a client must have signed, and whether it did.
//!
//! Written from Huawei's documentation and checked with vectors of Huawei's own tool, never from the client
//! under test. Pure: the time of day is an argument.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use jiff::{Timestamp, fmt::rfc2822};
use sha1::Sha1;

use super::answer::Refusal;
use super::sign_v4;
use super::wire::Head;

/// How far a client's clock may be off.
const SKEW_SECONDS_MAX: i64 = 900;

/// Query parameters that are part of the signed resource, in lower case. Any `x-obs-*` (or, in the AWS
/// scheme, `x-amz-*`) parameter is, too.
const SUB_RESOURCES: &[&str] = &[
    "acl",
    "append",
    "attname",
    "backtosource",
    "cdnnotifyconfiguration",
    "cors",
    "customdomain",
    "delete",
    "deletebucket",
    "directcoldaccess",
    "encryption",
    "inventory",
    "length",
    "lifecycle",
    "location",
    "logging",
    "metadata",
    "modify",
    "name",
    "notification",
    "partnumber",
    "policy",
    "position",
    "quota",
    "rename",
    "replication",
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
    "restore",
    "storageclass",
    "storageinfo",
    "storagepolicy",
    "tagging",
    "torrent",
    "truncate",
    "uploadid",
    "uploads",
    "versionid",
    "versioning",
    "versions",
    "website",
    "x-image-process",
    "x-image-save-bucket",
    "x-image-save-object",
];

/// Who may sign: one key pair and, for temporary credentials, the token that must come with it.
#[derive(Clone, Debug)]
pub(super) struct Credentials {
    pub access_key: String,
    pub secret_key: String,
    pub security_token: Option<String>,
}

/// The two dialects OBS understands. They differ in a word and a prefix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Scheme {
    #[default]
    Obs,
    Aws,
}

impl Scheme {
    /// What the dialect's own headers begin with.
    pub fn prefix(self) -> &'static str {
        match self {
            Scheme::Obs => "x-obs-",
            Scheme::Aws => "x-amz-",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        match word {
            "OBS" => Some(Scheme::Obs),
            "AWS" => Some(Scheme::Aws),
            _ => None,
        }
    }
}

/// What a request says about its sender, not yet believed.
struct Claim {
    scheme: Scheme,
    access_key: String,
    signature: String,
    /// Of a presigned URL: the Unix time of its end, as it was written.
    expires: Option<String>,
}

/// Checks the signature of `head` over `resource` (see [`super::address::Target`]), the clock and the token.
/// Returns the dialect to answer in.
pub(super) fn verify(
    head: &Head,
    resource: &str,
    credentials: &Credentials,
    now: Timestamp,
) -> Result<Scheme, Refusal> {
    if let Some(text) = head.header("authorization").and_then(|value| value.strip_prefix(sign_v4::ALGORITHM))
    {
        return verify_v4(head, text, credentials, now);
    }
    let claim = claim(head)?;
    check_key(&claim.access_key, credentials)?;
    let date = check_time(head, &claim, now)?;
    let text = string_to_sign(head, claim.scheme, &date, resource);
    let signature = STANDARD.decode(&claim.signature).unwrap_or_default();
    if mac(&credentials.secret_key, &text).verify_slice(&signature).is_err() {
        let message = format!("The signature does not match. The server signed {text:?}.");
        return Err(Refusal::new(403, "SignatureDoesNotMatch", &message));
    }
    check_token(head, claim.scheme, credentials)?;
    Ok(claim.scheme)
}

/// The same for the third way to sign, whose dialect is that of AWS.
fn verify_v4(head: &Head, text: &str, credentials: &Credentials, now: Timestamp) -> Result<Scheme, Refusal> {
    let denied = |message| Refusal::new(403, "AccessDenied", message);
    let claim = sign_v4::Claim::parse(text).ok_or_else(|| denied("Authorization is malformed."))?;
    check_key(claim.access_key, credentials)?;
    check_skew(sign_v4::Claim::time(head).ok_or_else(|| denied("The request has no valid date."))?, now)?;
    claim.verify(head, &credentials.secret_key)?;
    check_token(head, Scheme::Aws, credentials)?;
    Ok(Scheme::Aws)
}

fn check_key(access_key: &str, credentials: &Credentials) -> Result<(), Refusal> {
    match access_key == credentials.access_key {
        true => Ok(()),
        false => Err(Refusal::new(403, "InvalidAccessKeyId", "The access key is not known.")),
    }
}

fn check_skew(time: Timestamp, now: Timestamp) -> Result<(), Refusal> {
    if (now.as_second() - time.as_second()).abs() <= SKEW_SECONDS_MAX {
        return Ok(());
    }
    let message = format!("The request says {time}; the server's time is {now}.");
    Err(Refusal::new(403, "RequestTimeTooSkewed", &message))
}

/// The signature of `text`, as it stands in a header. The server itself only compares.
#[cfg(test)]
pub(super) fn signature(secret_key: &str, text: &str) -> String {
    STANDARD.encode(mac(secret_key, text).finalize().into_bytes())
}

fn mac(secret_key: &str, text: &str) -> Hmac<Sha1> {
    let mut mac =
        Hmac::<Sha1>::new_from_slice(secret_key.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(text.as_bytes());
    mac
}

/// The claim in the `Authorization` header, or in the query of a presigned URL.
fn claim(head: &Head) -> Result<Claim, Refusal> {
    let denied = |message| Refusal::new(403, "AccessDenied", message);
    if let Some(value) = head.header("authorization") {
        let malformed = || denied("Authorization must be `OBS key:signature` or `AWS key:signature`.");
        let (word, rest) = value.split_once(' ').ok_or_else(malformed)?;
        let scheme = Scheme::from_word(word).ok_or_else(malformed)?;
        let (access_key, signature) = rest.trim().split_once(':').ok_or_else(malformed)?;
        return Ok(Claim {
            scheme,
            access_key: access_key.to_owned(),
            signature: signature.to_owned(),
            expires: None,
        });
    }
    let signature = head.query("Signature").ok_or_else(|| denied("The request is not signed."))?;
    let (scheme, access_key) = match (head.query("AccessKeyId"), head.query("AWSAccessKeyId")) {
        (Some(key), _) => (Scheme::Obs, key),
        (None, Some(key)) => (Scheme::Aws, key),
        (None, None) => return Err(denied("The URL has a signature but no access key.")),
    };
    let expires = head.query("Expires").ok_or_else(|| denied("The URL has a signature but no expiry."))?;
    Ok(Claim { scheme, access_key, signature, expires: Some(expires) })
}

/// The date line of the string to sign, once the time it stands for has been found acceptable.
fn check_time(head: &Head, claim: &Claim, now: Timestamp) -> Result<String, Refusal> {
    let denied = |message| Refusal::new(403, "AccessDenied", message);
    if let Some(expires) = &claim.expires {
        let end: i64 = expires.parse().map_err(|_| denied("Expires is not a Unix time."))?;
        return match now.as_second() <= end {
            true => Ok(expires.clone()),
            false => Err(denied("The URL has expired.")),
        };
    }
    let own = head.header(&format!("{}date", claim.scheme.prefix()));
    let date = own.or_else(|| head.header("date")).ok_or_else(|| denied("The request has no date."))?;
    let time = rfc2822::DateTimeParser::new()
        .parse_timestamp(date.trim())
        .map_err(|_| denied("The date is not an RFC 1123 date."))?;
    check_skew(time, now)?;
    Ok(if own.is_some() { String::new() } else { date.to_owned() })
}

/// A temporary key needs exactly its token; a permanent key must not come with one.
fn check_token(head: &Head, scheme: Scheme, credentials: &Credentials) -> Result<(), Refusal> {
    let name = format!("{}security-token", scheme.prefix());
    // Where nothing of the service's answer is documented, 403 and this code are assumed.
    let token = head.header(&name).map(str::to_owned).or_else(|| head.query(&name));
    match token == credentials.security_token {
        true => Ok(()),
        false => Err(Refusal::new(403, "InvalidAccessKeyId", "The security token is missing or wrong.")),
    }
}

/// The bytes both sides sign.
fn string_to_sign(head: &Head, scheme: Scheme, date: &str, resource: &str) -> String {
    let md5 = head.header("content-md5").unwrap_or_default();
    let kind = head.header("content-type").unwrap_or_default();
    let headers = canonical_headers(head, scheme);
    let parameters = canonical_parameters(head, scheme);
    format!("{}\n{md5}\n{kind}\n{date}\n{headers}{resource}{parameters}", head.method)
}

/// The dialect's own headers, a line each, sorted; equal names joined by a comma.
fn canonical_headers(head: &Head, scheme: Scheme) -> String {
    let mut own: Vec<(&str, String)> = Vec::new();
    for (name, value) in head.headers.iter().filter(|(name, _)| name.starts_with(scheme.prefix())) {
        match own.iter_mut().find(|(seen, _)| seen == name) {
            Some((_, values)) => *values = format!("{values},{}", value.trim()),
            None => own.push((name, value.trim().to_owned())),
        }
    }
    own.sort();
    own.iter().map(|(name, value)| format!("{name}:{value}\n")).collect()
}

/// The signed part of the query, with its question mark, or nothing.
fn canonical_parameters(head: &Head, scheme: Scheme) -> String {
    let signed = |name: &str| {
        let name = name.to_ascii_lowercase();
        SUB_RESOURCES.contains(&name.as_str()) || name.starts_with(scheme.prefix())
    };
    let mut own: Vec<_> = head.parameters.iter().filter(|(name, _)| signed(name)).collect();
    own.sort();
    let written: Vec<_> = own
        .iter()
        .map(|(name, value)| if value.is_empty() { name.clone() } else { format!("{name}={value}") })
        .collect();
    if written.is_empty() { String::new() } else { format!("?{}", written.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: &str = "SKTESTabcdefghijklmnopqrstuvwxyz";

    #[track_caller]
    fn check(secret: &str, text: &str, expected: &str) {
        assert_eq!(signature(secret, text), expected, "of {text:?}");
    }

    /// Published by Huawei's own signature tool.
    #[test]
    fn signatures_equal_those_of_huaweis_tool() {
        let lines = "GET\nabc\ntext/plain\nMon, 15 Aug 2022 16:50:12 GMT\n";
        check("123456", &format!("{lines}/bucket/object.txt"), "9gUZ4ol2W19LyYcc92Bu3U0V09E=");
        check("123456", &format!("{lines}/bucket/object.txt?name=hello"), "EaTKiO1Qh5KFUvWAVvbCNGktJUY=");
        check("123456", &format!("{lines}/bucket/?name=hello"), "9OdOsf8PRdhGhpkp7IIbKE0kRvA=");
    }

    /// Written down from two independent clients.
    #[test]
    fn signatures_equal_those_of_other_clients() {
        check(
            LONG,
            "PUT\n\ntext/plain\nTue, 24 Nov 2026 06:11:15 GMT\n/test-bucket/in/small%20file%2B%C3%A9.txt",
            "SK/9IJeQHpqGxJVgWMaHerQyoW0=",
        );
        check(
            LONG,
            "PUT\n\n\nTue, 24 Nov 2026 06:11:16 GMT\n/test-bucket/out/multi.bin?partNumber=3\
             &uploadId=94A2A8C6342E8843E4FE7347BFAE43AB",
            "vLj9nk8tTvxhOeQY++lhr3c2v/Q=",
        );
        check(
            LONG,
            "PUT\n\n\nTue, 24 Nov 2026 06:11:15 GMT\nx-obs-meta-job:j 1\n/test-bucket/in/meta.bin",
            "uha9AHdehr2FGuPWoxz1zBOwWTU=",
        );
        check(
            LONG,
            "PUT\n\n\nTue, 24 Nov 2026 06:11:54 GMT\nx-obs-security-token:tok+/=EN\n/test-bucket/e1",
            "ggv/6dClrVAKAo8jN+r99x2QS18=",
        );
        check(LONG, "GET\n\n\n1795501276\n/test-bucket/in/meta.bin", "AJzjJglcb3QbJIo62G7xY1mKURA=");
    }

    fn head(text: &str) -> Head {
        Head::parse(text.as_bytes()).expect("a valid head").expect("a whole head").0
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a valid time")
    }

    fn credentials(token: Option<&str>) -> Credentials {
        Credentials {
            access_key: "AKTEST0123456789".to_owned(),
            secret_key: LONG.to_owned(),
            security_token: token.map(str::to_owned),
        }
    }

    const PUT: &str = "PUT /out/multi.bin?uploadId=94A2A8C6342E8843E4FE7347BFAE43AB&x=1&partNumber=3 HTTP/1.1\r\n\
                       host: h\r\ndate: Tue, 24 Nov 2026 06:11:16 GMT\r\n\
                       authorization: OBS AKTEST0123456789:vLj9nk8tTvxhOeQY++lhr3c2v/Q=\r\n\r\n";

    #[track_caller]
    fn refused(text: &str, resource: &str, token: Option<&str>, now: &str, code: &str) {
        let refusal = verify(&head(text), resource, &credentials(token), at(now)).expect_err(text);
        assert_eq!((refusal.status, refusal.code.as_str()), (403, code), "{text}");
    }

    #[test]
    fn a_whole_request_is_verified() {
        let resource = "/test-bucket/out/multi.bin";
        let now = "2026-11-24T06:11:16Z";
        let verified = verify(&head(PUT), resource, &credentials(None), at(now));
        assert_eq!(verified.expect("a valid signature"), Scheme::Obs);

        let wrong = "SignatureDoesNotMatch";
        refused(PUT, "/other-bucket/out/multi.bin", None, now, wrong);
        refused(&PUT.replace("partNumber=3", "partNumber=4"), resource, None, now, wrong);
        refused(&PUT.replace("PUT", "DELETE"), resource, None, now, wrong);
        refused(&PUT.replace("06:11:16", "06:11:17"), resource, None, now, wrong);
        refused(&PUT.replace("host: h", "x-obs-acl: public-read"), resource, None, now, wrong);
        refused(&PUT.replace("host: h", "content-type: a/b"), resource, None, now, wrong);
        refused(&PUT.replace("AKTEST", "AKTESU"), resource, None, now, "InvalidAccessKeyId");
        refused(&PUT.replace("authorization", "x"), resource, None, now, "AccessDenied");
        refused(&PUT.replace("OBS AK", "Basic AK"), resource, None, now, "AccessDenied");
        refused(PUT, resource, Some("token"), now, "InvalidAccessKeyId");
    }

    #[test]
    fn the_clock_may_be_off_by_fifteen_minutes() {
        let resource = "/test-bucket/out/multi.bin";
        for now in ["2026-11-24T06:26:16Z", "2026-11-24T05:56:16Z"] {
            verify(&head(PUT), resource, &credentials(None), at(now)).expect("within the bound");
        }
        for now in ["2026-11-24T06:26:17Z", "2026-11-24T05:56:15Z"] {
            refused(PUT, resource, None, now, "RequestTimeTooSkewed");
        }
    }

    #[test]
    fn a_token_must_be_the_right_one() {
        let text = "PUT /e1 HTTP/1.1\r\nHost: h\r\nDate: Tue, 24 Nov 2026 06:11:54 GMT\r\n\
                    X-Obs-Security-Token: tok+/=EN\r\n\
                    Authorization: OBS AKTEST0123456789:ggv/6dClrVAKAo8jN+r99x2QS18=\r\n\r\n";
        let (resource, now) = ("/test-bucket/e1", "2026-11-24T06:11:54Z");
        verify(&head(text), resource, &credentials(Some("tok+/=EN")), at(now)).expect("the right token");
        refused(text, resource, Some("other"), now, "InvalidAccessKeyId");
        refused(text, resource, None, now, "InvalidAccessKeyId");
        refused(&text.replace("tok+", "tok-"), resource, Some("tok+/=EN"), now, "SignatureDoesNotMatch");
    }

    #[test]
    fn a_presigned_url_holds_until_its_expiry() {
        let text = "GET /in/meta.bin?AccessKeyId=AKTEST0123456789&Expires=1795501276\
                    &Signature=AJzjJglcb3QbJIo62G7xY1mKURA%3D HTTP/1.1\r\nhost: h\r\ndate: any\r\n\r\n";
        let resource = "/test-bucket/in/meta.bin";
        let second = |second| Timestamp::from_second(second).expect("a valid time");
        let verified = verify(&head(text), resource, &credentials(None), second(1_795_501_276));
        assert_eq!(verified.expect("not yet expired"), Scheme::Obs);
        refused(text, resource, None, &second(1_795_501_277).to_string(), "AccessDenied");
        let longer = text.replace("1795501276", "1795501277");
        refused(&longer, resource, None, &second(1_795_501_276).to_string(), "SignatureDoesNotMatch");
    }

    #[test]
    fn a_date_of_the_dialect_replaces_the_date_line() {
        let text = "GET /b/k HTTP/1.1\r\nhost: h\r\ndate: Tue, 24 Nov 2020 00:00:00 GMT\r\n\
                    x-amz-date: Tue, 24 Nov 2026 06:11:54 GMT\r\nx-amz-meta-b: 2\r\nx-amz-meta-a:  1 \r\n\
                    x-amz-meta-b: 3\r\nauthorization: AWS AKTEST0123456789:SIGNATURE\r\n\r\n";
        let signed =
            "GET\n\n\n\nx-amz-date:Tue, 24 Nov 2026 06:11:54 GMT\nx-amz-meta-a:1\nx-amz-meta-b:2,3\n/b/k";
        let text = text.replace("SIGNATURE", &signature(LONG, signed));
        let verified = verify(&head(&text), "/b/k", &credentials(None), at("2026-11-24T06:11:54Z"));
        assert_eq!(verified.expect("a valid signature"), Scheme::Aws);
    }
}
