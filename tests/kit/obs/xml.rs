//! As much XML as the protocol needs: escaped text out, flat elements in.

use std::fmt::Write;

/// An element with a text.
pub(super) fn tag(name: &str, text: &str) -> String {
    format!("<{name}>{}</{name}>", escape(text))
}

/// Text that survives an XML parser, control characters included as far as XML has a way to write them.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            char if char.is_control() => {
                write!(escaped, "&#{};", char as u32).expect("a string takes any text");
            }
            char => escaped.push(char),
        }
    }
    escaped
}

/// Undoes [`escape`]; what is no known reference stays.
pub(super) fn unescape(text: &str) -> String {
    let mut rest = text;
    let mut plain = String::with_capacity(text.len());
    while let Some(start) = rest.find('&') {
        plain.push_str(&rest[..start]);
        rest = &rest[start..];
        let known = rest.find(';').and_then(|end| Some((reference(&rest[1..end])?, end + 1)));
        let (char, length) = known.unwrap_or(('&', 1));
        plain.push(char);
        rest = &rest[length..];
    }
    plain + rest
}

fn reference(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix('x') {
                Some(digits) => u32::from_str_radix(digits, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?)
        }
    }
}

/// What stands between the tags of each element of this name, as it is written. Elements of one name do not
/// nest here.
pub(super) fn elements<'a>(document: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let (open, close) = (format!("<{name}"), format!("</{name}>"));
    let mut rest = document;
    std::iter::from_fn(move || {
        loop {
            rest = &rest[rest.find(&open)? + open.len()..];
            if !rest.starts_with(['>', ' ', '\t', '\r', '\n']) {
                continue;
            }
            rest = &rest[rest.find('>')? + 1..];
            let end = rest.find(&close)?;
            let inner = &rest[..end];
            rest = &rest[end + close.len()..];
            return Some(inner);
        }
    })
}

/// The text of the first element of this name.
pub(super) fn text(document: &str, name: &str) -> Option<String> {
    elements(document, name).next().map(|inner| unescape(inner.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaping_is_undone() {
        for text in ["", "a&b<c>\"d\"", "é\r\n\t", "&amp;", "&&;&#x;"] {
            assert_eq!(unescape(&escape(text)), text);
        }
        assert_eq!(unescape("&#x41;&#66;&apos;&none;&"), "AB'&none;&");
    }

    #[test]
    fn elements_are_found_by_their_whole_name() {
        let document =
            "<Parts x='1'><Part>1</Part><PartNumber>no</PartNumber><Part a=\"b\"> 2 </Part><Part/></Parts>";
        assert_eq!(elements(document, "Part").collect::<Vec<_>>(), ["1", " 2 "]);
        assert_eq!(text(document, "Part").as_deref(), Some("1"));
        assert_eq!(text(document, "ETag"), None);
    }
}
