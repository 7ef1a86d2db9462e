//! What the storage answered, as a failure keeps it.

use std::io;

/// What the storage said, in one line: without the request's whole context, which a result has no room for.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Answer(String);

impl Answer {
    /// How much of a server's own words is kept.
    const CHARACTERS_MAX: usize = 300;

    pub(super) fn of(error: &opendal::Error) -> Answer {
        let message: String = error.message().chars().take(Self::CHARACTERS_MAX).collect();
        let mut text = match message.is_empty() {
            true => error.kind().to_string(),
            false => format!("{}: {message}", error.kind()),
        };
        // The number by which the service's support finds the request.
        let context = error.to_string();
        let id = context.split("\"x-obs-request-id\": \"").nth(1).and_then(|rest| rest.split('"').next());
        if let Some(id) = id {
            text.push_str(&format!(" (request {id})"));
        }
        let mut below = std::error::Error::source(error);
        while let Some(source) = below {
            text.push_str(&format!(": {source}"));
            below = source.source();
        }
        Answer(text)
    }
}

/// Whether the disk under a folder takes no more.
pub(super) fn is_disk_full(error: &opendal::Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded, io::ErrorKind::ReadOnlyFilesystem];
    source.is_some_and(|source| full.contains(&source.kind()))
}
