//! Answers: what goes back, and what a refusal looks like.

use std::ops::Range;

use bytes::Bytes;
use jiff::{Timestamp, fmt::rfc2822};

use super::content::Content;
use super::xml;

/// What an operation comes to.
pub(super) type Outcome = Result<Answer, Refusal>;

/// An answer on its way out.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub content: Content,
    /// The part of the content that is the body.
    pub range: Range<u64>,
    /// Announce the body but do not send it: the answer to a `HEAD`.
    pub silent: bool,
}

impl Answer {
    /// An answer without a body.
    pub fn empty(status: u16) -> Self {
        Self::with(status, Bytes::new().into())
    }

    /// An answer with a body.
    pub fn with(status: u16, content: Content) -> Self {
        let range = 0..content.length();
        Answer { status, headers: Vec::new(), content, range, silent: false }
    }

    /// An XML document, given its root element.
    pub fn xml(status: u16, root: &str) -> Self {
        let document = format!("<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n{root}");
        Self::with(status, document.into()).header("Content-Type", "application/xml")
    }

    /// With one more header.
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The bytes of the body that are sent.
    pub fn body(&self) -> Range<u64> {
        if self.silent { self.range.start..self.range.start } else { self.range.clone() }
    }

    /// The status line and the headers. The reason phrase is left out, as RFC 9112 allows.
    pub fn head(&self) -> String {
        let mut head = format!("HTTP/1.1 {} \r\n", self.status);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !matches!(self.status, 204 | 304) {
            head.push_str(&format!("Content-Length: {}\r\n", self.range.end - self.range.start));
        }
        head + "\r\n"
    }
}

/// A request that was not done, and why.
#[derive(Debug)]
pub(super) struct Refusal {
    pub status: u16,
    pub code: String,
    pub message: String,
}

impl Refusal {
    pub fn new(status: u16, code: &str, message: &str) -> Self {
        Refusal { status, code: code.to_owned(), message: message.to_owned() }
    }

    pub fn no_such_key() -> Self {
        Self::new(404, "NoSuchKey", "The key does not exist.")
    }

    pub fn no_such_bucket() -> Self {
        Self::new(404, "NoSuchBucket", "The bucket does not exist.")
    }

    pub fn no_such_upload() -> Self {
        Self::new(404, "NoSuchUpload", "The upload does not exist, was aborted, or is complete.")
    }

    pub fn malformed_xml() -> Self {
        Self::new(400, "MalformedXML", "The XML in the body is not what was expected.")
    }

    pub fn invalid(what: &str) -> Self {
        Self::new(400, "InvalidArgument", &format!("{what} is not valid."))
    }

    /// The error document.
    pub fn answer(&self, resource: &str, request_id: &str) -> Answer {
        if self.status == 304 {
            return Answer::empty(304);
        }
        let Refusal { status, code, message } = self;
        let fields = [
            ("Code", code.as_str()),
            ("Message", message),
            ("Resource", resource),
            ("RequestId", request_id),
            ("HostId", "test"),
        ];
        let fields: String = fields.iter().map(|(name, value)| xml::tag(name, value)).collect();
        Answer::xml(*status, &format!("<Error>{fields}</Error>"))
    }
}

/// The time as HTTP writes it.
pub(super) fn http_date(time: Timestamp) -> String {
    let printer = rfc2822::DateTimePrinter::new();
    printer.timestamp_to_rfc9110_string(&time).expect("a time of this era has an HTTP date")
}

/// The time as XML documents write it.
pub(super) fn xml_date(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}
