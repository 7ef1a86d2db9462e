//! Files of `NAME=value` lines, read as python-dotenv reads them: an `.env` of the Python workers means the same here.
//!
//! A value is plain up to the end of the line or a ` #`, or in quotes, also over several lines: `'…'` as it is, `"…"`
//! with escapes. `${NAME}` stands for another variable; a `$` alone is a `$`, as passwords have it. Pure.
//!
//! Two differences on purpose, where python-dotenv differs from every shell: `'${NAME}'` stays as it is, and a value of
//! nothing but a comment behind a blank (`A=   # none`) is empty.

use crate::config::Variables;

/// What a file says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct EnvFile {
    /// Its variables.
    pub variables: Variables,
    /// The numbers of the lines that say nothing that could be read. Never the lines: they may hold secrets.
    pub unread: Vec<usize>,
}

/// Reads a file's text. `outer`: what `${NAME}` means before all else, as the environment wins over the file.
pub fn parse(text: &str, outer: impl Fn(&str) -> Option<String>) -> EnvFile {
    let mut file = EnvFile::default();
    let text = text.trim_start_matches('\u{feff}');
    let mut rest = text;
    while !rest.is_empty() {
        let number = text[..text.len() - rest.len()].matches('\n').count() + 1;
        let (line, below) = rest.split_once('\n').unwrap_or((rest, ""));
        let line = line.trim();
        // A name alone sets nothing.
        if line.is_empty() || line.starts_with('#') || is_name(line) {
            rest = below;
            continue;
        }
        match assignment(rest.trim_start()) {
            Some(Assignment { name, value, literal, behind }) => {
                let outer = |name: &str| outer(name).or_else(|| file.variables.get(name).cloned());
                let value = if literal { value } else { expand(&value, outer) };
                file.variables.insert(name.to_owned(), value);
                rest = behind;
            }
            None => {
                file.unread.push(number);
                rest = below;
            }
        }
    }
    file
}

struct Assignment<'a> {
    name: &'a str,
    value: String,
    literal: bool,
    /// The lines below.
    behind: &'a str,
}

fn is_name(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The assignment at the beginning of a text, with as many lines as its quotes take.
fn assignment(text: &str) -> Option<Assignment<'_>> {
    let exported = text.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t']));
    let (name, value) = exported.map_or(text, str::trim_start).split_once('=')?;
    let name = name.trim().trim_matches('\'');
    if name.is_empty() || name.contains(char::is_whitespace) {
        return None;
    }
    let began = value.trim_start_matches([' ', '\t']);
    let is_spaced = began.len() < value.len();
    match began.chars().next() {
        Some(quote @ ('\'' | '"')) => {
            let (value, rest) = quoted(&began[1..], quote)?;
            let (rest, behind) = rest.split_once('\n').unwrap_or((rest, ""));
            // Behind the quotes only a comment may follow.
            let rest = rest.trim();
            let only_comment = rest.is_empty() || rest.starts_with('#');
            only_comment.then_some(Assignment { name, value, literal: quote == '\'', behind })
        }
        _ => {
            let (line, behind) = began.split_once('\n').unwrap_or((began, ""));
            let value = if is_spaced && line.starts_with('#') { "" } else { plain(line.trim_end()) };
            Some(Assignment { name, value: value.to_owned(), literal: false, behind })
        }
    }
}

/// The value up to a comment, which a blank must precede.
fn plain(value: &str) -> &str {
    let mut chars = value.char_indices().zip(value.chars().skip(1));
    let comment = chars.find(|((_, c), next)| c.is_whitespace() && *next == '#');
    comment.map_or(value, |((at, _), _)| &value[..at]).trim_end()
}

/// The text up to the closing quote, and what follows it.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            c if c == quote => return Some((value, &text[at + quote.len_utf8()..])),
            '\\' => match (quote, chars.next()?.1) {
                (_, c) if c == quote || c == '\\' => value.push(c),
                ('"', 'n') => value.push('\n'),
                ('"', 'r') => value.push('\r'),
                ('"', 't') => value.push('\t'),
                ('"', 'a') => value.push('\x07'),
                ('"', 'b') => value.push('\x08'),
                ('"', 'f') => value.push('\x0c'),
                ('"', 'v') => value.push('\x0b'),
                ('"', '\'') => value.push('\''),
                (_, c) => value.extend(['\\', c]),
            },
            c => value.push(c),
        }
    }
    None
}

/// Replaces `${NAME}` and `${NAME:-default}`.
fn expand(value: &str, get: impl Fn(&str) -> Option<String>) -> String {
    let (mut expanded, mut rest) = (String::new(), value);
    while let Some((before, inside)) = rest.split_once("${") {
        let Some((inside, after)) = inside.split_once('}') else { break };
        expanded.push_str(before);
        match inside.split_once(':') {
            None => expanded.push_str(&get(inside).unwrap_or_default()),
            Some((name, default)) => match default.strip_prefix('-') {
                Some(default) => expanded.push_str(&get(name).unwrap_or_else(|| default.to_owned())),
                // No such form.
                None => expanded.extend(["${", inside, "}"]),
            },
        }
        rest = after;
    }
    expanded + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> EnvFile {
        parse(text, |name| (name == "HOME").then(|| "/home/me".to_owned()))
    }

    #[test]
    fn values_are_those_of_python_dotenv() {
        for (line, value) in [
            ("A=plain", "plain"),
            ("A = spaced  ", "spaced"),
            ("export A=exported", "exported"),
            ("export\tA=exported", "exported"),
            ("A=", ""),
            ("A=#s3cret", "#s3cret"),
            ("A=two words # a comment", "two words"),
            ("A=no#comment", "no#comment"),
            ("A=4                                   # 多进程Worker的进程数", "4"),
            ("A=\"double # ${HOME}\" # comment", "double # /home/me"),
            (r#"A="tab\tquote\"it\'s""#, "tab\tquote\"it's"),
            (r"A='it\'s'", "it's"),
            ("A=pa$word", "pa$word"),
            (r"A=back\slash", r"back\slash"),
            (r#"A=inner"quote"#, r#"inner"quote"#),
            ("A=${HOME}/x", "/home/me/x"),
            ("HOME=other\nA=${HOME}", "/home/me"),
            ("B=1\nA=${B}2", "12"),
            ("A=${NONE:-default}", "default"),
            ("A=${HOME:x}", "${HOME:x}"),
            ("A=${unclosed", "${unclosed"),
            ("A=a=b==", "a=b=="),
            ("A=\"-----BEGIN\nKEY\n-----END\"\nB=1", "-----BEGIN\nKEY\n-----END"),
        ] {
            assert_eq!(read(line).variables["A"], value, "{line}");
            assert_eq!(read(&line.replace('\n', "\r\n")).unread, [0; 0], "{line}");
        }
        assert_eq!(
            read("ALONE\n# comment\n\nA=1\r\n").variables,
            Variables::from([("A".into(), "1".into())])
        );
    }

    #[test]
    fn two_things_are_as_in_every_shell() {
        assert_eq!(read("A='single # $HOME ${HOME}'").variables["A"], "single # $HOME ${HOME}");
        assert_eq!(read("A=   # none").variables["A"], "");
    }

    #[test]
    fn a_line_that_says_nothing_is_left_out_and_named_by_its_number() {
        for line in ["no assignment", "=value", "A='open", "A=\"closed\" more", "TWO WORDS=1"] {
            let file = read(&format!("OK=1\n{line}\nALSO=2\n"));
            assert_eq!(file.unread, [2], "{line}");
            assert_eq!(file.variables.len(), 2, "{line}: {file:?}");
        }
    }
}
