//! HTTP/1.1 on the socket, by hand: only so can an answer be cut, stalled or slowed at an exact byte, and the
//! path be signed as it came.

use std::{io, ops::Range, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufWriter};
use tokio::net::TcpStream;
use tokio::time::{Instant, interval_at};

use super::address::decode;
use super::answer::{Answer, Refusal};
use super::content::Content;

/// Longest head of a request.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Most headers of a request.
const HEADERS_MAX: usize = 128;
/// Most memory reserved on the word of a client that announces a body.
const RESERVED_BYTES_MAX: usize = 64 << 20;
/// A paced body is sent in this many pieces per second.
const PIECES_PER_SECOND: u64 = 20;

/// The head of a request.
#[derive(Debug)]
pub(super) struct Head {
    pub method: String,
    /// Of the absolute form if there is one, else of `Host`.
    pub authority: String,
    /// As it came over the wire.
    pub path: String,
    /// As it came over the wire, without its question mark.
    pub query: String,
    /// The query, decoded; a bare name has an empty value.
    pub parameters: Vec<(String, String)>,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// Parses a head at the start of `bytes` and says how long it is; `None` when it is not whole.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, Refusal> {
        let malformed = |message: &str| Refusal::new(400, "BadRequest", message);
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut parsed = httparse::Request::new(&mut headers);
        let length = match parsed.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if bytes.len() <= HEAD_BYTES_MAX => return Ok(None),
            Ok(httparse::Status::Partial) => return Err(malformed("The head is too long.")),
            Err(error) => return Err(malformed(&error.to_string())),
        };
        let mut headers = Vec::new();
        for header in parsed.headers.iter() {
            let value = std::str::from_utf8(header.value).map_err(|_| malformed("A header is not UTF-8."))?;
            headers.push((header.name.to_ascii_lowercase(), value.to_owned()));
        }
        let host = headers.iter().find(|(name, _)| name == "host").map(|(_, value)| value.clone());
        let (authority, target) = split_target(parsed.path.unwrap_or_default(), &host.unwrap_or_default());
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        if !path.starts_with('/') {
            return Err(malformed("The request target has no path."));
        }
        let parameters = query.split('&').filter(|part| !part.is_empty()).map(parameter);
        let head = Head {
            method: parsed.method.unwrap_or_default().to_owned(),
            authority,
            path: path.to_owned(),
            query: query.to_owned(),
            parameters: parameters.collect::<Result<_, _>>()?,
            headers,
        };
        Ok(Some((head, length)))
    }

    /// The first header of this lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// The first query parameter of this name, decoded.
    pub fn query(&self, name: &str) -> Option<String> {
        self.parameters.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone())
    }

    /// Whether the query has this parameter, with a value or without.
    pub fn has(&self, name: &str) -> bool {
        self.parameters.iter().any(|(own, _)| own == name)
    }

    fn says(&self, name: &str, value: &str) -> bool {
        self.header(name).is_some_and(|own| own.eq_ignore_ascii_case(value))
    }
}

/// The authority and the path with its query, of a target in absolute or in origin form.
fn split_target(target: &str, host: &str) -> (String, String) {
    match target.split_once("://") {
        Some((_, rest)) if !target.starts_with('/') => {
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            let slash = if rest[end..].starts_with('/') { "" } else { "/" };
            (rest[..end].to_owned(), format!("{slash}{}", &rest[end..]))
        }
        _ => (host.to_owned(), target.to_owned()),
    }
}

fn parameter(part: &str) -> Result<(String, String), Refusal> {
    let (name, value) = part.split_once('=').unwrap_or((part, ""));
    Ok((decode(name)?, decode(value)?))
}

/// One connection.
pub(super) struct Wire {
    stream: BufWriter<TcpStream>,
    received: BytesMut,
}

impl Wire {
    pub fn new(stream: TcpStream) -> Self {
        Wire { stream: BufWriter::with_capacity(64 << 10, stream), received: BytesMut::new() }
    }

    /// The next request, or `None` when the client has left.
    pub async fn head(&mut self) -> io::Result<Option<Result<Head, Refusal>>> {
        loop {
            match Head::parse(&self.received) {
                Ok(Some((head, length))) => {
                    self.received.advance(length);
                    return Ok(Some(Ok(head)));
                }
                Ok(None) if self.receive().await? == 0 => return Ok(None),
                Ok(None) => {}
                Err(refusal) => return Ok(Some(Err(refusal))),
            }
        }
    }

    /// The body that belongs to `head`. A body that ends early is an error.
    pub async fn body(&mut self, head: &Head) -> io::Result<Bytes> {
        if head.says("expect", "100-continue") {
            self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
            self.stream.flush().await?;
        }
        if head.says("transfer-encoding", "chunked") {
            return self.chunks().await;
        }
        let length = head.header("content-length").unwrap_or("0").trim().parse().map_err(io::Error::other)?;
        self.exactly(length).await
    }

    async fn chunks(&mut self) -> io::Result<Bytes> {
        let mut body = BytesMut::new();
        loop {
            let line = self.line().await?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let length = usize::from_str_radix(digits, 16).map_err(io::Error::other)?;
            if length == 0 {
                break;
            }
            body.extend_from_slice(&self.exactly(length).await?);
            self.line().await?;
        }
        while !self.line().await?.is_empty() {}
        Ok(body.freeze())
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.received.iter().position(|&byte| byte == b'\n') {
                let line = self.received.split_to(end + 1);
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            if self.received.len() > HEAD_BYTES_MAX {
                return Err(io::Error::other("a line of a chunked body is too long"));
            }
            self.receive_some().await?;
        }
    }

    async fn exactly(&mut self, length: usize) -> io::Result<Bytes> {
        self.received.reserve(length.min(RESERVED_BYTES_MAX).saturating_sub(self.received.len()));
        while self.received.len() < length {
            self.receive_some().await?;
        }
        Ok(self.received.split_to(length).freeze())
    }

    async fn receive(&mut self) -> io::Result<usize> {
        self.received.reserve(16 << 10);
        self.stream.get_mut().read_buf(&mut self.received).await
    }

    async fn receive_some(&mut self) -> io::Result<()> {
        match self.receive().await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Sends all but the body.
    pub async fn send_head(&mut self, answer: &Answer) -> io::Result<()> {
        self.stream.write_all(answer.head().as_bytes()).await
    }

    /// Sends a part of a body, at so many bytes per second if `pace` says so.
    pub async fn send_body(
        &mut self,
        content: &Content,
        range: Range<u64>,
        pace: Option<u64>,
    ) -> io::Result<()> {
        let step = pace.map_or(u64::MAX, |pace| (pace / PIECES_PER_SECOND).max(1));
        // The pace is the fault that is planned; nothing is waited for.
        let period = pace.map(|pace| Duration::from_secs_f64(step as f64 / pace.max(1) as f64));
        let mut beat = period.map(|period| interval_at(Instant::now() + period, period));
        let mut at = range.start;
        while at < range.end {
            let piece = content.piece(at..range.end.min(at.saturating_add(step)));
            self.stream.write_all(&piece).await?;
            at += piece.len() as u64;
            if let Some(beat) = &mut beat {
                self.stream.flush().await?;
                beat.tick().await;
            }
        }
        Ok(())
    }

    /// Puts what was sent on the wire.
    pub async fn flush(&mut self) -> io::Result<()> {
        self.stream.flush().await
    }

    /// Ends the connection after what was sent.
    pub async fn close(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    /// Says nothing more until the client leaves.
    pub async fn stall(&mut self) -> io::Result<()> {
        self.flush().await?;
        while self.receive().await? > 0 {
            self.received.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(target: &str, expected: (&str, &str, &str)) {
        let text = format!("GET {target} HTTP/1.1\r\nHost: h:1\r\n\r\n");
        let (head, length) = Head::parse(text.as_bytes()).expect("valid").expect("whole");
        assert_eq!(length, text.len());
        assert_eq!((head.authority.as_str(), head.path.as_str(), head.query.as_str()), expected);
    }

    #[test]
    fn targets_in_every_form() {
        check("/a%20b?x=%2F&y", ("h:1", "/a%20b", "x=%2F&y"));
        check("http://other:2/a?b", ("other:2", "/a", "b"));
        check("http://other?b=/", ("other", "/", "b=/"));
        check("http://other", ("other", "/", ""));
        check("/a://b", ("h:1", "/a://b", ""));
    }

    #[test]
    fn a_head_in_pieces_is_waited_for() {
        let text = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
        for end in 0..text.len() {
            assert!(Head::parse(&text[..end]).expect("valid so far").is_none(), "{end}");
        }
    }
}
