//! Files of `NAME=value` lines, read as python-dotenv reads them: an `.env` of the Python workers means the same here.
//!
//! A value is plain up to the end of the line or a ` #`, or in quotes: `'…'` as it is, `"…"` with escapes. `${NAME}`
//! stands for another variable, except in single quotes; a `$` alone is a `$`, as passwords have it. Pure.

use crate::config::Variables;

/// Reads a file's text. `outer`: what `${NAME}` may mean besides the names above it in the file.
///
/// # Errors
/// The number of the first line that is none. Never the line itself: it may hold a secret.
pub fn parse(text: &str, outer: impl Fn(&str) -> Option<String>) -> Result<Variables, usize> {
    let mut variables = Variables::new();
    for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        // A name alone sets nothing.
        if is_name(line) {
            continue;
        }
        let assignment = assignment(line).ok_or(number + 1)?;
        let (name, value) = (assignment.name, assignment.value);
        let value = match assignment.literal {
            true => value,
            false => expand(&value, |name| variables.get(name).cloned().or_else(|| outer(name))),
        };
        variables.insert(name.to_owned(), value);
    }
    Ok(variables)
}

struct Assignment<'a> {
    name: &'a str,
    value: String,
    literal: bool,
}

fn is_name(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn assignment(line: &str) -> Option<Assignment<'_>> {
    let exported = line.strip_prefix("export").filter(|rest| rest.starts_with(char::is_whitespace));
    let line = exported.map_or(line, str::trim_start);
    let (name, value) = line.split_once('=')?;
    let (name, value) = (name.trim().trim_matches('\''), value.trim());
    if name.is_empty() || name.contains(char::is_whitespace) {
        return None;
    }
    let (value, rest, literal) = match value.chars().next() {
        Some(quote @ ('\'' | '"')) => {
            let (value, rest) = quoted(&value[1..], quote)?;
            (value, rest.trim(), quote == '\'')
        }
        _ => (plain(value).to_owned(), "", false),
    };
    // Behind the quotes only a comment may follow.
    (rest.is_empty() || rest.starts_with('#')).then_some(Assignment { name, value, literal })
}

fn plain(value: &str) -> &str {
    if value.starts_with('#') {
        return "";
    }
    let comment = value
        .char_indices()
        .zip(value.chars().skip(1))
        .find(|((_, c), next)| c.is_whitespace() && *next == '#');
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
        let (name, default) = inside.split_once(":-").unwrap_or((inside, ""));
        expanded.push_str(before);
        expanded.push_str(&get(name).unwrap_or_else(|| default.to_owned()));
        rest = after;
    }
    expanded + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Variables, usize> {
        parse(text, |name| (name == "HOME").then(|| "/home/me".to_owned()))
    }

    #[test]
    fn values_are_those_of_python_dotenv() {
        for (line, value) in [
            ("A=plain", "plain"),
            ("A = spaced  ", "spaced"),
            ("export A=exported", "exported"),
            ("A=", ""),
            ("A=# nothing", ""),
            ("A=two words # a comment", "two words"),
            ("A=no#comment", "no#comment"),
            ("A=4                                   # 多进程Worker的进程数", "4"),
            ("A='single # $HOME ${HOME}'", "single # $HOME ${HOME}"),
            ("A=\"double # ${HOME}\" # comment", "double # /home/me"),
            (r#"A="tab\tquote\"""#, "tab\tquote\""),
            (r"A='it\'s'", "it's"),
            ("A=pa$word", "pa$word"),
            (r"A=back\slash", r"back\slash"),
            (r#"A=inner"quote"#, r#"inner"quote"#),
            ("A=${HOME}/x", "/home/me/x"),
            ("A=${NONE:-default}", "default"),
            ("A=${unclosed", "${unclosed"),
            ("A=a=b==", "a=b=="),
        ] {
            assert_eq!(read(line).unwrap()["A"], value, "{line}");
        }
        assert_eq!(read("ALONE\nexport\tA=1").unwrap(), Variables::from([("A".to_owned(), "1".to_owned())]));
        assert_eq!(read("# comment\n\nA=1\r\nB=${A}2\n").unwrap()["B"], "12");
    }

    #[test]
    fn a_line_that_is_none_is_named_by_its_number() {
        for line in ["no assignment", "=value", "A='open", "A=\"closed\" more", "TWO WORDS=1"] {
            assert_eq!(read(&format!("OK=1\n{line}\n")), Err(2), "{line}");
        }
    }
}
