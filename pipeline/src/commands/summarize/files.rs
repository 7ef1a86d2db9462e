//! Many files at once: small ones one a core, a large one by all cores, the results in the order of the files.
//!
//! Promise: what comes out depends on the files alone, not on the threads; at most one large file, or a window of small
//! ones, is in memory.

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use parsers::{Compression, Decode, Format, Limits, Partial, Reading};
use rayon::ThreadPool;

/// One read of a file: about what two threads do before they wait for one another.
pub(in crate::commands) const READ_BYTES: usize = 2 << 20;
/// What standard input is called, which has no name.
const STDIN_NAME: &str = "stdin.csv";
/// What may be held of a file of columns: some programs write an Arrow file as one batch, and a pipe has no end to look at
/// first. One such file at a time is read; little of it is used for most.
const WHOLE_BYTES_MAX: usize = 1 << 30;
/// A file up to this size is read by one thread beside others: by itself it would not keep several busy.
const SMALL_BYTES: u64 = 1 << 20;
/// Small files of a window: what they become waits in memory for its turn.
const WINDOW_FILES: usize = 512;
/// All small files of a window: so that their tables stay far below the 128 MiB that a large file is allowed.
const WINDOW_BYTES: u64 = 12 << 20;
/// So many neighbours are read by one thread, each onto those before it. The number is fixed, so that estimates are made
/// in one order, whatever the number of threads.
const NEIGHBOURS: usize = 32;
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
    for window in Windows(files) {
        let outcomes = match window {
            // By itself: its columns are for all threads.
            [file] => vec![pool.install(|| one(file))],
            files => shared_out(files.iter().collect(), pool.current_num_threads(), one),
        };
        for (file, outcome) in window.iter().zip(outcomes) {
            then(file, outcome)?;
        }
    }
    Ok(())
}

/// Reads all files as one. The failures, with the file of each; `None` when no file could be read.
pub(super) fn merged<'a>(
    files: &'a [String],
    reading: &Reading,
    pool: &ThreadPool,
) -> (Option<Partial>, Vec<(&'a str, String)>) {
    let mut whole = Merged::default();
    let some = |files: &'a [String]| Merged::of(files, |file, before| partial(file, reading, before));
    for window in Windows(files) {
        let parts = match window {
            [_] => vec![pool.install(|| some(window))],
            files => shared_out(files.chunks(NEIGHBOURS).collect(), pool.current_num_threads(), some),
        };
        parts.into_iter().for_each(|part| whole.merge(part));
    }
    (whole.partial, whole.failures)
}

/// The allocator of glibc gives memory back to the kernel as soon as 128 KiB are free, and takes it again for the next file:
/// a quarter of the time of small ones. When a large block is given back it takes such for usual, and keeps twice as much
/// (mallopt(3), `M_MMAP_THRESHOLD`). With another allocator nothing happens.
fn keep_memory() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(KEPT_BYTES / 2)));
}

/// Does each piece of work on one of so many threads, whichever is free; what became of them, in their order. Not by the
/// pool: within it a thread that waits for a part of one file would begin another in between.
fn shared_out<W: Copy + Sync, T: Send>(
    works: Vec<W>,
    threads: usize,
    work: impl Fn(W) -> T + Sync,
) -> Vec<T> {
    keep_memory();
    let next = AtomicUsize::new(0);
    let some = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(&one) = works.get(index) else { return done };
            done.push((index, work(one)));
        }
    };
    let mut done: Vec<(usize, T)> = thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(some)).collect();
        let mut done = some();
        for other in others {
            match other.join() {
                Ok(more) => done.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    });
    done.sort_unstable_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, one)| one).collect()
}

/// Files that become one partial.
#[derive(Default)]
pub(in crate::commands) struct Merged<'a> {
    pub(in crate::commands) partial: Option<Partial>,
    pub(in crate::commands) failures: Vec<(&'a str, String)>,
    /// The first of the files.
    first: Option<&'a str>,
}

impl<'a> Merged<'a> {
    /// These files, read one after another: `read` makes one partial of a file and of those before it. Where it fails,
    /// what was before is gone too, and the next file is read by itself: what else fails is to be known, nothing more.
    pub(in crate::commands) fn of(
        files: &'a [String],
        read: impl Fn(&str, Option<Partial>) -> Outcome<Partial>,
    ) -> Merged<'a> {
        let mut whole = Merged { first: files.first().map(String::as_str), ..Merged::default() };
        for file in files {
            match read(file, whole.partial.take()) {
                Ok(partial) => whole.partial = Some(partial),
                Err(why) => whole.failures.push((file, why)),
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
        let piece = small(file, &about).map_or(READ_BYTES, |size| size as usize + 1);
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

/// The size of a file that is read beside others: what unfolds may become large.
fn small(file: &str, about: &Metadata) -> Option<u64> {
    let unfolds = Compression::from_name(file) != Compression::None
        || matches!(Format::from_name(file), Some(Format::Parquet | Format::Arrow));
    (about.is_file() && about.len() <= SMALL_BYTES && !unfolds).then_some(about.len())
}

/// Files that are read together: as many small ones as a window holds, or one that is not small.
struct Windows<'a>(&'a [String]);

impl<'a> Iterator for Windows<'a> {
    type Item = &'a [String];

    fn next(&mut self) -> Option<&'a [String]> {
        let mut room = WINDOW_BYTES;
        let size = |file: &String| small(file, &fs::metadata(file).ok()?);
        let fits = |file: &&String| match size(file).and_then(|size| room.checked_sub(size)) {
            Some(rest) => {
                room = rest;
                true
            }
            None => false,
        };
        let count = self.0.iter().take(WINDOW_FILES).take_while(fits).count();
        let (window, rest) = self.0.split_at(count.max(1).min(self.0.len()));
        self.0 = rest;
        (!window.is_empty()).then_some(window)
    }
}
