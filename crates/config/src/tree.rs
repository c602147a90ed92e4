//! The values of all sources as one tree, each with the place where it was written.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use crate::source::Place;

/// A value and where it is written.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) data: Data,
    pub(crate) at: Place,
}

/// A value.
#[derive(Debug, Clone)]
pub(crate) enum Data {
    Leaf(Leaf),
    Array(Vec<Node>),
    Table(Table),
}

/// A value that holds no others.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Leaf {
    Text(String),
    Boolean(bool),
    /// As it can be written in TOML.
    Integer(String),
    /// As it can be written in TOML.
    Float(String),
    Datetime(toml::value::Datetime),
}

impl Leaf {
    /// The number, if it is a whole one that is not beyond all bounds.
    pub(crate) fn integer(&self) -> Option<i128> {
        let Self::Integer(text) = self else {
            return None;
        };
        let digits = |prefix: &str| text.strip_prefix(prefix);
        if let Some(digits) = digits("0x") {
            i128::from_str_radix(digits, 16).ok()
        } else if let Some(digits) = digits("0o") {
            i128::from_str_radix(digits, 8).ok()
        } else if let Some(digits) = digits("0b") {
            i128::from_str_radix(digits, 2).ok()
        } else {
            text.parse().ok()
        }
    }

    fn to_toml(&self) -> DeValue<'_> {
        match self {
            Self::Text(text) => DeValue::String(Cow::Borrowed(text)),
            Self::Boolean(value) => DeValue::Boolean(*value),
            Self::Datetime(value) => DeValue::Datetime(*value),
            // Numbers cannot be made any other way than from their text, which was parsed before.
            Self::Integer(text) | Self::Float(text) => DeValue::parse(text)
                .map_or(DeValue::String(Cow::Borrowed(text)), Spanned::into_inner),
        }
    }
}

/// The entries of a table.
pub(crate) type Table = BTreeMap<String, Entry>;

/// One entry of a table.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Where the key is written.
    pub(crate) key_at: Place,
    pub(crate) node: Node,
}

/// One step of the way to a value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
}

/// Writes the way to a value as people do: `pages.links[2].url`.
pub(crate) fn path_text(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Key(key) => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(&key_text(key));
            }
            Step::Index(index) => {
                let _ = write!(text, "[{index}]");
            }
        }
    }
    text
}

/// Writes a key bare if TOML allows it, else quoted.
pub(crate) fn key_text(key: &str) -> Cow<'_, str> {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !key.is_empty() && key.chars().all(bare) {
        Cow::Borrowed(key)
    } else {
        Cow::Owned(toml::Value::String(key.to_owned()).to_string())
    }
}

impl Node {
    /// Takes over a parsed value; `place` makes places of its spans.
    pub(crate) fn from_toml(
        value: Spanned<DeValue<'_>>,
        place: &impl Fn(std::ops::Range<usize>) -> Place,
    ) -> Self {
        let at = place(value.span());
        let data = match value.into_inner() {
            DeValue::Table(table) => Data::Table(table_from_toml(table, place)),
            DeValue::Array(array) => Data::Array(
                array
                    .into_iter()
                    .map(|item| Self::from_toml(item, place))
                    .collect(),
            ),
            DeValue::String(text) => Data::Leaf(Leaf::Text(text.into_owned())),
            DeValue::Boolean(value) => Data::Leaf(Leaf::Boolean(value)),
            DeValue::Integer(number) => Data::Leaf(Leaf::Integer(number.to_string())),
            DeValue::Float(number) => Data::Leaf(Leaf::Float(number.to_string())),
            DeValue::Datetime(value) => Data::Leaf(Leaf::Datetime(value)),
        };
        Self { data, at }
    }

    /// Makes a text value.
    pub(crate) fn text(text: String, at: Place) -> Self {
        Self {
            data: Data::Leaf(Leaf::Text(text)),
            at,
        }
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        match &self.data {
            Data::Leaf(Leaf::Text(text)) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn as_table(&self) -> Option<&Table> {
        match &self.data {
            Data::Table(table) => Some(table),
            _ => None,
        }
    }

    /// Says what kind of value it is, with its article.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.data {
            Data::Leaf(Leaf::Text(_)) => "a text",
            Data::Leaf(Leaf::Integer(_)) => "a whole number",
            Data::Leaf(Leaf::Float(_)) => "a number",
            Data::Leaf(Leaf::Boolean(_)) => "a boolean",
            Data::Leaf(_) => "a date or time",
            Data::Array(_) => "a list",
            Data::Table(_) => "a table",
        }
    }

    /// Finds the value at the end of the way.
    pub(crate) fn find(&self, path: &[Step]) -> Option<&Self> {
        let Some((step, rest)) = path.split_first() else {
            return Some(self);
        };
        match (&self.data, step) {
            (Data::Table(table), Step::Key(key)) => table.get(key)?.node.find(rest),
            (Data::Array(items), Step::Index(index)) => items.get(*index)?.find(rest),
            _ => None,
        }
    }

    fn find_mut(&mut self, path: &[Step]) -> Option<&mut Self> {
        let Some((step, rest)) = path.split_first() else {
            return Some(self);
        };
        match (&mut self.data, step) {
            (Data::Table(table), Step::Key(key)) => table.get_mut(key)?.node.find_mut(rest),
            (Data::Array(items), Step::Index(index)) => items.get_mut(*index)?.find_mut(rest),
            _ => None,
        }
    }

    /// Takes the value at the end of the way out of the tree; whether there was one.
    pub(crate) fn remove(&mut self, path: &[Step]) -> bool {
        let Some((last, parents)) = path.split_last() else {
            return false;
        };
        match (self.find_mut(parents).map(|parent| &mut parent.data), last) {
            (Some(Data::Table(table)), Step::Key(key)) => table.remove(key).is_some(),
            (Some(Data::Array(items)), Step::Index(index)) if *index < items.len() => {
                items.remove(*index);
                true
            }
            _ => false,
        }
    }

    /// Puts a value into the tree at a way of keys, making tables where there are none.
    pub(crate) fn put(&mut self, keys: &[String], key_at: &Place, node: Self) {
        let Some((key, rest)) = keys.split_first() else {
            *self = node;
            return;
        };
        if self.as_table().is_none() {
            *self = Self {
                data: Data::Table(Table::new()),
                at: key_at.clone(),
            };
        }
        if let Data::Table(table) = &mut self.data {
            let entry = table.entry(key.clone()).or_insert_with(|| Entry {
                key_at: key_at.clone(),
                node: Self {
                    data: Data::Table(Table::new()),
                    at: key_at.clone(),
                },
            });
            if rest.is_empty() {
                entry.key_at = key_at.clone();
            }
            entry.node.put(rest, key_at, node);
        }
    }

    /// Lays `over` on top: tables merge, everything else is replaced.
    ///
    /// A table that changes its `kind` starts afresh: what belonged to the other kind means nothing for this one.
    pub(crate) fn merge(&mut self, over: Self) {
        match (&mut self.data, over) {
            (
                Data::Table(table),
                Self {
                    data: Data::Table(more),
                    at,
                },
            ) => {
                let (old, new) = (kind_of(table), kind_of(&more));
                if old.is_some() && new.is_some() && old != new {
                    *table = more;
                    self.at = at;
                    return;
                }
                for (key, entry) in more {
                    match table.get_mut(&key) {
                        Some(existing) => {
                            existing.key_at = entry.key_at;
                            existing.node.merge(entry.node);
                        }
                        None => {
                            table.insert(key, entry);
                        }
                    }
                }
            }
            (_, over) => *self = over,
        }
    }

    /// Changes every text at a leaf for which `change` has another.
    pub(crate) fn change_texts(
        &mut self,
        path: &mut Vec<Step>,
        change: &impl Fn(&[Step], &str, &Place) -> Option<String>,
    ) {
        match &mut self.data {
            Data::Leaf(Leaf::Text(text)) => {
                if let Some(changed) = change(path, text, &self.at) {
                    *text = changed;
                }
            }
            Data::Leaf(_) => {}
            Data::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    path.push(Step::Index(index));
                    item.change_texts(path, change);
                    path.pop();
                }
            }
            Data::Table(table) => {
                for (key, entry) in table {
                    path.push(Step::Key(key.clone()));
                    entry.node.change_texts(path, change);
                    path.pop();
                }
            }
        }
    }

    /// Gives the tree back to the TOML library, each value with a number in place of its span;
    /// `ways` holds the way to each number.
    pub(crate) fn numbered(
        &self,
        path: &mut Vec<Step>,
        ways: &mut Vec<Vec<Step>>,
    ) -> Spanned<DeValue<'_>> {
        let number = ways.len();
        ways.push(path.clone());
        let value = match &self.data {
            Data::Leaf(leaf) => leaf.to_toml(),
            Data::Array(items) => {
                let mut array = DeArray::new();
                for (index, item) in items.iter().enumerate() {
                    path.push(Step::Index(index));
                    array.push(item.numbered(path, ways));
                    path.pop();
                }
                DeValue::Array(array)
            }
            Data::Table(table) => {
                let mut map = DeTable::new();
                for (key, entry) in table {
                    path.push(Step::Key(key.clone()));
                    let number = ways.len();
                    map.insert(
                        Spanned::new(number..number + 1, Cow::Borrowed(key.as_str())),
                        entry.node.numbered(path, ways),
                    );
                    path.pop();
                }
                DeValue::Table(map)
            }
        };
        Spanned::new(number..number + 1, value)
    }
}

/// Takes over a parsed table.
pub(crate) fn table_from_toml(
    table: DeTable<'_>,
    place: &impl Fn(std::ops::Range<usize>) -> Place,
) -> Table {
    table
        .into_iter()
        .map(|(key, value)| {
            let entry = Entry {
                key_at: place(key.span()),
                node: Node::from_toml(value, place),
            };
            (key.into_inner().into_owned(), entry)
        })
        .collect()
}

fn kind_of(table: &Table) -> Option<&str> {
    table.get("kind")?.node.as_str()
}
