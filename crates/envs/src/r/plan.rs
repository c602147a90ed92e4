//! Chooses packages: asks R what a library needs, and understands its answer.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::{RError, io};
use super::list::Method;
use super::room::Room;
use crate::command::Step;

/// How long the repositories may take to say what they have.
const PLAN_LIMIT: Duration = Duration::from_mins(10);

/// What is to be chosen from.
#[derive(Debug, Default)]
pub(super) struct Question {
    /// Name, version or "", and method.
    pub(super) wants: Vec<(String, String, Method)>,
    pub(super) repositories: Vec<String>,
    pub(super) bioconductor: String,
    /// Libraries of the distribution and of the machine.
    pub(super) libraries: Vec<PathBuf>,
    /// The library of the generation before.
    pub(super) previous: Option<PathBuf>,
    /// What is not to be kept from it; `*` is all.
    pub(super) fresh: BTreeSet<String>,
    /// What is kept even so.
    pub(super) stay: BTreeSet<String>,
    /// What could not be got.
    pub(super) absent: BTreeSet<String>,
    /// What is there as sources.
    pub(super) sources: Vec<Description>,
    /// Whether the distribution's packages are taken before those of a repository.
    pub(super) prefer_here: bool,
}

/// What a package says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Description {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) depends: String,
    pub(super) imports: String,
    pub(super) linking: String,
}

impl Description {
    /// Reads a file `DESCRIPTION`.
    pub(super) fn parse(text: &str) -> Self {
        let fields = fields(text);
        let field = |key: &str| fields.get(key).cloned().unwrap_or_default();
        Self {
            name: field("Package"),
            version: field("Version"),
            depends: field("Depends"),
            imports: field("Imports"),
            linking: field("LinkingTo"),
        }
    }
}

/// Reads the fields of a file `DESCRIPTION`; lines that begin with a space go on.
pub(super) fn fields(text: &str) -> BTreeMap<String, String> {
    let mut fields: BTreeMap<String, String> = BTreeMap::new();
    let mut last = String::new();
    for line in text.lines() {
        if line.starts_with([' ', '\t']) {
            if let Some(value) = fields.get_mut(&last) {
                value.push(' ');
                value.push_str(line.trim());
            }
        } else if let Some((key, value)) = line.split_once(':') {
            key.clone_into(&mut last);
            fields.insert(last.clone(), value.trim().to_owned());
        }
    }
    fields
}

/// From where a package is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum From {
    /// An archive of a repository, with its MD5 if the repository tells it.
    Repository { address: String, md5: String },
    /// Just this archive, from the first of these places that has it.
    Archive {
        method: Method,
        addresses: Vec<String>,
        sha256: String,
    },
    /// Sources that have been got.
    Source,
    /// The generation before.
    Previous,
    /// A library of the machine.
    Here,
}

/// One package that was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) version: String,
    pub(super) needs: Vec<String>,
    pub(super) linking: Vec<String>,
    pub(super) from: From,
}

/// What was chosen.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) packages: BTreeMap<String, Chosen>,
    /// What cannot be had, with the reason.
    pub(super) missing: BTreeMap<String, String>,
    /// Repositories that do not answer, with the reason.
    pub(super) offline: Vec<(String, String)>,
}

/// Asks R.
pub(super) async fn ask(room: &Room<'_>, question: &Question) -> Result<Plan, RError> {
    let script = room.script("plan.R", include_str!("plan.R"))?;
    let (wishes, answers) = (room.path("wishes"), room.path("answers"));
    room.write("wishes", &question.text())?;
    let _ = fs::remove_file(&answers);
    let program = room.interpreter.script_program();
    let step = Step {
        doing: "ask the repositories what they have",
        program: program.as_os_str(),
        arguments: vec![
            OsStr::new("--vanilla"),
            script.as_os_str(),
            wishes.as_os_str(),
            answers.as_os_str(),
        ],
        environment: room.environment(),
        limit: PLAN_LIMIT,
    };
    room.run(step, "plan").await?;
    let text = super::room::read_short(&answers).map_err(io("read", &answers))?;
    parse(&text)
}

impl Question {
    fn text(&self) -> String {
        let mut lines: Vec<String> = Vec::new();
        let mut line = |parts: &[&str]| lines.push(parts.join("\t"));
        let path = |path: &Path| path.display().to_string();
        for (name, version, method) in &self.wants {
            line(&["want", name, version, method.as_str()]);
        }
        for address in &self.repositories {
            line(&["repository", address.trim_end_matches('/')]);
        }
        line(&["bioconductor", self.bioconductor.trim_end_matches('/')]);
        for folder in &self.libraries {
            line(&["library", &path(folder)]);
        }
        if let Some(folder) = &self.previous {
            line(&["previous", &path(folder)]);
        }
        for name in &self.fresh {
            line(&["fresh", name]);
        }
        for name in &self.stay {
            line(&["stay", name]);
        }
        for name in &self.absent {
            line(&["absent", name]);
        }
        for one in &self.sources {
            line(&[
                "source",
                &one.name,
                &one.version,
                &one.depends,
                &one.imports,
                &one.linking,
            ]);
        }
        if self.prefer_here {
            line(&["prefer", "here"]);
        }
        let mut text = lines.join("\n");
        text.push('\n');
        text
    }
}

fn parse(text: &str) -> Result<Plan, RError> {
    let mut plan = Plan::default();
    let mut whole = false;
    for line in text.lines() {
        let parts: Vec<&str> = line.split('\t').collect();
        let names = |text: &str| {
            text.split(',')
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect()
        };
        match parts.as_slice() {
            ["end"] => whole = true,
            ["offline", repository, reason] => {
                plan.offline
                    .push(((*repository).to_owned(), (*reason).to_owned()));
            }
            ["missing", name, reason] => {
                plan.missing
                    .entry((*name).to_owned())
                    .or_insert_with(|| (*reason).to_owned());
            }
            [kind, name, version, needs, linking, address, md5] => {
                let from = match *kind {
                    "get" => From::Repository {
                        address: (*address).to_owned(),
                        md5: (*md5).to_owned(),
                    },
                    "source" => From::Source,
                    "keep" => From::Previous,
                    "here" => From::Here,
                    _ => return Err(not_understood(line)),
                };
                if !super::list::is_package_name(name) {
                    return Err(not_understood(line));
                }
                let chosen = Chosen {
                    version: (*version).to_owned(),
                    needs: names(needs),
                    linking: names(linking),
                    from,
                };
                plan.packages.insert((*name).to_owned(), chosen);
            }
            _ => return Err(not_understood(line)),
        }
    }
    if whole {
        plan.packages
            .retain(|name, _| !plan.missing.contains_key(name));
        Ok(plan)
    } else {
        Err(not_understood("the answer ends too early"))
    }
}

fn not_understood(line: &str) -> RError {
    RError::Answer {
        answer: line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_understood_or_refused() {
        let plan = parse(
            "get\trlang\t1.1.0\tcli,glue\tcpp11\thttps://x/rlang_1.1.0.tar.gz\tabc\nmissing\tfoo\tno repository has it\nend",
        )
        .unwrap();
        let rlang = plan.packages.get("rlang").unwrap();
        assert_eq!(rlang.needs, ["cli", "glue"]);
        assert_eq!(rlang.linking, ["cpp11"]);
        assert_eq!(plan.missing.len(), 1);
        for text in [
            "get\trlang",
            "get\t../x\t1\t\t\t\t\nend",
            "",
            "offline\tx\ty",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_description_is_read_with_its_long_lines() {
        let text =
            "Package: foo\nVersion: 1.2-3\nImports: a,\n    b (>= 1.0),\n\tc\nLinkingTo: Rcpp\n";
        let read = Description::parse(text);
        assert_eq!(read.name, "foo");
        assert_eq!(read.version, "1.2-3");
        assert_eq!(read.imports, "a, b (>= 1.0), c");
        assert_eq!(read.linking, "Rcpp");
    }
}
