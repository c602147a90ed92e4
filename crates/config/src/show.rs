//! Writes the effective configuration as TOML, each value with where it comes from.

use std::collections::HashSet;
use std::fmt::Write as _;

use serde_json::Value;

use crate::catalog::{self, ANY_NAME, Setting};
use crate::decode::tag_in;
use crate::load::Loaded;
use crate::mask::url_password;
use crate::schema::{Schema, Shape, is_secret};
use crate::source::Origin;
use crate::tree::{Data, Leaf, Node, Step, Table, key_text};

/// What stands in place of a secret.
const SECRET: &str = "[secret]";

impl Loaded {
    /// Writes the configuration that is in force as TOML; each line ends with where its value comes from.
    ///
    /// With `defaults` all settings are written, else only those that somebody has set. Secrets are not shown.
    pub fn show(&self, defaults: bool) -> String {
        let schema = Schema::new();
        let mut lines = Lines::default();
        let mut shown = HashSet::new();
        for setting in catalog::settings(schema.root()) {
            if setting.key.contains("[]") || !self.applies(&setting, &schema) {
                continue;
            }
            if let Some((section, _)) = setting.key.split_once(&format!(".{ANY_NAME}.")) {
                if shown.insert(section.to_owned()) {
                    self.show_named(section, &mut lines);
                }
                continue;
            }
            let path = steps(&setting.key);
            match self.tree.find(&path) {
                Some(Node {
                    data: Data::Array(items),
                    ..
                }) if setting.section().is_empty() => {
                    self.show_list(&setting.key, items, &mut lines);
                }
                // A list of tables without entries has nothing to show.
                None if setting.section().is_empty() && is_list_of_tables(&setting) => {}
                Some(Node {
                    data: Data::Table(entries),
                    ..
                }) => self.show_entries(&setting.key, entries, &mut lines),
                Some(node) => self.show_node(&setting.key, node, &mut lines),
                None if defaults => show_default(&setting, &mut lines),
                None => {}
            }
        }
        lines.text()
    }

    /// Whether the setting belongs to the kind that the table around it has.
    pub(crate) fn applies(&self, setting: &Setting<'_>, schema: &Schema) -> bool {
        let Some(wanted) = &setting.kind else {
            return true;
        };
        let path = steps(&wanted.table);
        let default = || {
            let at = schema.root().find(&path, &|_, _| None)?;
            let kind = at.default()?.get(wanted.tag)?.as_str()?;
            Some(kind.to_owned())
        };
        tag_in(&self.tree, &path, wanted.tag)
            .or_else(default)
            .is_some_and(|kind| kind == wanted.name)
    }

    /// Shows tables under names of somebody's own, each with its heading.
    fn show_named(&self, section: &str, lines: &mut Lines) {
        let path = [Step::Key(section.to_owned())];
        let Some(tables) = self.tree.find(&path).and_then(Node::as_table) else {
            return;
        };
        for (name, entry) in tables {
            let key = format!("{section}.{}", key_text(name));
            if let Some(entries) = entry.node.as_table() {
                lines.section(&key);
                self.show_entries(&key, entries, lines);
            }
        }
    }

    /// Shows the tables of a list, each with its heading.
    fn show_list(&self, list: &str, items: &[Node], lines: &mut Lines) {
        for (index, item) in items.iter().enumerate() {
            let key = format!("{list}[{index}]");
            if let Some(entries) = item.as_table() {
                lines.section(&key);
                self.show_entries(&key, entries, lines);
            }
        }
    }

    fn show_entries(&self, table: &str, entries: &Table, lines: &mut Lines) {
        for (name, entry) in entries {
            let key = format!("{table}.{}", key_text(name));
            if lines.is_own(table)
                && let Some(entries) = entry.node.as_table()
            {
                // Each value knows where it comes from, the table does not.
                for (inner, entry) in entries {
                    let key = format!("{key}.{}", key_text(inner));
                    let dotted = format!("{}.{}", key_text(name), key_text(inner));
                    self.show_line(table, &dotted, inner, &key, &entry.node, lines);
                }
                continue;
            }
            self.show_value(table, name, &key, &entry.node, lines);
        }
    }

    fn show_node(&self, key: &str, node: &Node, lines: &mut Lines) {
        let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
        self.show_value(section, name, key, node, lines);
    }

    fn show_value(&self, section: &str, name: &str, key: &str, node: &Node, lines: &mut Lines) {
        self.show_line(section, &key_text(name), name, key, node, lines);
    }

    fn show_line(
        &self,
        section: &str,
        written_key: &str,
        name: &str,
        key: &str,
        node: &Node,
        lines: &mut Lines,
    ) {
        let value = if is_secret(None, name) {
            toml::Value::from(SECRET).to_string()
        } else {
            written(node).to_string()
        };
        let line = format!("{written_key} = {value}");
        lines.add(section, line, &self.origin(key).to_string());
    }

    /// Gives the value of a key as TOML, if somebody has set it; a secret is not shown.
    pub(crate) fn value_of(&self, key: &str) -> Option<String> {
        let path = steps(key);
        let node = self.tree.find(&path)?;
        let secret = matches!(path.last(), Some(Step::Key(name)) if is_secret(None, name));
        Some(if secret {
            SECRET.to_owned()
        } else {
            written(node).to_string()
        })
    }
}

fn show_default(setting: &Setting<'_>, lines: &mut Lines) {
    let name = setting.name();
    match &setting.default {
        Some(value) => {
            let line = format!("{} = {}", key_text(name), json_to_toml(value));
            lines.add(setting.section(), line, &Origin::Default.to_string());
        }
        None => lines.add(
            setting.section(),
            format!("# {} is not set", key_text(name)),
            "",
        ),
    }
}

fn is_list_of_tables(setting: &Setting<'_>) -> bool {
    matches!(setting.at.shape(), Shape::Array(Some(items)) if matches!(items.shape(), Shape::Table(_)))
}

/// The text of the file, section by section.
#[derive(Debug, Default)]
struct Lines {
    sections: Vec<(String, Vec<(String, String)>)>,
    /// The sections that were begun by name.
    own: HashSet<String>,
}

impl Lines {
    /// Begins a section, which is shown also without any line.
    fn section(&mut self, section: &str) {
        self.own.insert(section.to_owned());
        self.sections.push((section.to_owned(), Vec::new()));
    }

    /// Whether the section is an entry of a list, or a table under a free name.
    fn is_own(&self, section: &str) -> bool {
        self.own.contains(section)
    }

    fn add(&mut self, section: &str, line: String, comment: &str) {
        let line = (line, comment.to_owned());
        match self.sections.iter_mut().find(|(name, _)| name == section) {
            Some((_, lines)) => lines.push(line),
            None => self.sections.push((section.to_owned(), vec![line])),
        }
    }

    fn text(self) -> String {
        let mut text = String::new();
        for (section, lines) in self.sections {
            if !text.is_empty() {
                text.push('\n');
            }
            if !section.is_empty() {
                let heading = match section.split_once('[') {
                    Some((list, _)) if self.own.contains(&section) && section.ends_with(']') => {
                        format!("[[{list}]]")
                    }
                    _ => format!("[{section}]"),
                };
                let _ = writeln!(text, "{heading}");
            }
            let longest = lines
                .iter()
                .map(|(line, _)| line.chars().count())
                .filter(|width| *width <= 60)
                .max()
                .unwrap_or(0);
            for (line, comment) in lines {
                text.push_str(&line);
                if !comment.is_empty() {
                    let gap = longest.saturating_sub(line.chars().count());
                    text.push_str(&" ".repeat(gap));
                    text.push_str("  # ");
                    // A file's name may hold anything; a comment ends at the line.
                    text.extend(
                        comment
                            .chars()
                            .map(|c| if c.is_control() { '?' } else { c }),
                    );
                }
                text.push('\n');
            }
        }
        text
    }
}

/// Splits a key of ours, none of which has dots inside of its parts.
pub(crate) fn steps(key: &str) -> Vec<Step> {
    key.split('.')
        .filter(|part| !part.is_empty())
        .map(|part| Step::Key(part.to_owned()))
        .collect()
}

/// Writes a value as TOML, passwords in URLs left out.
fn written(node: &Node) -> toml::Value {
    match &node.data {
        Data::Leaf(Leaf::Text(text)) => toml::Value::String(without_password(text)),
        Data::Leaf(Leaf::Boolean(value)) => toml::Value::Boolean(*value),
        Data::Leaf(Leaf::Datetime(value)) => toml::Value::Datetime(*value),
        Data::Leaf(leaf @ Leaf::Integer(text)) => leaf
            .integer()
            .and_then(|number| i64::try_from(number).ok())
            .map_or_else(|| toml::Value::String(text.clone()), toml::Value::Integer),
        Data::Leaf(Leaf::Float(text)) => text
            .replace('_', "")
            .parse()
            .map_or_else(|_| toml::Value::String(text.clone()), toml::Value::Float),
        Data::Array(items) => toml::Value::Array(items.iter().map(written).collect()),
        Data::Table(table) => toml::Value::Table(
            table
                .iter()
                .map(|(key, entry)| {
                    let value = if is_secret(None, key) {
                        toml::Value::from(SECRET)
                    } else {
                        written(&entry.node)
                    };
                    (key.clone(), value)
                })
                .collect(),
        ),
    }
}

fn without_password(text: &str) -> String {
    let mut text = text.to_owned();
    if let Some(password) = url_password(&text) {
        text.replace_range(password, SECRET);
    }
    text
}

/// Writes a default or an example as TOML.
pub(crate) fn json_to_toml(value: &Value) -> String {
    toml::Value::try_from(value).map_or_else(|_| value.to_string(), |value| value.to_string())
}
