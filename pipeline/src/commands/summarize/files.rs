//! Many files at once: small ones one a core, a large one by all cores, the results in the order of the files.
//!
//! Promise: what comes out depends on the files alone, not on the threads; in memory are at most one large file, or the
//! tables of a share of small ones a thread, and one more.

use std::convert::Infallible;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};

use parsers::{Compression, Decode, Format, Limits, Partial, Reading};
use rayon::ThreadPool;

use crate::commands::summarize::in_order::in_order;

/// One read of a file: about what two threads do before they wait for one another.
pub(in crate::commands) const READ_BYTES: usize = 2 << 20;
/// What standard input is called, which has no name.
const STDIN_NAME: &str = "stdin.csv";
/// What may be held of a file of columns: some programs write an Arrow file as one batch, and a pipe has no end to look at
/// first. One such file at a time is read; little of it is used for most.
const WHOLE_BYTES_MAX: usize = 1 << 30;
/// A file up to this size is read by one thread beside others: by itself it would not keep several busy.
const SMALL_BYTES: u64 = 1 << 20;
/// What is packed unfolds to so many times its size, or less, in nearly all files. More would take a thread longer, and no
/// more memory: tables are bounded.
const UNFOLDS: u64 = 16;
/// So many small files are a thread's work at a time: to fetch another costs less than one of them.
const SHARE_FILES: usize = 8;
/// As many are it when they are merged, each read onto those before it: the more, the less is left to merge. The number is
/// fixed, so that estimates are made in one order, whatever the number of threads.
const NEIGHBOURS: usize = 128;
/// As many at most have this size together: so that the tables of few threads stay below the 128 MiB that a file is allowed.
const SHARE_BYTES: u64 = 3 << 20;
/// Memory that is kept from one small file to the next.
const KEPT_BYTES: usize = 2 << 20;

/// What was made of a file, or why nothing was.
pub(super) type Outcome<T> = Result<T, String>;

/// Reads all files; `then` gets what `finish` made of each, in their order.
///
/// # Errors
/// Those of `then`, which end it.
pub(super) fn each<T: Send, E>(
    files: &[String],
    reading: &Reading,
    pool: &ThreadPool,
    finish: impl Fn(Partial) -> T + Sync,
    mut then: impl FnMut(&str, Outcome<T>) -> Result<(), E>,
) -> Result<(), E> {
    let one = |file: &String| partial(file, reading, None).map(&finish);
    let some = |files: &[String]| files.iter().map(one).collect::<Vec<_>>();
    shared_out(Shares { files, most: SHARE_FILES }, pool, some, |files, outcomes| {
        files.iter().zip(outcomes).try_for_each(|(file, outcome)| then(file, outcome))
    })
}

/// Reads all files as one. The failures, with the file of each; `None` when no file could be read.
pub(super) fn merged<'a>(
    files: &'a [String],
    reading: &Reading,
    pool: &ThreadPool,
) -> (Option<Partial>, Vec<(&'a str, String)>) {
    let mut whole = Merged::default();
    let some = |files| Merged::of(files, |file, before| partial(file, reading, before));
    let Ok(()) = shared_out(Shares { files, most: NEIGHBOURS }, pool, some, |_, part| {
        whole.merge(part);
        Ok::<(), Infallible>(())
    });
    (whole.partial, whole.failures)
}

/// Does some work on all files: on small ones a thread each, on one that stands alone within the pool, whose threads it is
/// for. `then` gets what became of them, in their order.
fn shared_out<'a, T: Send, E>(
    shares: Shares<'a>,
    pool: &ThreadPool,
    work: impl Fn(&'a [String]) -> T + Sync,
    mut then: impl FnMut(&'a [String], T) -> Result<(), E>,
) -> Result<(), E> {
    keep_memory();
    let mut shares = shares.peekable();
    while let Some(files) = shares.peek() {
        if let [_] = files {
            then(files, pool.install(|| work(files)))?;
            shares.next();
            continue;
        }
        let several = std::iter::from_fn(|| shares.next_if(|files| files.len() > 1));
        let work = |files| (files, work(files));
        in_order(several, pool.current_num_threads(), work, |(files, became)| then(files, became))?;
    }
    Ok(())
}

/// The allocator of glibc gives memory back to the kernel as soon as 128 KiB are free, and takes it again for the next file:
/// a quarter of the time of small ones. When a large block is given back it takes such for usual, and keeps twice as much
/// (mallopt(3), `M_MMAP_THRESHOLD`). With another allocator nothing happens.
fn keep_memory() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(KEPT_BYTES / 2)));
}

/// Files that become one partial.
#[derive(Default)]
pub(in crate::commands) struct Merged<'a> {
    pub(in crate::commands) partial: Option<Partial>,
    pub(in crate::commands) failures: Vec<(&'a str, String)>,
    /// The first of the files that could be read.
    first: Option<&'a str>,
}

impl<'a> Merged<'a> {
    /// These files, read one after another: `read` makes one partial of a file and of those before it. Where it fails,
    /// what was before is gone too. What else fails is to be known then, nothing more: to see whether the others fit, the
    /// first file is enough.
    pub(in crate::commands) fn of(
        files: &'a [String],
        read: impl Fn(&str, Option<Partial>) -> Outcome<Partial>,
    ) -> Merged<'a> {
        let mut whole = Merged::default();
        for file in files {
            match read(file, whole.partial.take()) {
                Ok(partial) => {
                    whole.partial = Some(partial);
                    whole.first.get_or_insert(file);
                }
                Err(why) => {
                    whole.failures.push((file, why));
                    whole.partial = whole.first.and_then(|first| read(first, None).ok());
                }
            }
        }
        whole
    }

    /// Takes in the files that come next. Those that do not fit to these have failed.
    fn merge(&mut self, other: Merged<'a>) {
        self.failures.extend(other.failures);
        match (&mut self.partial, other.partial) {
            (Some(whole), Some(part)) => {
                if let Err(error) = whole.merge(part) {
                    self.failures.push((other.first.unwrap_or_default(), error.to_string()));
                }
            }
            (None, Some(part)) => (self.partial, self.first) = (Some(part), other.first),
            (_, None) => {}
        }
    }
}

/// A file, and the name that tells its format.
pub(in crate::commands) fn open(file: &str) -> io::Result<(&str, Box<dyn Read>)> {
    Ok(match file {
        "-" => (STDIN_NAME, Box::new(io::stdin().lock())),
        path => (path, Box::new(File::open(path)?)),
    })
}

/// What is in a file, and in those before it.
fn partial(file: &str, reading: &Reading, before: Option<Partial>) -> Outcome<Partial> {
    let limits = Limits { whole_bytes_max: WHOLE_BYTES_MAX, ..Limits::default() };
    let decoder = |name| match before {
        Some(before) => reading.onto(before, name, &limits),
        None => reading.decoder(name, &limits),
    };
    let read = || -> Result<Partial, Box<dyn std::error::Error>> {
        if file == "-" {
            return from_pipe(&mut io::stdin().lock(), decoder(STDIN_NAME));
        }
        let mut input = File::open(file)?;
        let about = input.metadata()?;
        let decoder = decoder(file);
        if !about.is_file() {
            return from_pipe(&mut input, decoder);
        }
        let piece = if about.len() <= SMALL_BYTES { about.len() as usize + 1 } else { READ_BYTES };
        from_file(&mut input, about.len(), decoder, piece)
    };
    read().map_err(|error| error.to_string())
}

/// Feeds what comes out of a pipe, at once: it may be long before more comes, and the decoder may want none.
fn from_pipe(
    input: &mut impl Read,
    mut decoder: Box<dyn Decode>,
) -> Result<Partial, Box<dyn std::error::Error>> {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => return Ok(decoder.partial()?),
            Ok(read) => decoder.feed(&buffer[..read])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Feeds a file of this size, or what of it the decoder wants. As long as it does not jump, a thread of the pool that this
/// runs in reads the next piece meanwhile.
fn from_file(
    input: &mut File,
    size: u64,
    mut decoder: Box<dyn Decode>,
    piece: usize,
) -> Result<Partial, Box<dyn std::error::Error>> {
    let (mut buffer, mut next) = (Vec::new(), Vec::new());
    fill(input, &mut buffer, piece)?;
    // The first piece tells what kind of file this is.
    let mut is_ahead = false;
    while !buffer.is_empty() {
        let mut ahead = None;
        if is_ahead {
            let (fed, read) = rayon::join(|| decoder.feed(&buffer), || fill(input, &mut next, piece));
            fed?;
            ahead = Some(read);
        } else {
            decoder.feed(&buffer)?;
        }
        let jump = decoder.jump(size);
        is_ahead = jump.is_none() && rayon::current_thread_index().is_some();
        match (jump, ahead) {
            (Some(place), _) => {
                input.seek(SeekFrom::Start(place))?;
                fill(input, &mut buffer, piece)?;
            }
            (None, Some(read)) => {
                read?;
                std::mem::swap(&mut buffer, &mut next);
            }
            (None, None) if buffer.len() < piece => break,
            (None, None) => fill(input, &mut buffer, piece)?,
        }
    }
    Ok(decoder.partial()?)
}

/// Reads the next piece of a file, or what is left of it, in place of what is in the buffer.
fn fill(input: &mut File, buffer: &mut Vec<u8>, piece: usize) -> io::Result<()> {
    buffer.clear();
    buffer.reserve_exact(piece);
    input.take(piece as u64).read_to_end(buffer).map(|_| ())
}

/// The size of a file that is read beside others, unfolded. Files of columns are not: all of one may be in memory.
fn small(file: &str) -> Option<u64> {
    if matches!(Format::from_name(file), Some(Format::Parquet | Format::Arrow)) {
        return None;
    }
    let about = fs::metadata(file).ok().filter(fs::Metadata::is_file)?;
    let is_packed = Compression::from_name(file) != Compression::None;
    let size = about.len().saturating_mul(if is_packed { UNFOLDS } else { 1 });
    (size <= SMALL_BYTES).then_some(size)
}

/// Files that are read by one thread, one after another: as many small ones as make a share, or one that is not small.
struct Shares<'a> {
    files: &'a [String],
    most: usize,
}

impl<'a> Iterator for Shares<'a> {
    type Item = &'a [String];

    fn next(&mut self) -> Option<&'a [String]> {
        let mut room = SHARE_BYTES;
        let fits = |file: &&String| match small(file).and_then(|size| room.checked_sub(size)) {
            Some(rest) => {
                room = rest;
                true
            }
            None => false,
        };
        let count = self.files.iter().take(self.most).take_while(fits).count();
        let (share, rest) = self.files.split_at(count.max(1).min(self.files.len()));
        self.files = rest;
        (!share.is_empty()).then_some(share)
    }
}
