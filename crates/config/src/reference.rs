//! Writes the reference page of all settings, as Markdown.

use std::fmt::Write as _;

use crate::catalog::{self, Kind, Setting};
use crate::explain::{default_text, example, first_sentence, type_text, words};
use crate::schema::{At, Schema, Shape};
use crate::show::steps;

const HEAD: &str = "\
# Configuration reference

<!-- Made from the comments in the source; `UPDATE_DOCS=1 cargo test -p lyceum-config` writes it again. -->

Lyceum reads `/etc/lyceum/lyceum.toml`, or the file that `--config` names. No file is needed: every setting has a
default. `lyceum config check` tells everything that is wrong, `lyceum config show` what is in force and where each
value comes from, `lyceum config explain KEY` what stands on this page.

Later sources win over earlier ones:

1. the defaults on this page;
2. the file;
3. the files `*.toml` of the folder beside it (`lyceum.d` for `lyceum.toml`), in the order of their names;
4. environment variables: `LYCEUM_`, section and key in capitals, joined by two underscores, such as
   `LYCEUM_HUB__BASE_URL=/jupyter/`. Lists may be written with commas: `LYCEUM_ACCESS__ADMIN_USERS=ada,bob`;
5. flags of the command line.

Tables are merged key by key, everything else is replaced as a whole, lists too, except that the entries of
`[[services]]` and `[[roles]]` of all sources are taken together. A section whose `kind` changes starts
afresh. Relative paths belong to the folder of the file that they stand in. Durations are texts with units: `\"500ms\"`,
`\"30s\"`, `\"5 min\"`, `\"2h\"`, `\"14 days\"`.

Secrets do not belong in the file. Settings whose names end in `password_file` name a file of their own for each, which
nobody else can read.
";

/// Writes the reference page of all settings, as Markdown.
pub fn reference_page() -> String {
    let schema = Schema::new();
    let settings = catalog::settings(schema.root());
    let mut page = HEAD.to_owned();
    let top: Vec<_> = settings
        .iter()
        .filter(|setting| {
            let is_section = |section: &catalog::Section<'_>| section.name == setting.key;
            setting.section().is_empty() && !catalog::sections(schema.root()).iter().any(is_section)
        })
        .collect();
    if !top.is_empty() {
        page.push_str("\n## The top of the file\n\nBefore the first section.\n");
        for setting in top {
            write_setting(&mut page, setting, &schema);
        }
    }
    for section in catalog::sections(schema.root()) {
        let _ = write!(page, "\n## `{}`\n", catalog::section_heading(&section));
        if let Some(doc) = section.at.doc() {
            let _ = write!(page, "\n{}\n", doc.trim());
        }
        let mut last = None;
        for setting in settings.iter().filter(|setting| {
            setting
                .key
                .strip_prefix(section.name)
                .is_some_and(|rest| rest.starts_with(['.', '[']))
        }) {
            if setting.kind.as_ref() != last {
                last = setting.kind.as_ref();
                if let Some(kind) = last {
                    write_kind(&mut page, kind, &schema);
                }
            }
            write_setting(&mut page, setting, &schema);
        }
    }
    page
}

fn write_kind(page: &mut String, kind: &Kind<'_>, schema: &Schema) {
    let Kind { table, tag, name } = kind;
    let _ = write!(page, "\n### `[{table}]` with `{tag} = \"{name}\"`\n");
    let found = schema.root().find(&steps(table), &|_, _| None);
    if let Some(Shape::Tagged { variants, .. }) = found.map(At::shape)
        && let Some(doc) = variants
            .iter()
            .find(|(variant, _)| variant == name)
            .and_then(|(_, at)| at.doc())
    {
        let _ = write!(page, "\n{}\n", doc.trim());
    }
}

fn write_setting(page: &mut String, setting: &Setting<'_>, schema: &Schema) {
    let _ = write!(page, "\n#### `{}`\n", setting.key);
    if let Some(doc) = setting.at.doc() {
        let _ = write!(page, "\n{}\n", doc.trim());
    }
    let words = words(setting, schema);
    if !words.is_empty() {
        page.push('\n');
        for (word, doc) in words {
            let meaning = doc.map(first_sentence).unwrap_or_default();
            let line = format!("- `\"{word}\"`: {meaning}");
            let _ = writeln!(page, "{}", line.trim_end_matches([':', ' ']));
        }
    }
    let _ = write!(
        page,
        "\nType: {}. Default: {}.\n",
        type_text(setting, schema),
        match &setting.default {
            Some(_) => format!("`{}`", default_text(setting)),
            None => default_text(setting),
        }
    );
    if let Some(example) = example(setting) {
        let head = heading(setting);
        let needed = needed(setting, schema);
        let _ = write!(page, "\n```toml\n{head}{needed}{example}\n```\n");
    }
}

/// The lines that an example needs before it, to be a file of its own.
fn heading(setting: &Setting<'_>) -> String {
    let section = setting.section();
    if section.is_empty() {
        return String::new();
    }
    let heading = format!("{}\n", catalog::heading(section));
    match &setting.kind {
        Some(kind) if kind.table == section => {
            format!("{heading}{} = \"{}\"\n", kind.tag, kind.name)
        }
        Some(kind) => format!(
            "{}.{} = \"{}\"\n\n{heading}",
            kind.table, kind.tag, kind.name
        ),
        None => heading,
    }
}

/// The lines of other keys without which the table of an example cannot be.
fn needed(setting: &Setting<'_>, schema: &Schema) -> String {
    catalog::settings(schema.root())
        .iter()
        .filter(|other| {
            other.is_required && other.section() == setting.section() && other.key != setting.key
        })
        .filter_map(example)
        .chain(setting.at.needs().map(str::to_owned))
        .flat_map(|line| [line, "\n".to_owned()])
        .collect()
}

/// Writes the JSON Schema of the file, for editors that complete and check while one types.
pub fn json_schema() -> String {
    let schema = Schema::new();
    let mut text = format!("{:#}", schema.value());
    text.push('\n');
    text
}
