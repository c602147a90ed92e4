//! Hides secrets in the texts that error messages show.

use std::ops::Range;

use crate::schema::is_secret;
use crate::tree::{Data, Leaf, Node};

/// Hides what is secret in a text; `values` are what could be read of it.
///
/// The text keeps its length, byte for byte, so that places in it stay what they are.
pub(crate) fn mask(text: &mut String, values: &Node) {
    mask_lines(text);
    mask_values(values, "", text);
}

/// Hides what stands behind a key that names a secret, also where the text could not be parsed.
fn mask_lines(text: &mut String) {
    let mut spans = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if let Some((key, value)) = line.split_once('=') {
            let name = key.rsplit('.').next().unwrap_or(key);
            let name = name.trim_matches(|c: char| !c.is_alphanumeric() && c != '_');
            if is_secret(None, name) {
                let from = line.len() - value.trim_start().len();
                spans.push(start + from..start + line.trim_end().len().max(from));
            }
        }
        start += line.len();
    }
    for span in spans {
        cover(text, span);
    }
}

/// Hides the values of secret keys, and passwords inside of URLs.
fn mask_values(node: &Node, key: &str, text: &mut String) {
    match &node.data {
        _ if is_secret(None, key) => cover(text, node.at.span.clone()),
        Data::Table(table) => {
            for (key, entry) in table {
                mask_values(&entry.node, key, text);
            }
        }
        Data::Array(items) => {
            for item in items {
                mask_values(item, key, text);
            }
        }
        Data::Leaf(Leaf::Text(_)) => {
            let inside = text.get(node.at.span.clone()).unwrap_or_default();
            if let Some(password) = url_password(inside) {
                let start = node.at.span.start;
                cover(text, start + password.start..start + password.end);
            }
        }
        Data::Leaf(_) => {}
    }
}

/// Finds the password in `scheme://user:password@host` or in the option `password=` of a URL.
pub(crate) fn url_password(text: &str) -> Option<Range<usize>> {
    let start = text.find("://")? + 3;
    let rest = text.get(start..)?;
    if let Some(option) = rest.find("password=") {
        let value = start + option + "password=".len();
        let length = text.get(value..)?.find(['&', '#', '"', '\'']);
        return Some(value..length.map_or(text.len(), |length| value + length));
    }
    let authority = rest.get(..rest.find(['/', '?', '#', '"', '\'']).unwrap_or(rest.len()))?;
    let end = authority.rfind('@')?;
    let colon = authority.get(..end)?.find(':')?;
    Some(start + colon + 1..start + end)
}

fn cover(text: &mut String, span: Range<usize>) {
    let Some(part) = text.get(span.clone()) else {
        return;
    };
    let stars: String = part
        .bytes()
        .map(|byte| if byte == b'\n' { '\n' } else { '*' })
        .collect();
    text.replace_range(span, &stars);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_of_a_url_is_found() {
        let check = |text: &str, expected: Option<&str>| {
            let found = url_password(text).and_then(|span| text.get(span));
            assert_eq!(found, expected, "{text}");
        };
        check("postgres://ada:pw@host/db", Some("pw"));
        check("postgres://ada:p:w@host", Some("p:w"));
        check("postgres://ada:p@w@host", Some("p@w"));
        check("postgres://host:5432/db", None);
        check("postgres://ada@host/a:b@c", None);
        check("postgres:///db?password=pw&host=x", Some("pw"));
        check("/just/a/path", None);
        check("://:@", Some(""));
    }
}
