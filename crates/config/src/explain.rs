//! Explains one key: what it is for, its type, its default, an example, and what it is now.

use std::fmt::Write as _;

use thiserror::Error;

use crate::catalog::{self, Setting};
use crate::check::{expected, quoted_list};
use crate::given::{ENVIRONMENT_PREFIX, variable_of};
use crate::load::Loaded;
use crate::schema::{At, Schema, Shape, is_path, is_secret};
use crate::show::{json_to_toml, steps};
use crate::tree::key_text;

/// There is no such key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{key}` is not a setting{}", .nearest.as_ref().map(|key| format!("; did you mean `{key}`?")).unwrap_or_default())]
pub struct UnknownKey {
    /// What was asked for.
    pub key: String,
    /// The key that was probably meant.
    pub nearest: Option<String>,
}

/// Explains a key such as `hub.base_url`, or lists the keys of a section such as `hub`.
///
/// With a loaded configuration, it also tells the value in force and where it comes from.
pub fn explain(key: &str, loaded: Option<&Loaded>) -> Result<String, UnknownKey> {
    let schema = Schema::new();
    let settings = catalog::settings(schema.root());
    let wanted = key.trim().trim_start_matches('[').trim_end_matches(']');
    let matches: Vec<_> = settings
        .iter()
        .filter(|setting| setting.key == wanted && !is_heading(setting, &schema))
        .collect();
    if !matches.is_empty() {
        let texts: Vec<_> = matches
            .into_iter()
            .map(|setting| explain_setting(setting, &schema, loaded))
            .collect();
        return Ok(texts.join("\n"));
    }
    if let Some(section) = catalog::sections(schema.root())
        .iter()
        .find(|section| section.name == wanted)
    {
        return Ok(explain_section(section, &settings));
    }
    // A name of somebody's own, or an entry of a list.
    if let Some(setting) = settings.iter().find(|setting| setting.is_meant_by(wanted)) {
        return Ok(explain_setting(setting, &schema, loaded));
    }
    // A free name below a table that takes any.
    let parent = wanted.rsplit_once('.').map_or("", |(parent, _)| parent);
    if let Some(setting) = settings
        .iter()
        .find(|setting| setting.key == parent && matches!(setting.at.shape(), Shape::Table(_)))
    {
        return Ok(explain_setting(setting, &schema, loaded));
    }
    Err(UnknownKey {
        key: key.to_owned(),
        nearest: nearest_key(wanted, &schema, &settings),
    })
}

/// Whether the key is a section of its own: then that is explained.
fn is_heading(setting: &Setting<'_>, schema: &Schema) -> bool {
    catalog::sections(schema.root())
        .iter()
        .any(|section| section.name == setting.key)
}

fn nearest_key(wanted: &str, schema: &Schema, settings: &[Setting<'_>]) -> Option<String> {
    let whole = || {
        let sections = catalog::sections(schema.root());
        let names: Vec<_> = sections.iter().map(|section| section.name).collect();
        let keys = settings.iter().map(|setting| setting.key.as_str());
        catalog::nearest(wanted, keys.chain(names)).map(str::to_owned)
    };
    // `base_url` alone, or under the wrong section.
    let name = wanted.rsplit('.').next().unwrap_or(wanted);
    let by_name = || {
        settings
            .iter()
            .find(|setting| setting.name() == name)
            .map(|setting| setting.key.clone())
    };
    let by_near_name = || {
        let near = catalog::nearest(name, settings.iter().map(Setting::name))?;
        settings
            .iter()
            .find(|setting| setting.name() == near)
            .map(|setting| setting.key.clone())
    };
    by_name().or_else(whole).or_else(by_near_name)
}

fn explain_section(section: &catalog::Section<'_>, settings: &[Setting<'_>]) -> String {
    let mut text = format!("{}\n\n", catalog::section_heading(section));
    if let Some(doc) = section.at.doc() {
        let _ = writeln!(text, "{}\n", doc.trim());
    }
    let mut last = None;
    for setting in settings {
        let Some(name) = setting.below(section.name) else {
            continue;
        };
        if setting.kind.as_ref() != last {
            last = setting.kind.as_ref();
            if let Some(kind) = last {
                let _ = writeln!(text, "with {} = \"{}\":", kind.tag, kind.name);
            }
        }
        let summary = setting.at.doc().map(first_sentence).unwrap_or_default();
        let _ = writeln!(text, "  {name:<24} {summary}");
    }
    text
}

/// The first sentence of a text, on one line.
pub(crate) fn first_sentence(doc: &str) -> String {
    let line = doc.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.find(". ") {
        Some(end) => line.get(..=end).unwrap_or(&line).to_owned(),
        None => line,
    }
}

fn explain_setting(setting: &Setting<'_>, schema: &Schema, loaded: Option<&Loaded>) -> String {
    let mut text = format!("{}\n\n", setting.key);
    if let Some(kind) = &setting.kind {
        let _ = writeln!(
            text,
            "Only with {}.{} = \"{}\".\n",
            kind.table, kind.tag, kind.name
        );
    }
    if let Some(doc) = setting.at.doc() {
        let _ = writeln!(text, "{}\n", doc.trim());
    }
    let words = words(setting, schema);
    for (word, doc) in &words {
        let summary = doc.map(first_sentence).unwrap_or_default();
        let _ = writeln!(text, "  {:<18} {summary}", format!("\"{word}\""));
    }
    if !words.is_empty() {
        text.push('\n');
    }
    let _ = writeln!(text, "Type:     {}", type_text(setting, schema));
    let _ = writeln!(text, "Default:  {}", default_text(setting));
    if let Some(example) = example(setting) {
        let _ = writeln!(text, "Example:  {example}");
    }
    if !setting.key.contains('[') {
        let _ = writeln!(
            text,
            "Variable: {ENVIRONMENT_PREFIX}{}",
            variable_of(&setting.key)
        );
    }
    if let Some(loaded) = loaded {
        let now = match loaded.value_of(&setting.key) {
            _ if !loaded.applies(setting, schema) => {
                "does not apply: the section has another kind".to_owned()
            }
            Some(value) => format!("{value}  ({})", loaded.origin(&setting.key)),
            None => format!("{}  (default)", default_text(setting)),
        };
        let _ = writeln!(text, "Now:      {now}");
    }
    text
}

/// The words that the value can be, with what they mean.
pub(crate) fn words<'a>(
    setting: &Setting<'a>,
    schema: &'a Schema,
) -> Vec<(&'a str, Option<&'a str>)> {
    if let Some(kinds) = kinds(setting, schema) {
        return kinds
            .into_iter()
            .map(|(name, at)| (name, at.doc()))
            .collect();
    }
    match setting.at.shape() {
        Shape::Words(words) if words.iter().any(|(_, doc)| doc.is_some()) => words,
        Shape::Array(Some(items)) => match items.shape() {
            Shape::Words(words) if words.iter().any(|(_, doc)| doc.is_some()) => words,
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// The variants, if the setting is the tag of its section.
fn kinds<'a>(setting: &Setting<'a>, schema: &'a Schema) -> Option<Vec<(&'a str, At<'a>)>> {
    let section = schema
        .root()
        .find(&steps(setting.section()), &|_, _| None)?;
    match section.shape() {
        Shape::Tagged { tag, variants } if tag == setting.name() => Some(variants),
        _ => None,
    }
}

pub(crate) fn type_text(setting: &Setting<'_>, schema: &Schema) -> String {
    if let Some(kinds) = kinds(setting, schema) {
        let names: Vec<_> = kinds.iter().map(|(name, _)| *name).collect();
        return quoted_list(&names);
    }
    if is_path(setting.at, setting.name()) {
        return "a path".to_owned();
    }
    let mut text = expected(setting.at);
    if let (Some(least), Some(most)) = setting.at.bounds() {
        let _ = write!(text, ", {least} to {most}");
    }
    text
}

pub(crate) fn default_text(setting: &Setting<'_>) -> String {
    match &setting.default {
        _ if is_secret(Some(setting.at), setting.name()) => "not set".to_owned(),
        Some(value) => json_to_toml(value),
        None if setting.is_required => "none, it is required".to_owned(),
        None => "not set".to_owned(),
    }
}

/// A line that sets it, if there is an example.
pub(crate) fn example(setting: &Setting<'_>) -> Option<String> {
    let value = json_to_toml(setting.at.example()?);
    Some(format!("{} = {value}", key_text(setting.name())))
}
