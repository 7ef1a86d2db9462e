//! Zip archives, made byte by byte as the tools make them.

use std::io::Write;

use flate2::Crc;

use crate::{Compression, Error, ErrorKind, Format, Limits, Summary, decoder};

/// A member and how it is written.
#[derive(Clone)]
pub(crate) struct Member {
    name: &'static str,
    data: Vec<u8>,
    method: u16,
    flags: u16,
    zip64: bool,
    /// Without the mark of the descriptor.
    bare: bool,
    /// What is added to the checksum and to the size that is said.
    wrong: (u32, u32),
}

impl Member {
    pub(crate) fn new(name: &'static str, data: &[u8]) -> Member {
        let data = data.to_vec();
        Member { name, data, method: 8, flags: 0, zip64: false, bare: false, wrong: (0, 0) }
    }

    fn stored(name: &'static str, data: &[u8]) -> Member {
        Member { method: 0, ..Member::new(name, data) }
    }

    fn write(&self, archive: &mut Vec<u8>) {
        let mut packed = self.data.clone();
        if self.method == 8 {
            let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
            encoder.write_all(&self.data).unwrap();
            packed = encoder.finish().unwrap();
        }
        let mut crc = Crc::new();
        crc.update(&self.data);
        let crc = crc.sum().wrapping_add(self.wrong.0);
        let sizes = [packed.len() as u32, (self.data.len() as u32).wrapping_add(self.wrong.1)];
        let later = self.flags & 8 != 0;
        archive.extend(b"PK\x03\x04");
        for field in [45, self.flags, self.method, 0, 0] {
            archive.extend(field.to_le_bytes());
        }
        let in_header = |value: u32| if later { 0 } else { value };
        archive.extend(in_header(crc).to_le_bytes());
        for size in sizes {
            let size = if self.zip64 { u32::MAX } else { in_header(size) };
            archive.extend(size.to_le_bytes());
        }
        archive.extend((self.name.len() as u16).to_le_bytes());
        archive.extend(if self.zip64 { 26u16 } else { 0 }.to_le_bytes());
        archive.extend(self.name.as_bytes());
        if self.zip64 {
            // Behind another field, of a time.
            archive.extend([0x55, 0x54, 2, 0, 9, 9, 1, 0, 16, 0]);
            for size in [sizes[1], sizes[0]] {
                archive.extend(u64::from(in_header(size)).to_le_bytes());
            }
        }
        archive.extend(&packed);
        if later {
            archive.extend(if self.bare { &b""[..] } else { b"PK\x07\x08" });
            archive.extend(crc.to_le_bytes());
            for size in sizes {
                let bytes = u64::from(size).to_le_bytes();
                archive.extend(if self.zip64 { &bytes[..] } else { &bytes[..4] });
            }
        }
    }
}

/// An archive of these, with its directory.
pub(crate) fn archive(members: &[Member]) -> Vec<u8> {
    let mut archive = Vec::new();
    members.iter().for_each(|member| member.write(&mut archive));
    directory(members.iter().map(|member| member.name), archive)
}

fn directory<'a>(names: impl Iterator<Item = &'a str>, mut archive: Vec<u8>) -> Vec<u8> {
    for name in names {
        let mut line = [0; 46];
        line[..4].copy_from_slice(b"PK\x01\x02");
        line[28] = name.len() as u8;
        line[32] = 4;
        archive.extend(line);
        archive.extend(name.as_bytes());
        archive.extend(b"note");
    }
    // The end in 64 bits, with its locator, and the end with a comment.
    archive.extend(b"PK\x06\x06\x2c\0\0\0\0\0\0\0");
    archive.extend([0; 44]);
    archive.extend(b"PK\x06\x07");
    archive.extend([0; 16]);
    archive.extend(b"PK\x05\x06");
    archive.extend([0; 16]);
    archive.extend(b"\x05\0hello");
    archive
}

fn read(name: &str, bytes: &[u8]) -> Result<Summary, Error> {
    let run = |size: usize| {
        let mut decoder = decoder(name, &Limits::default());
        for piece in bytes.chunks(size) {
            decoder.feed(piece)?;
        }
        decoder.finish()
    };
    let whole = run(usize::MAX);
    for size in [1, 5, 31] {
        assert_eq!(run(size), whole, "pieces of {size}");
    }
    whole
}

fn error(members: &[Member]) -> Error {
    read("t.csv", &archive(members)).unwrap_err()
}

const CSV: &[u8] = b"a,b\n1,2\n3,4\n";

#[test]
fn every_way_to_write_the_one_member_is_read() {
    let deflated = Member::new("t.csv", CSV);
    let later = Member { flags: 8, ..deflated.clone() };
    for member in [
        Member::stored("t.csv", CSV),
        Member { zip64: true, ..Member::stored("t.csv", CSV) },
        Member { zip64: true, ..deflated.clone() },
        Member { bare: true, ..later.clone() },
        Member { zip64: true, ..later.clone() },
        Member { zip64: true, bare: true, ..later.clone() },
        later,
        deflated,
    ] {
        let bytes = archive(std::slice::from_ref(&member));
        let summary = read("t.csv", &bytes).unwrap();
        assert_eq!((summary.total_rows, summary.compression), (2, Compression::Zip));
        for cut in 4..bytes.len() {
            assert_eq!(read("t.csv", &bytes[..cut]).unwrap_err().kind(), ErrorKind::Corrupt, "{cut} bytes");
        }
        for wrong in [(1, 0), (0, 1)] {
            let error = error(&[Member { wrong, ..member.clone() }]);
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            assert!(error.to_string().contains("\"t.csv\" in the zip archive is damaged"), "{error}");
        }
    }
}

#[test]
fn what_is_no_file_is_passed_over() {
    let members = [
        Member::stored("data/", b""),
        Member { flags: 8, ..Member::stored("data/more/", b"") },
        Member { flags: 8, ..Member::new("__MACOSX/data/._t.csv", b"Mac OS X attributes") },
        Member { flags: 1, ..Member::stored("data/.DS_Store", b"anything") },
        Member::new("data/t.csv", CSV),
        Member { flags: 8, ..Member::new("data/._t.csv", b"more") },
        Member::new("empty/", b""),
    ];
    assert_eq!(read("t.csv", &archive(&members)).unwrap().total_rows, 2);
    let nothing = error(&members[..4]);
    assert_eq!((nothing.kind(), nothing.to_string().contains("holds no file")), (ErrorKind::Empty, true));
    assert_eq!(error(&[]).kind(), ErrorKind::Empty);
    let bomb = Member { flags: 8, ..Member::new("__MACOSX/bomb", &vec![0; 17 << 20]) };
    let limit = read("t.csv", &archive(&[bomb]));
    assert_eq!(limit.unwrap_err().kind(), ErrorKind::Limit);
}

#[test]
fn what_cannot_be_read_is_named() {
    let one = Member::new("one.csv", CSV);
    for (members, words) in [
        (
            vec![one.clone(), Member::new("folder/two.csv", CSV)],
            "several files: \"one.csv\", \"folder/two.csv\"",
        ),
        (vec![Member { flags: 1, ..one.clone() }], "\"one.csv\" in the zip archive is encrypted"),
        (vec![Member { method: 12, ..one.clone() }], "the method bzip2"),
        (vec![Member { method: 1234, ..one.clone() }], "the method number 1234"),
        (vec![Member { flags: 8, ..Member::stored("one.csv", CSV) }], "deflate it"),
    ] {
        let error = error(&members);
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn the_directory_must_agree_and_end_the_file() {
    let members = [Member::new("t.csv", CSV)];
    let good = archive(&members);
    for extra in [&b"x"[..], &good, b"PK"] {
        let error = read("t.csv", &[&good, extra].concat()).unwrap_err();
        assert!(error.to_string().contains("come other bytes"), "{error}");
    }
    let mut data = Vec::new();
    members[0].write(&mut data);
    for names in [vec![], vec!["t.csv", "u.csv"]] {
        let error = read("t.csv", &directory(names.into_iter(), data.clone())).unwrap_err();
        assert!(error.to_string().contains("1 were found"), "{error}");
    }
}

#[test]
fn the_name_of_the_member_tells_the_format_where_that_of_the_file_does_not() {
    let tabs = archive(&[Member::new("deep/t.tsv", b"a\tb\n1\t2\n")]);
    for (name, format, columns) in [("upload.zip", Format::Tsv, 2), ("t.csv.zip", Format::Csv, 2)] {
        let summary = read(name, &tabs).unwrap();
        assert_eq!((summary.format, summary.columns.len()), (format, columns), "{name}");
    }
    let unknown = read("upload.zip", &archive(&[Member::new("readme.md", b"hello\n")])).unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::Unsupported);
    assert!(unknown.to_string().contains("upload.zip/readme.md"), "{unknown}");
}
