//! What differs between two sets of packages.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::version::compare;

/// What became of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Its name.
    pub name: String,
    /// What became of it.
    pub kind: ChangeKind,
    /// Its version before; `None` if it was not there.
    pub before: Option<String>,
    /// Its version after; `None` if it is not there any more.
    pub after: Option<String>,
}

/// The ways in which a package can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// It was not there before.
    Added,
    /// It is not there any more.
    Removed,
    /// It has a later version.
    Up,
    /// It has an earlier version.
    Down,
    /// It comes from elsewhere.
    Changed,
}

/// Compares the versions of packages, by their names.
pub(crate) fn changes(
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
) -> Vec<Change> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let mut changes: Vec<Change> = names
        .into_iter()
        .filter_map(|name| {
            let (old, new) = (before.get(name), after.get(name));
            let kind = match (old, new) {
                (None, _) => ChangeKind::Added,
                (_, None) => ChangeKind::Removed,
                (Some(old), Some(new)) if old == new => return None,
                (Some(old), Some(new)) if is_address(old) || is_address(new) => ChangeKind::Changed,
                (Some(old), Some(new)) => match compare(old, new) {
                    Ordering::Less => ChangeKind::Up,
                    Ordering::Greater => ChangeKind::Down,
                    // Spelled in another way: the same version.
                    Ordering::Equal => return None,
                },
            };
            Some(Change {
                name: name.clone(),
                kind,
                before: old.cloned(),
                after: new.cloned(),
            })
        })
        .collect();
    changes.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    changes
}

fn is_address(version: &str) -> bool {
    version.contains("://")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_package_that_changed_is_told_once() {
        let set = |list: &[(&str, &str)]| {
            list.iter()
                .map(|(name, version)| ((*name).to_owned(), (*version).to_owned()))
                .collect::<BTreeMap<_, _>>()
        };
        let before = set(&[
            ("a", "1.9"),
            ("b", "2.0"),
            ("c", "1"),
            ("d", "1.0"),
            ("e", "1"),
            ("f", "1"),
        ]);
        let after = set(&[
            ("a", "1.10"),
            ("b", "2.0rc1"),
            ("d", "1.0.0"),
            ("e", "1"),
            ("f", "git+https://example.org/f@0"),
            ("g", "3"),
        ]);
        let found: Vec<_> = changes(&before, &after)
            .into_iter()
            .map(|change| (change.name, change.kind))
            .collect();
        let expected = [
            ("g", ChangeKind::Added),
            ("c", ChangeKind::Removed),
            ("a", ChangeKind::Up),
            ("b", ChangeKind::Down),
            ("f", ChangeKind::Changed),
        ];
        assert_eq!(found, expected.map(|(name, kind)| (name.to_owned(), kind)));
    }
}
