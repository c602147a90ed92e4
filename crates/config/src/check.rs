//! Walks the values beside the schema and finds everything that has no place there, or is of the wrong type.

use crate::catalog::{self, Setting};
use crate::problem::{Problem, Report};
use crate::schema::{At, Schema, Shape, TableShape};
use crate::tree::{Data, Leaf, Node, Step, Table, key_text, path_text};

/// Finds what is wrong, adds it to the report, and returns the ways to the values that cannot be used.
pub(crate) fn check(tree: &Node, schema: &Schema, report: &mut Report) -> Vec<Vec<Step>> {
    let mut walk = Walk {
        settings: catalog::settings(schema.root()),
        path: Vec::new(),
        unusable: Vec::new(),
        report,
    };
    walk.value(tree, schema.root());
    walk.unusable
}

struct Walk<'a> {
    settings: Vec<Setting<'a>>,
    path: Vec<Step>,
    unusable: Vec<Vec<Step>>,
    report: &'a mut Report,
}

impl<'a> Walk<'a> {
    /// Reports a value, which is then left out of what follows.
    fn refuse(&mut self, problem: Problem) {
        self.report.add(problem);
        self.unusable.push(self.path.clone());
    }

    fn value(&mut self, node: &Node, at: At<'a>) {
        match (at.shape(), &node.data) {
            (Shape::Table(shape), Data::Table(table)) => self.table(node, table, &shape, None),
            (Shape::Tagged { tag, variants }, Data::Table(table)) => {
                self.tagged(node, table, at, tag, &variants);
            }
            (Shape::Array(items), Data::Array(nodes)) => {
                for (index, item) in nodes.iter().enumerate() {
                    if let Some(items) = items {
                        self.path.push(Step::Index(index));
                        self.value(item, items);
                        self.path.pop();
                    }
                }
            }
            (Shape::Words(words), Data::Leaf(Leaf::Text(text))) => self.word(node, text, &words),
            (Shape::Scalar(types), Data::Leaf(leaf)) if fits(leaf, &types) => {
                self.number(node, leaf, at);
            }
            // Free data, of any kind.
            (Shape::Scalar(types), _) if types.is_empty() => {}
            (Shape::Choice(alternatives), _) => self.choice(node, at, &alternatives),
            _ => self.wrong_type(node, at),
        }
    }

    fn table(
        &mut self,
        node: &Node,
        table: &Table,
        shape: &TableShape<'a>,
        kind: Option<(&str, &str)>,
    ) {
        for (key, entry) in table {
            self.path.push(Step::Key(key.clone()));
            if let Some(at) = shape.keys.get(key.as_str()).copied().or(shape.others) {
                self.value(&entry.node, at);
            } else {
                let (problem, help) = self.unknown_key(key, shape, kind);
                let is_section = self.path.len() == 1 && entry.node.as_table().is_some();
                let what = if is_section { "section" } else { "key" };
                let label = format!("no such {what}");
                self.refuse(problem.mark(&entry.key_at, label).maybe_help(help));
            }
            self.path.pop();
        }
        for key in &shape.required {
            if !table.contains_key(*key) {
                let place = path_text(&self.path);
                let problem = Problem::error(format!("`{key}` is missing in `{place}`"))
                    .mark(&node.at, format!("needs `{key}`"))
                    .maybe_help(shape.keys.get(key).and_then(|at| example_line(key, *at)));
                self.refuse(problem);
            }
        }
    }

    /// An unknown key, and what may have been meant.
    fn unknown_key(
        &self,
        key: &str,
        shape: &TableShape<'_>,
        kind: Option<(&str, &str)>,
    ) -> (Problem, Option<String>) {
        let whole = path_text(&self.path);
        let section = path_text(self.path.split_last().map_or(&[], |(_, parents)| parents));
        let problem = match kind {
            _ if section.is_empty() => Problem::error(format!("unknown key `{whole}`")),
            Some((tag, name)) => {
                Problem::error(format!("unknown key `{whole}` for `{tag} = \"{name}\"`"))
            }
            None => Problem::error(format!("unknown key `{whole}`")),
        };
        // The same key for another kind of this section.
        if let Some(other) = self
            .settings
            .iter()
            .find(|setting| setting.key == whole && setting.kind.is_some())
        {
            let belongs = other
                .kind
                .as_ref()
                .map(|kind| format!("`{key}` belongs to `{} = \"{}\"`", kind.tag, kind.name));
            return (problem, belongs);
        }
        let file = format!("{key}_file");
        if shape.keys.contains_key(file.as_str()) {
            let help = format!(
                "a secret does not belong in here: write it into a file of its own, and name that in `{file}`"
            );
            return (problem, Some(help));
        }
        let near = catalog::nearest(key, shape.keys.keys().copied());
        let elsewhere = self.elsewhere(key, &section);
        let help = match (near, elsewhere) {
            // The very key in another section is more likely than a similar one here.
            (_, Some(help)) => Some(help),
            (Some(near), None) => Some(format!("did you mean `{near}`?")),
            (None, None) => Some(known_keys(&section, shape)),
        };
        (problem, help)
    }

    /// Looks for the very key in other sections.
    fn elsewhere(&self, key: &str, section: &str) -> Option<String> {
        let mut homes: Vec<String> = self
            .settings
            .iter()
            .filter(|setting| setting.name() == key && setting.section() != section)
            .map(|setting| match setting.section() {
                "" => "at the top of the file, before the first section".to_owned(),
                home => format!("in the section `{}`", catalog::heading(home)),
            })
            .collect();
        homes.dedup();
        (!homes.is_empty()).then(|| format!("`{key}` stands {}", homes.join(" or ")))
    }

    fn tagged(
        &mut self,
        node: &Node,
        table: &Table,
        at: At<'a>,
        tag: &'a str,
        variants: &[(&'a str, At<'a>)],
    ) {
        let given = table.get(tag);
        // What is no text is none of the names either.
        let written = given.map(|entry| entry.node.as_str().unwrap_or_default());
        let default = || at.default()?.get(tag)?.as_str();
        let only = || match variants {
            [(name, _)] => Some(*name),
            _ => None,
        };
        let Some(name) = written.or_else(default).or_else(only) else {
            let section = path_text(&self.path);
            let names: Vec<_> = variants.iter().map(|(name, _)| *name).collect();
            self.refuse(
                Problem::error(format!("`{tag}` is missing in `{section}`"))
                    .mark(&node.at, format!("needs `{tag}`"))
                    .help(format!("one of {}", quoted_list(&names))),
            );
            return;
        };
        if let Some((name, variant)) = variants.iter().find(|(variant, _)| *variant == name) {
            if let Shape::Table(mut shape) = variant.shape() {
                shape.required.retain(|key| *key != tag);
                self.table(node, table, &shape, Some((tag, name)));
            }
        } else if let Some(entry) = given {
            // Without a kind nothing can be said of the other keys; the section as a whole cannot be used.
            let words: Vec<_> = variants.iter().map(|(name, _)| (*name, None)).collect();
            self.path.push(Step::Key(tag.to_owned()));
            let problem = not_a_word(&path_text(&self.path), &entry.node, &words);
            self.path.pop();
            self.refuse(problem);
        }
    }

    fn word(&mut self, node: &Node, text: &str, words: &[(&str, Option<&str>)]) {
        if !words.iter().any(|(word, _)| *word == text) {
            let problem = not_a_word(&path_text(&self.path), node, words);
            self.refuse(problem);
        }
    }

    fn number(&mut self, node: &Node, leaf: &Leaf, at: At<'_>) {
        let (least, most) = at.bounds();
        let Leaf::Integer(_) = leaf else {
            return;
        };
        let number = leaf.integer();
        let too_small = least.is_some_and(|least| number.is_some_and(|number| number < least));
        let too_large = number.is_none() || most.is_some_and(|most| number > Some(most));
        if !too_small && !too_large {
            return;
        }
        let range = match (least, most) {
            (Some(least), Some(most)) => format!("expected {least} to {most}"),
            (Some(least), None) if too_small => format!("expected {least} or more"),
            _ => "no number as large as this can be used".to_owned(),
        };
        let key = path_text(&self.path);
        let what = if too_small { "small" } else { "large" };
        self.refuse(Problem::error(format!("`{key}` is too {what}")).mark(&node.at, range));
    }

    fn choice(&mut self, node: &Node, at: At<'a>, alternatives: &[At<'a>]) {
        let mut same_type = Vec::new();
        for alternative in alternatives {
            let mut trial = Report::default();
            let mut walk = Walk {
                settings: Vec::new(),
                path: self.path.clone(),
                unusable: Vec::new(),
                report: &mut trial,
            };
            walk.value(node, *alternative);
            if trial.problems().is_empty() {
                return;
            }
            if type_fits(node, *alternative) {
                same_type.push(*alternative);
            }
        }
        match same_type.as_slice() {
            [only] => self.value(node, *only),
            _ => self.wrong_type(node, at),
        }
    }

    fn wrong_type(&mut self, node: &Node, at: At<'_>) {
        let key = path_text(&self.path);
        let expected = expected(at);
        let last = self.path.iter().rev().find_map(|step| match step {
            Step::Key(key) => Some(key.as_str()),
            Step::Index(_) => None,
        });
        let is_entry = matches!(self.path.last(), Some(Step::Index(_)));
        let help = type_help(node, at).or_else(|| {
            last.filter(|_| !is_entry)
                .and_then(|key| example_line(key, at))
        });
        self.refuse(
            Problem::error(format!("`{key}` must be {expected}, not {}", node.kind()))
                .mark(&node.at, format!("expected {expected}"))
                .maybe_help(help),
        );
    }
}

/// A text that is none of the allowed ones.
fn not_a_word(key: &str, node: &Node, words: &[(&str, Option<&str>)]) -> Problem {
    let names: Vec<_> = words.iter().map(|(word, _)| *word).collect();
    let (title, meant) = match node.as_str() {
        Some(text) => (
            format!("`{key}` cannot be `{text}`"),
            catalog::nearest(text, names.iter().copied()),
        ),
        None => (format!("`{key}` must be a text, not {}", node.kind()), None),
    };
    Problem::error(title)
        .mark(&node.at, format!("expected {}", quoted_list(&names)))
        .maybe_help(meant.map(|word| format!("did you mean `\"{word}\"`?")))
}

/// Writes words for a message: `"a", "b" or "c"`.
pub(crate) fn quoted_list(words: &[&str]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

/// Says what is expected at a place, with its article.
pub(crate) fn expected(at: At<'_>) -> String {
    match at.shape() {
        Shape::Table(_) | Shape::Tagged { .. } => "a table".to_owned(),
        Shape::Array(Some(items)) => match items.shape() {
            Shape::Table(_) | Shape::Tagged { .. } => "a list of tables".to_owned(),
            Shape::Scalar(types) if types == ["string"] => "a list of texts".to_owned(),
            Shape::Words(_) => format!("a list of {}", expected(items)),
            _ => "a list".to_owned(),
        },
        Shape::Array(None) => "a list".to_owned(),
        Shape::Words(words) => {
            let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            quoted_list(&words)
        }
        Shape::Scalar(types) => {
            let names: Vec<_> = types.iter().map(|name| scalar_name(name, at)).collect();
            or_list(&names)
        }
        Shape::Choice(alternatives) => {
            let names: Vec<_> = alternatives.into_iter().map(expected).collect();
            or_list(&names)
        }
    }
}

fn scalar_name(name: &str, at: At<'_>) -> String {
    match (name, at.format()) {
        ("string", Some("human-duration")) => "a duration with its unit",
        ("string", Some("human-size")) => "a size with its unit",
        ("string", Some("path")) => "a path",
        ("string", _) => "a text",
        ("integer", _) => "a whole number",
        ("number", _) => "a number",
        ("boolean", _) => "`true` or `false`",
        _ => "another value",
    }
    .to_owned()
}

fn or_list(names: &[String]) -> String {
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => names.concat(),
    }
}

fn fits(leaf: &Leaf, types: &[&str]) -> bool {
    // Without a type, everything is allowed.
    types.is_empty()
        || types.iter().any(|name| {
            matches!(
                (*name, leaf),
                ("string", Leaf::Text(_))
                    | ("integer", Leaf::Integer(_))
                    | ("number", Leaf::Integer(_) | Leaf::Float(_))
                    | ("boolean", Leaf::Boolean(_))
            )
        })
}

/// Whether the value is at least of the type that is expected.
fn type_fits(node: &Node, at: At<'_>) -> bool {
    match (at.shape(), &node.data) {
        (Shape::Table(_) | Shape::Tagged { .. }, Data::Table(_))
        | (Shape::Array(_), Data::Array(_))
        | (Shape::Words(_), Data::Leaf(Leaf::Text(_))) => true,
        (Shape::Scalar(types), Data::Leaf(leaf)) => fits(leaf, &types),
        (Shape::Choice(alternatives), _) => alternatives
            .into_iter()
            .any(|alternative| type_fits(node, alternative)),
        _ => false,
    }
}

/// The usual slips: quotes too many, quotes or units too few, brackets forgotten.
fn type_help(node: &Node, at: At<'_>) -> Option<String> {
    let shape = at.shape();
    match (&node.data, &shape) {
        (Data::Leaf(Leaf::Text(text)), Shape::Scalar(_) | Shape::Choice(_)) => {
            let plain = text.trim();
            let bare = toml::de::DeValue::parse(plain).ok()?;
            let bare = Node::from_toml(bare, &|_| node.at.clone());
            (bare.as_str().is_none() && type_fits(&bare, at))
                .then(|| format!("write it without quotes: `{plain}`"))
        }
        (Data::Leaf(Leaf::Integer(number)), Shape::Scalar(_))
            if at.format() == Some("human-duration") =>
        {
            Some(format!(
                "write it with its unit, such as `\"{number}s\"`, `\"{number} min\"` or `\"{number} days\"`"
            ))
        }
        (Data::Leaf(leaf), Shape::Array(Some(items))) => {
            let text = written(leaf);
            type_fits(node, *items).then(|| format!("write it as a list: `[{text}]`"))
        }
        _ => None,
    }
}

fn written(leaf: &Leaf) -> String {
    match leaf {
        Leaf::Text(text) => toml::Value::String(text.clone()).to_string(),
        Leaf::Boolean(value) => value.to_string(),
        Leaf::Integer(text) | Leaf::Float(text) => text.clone(),
        Leaf::Datetime(value) => value.to_string(),
    }
}

/// A line that would be right, from the key's example.
pub(crate) fn example_line(key: &str, at: At<'_>) -> Option<String> {
    let example = at.example().filter(|example| !example.is_object())?;
    let value = toml::Value::try_from(example).ok()?;
    Some(format!("for example `{} = {value}`", key_text(key)))
}

/// The keys of a section, when none is near what was written.
fn known_keys(section: &str, shape: &TableShape<'_>) -> String {
    let list: Vec<_> = shape.keys.keys().map(|name| format!("`{name}`")).collect();
    if section.is_empty() {
        format!("the sections and keys here are {}", list.join(", "))
    } else {
        format!("the keys here are {}", list.join(", "))
    }
}
