//! All keys that there are, read from the schema; and the one that was probably meant.

use serde_json::Value;

use crate::schema::{At, Shape};
use crate::tree::key_text;

/// A setting that can be written in the file.
#[derive(Debug, Clone)]
pub(crate) struct Setting<'a> {
    /// The whole key, such as `hub.base_url`; `[]` stands for each entry of a list.
    pub(crate) key: String,
    pub(crate) at: At<'a>,
    /// The kind that a table around it must have.
    pub(crate) kind: Option<Kind<'a>>,
    /// What it is when nobody sets it.
    pub(crate) default: Option<Value>,
    /// Whether a table around it cannot be without it.
    pub(crate) is_required: bool,
}

/// A table that has kinds, and one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kind<'a> {
    /// The key of the table.
    pub(crate) table: String,
    /// The key whose text is the kind.
    pub(crate) tag: &'a str,
    pub(crate) name: &'a str,
}

impl Setting<'_> {
    /// The section that it stands in, empty for the top of the file.
    pub(crate) fn section(&self) -> &str {
        self.key.rsplit_once('.').map_or("", |(section, _)| section)
    }

    /// The part of its key behind the heading of a list's entries or of a table with a free name; else behind the section.
    pub(crate) fn below<'k>(&'k self, section: &str) -> Option<&'k str> {
        let rest = self.key.strip_prefix(section)?;
        let named = rest
            .strip_prefix('.')
            .and_then(|rest| rest.strip_prefix(ANY_NAME));
        named
            .or_else(|| rest.strip_prefix("[]"))
            .unwrap_or(rest)
            .strip_prefix('.')
    }

    /// Whether this is the setting, with any name where one can be chosen, and any entry of a list.
    pub(crate) fn is_meant_by(&self, wanted: &str) -> bool {
        let free = format!(".{ANY_NAME}.");
        let (head, tail, between) = if let Some((head, tail)) = self.key.split_once(&free) {
            (head, tail, true)
        } else if let Some((head, tail)) = self.key.split_once("[].") {
            (head, tail, false)
        } else {
            return self.key == wanted;
        };
        let inner = wanted
            .strip_prefix(head)
            .and_then(|rest| rest.strip_suffix(tail))
            .and_then(|rest| rest.strip_suffix('.'));
        match inner {
            Some(rest) if between => rest.strip_prefix('.').is_some_and(|name| !name.is_empty()),
            Some(rest) => rest.is_empty() || (rest.starts_with('[') && rest.ends_with(']')),
            None => false,
        }
    }

    /// The last part of its key.
    pub(crate) fn name(&self) -> &str {
        self.key.rsplit('.').next().unwrap_or_default()
    }
}

/// A part of the file with its own heading.
#[derive(Debug, Clone)]
pub(crate) struct Section<'a> {
    pub(crate) name: &'a str,
    pub(crate) at: At<'a>,
}

/// The sections in the order of the reference page; others follow.
const ORDER: [&str; 12] = [
    "hub",
    "gateway",
    "auth",
    "access",
    "spawner",
    "store",
    "pages",
    "log",
    "services",
    "roles",
    "groups",
    "custom_scopes",
];

/// How the heading of a section is written: `[hub]`, `[[services]]` for `services[]`, `[groups.NAME]`.
pub(crate) fn heading(section: &str) -> String {
    match section.strip_suffix("[]") {
        Some(list) => format!("[[{list}]]"),
        None => format!("[{section}]"),
    }
}

/// What stands for each name that can be chosen freely, in keys such as `groups.NAME.users`.
pub(crate) const ANY_NAME: &str = "NAME";

/// Whether a part of the file has headings of its own: a table, a list of tables, or a table of tables.
fn is_section(at: At<'_>) -> bool {
    match at.shape() {
        Shape::Table(_) | Shape::Tagged { .. } => true,
        Shape::Array(Some(items)) => matches!(items.shape(), Shape::Table(_)),
        _ => false,
    }
}

/// The table that stands under each freely chosen name, if it is one.
fn named_tables(at: At<'_>) -> Option<At<'_>> {
    match at.shape() {
        Shape::Table(table) => table.others.filter(
            |others| matches!(others.shape(), Shape::Table(inner) if inner.others.is_none()),
        ),
        _ => None,
    }
}

/// How the heading of a whole section is written, `NAME` standing for any name.
pub(crate) fn section_heading(section: &Section<'_>) -> String {
    match section.at.shape() {
        Shape::Array(_) => format!("[[{}]]", section.name),
        _ if named_tables(section.at).is_some() => format!("[{}.{ANY_NAME}]", section.name),
        _ => format!("[{}]", section.name),
    }
}

/// Lists the sections.
pub(crate) fn sections(root: At<'_>) -> Vec<Section<'_>> {
    let Shape::Table(table) = root.shape() else {
        return Vec::new();
    };
    let mut sections: Vec<_> = table
        .keys
        .into_iter()
        .filter(|(_, at)| is_section(*at))
        .map(|(name, at)| Section { name, at })
        .collect();
    sections.sort_by_key(|section| {
        ORDER
            .iter()
            .position(|name| *name == section.name)
            .unwrap_or(ORDER.len())
    });
    sections
}

/// Lists all settings: the top of the file, then section by section.
pub(crate) fn settings(root: At<'_>) -> Vec<Setting<'_>> {
    let mut all = Vec::new();
    if let Shape::Table(table) = root.shape() {
        for (name, at) in table.keys {
            if !is_section(at) {
                collect(name.to_owned(), at, None, at.default().cloned(), &mut all);
            }
        }
    }
    for section in sections(root) {
        let default = section.at.default().cloned();
        collect(section.name.to_owned(), section.at, None, default, &mut all);
    }
    all
}

fn collect<'a>(
    key: String,
    at: At<'a>,
    kind: Option<&Kind<'a>>,
    default: Option<Value>,
    all: &mut Vec<Setting<'a>>,
) {
    // A default of the table as a whole says more than those of its keys.
    let default_of = |name: &str, child: At<'a>| {
        default
            .as_ref()
            .and_then(|whole| whole.get(name))
            .filter(|value| !value.is_null())
            .or_else(|| child.default())
            .cloned()
    };
    if let Some(inner) = named_tables(at) {
        collect(format!("{key}.{ANY_NAME}"), inner, kind, None, all);
        return;
    }
    match at.shape() {
        Shape::Table(table) if table.others.is_none() => {
            for (name, child) in &table.keys {
                let default = default_of(name, *child);
                let whole = format!("{key}.{}", key_text(name));
                collect(whole.clone(), *child, kind, default, all);
                if let Some(last) = all.last_mut()
                    && last.key == whole
                {
                    last.is_required = table.required.contains(name);
                }
            }
        }
        Shape::Tagged { tag, variants } => {
            let default_kind = default.as_ref().and_then(|whole| whole.get(tag));
            let first = variants.first().map(|(_, variant)| *variant);
            if let Some(Shape::Table(table)) = first.map(At::shape)
                && let Some(tag_at) = table.keys.get(tag)
            {
                all.push(Setting {
                    key: format!("{key}.{tag}"),
                    at: *tag_at,
                    kind: None,
                    default: default_kind.cloned(),
                    is_required: false,
                });
            }
            for (name, variant) in &variants {
                let Shape::Table(table) = variant.shape() else {
                    continue;
                };
                let is_default = default_kind.and_then(Value::as_str) == Some(*name);
                for (child_name, child) in &table.keys {
                    if *child_name == tag {
                        continue;
                    }
                    let own = child.default().cloned();
                    let default = if is_default {
                        default_of(child_name, *child)
                    } else {
                        own
                    };
                    let kind = Kind {
                        table: key.clone(),
                        tag,
                        name,
                    };
                    collect(
                        format!("{key}.{}", key_text(child_name)),
                        *child,
                        Some(&kind),
                        default,
                        all,
                    );
                }
            }
        }
        Shape::Array(Some(items)) if matches!(items.shape(), Shape::Table(_)) => {
            all.push(Setting {
                key: key.clone(),
                at,
                kind: kind.cloned(),
                default,
                is_required: false,
            });
            collect(format!("{key}[]"), items, kind, None, all);
        }
        _ => all.push(Setting {
            key,
            at,
            kind: kind.cloned(),
            default,
            is_required: false,
        }),
    }
}

/// Finds what was probably meant, if anything is near enough.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace(['-', ' '], "_");
    let word = plain(word);
    // A long word is not a slip of anything that we know, and comparing costs its length times ours.
    if word.chars().count() > 100 {
        return None;
    }
    known
        .into_iter()
        .map(|candidate| {
            let distance = strsim::damerau_levenshtein(&word, &plain(candidate));
            (distance, candidate)
        })
        .filter(|(distance, candidate)| {
            *distance <= (candidate.chars().count().min(word.chars().count()) / 3).max(1)
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
