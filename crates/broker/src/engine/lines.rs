//! Lines that a server wrote, made fit for people: readable text without control characters, and without anything that
//! looks like a token. Servers write what they like, terminal sequences and secrets among it.

/// The longest line that is shown, in characters.
const LINE_CHARS: usize = 2_000;
/// The shortest run of hexadecimal digits that is taken for a token.
const TOKEN_DIGITS: usize = 32;

/// Gives the last lines of a text, oldest first; empty ones are left out.
pub fn clean_lines(bytes: &[u8], count: usize) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<String> = text
        .lines()
        .map(clean)
        .filter(|line| !line.is_empty())
        .collect();
    let surplus = lines.len().saturating_sub(count);
    lines.into_iter().skip(surplus).collect()
}

fn clean(line: &str) -> String {
    // Cut last: half a token would not be recognized.
    redact(without_controls(line).trim_end())
        .chars()
        .take(LINE_CHARS)
        .collect()
}

/// Drops control characters, and the whole of terminal sequences (ECMA-48 §5.4: `ESC [ … letter`).
fn without_controls(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' && chars.next_if_eq(&'[').is_some() {
            for c in chars.by_ref() {
                if ('\u{40}'..='\u{7e}').contains(&c) {
                    break;
                }
            }
        } else if c == '\t' {
            plain.push_str("    ");
        } else if !c.is_control() && !is_direction_mark(c) {
            plain.push(c);
        }
    }
    plain
}

/// Invisible characters that can make a line read differently from what it says.
fn is_direction_mark(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Hides long runs of hexadecimal digits: API tokens of ours and Jupyter's own have that form.
fn redact(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(start) = rest.find(|c: char| c.is_ascii_hexdigit()) {
        let (before, run) = rest.split_at(start);
        let (run, after) = run.split_at(
            run.find(|c: char| !c.is_ascii_hexdigit())
                .unwrap_or(run.len()),
        );
        plain.push_str(before);
        plain.push_str(if run.len() >= TOKEN_DIGITS {
            "[secret]"
        } else {
            run
        });
        rest = after;
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_shown_as_plain_text_without_secrets() {
        let check = |written: &[u8], expected: &[&str]| {
            assert_eq!(clean_lines(written, 3), expected);
        };
        check(b"", &[]);
        check(b"one\ntwo\n\nthree\nfour\n", &["two", "three", "four"]);
        check(b"\x1b[31mred\x1b[0m\x07 \xff\n", &["red \u{fffd}"]);
        check(b"bar  10%\rbar  20%\r\n", &["bar  10%bar  20%"]);
        check("a\u{202e}b\tc".as_bytes(), &["ab    c"]);
        check(
            b"?token=0123456789abcdef0123456789ABCDEF&x=deadbeef",
            &["?token=[secret]&x=deadbeef"],
        );
        let edge = format!(
            "{}0123456789abcdef0123456789abcdef",
            "x".repeat(LINE_CHARS - 9)
        );
        assert!(!clean(&edge).contains("0123"));
    }
}
