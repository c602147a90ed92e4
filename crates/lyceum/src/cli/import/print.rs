//! The report of an import: for people, or as JSON.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use lyceum_hub::import::{Item, Kind, Outcome, Report as Imported};
use lyceum_store::jupyterhub::Revision;
use serde_json::json;

/// How many added things of one kind are listed; those that were not taken, or taken in part, all are.
const LISTED: usize = 20;

/// What there is to be told of an import.
pub(super) struct Outline<'a> {
    pub(super) file: &'a Path,
    pub(super) revision: &'a Revision,
    pub(super) database: String,
    pub(super) applied: bool,
    /// Where the part for the configuration was written.
    pub(super) written: Option<&'a Path>,
    pub(super) imported: &'a Imported,
}

impl Outline<'_> {
    pub(super) fn json(&self) -> io::Result<String> {
        let imported = self.imported;
        let value = json!({
            "source": {
                "file": self.file.display().to_string(),
                "made_by": self.revision.made_by,
                "revision": self.revision.id,
            },
            "database": self.database,
            "applied": self.applied,
            "changes": imported.changes(),
            "items": imported.items,
            "notes": imported.notes,
            "configuration": imported.configuration,
        });
        Ok(serde_json::to_string_pretty(&value)?)
    }

    pub(super) fn text(&self) -> String {
        let mut text = format!(
            "From {} ({}, revision {}) into {}\n",
            self.file.display(),
            self.revision.made_by,
            self.revision.id,
            self.database,
        );
        for (kind, totals) in self.imported.totals() {
            let counts: Vec<String> = totals
                .iter()
                .map(|(outcome, count)| format!("{count} {}", outcome.as_str()))
                .collect();
            let _ = write!(text, "\n{}: {}\n", kind.plural(), counts.join(", "));
            self.list(kind, &mut text);
        }
        if !self.imported.notes.is_empty() {
            text.push_str("\nTo be known:\n");
            for note in &self.imported.notes {
                let _ = writeln!(text, "  - {}", one_line(note));
            }
        }
        if let Some(path) = self.written {
            let _ = write!(
                text,
                "\nThe entries for lyceum.toml are in {}: read them, and add them.\n",
                path.display()
            );
        } else if !self.imported.configuration.is_empty() {
            text.push_str("\nFor lyceum.toml (--write-config FILE writes this to a file):\n\n");
            for line in self.imported.configuration.lines() {
                let _ = writeln!(text, "{}", format!("    {line}").trim_end());
            }
        }
        text.push('\n');
        text.push_str(&self.conclusion());
        text
    }

    fn list(&self, kind: Kind, text: &mut String) {
        let mut plain = 0_usize;
        for item in self.imported.items.iter().filter(|item| item.kind == kind) {
            let is_news = match item.outcome {
                Outcome::Skipped | Outcome::Changed => true,
                Outcome::Kept => !item.notes.is_empty(),
                Outcome::Added => {
                    plain += 1;
                    plain <= LISTED
                }
            };
            if is_news {
                tell(item, text);
            }
        }
        if plain > LISTED {
            let _ = writeln!(
                text,
                "  … and {} more that are added (--json lists all)",
                plain - LISTED
            );
        }
    }

    fn conclusion(&self) -> String {
        match (self.applied, self.imported.changes()) {
            (_, 0) => {
                "Everything that can be taken is here already. Nothing is changed.".to_owned()
            }
            (true, 1) => "One thing is added or changed.".to_owned(),
            (true, changes) => format!("{changes} things are added or changed."),
            (false, 1) => {
                "This would add or change one thing. Nothing is changed yet: --apply does it."
                    .to_owned()
            }
            (false, changes) => format!(
                "This would add or change {changes} things. Nothing is changed yet: --apply does it."
            ),
        }
    }
}

fn tell(item: &Item, text: &mut String) {
    let _ = write!(
        text,
        "  {:<8}{}",
        item.outcome.as_str(),
        one_line(&item.name)
    );
    if !item.notes.is_empty() {
        let _ = write!(text, ": {}", one_line(&item.notes.join("; ")));
    }
    text.push('\n');
}

/// Makes characters visible that would do something to a terminal, or break the line.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_does_anything_to_a_terminal() {
        assert_eq!(
            one_line("a\n\u{1b}[2Jü\u{202e}"),
            "a\\n\\u{1b}[2Jü\\u{202e}"
        );
    }
}
