//! The rule, and that the way to UTF-8 tells nothing apart but the encoding's name.

use encoding_rs::{BIG5, EUC_KR, KOI8_U, SHIFT_JIS, WINDOWS_1251, WINDOWS_1252};
use proptest::prelude::*;

use super::*;
use crate::csv::CsvDecoder;
use crate::csv::dialect::Dialect;
use crate::decode::fed;
use crate::reading::Target;
use crate::sniff::Sniffed;
use crate::{ErrorKind, Format, Limits, Reading, Summary, WarningKind, decoder};

fn cut(name: &str, bytes: &[u8], sizes: &[usize]) -> Result<Summary, Error> {
    fed(decoder(name, &Limits::default()), bytes, sizes)
}

/// What `text` is in an encoding, UTF-16 included, which the crate does not write.
fn encoded(encoding: Encoding, text: &str) -> Vec<u8> {
    if encoding.0 == UTF_16LE {
        return text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    }
    if encoding.0 == UTF_16BE {
        return text.encode_utf16().flat_map(u16::to_be_bytes).collect();
    }
    encoding.0.encode(text).0.into_owned()
}

/// With an encoding that is known from elsewhere, and without the look at the head of the file, which would put its
/// pieces together again.
fn told(encoding: Encoding, bytes: &[u8], sizes: &[usize]) -> Result<Summary, Error> {
    let csv =
        Box::new(CsvDecoder::new(Format::Csv, Dialect::of(b','), &Limits::default(), Target::default()));
    if encoding.is_utf8() {
        return fed(csv, bytes, sizes);
    }
    fed(Box::new(Transcoded::new(Transcoder::new(encoding), csv)), bytes, sizes)
}

fn sample(folder: &str, name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/../datasets/{folder}/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The encoding that is found, with a star for a byte order mark, and the warnings.
fn found(bytes: &[u8]) -> String {
    match cut("t.csv", bytes, &[usize::MAX]) {
        Err(error) => error.kind().to_string(),
        Ok(summary) => {
            let dialect = summary.dialect.unwrap();
            let mut text = dialect.encoding + if dialect.byte_order_mark { "*" } else { "" };
            for warning in summary.warnings {
                text += &format!(" {} {} {}", warning.count, warning.kind.as_str(), warning.first_line);
            }
            text
        }
    }
}

#[test]
fn each_malformed_file_is_read_by_the_rule() {
    let cases = [
        ("utf16_le.csv", "utf-16le*"),
        ("utf16_be.csv", "utf-16be*"),
        ("utf16_no_bom.csv", "utf-16le"),
        ("gb18030.csv", "gb18030"),
        ("latin1.csv", "windows-1252"),
        ("invalid_utf8.csv", "utf-8 2 invalid_utf8 2"),
        ("utf8_cut_at_end.csv", "utf-8 1 invalid_utf8 2"),
        ("utf8_overlong.csv", "utf-8 1 invalid_utf8 2"),
        ("utf8_surrogate.csv", "utf-8 1 invalid_utf8 2"),
        ("noise.csv", "unsupported"),
        ("nul_bytes.csv", "utf-8 3 nul_bytes 2"),
        ("nul_padding.csv", "utf-8 1 padding 5"),
        ("bom_twice.csv", "utf-8*"),
    ];
    for (name, expected) in cases {
        assert_eq!(found(&sample("malformed", name)), expected, "{name}");
    }
    let gb18030 = cut("t.csv", &sample("malformed", "gb18030.csv"), &[1]).unwrap();
    assert_eq!(gb18030.columns, ["编号", "城市"]);
    assert_eq!(gb18030.summary[1].1.top.as_deref(), Some("北京"));
    let latin1 = cut("t.csv", &sample("malformed", "latin1.csv"), &[1]).unwrap();
    assert_eq!(latin1.summary[1].1.top.as_deref(), Some("café"));
}

#[test]
fn each_part_of_the_rule_holds() {
    let wide = |text: &str, encoding| encoded(Encoding(encoding), text);
    let chinese = "编号,城市\n1,一二三四五六七八九十一二三四五六七八九十\n";
    let cases: [(Vec<u8>, &str); 23] = [
        (b"\xef\xbb\xbfa\n\xff\xff\xff\n".to_vec(), "utf-8* 1 invalid_utf8 2"),
        (b"\xff\xfe\0\0a\0\0\0".to_vec(), "unsupported"),
        (b"\0\0\xfe\xff\0\0\0a".to_vec(), "unsupported"),
        (wide("a,b\n1,2\n", UTF_16BE), "utf-16be"),
        (wide(chinese, UTF_16LE), "utf-16le"),
        (wide(chinese, UTF_16BE), "utf-16be"),
        // A unit without its half makes Chinese UTF-16 something else, but ASCII is seen all the same.
        (
            [wide("a\n1,2\n", UTF_16LE), b"\0\xd8\n\0".to_vec()].concat(),
            "utf-16le 1 row_too_long 2 1 invalid_encoding 3",
        ),
        (wide("a\nb", UTF_16LE)[..5].to_vec(), "utf-16le 1 invalid_encoding 2"),
        (b"a,b\n1,\0\n\x002,3\n".to_vec(), "utf-8 2 nul_bytes 2"),
        ("a\nä\nö\n".into(), "utf-8"),
        (b"a\n\xc3\xa4\n\xff\n".to_vec(), "utf-8 1 invalid_utf8 3"),
        (b"a\n\xc3\xa4\n\xe9t\xe9 \xe0\n".to_vec(), "windows-1252"),
        (b"a\n\xed\xa0\x80\xed\xb0\x80\n".to_vec(), "utf-8 1 invalid_utf8 2"),
        (b"a\n1\n\xe4".to_vec(), "utf-8 1 invalid_utf8 3"),
        (b"a\n\xe4\x04\x05\n".to_vec(), "unsupported"),
        // Hive separates fields with these; and a crash leaves NULs.
        (b"a\nfian\xe7\xe9\x01\x02\x01\x02\n".to_vec(), "windows-1252"),
        ([&b"a\nfian\xe7\xe9\n"[..], &[0; 999]].concat(), "windows-1252 1 padding 3"),
        (b"a\n5 \x80\n\x93x\x94\n".to_vec(), "windows-1252"),
        (b"a\nna\xefve \x81\n".to_vec(), "utf-8 1 invalid_utf8 2"),
        (b"a\nfa\xff\n".to_vec(), "utf-8 1 invalid_utf8 2"),
        (b"a\nfa\xff\xfe\n".to_vec(), "utf-8 1 invalid_utf8 2"),
        ([&b"a\nL'Ha\xff-les-Roses\n"[..], &b"Evry-Gr\xe9gy\n".repeat(20)].concat(), "windows-1252"),
        (b"a\n\x1b[0m\n".to_vec(), "utf-8"),
    ];
    for (bytes, expected) in cases {
        assert_eq!(found(&bytes), expected, "{:?}", bytes.escape_ascii().to_string());
    }
}

#[test]
fn languages_are_found_in_their_encodings() {
    let poems = String::from_utf8(sample("samples", "tang_poems.csv")).unwrap();
    let airports = String::from_utf8(sample("samples", "world_airports.csv")).unwrap();
    let russian = "имя,город\nАнна Петровна,Москва\nБорис Фёдорович,Нижний Новгород\nОльга,Санкт-Петербург\n";
    let japanese = "名前,都市\nさくら,ひろしま\nタロウ,東京都千代田区\nたかし,さっぽろ\n";
    let korean = "이름,도시\n김민수,서울특별시\n이영희,부산광역시\n박철수,대구\n";
    let traditional = "姓名,城市\n陳小明,臺北市\n林美麗,高雄市\n黃大偉,臺南市\n";
    for (text, encoding) in [
        (poems.as_str(), GB18030),
        (poems.as_str(), UTF_16LE),
        (poems.as_str(), UTF_16BE),
        (airports.as_str(), WINDOWS_1252),
        (airports.as_str(), UTF_16LE),
        (russian, WINDOWS_1251),
        (russian, KOI8_U),
        (japanese, SHIFT_JIS),
        (korean, EUC_KR),
        (traditional, BIG5),
    ] {
        let encoding = Encoding(encoding);
        assert_eq!(Encoding::of(&encoded(encoding, text)), Ok(encoding));
        assert_eq!(Encoding::of(text.as_bytes()), Ok(Encoding(UTF_8)));
    }
}

/// A Latin-1 letter long after the head, and one that is no letter of GB18030.
#[test]
fn what_comes_late_is_kept_and_counted() {
    let rows = "1,plain\n".repeat(20_000);
    let late = [b"a,b\n", rows.as_bytes(), b"2,caf\xe9\n3,caf\xe9\n"].concat();
    assert_eq!(found(&late), "utf-8 2 invalid_utf8 20002");
    let rows = encoded(Encoding(GB18030), "1,北京\n").repeat(20_000);
    let late = [b"a,b\r\n", &rows[..], b"2,\xff\xff\r\n\r\n3,\x81\n4,x\n"].concat();
    assert_eq!(found(&late), "gb18030 2 invalid_encoding 20002");
    let summary = cut("t.csv", &late, &[usize::MAX]).unwrap();
    assert_eq!((summary.total_rows, summary.summary[1].1.freq), (20_003, Some(20_000)));
    assert_eq!(cut("t.csv", &late, &[4093]), Ok(summary));
}

#[test]
fn encodings_have_names() {
    for (label, name) in
        [("UTF-8", "utf-8"), ("latin1", "windows-1252"), ("gbk", "gb18030"), ("utf-16", "utf-16le")]
    {
        assert_eq!(Encoding::from_label(label).unwrap().to_string(), name);
    }
    assert_eq!(Encoding::from_label("ebcdic").unwrap_err().kind(), ErrorKind::Unsupported);
    // What is told is not guessed.
    let told = |label: &str, bytes: &[u8]| {
        let encoding = Some(Encoding::from_label(label).unwrap());
        let reading = Reading { encoding, ..Reading::default() };
        fed(Box::new(Sniffed::new("t.csv", &Limits::default(), &reading, Target::default())), bytes, &[1])
            .unwrap()
    };
    assert_eq!(told("latin2", b"a\n\xb3\xf3d\xbc\n").summary[0].1.top.as_deref(), Some("łódź"));
    let utf8 = told("utf-8", b"a\ncaf\xe9\n");
    assert_eq!(utf8.warnings[0].kind, WarningKind::InvalidUtf8);
}

/// Nearly CSV, with letters of an encoding, often enough for several pieces.
fn table() -> impl Strategy<Value = (Encoding, String)> {
    let alphabets = [
        (UTF_16LE, "é北𝄞\u{feff}"),
        (UTF_16BE, "é北𝄞\0"),
        (GB18030, "é北𝄞京"),
        (WINDOWS_1252, "éßÿ€"),
        (SHIFT_JIS, "東ｱひ"),
        (BIG5, "臺北市"),
        (EUC_KR, "서울"),
        (WINDOWS_1251, "жЯё"),
    ];
    let alphabet = proptest::sample::select(alphabets.to_vec());
    let places = proptest::collection::vec((0usize..14, any::<proptest::sample::Index>()), 0..80);
    (alphabet, places, prop_oneof![3 => Just(1usize), 1 => 100usize..2_000]).prop_map(
        |((encoding, letters), places, times)| {
            let letters: Vec<char> = letters.chars().collect();
            let common = [",", ",", "\n", "\n", "\r\n", "\r", "\"", "\"\"", "1", "2.5", " ", "word"];
            let text = places.iter().map(|(place, letter)| match common.get(*place) {
                Some(piece) => (*piece).to_owned(),
                None => letter.get::<char>(&letters).to_string(),
            });
            (Encoding(encoding), text.collect::<String>().repeat(times))
        },
    )
}

/// Line ends of all kinds, what breaks rules, and anything.
fn broken() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop_oneof![
        2 => Just(&b"\r\n"[..]), 2 => Just(&b"\r\0\n\0"[..]), 2 => Just(&b"\0\r\0\n"[..]), 1 => Just(&b"\n"[..]),
        2 => Just(&b"\x81\xff"[..]), 2 => Just(&b"\0\xd8"[..]), 2 => Just(&b"\xd8\0"[..]), 2 => Just(&b"a,"[..]),
    ];
    let piece = prop_oneof![4 => pieces.prop_map(<[u8]>::to_vec), 1 => any::<Vec<u8>>()];
    proptest::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_encoding_tells_nothing_apart(
        (encoding, text) in table(), sizes in proptest::collection::vec(1usize..9_000, 1..6)
    ) {
        let expected = told(Encoding(UTF_8), text.as_bytes(), &[usize::MAX]).map(|mut summary| {
            summary.dialect.as_mut().unwrap().encoding = encoding.name();
            summary
        });
        let bytes = encoded(encoding, &text);
        prop_assert_eq!(&told(encoding, &bytes, &[1]), &expected);
        prop_assert_eq!(&told(encoding, &bytes, &[usize::MAX]), &expected);
        prop_assert_eq!(&told(encoding, &bytes, &sizes), &expected);
    }

    #[test]
    fn the_cut_tells_nothing_apart(
        bytes in broken(), times in 1usize..300, sizes in proptest::collection::vec(1usize..9_000, 1..6), which in 0usize..8
    ) {
        let bytes = bytes.repeat(times);
        let expected = cut("t.csv", &bytes, &[usize::MAX]);
        prop_assert_eq!(cut("t.csv", &bytes, &sizes), expected);
        let encoding = Encoding([UTF_8, UTF_16LE, UTF_16BE, GB18030, WINDOWS_1252, SHIFT_JIS, BIG5, EUC_KR][which]);
        let expected = told(encoding, &bytes, &[usize::MAX]);
        prop_assert_eq!(&told(encoding, &bytes, &[1]), &expected);
        prop_assert_eq!(told(encoding, &bytes, &sizes), expected);
    }
}
