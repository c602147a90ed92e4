//! A strict little reader of HTML: every element closed in order, attributes quoted, ids unique and, where
//! they are referred to, present.

use std::collections::BTreeSet;

const VOID: [&str; 5] = ["br", "img", "input", "link", "meta"];

/// Checks a page, and says what is wrong with it.
pub(super) fn check(html: &str) -> Result<(), String> {
    let mut rest = html
        .strip_prefix("<!doctype html>")
        .ok_or("does not begin with a doctype")?;
    let mut open: Vec<String> = Vec::new();
    let mut ids = BTreeSet::new();
    let mut references = BTreeSet::new();
    while let Some(at) = rest.find('<') {
        no_bare_ampersand(&rest[..at])?;
        let (tag, after) = split_tag(&rest[at + 1..])?;
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop().as_deref() != Some(name) {
                return Err(format!("</{name}> closes what is not open"));
            }
            continue;
        }
        let name = tag.split_whitespace().next().unwrap_or_default();
        for (attribute, value) in attributes(tag[name.len()..].trim())? {
            no_bare_ampersand(value)?;
            match attribute {
                "id" if !ids.insert(value.to_owned()) => return Err(format!("two ids `{value}`")),
                "for" | "aria-labelledby" | "aria-describedby" | "data-reveal" => {
                    references.insert(value.to_owned());
                }
                "src" if value.is_empty() => return Err(format!("<{name}> without a source")),
                _ => {}
            }
        }
        if !VOID.contains(&name) {
            open.push(name.to_owned());
        }
    }
    if let Some(name) = open.last() {
        return Err(format!("<{name}> is not closed"));
    }
    match references.difference(&ids).next() {
        Some(missing) => Err(format!("refers to the id `{missing}`, which is not there")),
        None => Ok(()),
    }
}

/// The page with the hashes of its files replaced, so that a snapshot outlives a change of a style.
pub(super) fn without_hashes(html: &str) -> String {
    let mut pieces = html.split("?v=");
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        text.push_str("?v=HASH");
        text.push_str(piece.trim_start_matches(|letter: char| letter.is_ascii_hexdigit()));
    }
    text
}

/// Splits after the `>` that ends the tag; one inside of quotes does not.
fn split_tag(text: &str) -> Result<(&str, &str), String> {
    let mut quoted = false;
    for (at, letter) in text.char_indices() {
        match letter {
            '"' => quoted = !quoted,
            '>' if !quoted => return Ok((&text[..at], &text[at + 1..])),
            '<' if !quoted => break,
            _ => {}
        }
    }
    Err(format!("a tag does not end: <{text:.40}"))
}

fn attributes(text: &str) -> Result<Vec<(&str, &str)>, String> {
    let mut found: Vec<(&str, &str)> = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find([' ', '=']).unwrap_or(rest.len());
        let name = &rest[..end];
        if name.is_empty() || name.contains(['"', '\'']) {
            return Err(format!("odd attributes `{text}`"));
        }
        let value = match rest[end..].strip_prefix("=\"") {
            Some(quoted) => {
                let (value, after) = quoted
                    .split_once('"')
                    .ok_or_else(|| format!("a quote is open in `{text}`"))?;
                rest = after;
                value
            }
            None if rest[end..].starts_with('=') => {
                return Err(format!("a value without quotes in `{text}`"));
            }
            None => {
                rest = &rest[end..];
                ""
            }
        };
        if found.iter().any(|&(known, _)| known == name) {
            return Err(format!("attribute `{name}` twice in `{text}`"));
        }
        found.push((name, value));
        rest = rest.trim_start();
    }
    Ok(found)
}

fn no_bare_ampersand(text: &str) -> Result<(), String> {
    for after in text.split('&').skip(1) {
        let entity = after.split(';').next().unwrap_or_default();
        let known = entity.starts_with('#') || ["amp", "lt", "gt", "quot"].contains(&entity);
        if !known {
            return Err(format!("a bare ampersand before `{after:.20}`"));
        }
    }
    Ok(())
}

#[test]
fn broken_pages_are_found_out() {
    let page = |body: &str| check(&format!("<!doctype html><html>{body}</html>"));
    assert_eq!(
        page("<p id=\"a\" hidden>1 &lt; 2<img src=\"x\"></p>"),
        Ok(())
    );
    for broken in [
        "<p>",
        "</p>",
        "<p><b></p></b>",
        "<p id=x></p>",
        "<p id=\"x></p>",
        "<p id=\"x\"></p><p id=\"x\"></p>",
        "<label for=\"x\"></label>",
        "<a href=\"?a&b\"></a>",
        "<p a=\"1\" a=\"2\"></p>",
    ] {
        assert!(page(broken).is_err(), "{broken} was accepted");
    }
}
