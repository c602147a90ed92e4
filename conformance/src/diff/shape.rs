//! What is left of a text or of JSON when all that differs each time is taken out.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::case::Record;

/// What stands in a record's answers and is different each time.
#[derive(Debug, Default)]
pub(super) struct Words {
    /// Tokens and codes; longer ones first, as they may contain others.
    secrets: Vec<String>,
    /// What every name of the run has in it, before its number.
    marks: Vec<String>,
}

impl Words {
    pub(super) fn new(record: &Record) -> Self {
        let mut secrets: Vec<String> = record
            .secrets
            .iter()
            .filter(|word| word.len() > 3)
            .flat_map(|word| {
                [
                    word.clone(),
                    form_urlencoded::byte_serialize(word.as_bytes()).collect(),
                ]
            })
            .collect();
        secrets.sort_by_key(|word| std::cmp::Reverse(word.len()));
        let marks = [record.salt.clone(), record.salt.to_uppercase()]
            .into_iter()
            .filter(|salt| !salt.is_empty())
            .map(|salt| format!("-{salt}"))
            .collect();
        Self { secrets, marks }
    }

    /// Takes out words, numbers of names and ids, and ports of this machine.
    pub(super) fn general(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for word in &self.secrets {
            text = text.replace(word.as_str(), "*");
        }
        for mark in &self.marks {
            text = after(&text, mark, char::is_ascii_digit).replace(&format!("{mark}*"), "-*");
        }
        for mark in ["127.0.0.1:", "127.0.0.1%3A", "/tokens/a", "id=sc_"] {
            text = after(&text, mark, char::is_ascii_digit);
        }
        // Long names are filled up to their length.
        text = after(&text, "-*", |letter| *letter == 'x');
        for mark in ["code=", "_xsrf=", "state=", "error_description="] {
            text = after(&text, mark, |letter| *letter != '&' && *letter != '#');
        }
        text
    }
}

/// Replaces what follows a mark.
fn after(text: &str, mark: &str, belongs: impl Fn(&char) -> bool) -> String {
    let mut pieces = text.split(mark);
    let mut result = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let rest = piece.trim_start_matches(|letter: char| belongs(&letter));
        result.push_str(mark);
        result.push_str(if rest.len() < piece.len() { "*" } else { "" });
        result.push_str(rest);
    }
    result
}

/// The places of a value and the types that are found at each: `.items[].name` is a text.
pub(super) fn places(value: &Value, words: &Words) -> BTreeMap<String, BTreeSet<&'static str>> {
    let mut places = BTreeMap::new();
    walk(value, String::new(), words, &mut places);
    places
}

fn walk(
    value: &Value,
    place: String,
    words: &Words,
    places: &mut BTreeMap<String, BTreeSet<&'static str>>,
) {
    let kind = match value {
        Value::Object(object) => {
            for (key, value) in object {
                // Routes of other cases' servers come and go.
                let key = if key.starts_with("/user/") {
                    "/user/…".to_owned()
                } else {
                    words.general(key)
                };
                walk(value, format!("{place}.{key}"), words, places);
            }
            "an object"
        }
        Value::Array(list) => {
            for value in list {
                walk(value, format!("{place}[]"), words, places);
            }
            "a list"
        }
        Value::String(_) => "a text",
        Value::Number(_) => "a number",
        Value::Bool(_) => "true or false",
        Value::Null => "null",
    };
    places.entry(place).or_default().insert(kind);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_each_time_is_taken_out() {
        let words = Words {
            secrets: vec!["s3cret".to_owned()],
            marks: vec!["-ghij".to_owned()],
        };
        let check = |text: &str, wanted: &str| assert_eq!(words.general(text), wanted);
        check(
            "/hub/api/users/ada-ghij12/tokens/a17",
            "/hub/api/users/ada-*/tokens/a*",
        );
        check(
            "http://127.0.0.1:9/x?code=abc&state=d#e",
            "http://127.0.0.1:*/x?code=*&state=*#e",
        );
        check("/authorizations/token/s3cret", "/authorizations/token/*");
        check("/hub/home", "/hub/home");
    }

    #[test]
    fn places_have_types() {
        let value = serde_json::json!({"a": [{"b": 1}, {"b": null}], "c": null});
        let found: Vec<String> = places(&value, &Words::default())
            .into_iter()
            .map(|(place, kinds)| format!("{place}: {kinds:?}"))
            .collect();
        let wanted = [
            r#": {"an object"}"#,
            r#".a: {"a list"}"#,
            r#".a[]: {"an object"}"#,
            r#".a[].b: {"a number", "null"}"#,
            r#".c: {"null"}"#,
        ];
        assert_eq!(found, wanted);
    }
}
