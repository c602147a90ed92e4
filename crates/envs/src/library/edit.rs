//! Adds packages to the text of a requirements file, and takes them out: all else stays as somebody wrote it.
//!
//! Nothing is read or written here. Files that the text names are not looked into.

use std::collections::BTreeSet;
use std::path::Path;

use super::requirements::{Line, is_comment, normalized, parse_line, without_comment};
use crate::error::EnvError;

/// What became of the packages that were named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edited {
    /// The new text.
    pub(crate) text: String,
    /// Names that were there, normalized.
    pub(crate) found: BTreeSet<String>,
}

/// Adds requirements. One of a package that stands there already takes the place of its line, with its comment.
pub(crate) fn add(path: &Path, text: &str, wanted: &[String]) -> Result<Edited, EnvError> {
    let mut result = Edited {
        text: text.to_owned(),
        found: BTreeSet::new(),
    };
    for requirement in wanted {
        let name = name_of(path, requirement)?;
        let mut blocks = blocks(&result.text);
        let place = name.as_deref().and_then(|name| {
            blocks
                .iter_mut()
                .find(|block| block.name(path).as_deref() == Some(name))
        });
        if let Some(block) = place {
            result.found.extend(name);
            block.replace(requirement);
        } else {
            if let Some(last) = blocks.last_mut()
                && !last.text.ends_with('\n')
            {
                last.text.push('\n');
            }
            blocks.push(Block {
                text: format!("{requirement}\n"),
            });
        }
        result.text = joined(&blocks);
    }
    Ok(result)
}

/// Takes packages out. The caller compares what was found with what was asked for.
pub(crate) fn remove(path: &Path, text: &str, names: &BTreeSet<String>) -> Edited {
    let mut found = BTreeSet::new();
    let mut blocks = blocks(text);
    blocks.retain(|block| match block.name(path) {
        Some(name) if names.contains(&name) => {
            found.insert(name);
            false
        }
        _ => true,
    });
    Edited {
        text: joined(&blocks),
        found,
    }
}

/// The name in a requirement of the command line.
pub(crate) fn name_of(path: &Path, requirement: &str) -> Result<Option<String>, EnvError> {
    let refuse = |what: String, help: String| EnvError::BadPackage {
        package: requirement.to_owned(),
        what,
        help,
    };
    let folder = path.parent().unwrap_or(Path::new("/"));
    match parse_line(requirement.trim(), folder) {
        Ok(Line::Requirement(found)) => Ok(found.name),
        Ok(_) => Err(refuse(
            "it is an option, and no package".to_owned(),
            format!("write options into {}", path.display()),
        )),
        Err(fault) => Err(refuse(fault.what, fault.help)),
    }
}

/// A logical line with its line ends: several lines where a backslash continues them.
struct Block {
    text: String,
}

impl Block {
    /// The line without its comment and continuation.
    fn content(&self) -> String {
        let lines = super::requirements::logical_lines(&self.text);
        lines
            .into_iter()
            .next()
            .map_or(String::new(), |(_, line)| line)
    }

    fn name(&self, path: &Path) -> Option<String> {
        let content = self.content();
        let folder = path.parent().unwrap_or(Path::new("/"));
        match parse_line(&content, folder) {
            Ok(Line::Requirement(found)) => found.name,
            _ => None,
        }
    }

    /// Puts another requirement in, and keeps the comment after it and the line's end.
    fn replace(&mut self, requirement: &str) {
        let last = self.text.lines().next_back().unwrap_or_default();
        let comment = last.get(without_comment(last).len()..).unwrap_or_default();
        let mut text = requirement.trim().to_owned();
        if !comment.is_empty() {
            text.push_str("  ");
            text.push_str(comment);
        }
        if self.text.ends_with('\n') {
            text.push('\n');
        }
        self.text = text;
    }
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut goes_on = false;
    for line in text.split_inclusive('\n') {
        let ends = line.trim_end_matches(['\n', '\r']);
        if goes_on && let Some(last) = blocks.last_mut() {
            last.text.push_str(line);
        } else {
            blocks.push(Block {
                text: line.to_owned(),
            });
        }
        goes_on = ends.ends_with('\\') && !is_comment(ends);
    }
    blocks
}

fn joined(blocks: &[Block]) -> String {
    blocks.iter().map(|block| block.text.as_str()).collect()
}

/// The names, normalized, of packages as a person writes them.
pub(crate) fn names(packages: &[String]) -> BTreeSet<String> {
    packages.iter().map(|name| normalized(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "/srv/course/base.txt";
    const TEXT: &str = "\
# The first week
numpy>=2  # numbers

pandas[excel]==2.2 \\
    --hash=sha256:00 \\
    --hash=sha256:11 \\
    # still the same
-r more.txt
six";

    fn added(wanted: &[&str]) -> Edited {
        let wanted: Vec<_> = wanted.iter().map(|&text| text.to_owned()).collect();
        add(Path::new(FILE), TEXT, &wanted).unwrap()
    }

    #[test]
    fn a_new_package_comes_last_and_all_else_stays() {
        let edited = added(&["scipy>=1.14", "./wheels/x-1-py3-none-any.whl"]);
        let expected = format!("{TEXT}\nscipy>=1.14\n./wheels/x-1-py3-none-any.whl\n");
        assert_eq!(edited.text, expected);
        assert!(edited.found.is_empty());
        let empty = add(Path::new(FILE), "", &["six".to_owned()]).unwrap();
        assert_eq!(empty.text, "six\n");
    }

    #[test]
    fn a_known_package_is_changed_in_its_place() {
        let edited = added(&["NumPy>=2.1", "Pandas", "six==1.17"]);
        let expected = "\
# The first week
NumPy>=2.1  # numbers

Pandas  # still the same
-r more.txt
six==1.17";
        assert_eq!(edited.text, expected);
        assert_eq!(edited.found.len(), 3);
    }

    #[test]
    fn packages_are_taken_out_with_their_continued_lines() {
        let names = names(&["Pandas".to_owned(), "six".to_owned(), "scipy".to_owned()]);
        let edited = remove(Path::new(FILE), TEXT, &names);
        assert_eq!(
            edited.text,
            "# The first week\nnumpy>=2  # numbers\n\n-r more.txt\n"
        );
        assert_eq!(edited.found.len(), 2);
        assert_eq!(remove(Path::new(FILE), TEXT, &BTreeSet::new()).text, TEXT);
    }

    #[test]
    fn a_comment_that_ends_in_a_backslash_is_not_part_of_the_next_package() {
        let text = "# see C:\\\nnumpy\n";
        let path = Path::new(FILE);
        let edited = add(path, text, &["numpy>=2".to_owned()]).unwrap();
        assert_eq!(edited.text, "# see C:\\\nnumpy>=2\n");
        let edited = remove(path, text, &names(&["numpy".to_owned()]));
        assert_eq!(edited.text, "# see C:\\\n");
    }

    #[test]
    fn options_and_nonsense_are_no_packages() {
        for bad in ["-e .", "--pre", "-r x.txt", "a b", ""] {
            let error = add(Path::new(FILE), TEXT, &[bad.to_owned()]).unwrap_err();
            assert!(
                matches!(error, EnvError::BadPackage { .. }),
                "{bad}: {error}"
            );
        }
    }
}
