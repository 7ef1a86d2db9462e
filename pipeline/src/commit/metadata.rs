//! What is written beside a committed offset: the memory of the partition, for whoever takes it over.
//!
//! Promises:
//!
//! - what is written is read again; it is never longer than a broker allows ([`METADATA_BYTES_MAX`]);
//! - what someone else wrote, or a version that is not known here, is refused with a reason ([`Foreign`]), and never
//!   taken for ours: the text has a name, the bytes a version, and both belong to the one offset they were written
//!   for (tools that copy offsets from cluster to cluster translate the offset and leave the text);
//! - sections that are not known are skipped, so an older worker understands a newer one of the same version.
//!
//! Never: Kafka, a decision about what is committed.
//!
//! `pipeline:` and then, in base64 without padding:
//!
//! | bytes | meaning |
//! |---|---|
//! | 1 | the version, 1 |
//! | varint | the committed offset |
//! | for each section: 1, varint, as many | its tag, its length, its bytes |
//!
//! | tag | section |
//! |---|---|
//! | 1 | the map of the offsets finished above the committed one, see [`Offsets`] |
//! | 2 | the watch: what the worker is at, see [`Watch`] |

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::commit::map::Offsets;
use crate::commit::varint;
use crate::commit::watch::Watch;
use crate::task::NextOffset;

/// What a broker takes for one partition, unless it is told otherwise (`offset.metadata.max.bytes`).
pub const METADATA_BYTES_MAX: usize = 4096;

/// Where the text ends that says whose it is.
const NAME: &str = "pipeline:";
const VERSION: u8 = 1;
/// Tag of the map.
const FINISHED: u8 = 1;
/// Tag of the watch.
const WATCH: u8 = 2;
/// Bytes behind the name: base64 makes four characters of three.
const BYTES_MAX: usize = (METADATA_BYTES_MAX - NAME.len()) / 4 * 3;

/// What is remembered of a partition beside its committed offset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The offsets that are finished above the committed one.
    pub finished: Offsets,
    /// What the worker that committed is at.
    pub watch: Watch,
}

/// Why a text is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Foreign {
    /// It does not begin with our name.
    #[error("something else wrote it")]
    Name,
    /// A version that this worker does not know.
    #[error("another version of this program wrote it (format {0})")]
    Version(u8),
    /// It was written for another offset, so that what it says may be about other tasks.
    #[error("it was written for the offset {0}")]
    Offset(u64),
    /// It has the name, and no sense.
    #[error("it is damaged")]
    Damaged,
}

impl Metadata {
    /// The text for a commit of `next`; empty when there is nothing to remember.
    pub fn encode(&self, next: NextOffset) -> String {
        if self.finished.is_empty() && self.watch.is_empty() {
            return String::new();
        }
        let mut bytes = vec![VERSION];
        varint::write(&mut bytes, next.0.unsigned_abs());
        if !self.watch.is_empty() {
            section(&mut bytes, WATCH, &self.watch.encode(next));
        }
        if self.finished.is_empty() {
            return format!("{NAME}{}", STANDARD_NO_PAD.encode(bytes));
        }
        // Tag and length of the map: the length takes at most as much as that of all.
        let left = BYTES_MAX - bytes.len() - 1 - varint::len(BYTES_MAX as u64);
        section(&mut bytes, FINISHED, &self.finished.encode(next, left));
        format!("{NAME}{}", STANDARD_NO_PAD.encode(bytes))
    }

    /// No less than the length of [`Metadata::encode`], and exact when it comes near `near`.
    pub fn len_at_most(&self, next: NextOffset, near: usize) -> usize {
        // Version, offset, tag, length.
        const HEAD: usize = 1 + 10 + 1 + 2;
        let watch = if self.watch.is_empty() { 0 } else { 3 + self.watch.encode(next).len() };
        let bound = NAME.len() + (HEAD + watch + self.finished.bytes_at_most(next)).div_ceil(3) * 4;
        if bound < near { bound } else { self.encode(next).len() }
    }

    /// Reads the text that was committed with `next`. An empty text is nothing to remember.
    ///
    /// # Errors
    /// [`Foreign`] when [`Metadata::encode`] did not write it for this offset.
    pub fn decode(text: &[u8], next: NextOffset) -> Result<Metadata, Foreign> {
        if text.is_empty() {
            return Ok(Metadata::default());
        }
        let text = text.strip_prefix(NAME.as_bytes()).ok_or(Foreign::Name)?;
        let bytes = STANDARD_NO_PAD.decode(text).map_err(|_| Foreign::Damaged)?;
        let (version, mut bytes) = bytes.split_first().ok_or(Foreign::Damaged)?;
        if *version != VERSION {
            return Err(Foreign::Version(*version));
        }
        let written_for = varint::read(&mut bytes).ok_or(Foreign::Damaged)?;
        if i64::try_from(written_for) != Ok(next.0) {
            return Err(Foreign::Offset(written_for));
        }
        let mut metadata = Metadata::default();
        while let Some((tag, rest)) = bytes.split_first() {
            bytes = rest;
            let length = varint::read(&mut bytes).and_then(|length| usize::try_from(length).ok());
            let section;
            (section, bytes) =
                length.and_then(|length| bytes.split_at_checked(length)).ok_or(Foreign::Damaged)?;
            if *tag == FINISHED {
                metadata.finished = Offsets::decode(section, next).ok_or(Foreign::Damaged)?;
            }
            if *tag == WATCH {
                metadata.watch = Watch::decode(section, next).ok_or(Foreign::Damaged)?;
            }
        }
        Ok(metadata)
    }
}

fn section(bytes: &mut Vec<u8>, tag: u8, content: &[u8]) {
    bytes.push(tag);
    varint::write(bytes, content.len() as u64);
    bytes.extend(content);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::commit::Mode;
    use crate::task::Offset;

    fn of(offsets: impl IntoIterator<Item = i64>) -> Metadata {
        Metadata { finished: offsets.into_iter().map(Offset).collect(), ..Metadata::default() }
    }

    fn text(bytes: &[u8]) -> Vec<u8> {
        format!("{NAME}{}", STANDARD_NO_PAD.encode(bytes)).into_bytes()
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            offsets in prop::collection::btree_set(100_i64..2_000, 0..300),
            next in 0_i64..100,
        ) {
            let metadata = of(offsets);
            let text = metadata.encode(NextOffset(next));
            prop_assert_eq!(text.is_empty(), metadata.finished.is_empty());
            prop_assert_eq!(Metadata::decode(text.as_bytes(), NextOffset(next)), Ok(metadata.clone()));
            prop_assert!(metadata.len_at_most(NextOffset(next), usize::MAX) >= text.len());
            prop_assert_eq!(metadata.len_at_most(NextOffset(next), 0), text.len());
        }

        #[test]
        fn it_is_never_longer_than_a_broker_takes(
            steps in prop::collection::vec(1_i64..200, 0..3_000),
            next in prop_oneof![Just(0_i64), Just(i64::MAX / 2)],
        ) {
            let mut at = next;
            let offsets: Vec<i64> = steps.into_iter().map(|step| { at += step; at }).collect();
            let metadata = of(offsets);
            let text = metadata.encode(NextOffset(next));
            prop_assert!(text.len() <= METADATA_BYTES_MAX, "{}", text.len());
            let read = Metadata::decode(text.as_bytes(), NextOffset(next)).unwrap();
            let mut both = read.finished.clone();
            both.extend(&metadata.finished);
            prop_assert_eq!(both, metadata.finished, "nothing that was not finished");
        }

        #[test]
        fn hostile_texts_are_refused_or_are_metadata(
            name in prop::bool::ANY,
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            next in 0_i64..300,
        ) {
            let raw = if name { text(&bytes) } else { bytes.clone() };
            let _ = Metadata::decode(&raw, NextOffset(next));
            // Past the version and the offset, where the sections begin.
            let mut inside = vec![VERSION];
            varint::write(&mut inside, next as u64);
            inside.extend(&bytes);
            let _ = Metadata::decode(&text(&inside), NextOffset(next));
        }
    }

    #[test]
    fn what_is_not_ours_is_refused_with_the_reason() {
        let next = NextOffset(7);
        assert_eq!(Metadata::decode(b"", next), Ok(Metadata::default()));
        for foreign in [&b"offset=7"[..], b"\xff\xfe", b"pipelin", b"Pipeline:AQcB"] {
            assert_eq!(Metadata::decode(foreign, next), Err(Foreign::Name), "{foreign:?}");
        }
        assert_eq!(Metadata::decode(&text(&[2, 7]), next), Err(Foreign::Version(2)));
        assert_eq!(Metadata::decode(&text(&[VERSION, 8]), next), Err(Foreign::Offset(8)));
        for damaged in [
            &[][..],
            &[VERSION],
            &[VERSION, 7, FINISHED],
            &[VERSION, 7, FINISHED, 9, 0],
            &[VERSION, 7, FINISHED, 1, 5],
        ] {
            assert_eq!(Metadata::decode(&text(damaged), next), Err(Foreign::Damaged), "{damaged:?}");
        }
        assert_eq!(Metadata::decode(b"pipeline:!", next), Err(Foreign::Damaged));
    }

    #[test]
    fn the_watch_is_remembered_with_and_without_a_map() {
        let mut at_work = BTreeSet::from([Offset(8), Offset(9)]);
        for finished in [of([]), of([10, 12])] {
            at_work.insert(Offset(11));
            let watch = Watch { mode: Mode::Named, at_work: at_work.clone(), ..Watch::default() };
            let metadata = Metadata { watch, ..finished };
            let text = metadata.encode(NextOffset(7));
            assert!(metadata.len_at_most(NextOffset(7), usize::MAX) >= text.len());
            assert_eq!(Metadata::decode(text.as_bytes(), NextOffset(7)), Ok(metadata));
        }
        let damaged = text(&[VERSION, 7, WATCH, 1, 9]);
        assert_eq!(Metadata::decode(&damaged, NextOffset(7)), Err(Foreign::Damaged));
    }

    #[test]
    fn a_section_of_the_future_is_skipped() {
        let mut bytes = vec![VERSION, 7];
        section(&mut bytes, 200, b"what will be");
        section(&mut bytes, FINISHED, &of([9]).finished.encode(NextOffset(7), 100));
        section(&mut bytes, 201, b"");
        assert_eq!(Metadata::decode(&text(&bytes), NextOffset(7)), Ok(of([9])));
    }
}
