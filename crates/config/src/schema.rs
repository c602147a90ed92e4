//! A view of the JSON Schema that is made from the settings' structs: what may stand at each place.
//!
//! Only what schemars makes of our structs is understood, not all of JSON Schema.

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::settings::Config;
use crate::tree::Step;

/// The schema of the whole file.
#[derive(Debug, Clone)]
pub(crate) struct Schema(Value);

/// The schema of one value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At<'a> {
    root: &'a Value,
    node: &'a Value,
}

/// What may stand at a place.
#[derive(Debug)]
pub(crate) enum Shape<'a> {
    /// A table with these keys.
    Table(TableShape<'a>),
    /// A table whose other keys depend on the text of one of them, the tag.
    Tagged {
        tag: &'a str,
        variants: Vec<(&'a str, At<'a>)>,
    },
    /// One of these texts.
    Words(Vec<(&'a str, Option<&'a str>)>),
    /// A list.
    Array(Option<At<'a>>),
    /// A single value of one of these types (JSON Schema's names).
    Scalar(Vec<&'a str>),
    /// Any one of these.
    Choice(Vec<At<'a>>),
}

/// The keys of a table.
#[derive(Debug, Default)]
pub(crate) struct TableShape<'a> {
    pub(crate) keys: BTreeMap<&'a str, At<'a>>,
    pub(crate) required: Vec<&'a str>,
    /// What stands under keys that can be chosen freely.
    pub(crate) others: Option<At<'a>>,
}

impl Schema {
    /// Makes the schema of [`Config`].
    pub(crate) fn new() -> Self {
        let schema = SchemaSettings::draft2020_12()
            .into_generator()
            .into_root_schema_for::<Config>();
        let mut schema = schema.to_value();
        let definitions = schema.get("$defs").cloned().unwrap_or_default();
        flatten_tagged(&mut schema, &definitions);
        Self(schema)
    }

    /// The schema as JSON.
    pub(crate) fn value(&self) -> &Value {
        &self.0
    }

    /// The place of the whole file.
    pub(crate) fn root(&self) -> At<'_> {
        At {
            root: &self.0,
            node: &self.0,
        }
    }
}

/// Writes the variants of tagged tables out as closed tables, tag and keys together.
///
/// schemars refers to the variant's struct, which is closed without the tag: read strictly, no document fits that.
fn flatten_tagged(value: &mut Value, definitions: &Value) {
    if let Some(variants) = ["oneOf", "anyOf"]
        .iter()
        .find(|name| {
            value
                .get(**name)
                .and_then(Value::as_array)
                .is_some_and(|variants| variants.iter().all(|variant| tag_of(variant).is_some()))
        })
        .and_then(|name| value.get_mut(*name))
        .and_then(Value::as_array_mut)
    {
        for variant in variants {
            flatten_variant(variant, definitions);
        }
    }
    match value {
        Value::Object(map) => {
            for child in map.values_mut() {
                flatten_tagged(child, definitions);
            }
        }
        Value::Array(items) => {
            for child in items {
                flatten_tagged(child, definitions);
            }
        }
        _ => {}
    }
}

fn flatten_variant(variant: &mut Value, definitions: &Value) {
    let Some(map) = variant.as_object_mut() else {
        return;
    };
    let referred = map
        .remove("$ref")
        .as_ref()
        .and_then(Value::as_str)
        .and_then(|name| name.strip_prefix("#/$defs/"))
        .and_then(|name| definitions.get(name))
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    for (key, value) in referred {
        match (key.as_str(), map.get_mut(&key)) {
            ("properties", Some(Value::Object(own))) => {
                if let Value::Object(more) = value {
                    own.extend(more);
                }
            }
            ("required", Some(Value::Array(own))) => {
                if let Value::Array(more) = value {
                    own.extend(more);
                }
            }
            (_, Some(_)) => {}
            (_, None) => {
                map.insert(key, value);
            }
        }
    }
    map.insert("additionalProperties".to_owned(), Value::Bool(false));
}

/// The property of a variant that can have one text only.
fn tag_of(variant: &Value) -> Option<(&str, &str)> {
    let required = variant.get("required")?.as_array()?;
    variant
        .get("properties")?
        .as_object()?
        .iter()
        .find_map(|(name, property)| {
            let text = property.get("const")?.as_str()?;
            required
                .iter()
                .any(|key| key.as_str() == Some(name))
                .then_some((name.as_str(), text))
        })
}

impl<'a> At<'a> {
    fn at(self, node: &'a Value) -> Self {
        Self { node, ..self }
    }

    /// Reads a keyword here, or in the definition that this place refers to.
    fn keyword(self, name: &str) -> Option<&'a Value> {
        if let Some(value) = self.node.get(name) {
            return Some(value);
        }
        self.inner().and_then(|inner| inner.keyword(name))
    }

    /// The schema that this one stands for: a definition, or what may be absent.
    fn inner(self) -> Option<Self> {
        if let Some(reference) = self.node.get("$ref").and_then(Value::as_str) {
            let node = self.root.pointer(reference.strip_prefix('#')?)?;
            // A reference to the whole would never end.
            return (!std::ptr::eq(node, self.node)).then_some(self.at(node));
        }
        let alternatives = self.alternatives()?;
        match alternatives.as_slice() {
            [only] => Some(*only),
            _ => None,
        }
    }

    /// The alternatives, without `null`, which TOML does not have.
    fn alternatives(self) -> Option<Vec<Self>> {
        let list = ["oneOf", "anyOf", "allOf"]
            .iter()
            .find_map(|name| self.node.get(*name))?
            .as_array()?;
        Some(
            list.iter()
                .filter(|alternative| {
                    alternative.get("type").and_then(Value::as_str) != Some("null")
                })
                .map(|alternative| self.at(alternative))
                .collect(),
        )
    }

    fn types(self) -> Vec<&'a str> {
        match self.keyword("type") {
            Some(Value::String(name)) => vec![name],
            Some(Value::Array(names)) => names
                .iter()
                .filter_map(Value::as_str)
                .filter(|name| *name != "null")
                .collect(),
            _ => Vec::new(),
        }
    }

    /// Says what may stand here.
    pub(crate) fn shape(self) -> Shape<'a> {
        if let Some(words) = self.words() {
            return Shape::Words(words);
        }
        if let Some(alternatives) = self.alternatives() {
            let tags: Vec<_> = alternatives
                .iter()
                .filter_map(|alternative| tag_of(alternative.node))
                .collect();
            if let (Some((tag, _)), true) = (tags.first(), tags.len() == alternatives.len()) {
                let names = tags.iter().map(|(_, text)| *text);
                return Shape::Tagged {
                    tag,
                    variants: names.zip(alternatives).collect(),
                };
            }
            return match alternatives.as_slice() {
                [only] => only.shape(),
                _ => Shape::Choice(alternatives),
            };
        }
        if let Some(inner) = self.inner() {
            return inner.shape();
        }
        let types = self.types();
        match types.as_slice() {
            ["object"] => Shape::Table(self.table()),
            ["array"] => Shape::Array(self.node.get("items").map(|items| self.at(items))),
            _ => Shape::Scalar(types),
        }
    }

    fn table(self) -> TableShape<'a> {
        let keys = self
            .node
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .map(|(key, node)| (key.as_str(), self.at(node)))
            .collect();
        let required = self
            .node
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let others = self
            .node
            .get("additionalProperties")
            .filter(|others| others.is_object() || **others == Value::Bool(true))
            .map(|others| self.at(others));
        TableShape {
            keys,
            required,
            others,
        }
    }

    fn words(self) -> Option<Vec<(&'a str, Option<&'a str>)>> {
        if let Some(words) = self.node.get("enum").and_then(Value::as_array) {
            return Some(
                words
                    .iter()
                    .filter_map(Value::as_str)
                    .map(|word| (word, None))
                    .collect(),
            );
        }
        if let Some(word) = self.node.get("const").and_then(Value::as_str) {
            return Some(vec![(word, self.doc())]);
        }
        let lists: Option<Vec<_>> = self
            .alternatives()?
            .into_iter()
            .map(|alternative| match alternative.node.get("$ref") {
                Some(_) => None,
                None => alternative.words(),
            })
            .collect();
        lists.map(|lists| lists.into_iter().flatten().collect())
    }

    /// What is written about it for administrators.
    pub(crate) fn doc(self) -> Option<&'a str> {
        self.keyword("description").and_then(Value::as_str)
    }

    /// What it is when nobody sets it.
    pub(crate) fn default(self) -> Option<&'a Value> {
        self.node.get("default").filter(|value| !value.is_null())
    }

    /// An example of its own; else its default, if that says anything; else an example of its type.
    pub(crate) fn example(self) -> Option<&'a Value> {
        let examples = self.keyword("examples").and_then(Value::as_array);
        if let Some([own]) = examples.map(Vec::as_slice) {
            return Some(own);
        }
        let says_something = |value: &&Value| match value {
            Value::String(text) => !text.is_empty(),
            Value::Array(items) => !items.is_empty(),
            Value::Object(map) => !map.is_empty(),
            _ => true,
        };
        self.default()
            .filter(says_something)
            .or_else(|| examples?.first())
    }

    /// Lines of other keys without which an example of this one makes no sense.
    pub(crate) fn needs(self) -> Option<&'a str> {
        self.node.get("x-with").and_then(Value::as_str)
    }

    /// What kind of text it is.
    pub(crate) fn format(self) -> Option<&'a str> {
        self.keyword("format").and_then(Value::as_str)
    }

    /// The smallest and the largest number.
    pub(crate) fn bounds(self) -> (Option<i128>, Option<i128>) {
        let read = |name| {
            let number = self.keyword(name)?;
            number
                .as_i64()
                .map(i128::from)
                .or_else(|| number.as_u64().map(i128::from))
        };
        let most = || {
            Some(match self.format()? {
                "int32" => i128::from(i32::MAX),
                "uint32" => i128::from(u32::MAX),
                // TOML itself ends here.
                "int64" | "int" | "uint64" | "uint" => i128::from(i64::MAX),
                _ => return None,
            })
        };
        (read("minimum"), read("maximum").or_else(most))
    }

    /// Whether the schema itself says that this is a secret.
    pub(crate) fn is_marked_secret(self) -> bool {
        self.format() == Some("password")
            || self.keyword("writeOnly").and_then(Value::as_bool) == Some(true)
    }

    /// Goes to the value at the end of a way; `tag` chooses among the variants of a tagged table.
    pub(crate) fn find(
        self,
        path: &[Step],
        tag: &impl Fn(&[Step], &str) -> Option<String>,
    ) -> Option<Self> {
        let mut here = self;
        for (index, step) in path.iter().enumerate() {
            let before = path.get(..index).unwrap_or_default();
            here = here.child(step, &|name| tag(before, name))?;
        }
        Some(here)
    }

    /// Whether the keys of this table can be chosen freely, this one among them.
    pub(crate) fn is_free_key(self, key: &str) -> bool {
        match self.shape() {
            Shape::Table(table) => !table.keys.contains_key(key) && table.others.is_some(),
            _ => false,
        }
    }

    fn child(self, step: &Step, tag: &dyn Fn(&str) -> Option<String>) -> Option<Self> {
        match (self.shape(), step) {
            (Shape::Table(table), Step::Key(key)) => {
                table.keys.get(key.as_str()).copied().or(table.others)
            }
            (Shape::Array(items), Step::Index(_)) => items,
            (
                Shape::Tagged {
                    tag: name,
                    variants,
                },
                Step::Key(_),
            ) => {
                let wanted = tag(name);
                let chosen = variants
                    .iter()
                    .find(|(variant, _)| Some(*variant) == wanted.as_deref());
                match chosen {
                    Some((_, variant)) => variant.child(step, &|_| None),
                    None => variants
                        .iter()
                        .find_map(|(_, variant)| variant.child(step, &|_| None)),
                }
            }
            (Shape::Choice(list), _) => list
                .into_iter()
                .find_map(|alternative| alternative.child(step, tag)),
            _ => None,
        }
    }
}

/// Whether the text at this place names a file or folder, so that it may be written relative to the file's folder.
pub(crate) fn is_path(at: At<'_>, key: &str) -> bool {
    at.format() == Some("path") || key.ends_with("_file")
}

/// Whether the value under this key must not be shown.
pub(crate) fn is_secret(at: Option<At<'_>>, key: &str) -> bool {
    at.is_some_and(At::is_marked_secret) || names_secret(key)
}

/// Whether the key names a file whose content is secret.
pub(crate) fn is_secret_file(key: &str) -> bool {
    key.strip_suffix("_file").is_some_and(names_secret)
}

fn names_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    [
        "password",
        "secret",
        "token",
        "api_key",
        "private_key",
        "crypt_key",
    ]
    .iter()
    .any(|word| key == *word || key.ends_with(&format!("_{word}")))
}
