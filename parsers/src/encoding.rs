//! Which encoding a text is in, and its way to UTF-8.
//!
//! The rule, on the first bytes of a file, the first that holds:
//! 1. A byte order mark says it.
//! 2. NUL bytes in every other place: UTF-16. At least half of the units are ASCII; or, where the bytes are no UTF-8, a
//!    sixteenth, and all of it decodes.
//! 3. The bytes are UTF-8.
//! 4. At least as many characters of the shape of UTF-8 as other bytes above ASCII: UTF-8 with some broken bytes.
//! 5. Too many control characters: no text, an error.
//! 6. What `chardetng` finds likeliest among the encodings that the bytes break no rule of, UTF-16 never. But where that
//!    is one of a byte a character, and more than a sixteenth of the characters beyond ASCII are then control characters
//!    or `ÿ` or `˙`, which hardly any word has: UTF-8 with broken bytes.
//!
//! Promises: the choice depends on these first bytes alone; UTF-8 passes untouched; nothing is lost: what breaks the
//! rules of an encoding becomes U+FFFD and is counted.

mod transcode;

use std::fmt;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{GB18030, GBK, UTF_8, UTF_16BE, UTF_16LE};
use memchr::memchr;

use crate::error::{Error, ErrorKind};

pub(crate) use self::transcode::{Transcoded, Transcoder};

/// Text has less than one control character among so many bytes.
const BYTES_PER_CONTROL: usize = 32;

/// Text has less than one character that no word has among so many beyond ASCII.
const CHARACTERS_PER_ODD: usize = 16;

/// Bytes that are guessed from, where that is enough: guessing costs thirty times as much as reading.
const TELLING_BYTES: usize = 4 << 10;

/// How the characters of a text are written as bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding(&'static encoding_rs::Encoding);

impl Encoding {
    /// The encoding with this name, in any case: a label of the WHATWG's Encoding Standard, for instance `utf-16le`,
    /// `gb18030`, `latin1`.
    pub fn from_label(label: &str) -> Result<Encoding, Error> {
        let known = encoding_rs::Encoding::for_label_no_replacement(label.as_bytes());
        known.map(Encoding::known).ok_or_else(|| {
            let message = format!("no encoding is called {label:?}; try for instance utf-8, gb18030, latin1");
            Error::new(ErrorKind::Unsupported, message)
        })
    }

    /// The name of this encoding in summaries: that of the standard, in small letters.
    pub fn name(self) -> String {
        self.0.name().to_ascii_lowercase()
    }

    /// Of GBK and the larger GB18030 the decoder is the same, so it may as well be called by the name that fits more.
    fn known(encoding: &'static encoding_rs::Encoding) -> Encoding {
        Encoding(if encoding == GBK { GB18030 } else { encoding })
    }

    pub(crate) fn is_utf8(self) -> bool {
        self.0 == UTF_8
    }

    /// The encoding of a text that begins like this.
    pub(crate) fn of(head: &[u8]) -> Result<Encoding, Error> {
        if let Some(marked) = marked(head) {
            return marked;
        }
        let is_utf8 = is_utf8(head);
        if memchr(0, head).is_some()
            && let Some(wide) = utf16(head, is_utf8)
        {
            return Ok(Encoding(wide));
        }
        if is_utf8 || has_shape(head) {
            return Ok(Encoding(UTF_8));
        }
        if is_binary(head) {
            let message = "this is no text, and no other format that is known by its first bytes";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let likeliest = match likeliest(head, TELLING_BYTES) {
            sampled if decodes(sampled, head) => sampled,
            _ => likeliest(head, usize::MAX),
        };
        Ok(if is_plausible(likeliest, head) { Encoding::known(likeliest) } else { Encoding(UTF_8) })
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

/// What the byte order mark says, when there is one.
fn marked(head: &[u8]) -> Option<Result<Encoding, Error>> {
    match head {
        // The first of them could be UTF-16 that begins with a NUL, which no text does.
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => {
            let message = "the text is UTF-32, which is not read; save it as UTF-8 or UTF-16";
            Some(Err(Error::new(ErrorKind::Unsupported, message)))
        }
        [0xef, 0xbb, 0xbf, ..] => Some(Ok(Encoding(UTF_8))),
        [0xff, 0xfe, ..] => Some(Ok(Encoding(UTF_16LE))),
        [0xfe, 0xff, ..] => Some(Ok(Encoding(UTF_16BE))),
        _ => None,
    }
}

/// Whether these bytes are UTF-8, a character that is cut off at the end aside.
pub(crate) fn is_utf8(bytes: &[u8]) -> bool {
    simdutf8::compat::from_utf8(bytes).map_or_else(|error| error.error_len().is_none(), |_| true)
}

/// The kind of UTF-16 that bytes without a mark are.
fn utf16(head: &[u8], is_utf8: bool) -> Option<&'static encoding_rs::Encoding> {
    let ascii = |byte: u8| matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~');
    let (units, _) = head.as_chunks::<2>();
    let little = units.iter().filter(|unit| unit[1] == 0 && ascii(unit[0])).count();
    let big = units.iter().filter(|unit| unit[0] == 0 && ascii(unit[1])).count();
    let (encoding, most, least) =
        if little > big { (UTF_16LE, little, big) } else { (UTF_16BE, big, little) };
    // Chinese has NULs in the other place, too: U+4E00 is its most frequent character but one.
    if most < 2 * least || most == 0 {
        return None;
    }
    let is_wide =
        most * 2 >= units.len() || (!is_utf8 && most * 16 >= units.len() && decodes(encoding, head));
    is_wide.then_some(encoding)
}

/// Whether the bytes break no rule of the encoding, a character that is cut off at the end aside.
fn decodes(encoding: &'static encoding_rs::Encoding, bytes: &[u8]) -> bool {
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let Some(room) = decoder.max_utf8_buffer_length_without_replacement(bytes.len()) else { return false };
    let (result, ..) = decoder.decode_to_utf8_without_replacement(bytes, &mut vec![0; room], false);
    result == encoding_rs::DecoderResult::InputEmpty
}

/// Whether most of what is not ASCII has the shape of UTF-8: a first byte and as many more as it announces. So the
/// forms that are forbidden, and that other programs write, have it as well: overlong ones and surrogates.
fn has_shape(head: &[u8]) -> bool {
    let (mut characters, mut others) = (0, 0);
    let mut rest = head;
    while let Some(at) = rest.iter().position(|byte| !byte.is_ascii()) {
        let more = match rest[at] {
            0xc0..=0xdf => 1,
            0xe0..=0xef => 2,
            0xf0..=0xf7 => 3,
            _ => 0,
        };
        let behind = &rest[at + 1..];
        let continued = behind.iter().take(more).take_while(|byte| matches!(byte, 0x80..=0xbf)).count();
        if more == 0 || continued < more && continued < behind.len() {
            others += 1;
            rest = behind;
            continue;
        }
        // One that is cut off at the end tells nothing.
        characters += usize::from(continued == more);
        rest = &behind[continued..];
    }
    characters >= others && characters > 0
}

/// What `chardetng` guesses from the lines with something beyond ASCII, the first so many bytes of them.
fn likeliest(head: &[u8], bytes_max: usize) -> &'static encoding_rs::Encoding {
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
    let mut left = bytes_max;
    for line in head.split_inclusive(|byte| *byte == b'\n').filter(|line| !line.is_ascii()) {
        let line = &line[..line.len().min(left)];
        detector.feed(line, false);
        left -= line.len();
    }
    detector.guess(None, Utf8Detection::Deny)
}

/// Whether words are made of these characters. Every byte means something in most encodings of a byte a character, so
/// that it breaks no rule.
fn is_plausible(encoding: &'static encoding_rs::Encoding, head: &[u8]) -> bool {
    if !encoding.is_single_byte() {
        return true;
    }
    let is_odd = |byte: u8| {
        let character = encoding.decode_without_bom_handling(&[byte]).0.chars().next();
        matches!(character, Some('\u{80}'..='\u{9f}' | 'ÿ' | '˙'))
    };
    let odd: Vec<u8> = (0x80..=0xff).filter(|byte| is_odd(*byte)).collect();
    let (mut beyond, mut odds) = (0, 0);
    for byte in head.iter().filter(|byte| !byte.is_ascii()) {
        beyond += 1;
        odds += usize::from(odd.contains(byte));
    }
    odds * CHARACTERS_PER_ODD <= beyond
}

/// Whether there are too many control characters for a text. Those that people separate fields with are not counted, nor
/// is the NUL: a crash leaves blocks of them in files.
fn is_binary(head: &[u8]) -> bool {
    let control = |byte: &&u8| matches!(byte, 0x04..=0x08 | 0x0e..=0x1a | 0x7f);
    head.iter().filter(control).count() * BYTES_PER_CONTROL > head.len()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
