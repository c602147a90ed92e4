//! Values from outside the files: environment variables and flags of the command line.

use std::ffi::OsString;
use std::path::Path;

use toml::de::DeValue;

use crate::catalog::{self, Setting};
use crate::mask::mask;
use crate::problem::{Problem, Report};
use crate::schema::{self, At, Schema, Shape};
use crate::source::{Place, Source, SourceKind, Sources};
use crate::tree::{Data, Node, Step, Table};

/// What the names of our environment variables begin with. Section and key follow in capitals, joined by two
/// underscores: `LYCEUM_HUB__BASE_URL` sets `hub.base_url`.
pub const ENVIRONMENT_PREFIX: &str = "LYCEUM_";

/// A value that the command line sets.
#[derive(Debug, Clone)]
pub struct Override {
    /// What was typed, for messages, such as `--port`.
    pub flag: String,
    /// The setting, such as `gateway.listen`.
    pub key: String,
    /// The value.
    pub value: Given,
}

/// The value of an [`Override`].
#[derive(Debug, Clone)]
pub enum Given {
    /// As a person typed it: a bare text, or a TOML value where the setting is not a text.
    Text(String),
    /// A value that is TOML already.
    Value(toml::Value),
}

impl Override {
    /// Sets a key to what a person typed.
    pub fn text(flag: impl Into<String>, key: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            flag: flag.into(),
            key: key.into(),
            value: Given::Text(text.into()),
        }
    }

    /// Sets a key to a value.
    pub fn value(
        flag: impl Into<String>,
        key: impl Into<String>,
        value: impl Into<toml::Value>,
    ) -> Self {
        Self {
            flag: flag.into(),
            key: key.into(),
            value: Given::Value(value.into()),
        }
    }
}

/// Reads the variables that are settings. Others that merely begin as ours do are left alone.
pub(crate) fn from_environment(
    variables: &[(OsString, OsString)],
    base: &Path,
    schema: &Schema,
    sources: &mut Sources,
    report: &mut Report,
) -> Vec<Node> {
    let settings = catalog::settings(schema.root());
    let mut layers = Vec::new();
    let mut variables: Vec<_> = variables
        .iter()
        .filter_map(|(name, value)| {
            let name = name.to_str()?;
            let rest = name.strip_prefix(ENVIRONMENT_PREFIX)?;
            Some((name, rest, value))
        })
        .collect();
    variables.sort_unstable();
    for (name, rest, value) in variables {
        let keys = keys_of(rest, schema);
        let path: Vec<Step> = keys.iter().cloned().map(Step::Key).collect();
        let at = schema.root().find(&path, &|_, _| None);
        if at.is_none() && !looks_like_setting(rest, &settings) {
            continue;
        }
        let text = value.to_string_lossy();
        let secret = keys.last().is_some_and(|key| schema::is_secret(at, key));
        let shown = if secret {
            "*".repeat(text.len())
        } else {
            text.clone().into_owned()
        };
        let number = sources.add(Source {
            kind: SourceKind::Environment(name.to_owned()),
            text: format!("{name}={shown}"),
            base: base.to_owned(),
        });
        let name_at = Place {
            source: number,
            span: 0..name.len(),
        };
        let Some(at) = at else {
            report.add(unknown_variable(name, rest, &name_at, &settings));
            continue;
        };
        let value_start = name.len() + 1;
        let value_at = Place {
            source: number,
            span: value_start..value_start + text.len(),
        };
        if value.to_str().is_none() {
            report.add(
                Problem::error(format!(
                    "the environment variable `{name}` is not valid UTF-8"
                ))
                .mark(&value_at, "some bytes here are not text"),
            );
            continue;
        }
        let node = layer(&keys, &name_at, interpret(&text, at, &value_at));
        hide_secrets(sources, number, &node);
        layers.push(node);
    }
    layers
}

/// Takes over what the command line sets; the last one wins.
pub(crate) fn from_overrides(
    overrides: &[Override],
    base: &Path,
    schema: &Schema,
    sources: &mut Sources,
    report: &mut Report,
) -> Vec<Node> {
    let mut layers = Vec::new();
    for given in overrides {
        let keys: Vec<String> = given.key.split('.').map(str::to_owned).collect();
        let path: Vec<Step> = keys.iter().cloned().map(Step::Key).collect();
        let at = schema.root().find(&path, &|_, _| None);
        let text = match &given.value {
            Given::Text(text) => text.clone(),
            Given::Value(value) => value.to_string(),
        };
        let secret = keys.last().is_some_and(|key| schema::is_secret(at, key));
        let shown = if secret {
            "*".repeat(text.len())
        } else {
            text.clone()
        };
        let head = if given.flag.contains(&given.key) {
            format!("{}=", given.flag)
        } else {
            format!("{} ", given.flag)
        };
        let number = sources.add(Source {
            kind: SourceKind::Flag(given.flag.clone()),
            text: format!("{head}{shown}"),
            base: base.to_owned(),
        });
        let flag_at = Place {
            source: number,
            span: 0..given.flag.len(),
        };
        let Some(at) = at else {
            let settings = catalog::settings(schema.root());
            let meant = catalog::nearest(&given.key, settings.iter().map(|s| s.key.as_str()));
            report.add(
                Problem::error(format!("`{}` is not a setting", given.key))
                    .mark(&flag_at, "given here")
                    .maybe_help(meant.map(|key| format!("did you mean `{key}`?"))),
            );
            continue;
        };
        let value_at = Place {
            source: number,
            span: head.len()..head.len() + text.len(),
        };
        let node = match &given.value {
            Given::Text(_) => interpret(&text, at, &value_at),
            Given::Value(_) => parse(&text, &value_at)
                .unwrap_or_else(|| Node::text(text.clone(), value_at.clone())),
        };
        let node = layer(&keys, &flag_at, node);
        hide_secrets(sources, number, &node);
        layers.push(node);
    }
    layers
}

fn hide_secrets(sources: &mut Sources, number: usize, values: &Node) {
    if let Some(source) = sources.get(number) {
        let mut text = source.text.clone();
        mask(&mut text, values);
        sources.set_text(number, text);
    }
}

/// The key of a variable's name, in lower case, but for names that can be chosen freely.
fn keys_of(rest: &str, schema: &Schema) -> Vec<String> {
    let mut path = Vec::new();
    for part in rest.split("__") {
        let lower = part.to_ascii_lowercase();
        let parent = schema.root().find(&path, &|_, _| None);
        let is_free = parent.is_some_and(|parent| parent.is_free_key(&lower));
        path.push(Step::Key(if is_free { part.to_owned() } else { lower }));
    }
    path.into_iter()
        .filter_map(|step| match step {
            Step::Key(key) => Some(key),
            Step::Index(_) => None,
        })
        .collect()
}

fn layer(keys: &[String], key_at: &Place, node: Node) -> Node {
    let mut root = Node {
        data: Data::Table(Table::new()),
        at: key_at.clone(),
    };
    root.put(keys, key_at, node);
    root
}

/// Reads a text in the way that the setting wants it.
///
/// Texts are taken as they are, or as in a file, in quotes. Lists may be written with commas instead of TOML's brackets and quotes.
fn interpret(text: &str, at: At<'_>, place: &Place) -> Node {
    let bare = || Node::text(text.to_owned(), place.clone());
    // As it stands in a file, from which it may have been copied.
    if text.starts_with(['"', '\''])
        && let Some(node) = parse(text, place)
    {
        return node;
    }
    match at.shape() {
        Shape::Words(_) => bare(),
        Shape::Scalar(types) if types == ["string"] => bare(),
        Shape::Array(items) if !text.trim_start().starts_with('[') => {
            let mut nodes = Vec::new();
            let mut start = place.span.start;
            for part in text.split(',') {
                let trimmed = part.trim();
                if !trimmed.is_empty() {
                    let inset = part.len() - part.trim_start().len();
                    let from = start + inset;
                    let item_at = Place {
                        source: place.source,
                        span: from..from + trimmed.len(),
                    };
                    nodes.push(match items {
                        Some(items) => interpret(trimmed, items, &item_at),
                        None => Node::text(trimmed.to_owned(), item_at),
                    });
                }
                start += part.len() + 1;
            }
            Node {
                data: Data::Array(nodes),
                at: place.clone(),
            }
        }
        _ => match parse(text, place) {
            // Where a text would do as well, `true` and `30` are what they look like.
            Some(node) => node,
            None => bare(),
        },
    }
}

fn parse(text: &str, place: &Place) -> Option<Node> {
    let value = DeValue::parse(text).ok()?;
    let start = place.span.start;
    let node = Node::from_toml(value, &|span| Place {
        source: place.source,
        span: start + span.start..start + span.end,
    });
    Some(Node {
        at: place.clone(),
        ..node
    })
}

/// Whether an unknown variable was meant to be a setting: it has the two underscores, or only those are missing.
fn looks_like_setting(rest: &str, settings: &[Setting<'_>]) -> bool {
    rest.contains("__")
        || settings
            .iter()
            .any(|setting| variable_of(&setting.key).replace("__", "_") == rest)
}

fn unknown_variable(name: &str, rest: &str, at: &Place, settings: &[Setting<'_>]) -> Problem {
    let variables: Vec<String> = settings.iter().map(|s| variable_of(&s.key)).collect();
    let meant = variables
        .iter()
        .map(String::as_str)
        .find(|known| known.replace("__", "_") == rest)
        .or_else(|| catalog::nearest(rest, variables.iter().map(String::as_str)));
    Problem::error(format!("the environment variable `{name}` sets nothing"))
        .mark(at, "no such setting")
        .maybe_help(meant.map(|known| format!("did you mean `{ENVIRONMENT_PREFIX}{known}`?")))
}

/// The variable that sets a key, without the prefix.
pub(crate) fn variable_of(key: &str) -> String {
    key.replace('.', "__").to_ascii_uppercase()
}
