//! The texts of the pages in one language: `translations/CODE.toml`, a key and a text in each line.
//!
//! A text may hold `{placeholders}`. Texts are plain: the templates escape them, whatever was filled in.

use std::collections::BTreeMap;

use super::language::Language;

/// The texts of one language.
#[derive(Debug)]
pub(super) struct Catalog {
    texts: BTreeMap<String, String>,
}

impl Catalog {
    /// Reads the texts that were built in.
    pub(super) fn load(language: Language) -> Result<Self, toml::de::Error> {
        let source = match language {
            Language::English => include_str!("../../translations/en.toml"),
            Language::Czech => include_str!("../../translations/cs.toml"),
            Language::German => include_str!("../../translations/de.toml"),
        };
        Ok(Self {
            texts: toml::from_str(source)?,
        })
    }

    /// Gives the text of a key as it is written.
    pub(super) fn raw(&self, key: &str) -> Option<&str> {
        self.texts.get(key).map(String::as_str)
    }

    /// Gives the text of a key with its placeholders filled in, or says what is missing.
    pub(super) fn fill<'a>(
        &self,
        key: &str,
        value_of: impl Fn(&str) -> Option<&'a str>,
    ) -> Result<String, String> {
        let text = self
            .texts
            .get(key)
            .ok_or_else(|| format!("there is no text `{key}`"))?;
        let mut filled = String::with_capacity(text.len());
        for piece in pieces(text) {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Placeholder(name) => filled.push_str(
                    value_of(name)
                        .ok_or_else(|| format!("text `{key}` needs a value for `{name}`"))?,
                ),
            }
        }
        Ok(filled)
    }

    /// Lists the keys with the names of their placeholders, sorted.
    #[cfg(test)]
    pub(super) fn keys(&self) -> BTreeMap<&str, std::collections::BTreeSet<&str>> {
        self.texts
            .iter()
            .map(|(key, text)| {
                let names = pieces(text).filter_map(|piece| match piece {
                    Piece::Placeholder(name) => Some(name),
                    Piece::Text(_) => None,
                });
                (key.as_str(), names.collect())
            })
            .collect()
    }
}

enum Piece<'a> {
    Text(&'a str),
    Placeholder(&'a str),
}

/// Takes a text apart. A brace that opens no placeholder is text.
fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        if let Some(inner) = rest.strip_prefix('{')
            && let Some((name, after)) = inner.split_once('}')
            && !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_lowercase())
        {
            rest = after;
            return Some(Piece::Placeholder(name));
        }
        // The first character is text in any case, so that each round gets further.
        let first = rest.chars().next().map_or(0, char::len_utf8);
        let end = rest
            .get(first..)
            .and_then(|tail| tail.find('{'))
            .map_or(rest.len(), |at| first + at);
        let (text, after) = rest.split_at(end);
        rest = after;
        Some(Piece::Text(text))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(text: &str) -> Result<String, String> {
        let catalog = Catalog {
            texts: BTreeMap::from([("key".to_owned(), text.to_owned())]),
        };
        catalog.fill("key", |name| (name == "name").then_some("ada"))
    }

    #[test]
    fn placeholders_are_filled_and_other_braces_stay() {
        assert_eq!(
            fill("Hello {name}, {name}!").as_deref(),
            Ok("Hello ada, ada!")
        );
        assert_eq!(fill("{ {} {A} {name").as_deref(), Ok("{ {} {A} {name"));
        assert_eq!(fill("ž{name}ž").as_deref(), Ok("žadaž"));
        assert_eq!(fill("").as_deref(), Ok(""));
    }

    #[test]
    fn a_missing_value_or_key_is_named() {
        assert!(fill("{other}").is_err_and(|error| error.contains("`other`")));
        let empty = Catalog {
            texts: BTreeMap::new(),
        };
        assert!(
            empty
                .fill("nothing", |_| None)
                .is_err_and(|error| error.contains("`nothing`"))
        );
    }
}
