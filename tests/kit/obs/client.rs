//! The simplest client that can talk to the server: one connection, requests written by hand.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use jiff::Timestamp;

use super::answer::http_date;
use super::{ObsServer, sign};

/// Sub-resources that the tests use; a test writes them in ascending order.
const SIGNED: &[&str] = &["append", "delete", "partNumber", "position", "uploadId", "uploads"];

/// A connection and what to sign with. Everything may be changed by a test to make a request wrong.
pub(super) struct Client {
    stream: BufReader<TcpStream>,
    pub scheme: &'static str,
    pub access_key: String,
    pub secret_key: String,
    pub token: Option<String>,
    pub host: String,
    /// What is signed in front of the path.
    pub resource: String,
}

#[derive(Debug)]
pub(super) struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn header(&self, name: &str) -> &str {
        let header = self.headers.iter().find(|(own, _)| own == name);
        header.map_or("", |(_, value)| value)
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a text")
    }

    /// The code of an error document.
    #[track_caller]
    pub fn error(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), "application/xml");
        assert!(!self.header("x-obs-request-id").is_empty() || !self.header("x-amz-request-id").is_empty());
        (self.status, super::xml::text(self.text(), "Code").unwrap_or_default())
    }
}

impl Client {
    /// A client of bucket `b` in front of a service host, with the server's default credentials.
    pub fn new(server: &ObsServer) -> Self {
        let stream = TcpStream::connect(server.address()).expect("the server listens");
        let options = super::Options::default();
        Client {
            stream: BufReader::new(stream),
            scheme: "OBS",
            access_key: options.access_key,
            secret_key: options.secret_key,
            token: None,
            host: "b.obs.test-1.myhuaweicloud.com".to_owned(),
            resource: "/b".to_owned(),
        }
    }

    /// Sends a request and reads the answer.
    #[track_caller]
    pub fn call(&mut self, line: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        self.send(line, headers, body);
        self.reply(line.starts_with("HEAD")).expect("a whole answer")
    }

    pub fn get(&mut self, target: &str) -> Reply {
        self.call(&format!("GET {target}"), &[], b"")
    }

    pub fn put(&mut self, target: &str, body: impl AsRef<[u8]>) -> Reply {
        self.call(&format!("PUT {target}"), &[], body.as_ref())
    }

    /// Sends a request, signed now.
    pub fn send(&mut self, line: &str, headers: &[(&str, &str)], body: &[u8]) {
        let (method, target) = line.split_once(' ').expect("a method and a target");
        let date = http_date(Timestamp::now());
        let mut headers = headers.to_vec();
        let token = self.token.clone();
        let own = format!("x-{}-", if self.scheme == "OBS" { "obs" } else { "amz" });
        let token_name = format!("{own}security-token");
        if let Some(token) = &token {
            headers.push((&token_name, token));
        }
        headers.sort();
        let of = |name| headers.iter().find(|(own, _)| *own == name).map_or("", |(_, value)| *value);
        let mut signed = format!("{method}\n{}\n{}\n{date}\n", of("content-md5"), of("content-type"));
        for (name, value) in headers.iter().filter(|(name, _)| name.starts_with(&own)) {
            signed += &format!("{name}:{value}\n");
        }
        signed += &self.resource;
        signed += &signed_target(target);
        let signature = sign::signature(&self.secret_key, &signed);
        let mut text = format!("{line} HTTP/1.1\r\nhost: {}\r\ndate: {date}\r\n", self.host);
        text += &format!("authorization: {} {}:{signature}\r\n", self.scheme, self.access_key);
        for (name, value) in &headers {
            text += &format!("{name}: {value}\r\n");
        }
        // As most clients: no length at all where there is no body to expect.
        let framed = headers.iter().any(|(name, _)| matches!(*name, "transfer-encoding" | "content-length"));
        if !framed && (method == "PUT" || !body.is_empty()) {
            text += &format!("content-length: {}\r\n", body.len());
        }
        self.write(&[text.as_bytes(), b"\r\n", body].concat());
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).expect("the server reads");
    }

    /// Reads an answer; `None` when the connection ends first.
    pub fn reply(&mut self, silent: bool) -> Option<Reply> {
        let mut reply = self.reply_head()?;
        if !silent && !matches!(reply.status, 204 | 304) {
            let length: usize = reply.header("content-length").parse().expect("an announced length");
            reply.body = self.bytes(length)?;
        }
        Some(reply)
    }

    /// Reads an answer up to its body.
    pub fn reply_head(&mut self) -> Option<Reply> {
        let status = self.line()?.split(' ').nth(1)?.parse().expect("a status");
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(": ") else { break };
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        Some(Reply { status, headers, body: Vec::new() })
    }

    pub fn bytes(&mut self, length: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).ok().map(|()| bytes)
    }

    /// Everything until the server closes the connection.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // A reset ends a connection, too.
        let _ = self.stream.read_to_end(&mut bytes);
        bytes
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line).ok().filter(|&length| length > 0)?;
        Some(line.trim_end().to_owned())
    }
}

fn signed_target(target: &str) -> String {
    let target = target.split_once("://").map_or(target, |(_, rest)| &rest[rest.find('/').unwrap_or(0)..]);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let signed = query.split('&').filter(|part| SIGNED.contains(&part.split('=').next().unwrap_or_default()));
    let signed: Vec<_> = signed.collect();
    if signed.is_empty() { path.to_owned() } else { format!("{path}?{}", signed.join("&")) }
}
