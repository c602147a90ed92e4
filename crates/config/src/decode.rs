//! Makes the settings out of the tree, and finds out which value is at fault when one of them cannot be read.

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeValue, Deserializer};

use crate::check::example_line;
use crate::problem::{Problem, Report};
use crate::schema::Schema;
use crate::tree::{Data, Node, Step, path_text};

/// How many values are left out before giving up: each takes another reading of the whole.
const MAX_FAULTS: usize = 100;

/// Makes the settings, leaving out every value that cannot be read after reporting it.
///
/// `removed` are the values that were taken out of the tree before: people count what they have written. `None` if what
/// remains cannot be read either, or there are too many of them; the report then says why.
pub(crate) fn decode<T: DeserializeOwned>(
    tree: &mut Node,
    removed: &[Vec<Step>],
    schema: &Schema,
    report: &mut Report,
) -> (Option<T>, Vec<Vec<Step>>) {
    let mut unusable = Vec::new();
    loop {
        let fault = match attempt::<T>(tree) {
            Ok(settings) => return (Some(settings), unusable),
            Err(fault) => locate::<T>(tree, fault),
        };
        let written = as_written(&fault.path, removed, &unusable);
        report.add(problem(tree, schema, &fault, &written));
        if !tree.remove(&fault.path) {
            return (None, unusable);
        }
        unusable.push(written);
        if unusable.len() >= MAX_FAULTS {
            return (None, unusable);
        }
    }
}

/// The way to a value in the tree as it was before others were taken out of the same lists.
fn as_written(path: &[Step], removed: &[Vec<Step>], unusable: &[Vec<Step>]) -> Vec<Step> {
    let mut written: Vec<Step> = Vec::with_capacity(path.len());
    for step in path {
        let Step::Index(mut index) = *step else {
            written.push(step.clone());
            continue;
        };
        let mut gone: Vec<usize> = removed
            .iter()
            .chain(unusable)
            .filter_map(|other| match other.split_last()? {
                (Step::Index(index), list) if list == written => Some(*index),
                _ => None,
            })
            .collect();
        gone.sort_unstable();
        for before in gone {
            if before <= index {
                index += 1;
            }
        }
        written.push(Step::Index(index));
    }
    written
}

/// Why and where reading failed.
#[derive(Debug, PartialEq, Eq)]
struct Fault {
    path: Vec<Step>,
    message: String,
}

fn attempt<T: DeserializeOwned>(tree: &Node) -> Result<T, Fault> {
    let mut ways = Vec::new();
    let value = tree.numbered(&mut Vec::new(), &mut ways);
    let span = value.span();
    let DeValue::Table(table) = value.into_inner() else {
        return Err(Fault {
            path: Vec::new(),
            message: "expected a table".to_owned(),
        });
    };
    T::deserialize(Deserializer::from(Spanned::new(span, table))).map_err(|error| Fault {
        path: error
            .span()
            .and_then(|span| ways.get(span.start).cloned())
            .unwrap_or_default(),
        message: error.message().to_owned(),
    })
}

/// Narrows a fault down to one value.
///
/// Inside a tagged table serde cannot tell the place any more. The value at fault is then the one without which
/// reading gets further.
fn locate<T: DeserializeOwned>(tree: &Node, fault: Fault) -> Fault {
    let Some(node) = tree.find(&fault.path) else {
        return fault;
    };
    let mut leaves = Vec::new();
    collect_leaves(node, &mut fault.path.clone(), &mut leaves);
    for path in leaves {
        if path == fault.path {
            return fault;
        }
        let mut without = tree.clone();
        without.remove(&path);
        let left = attempt::<T>(&without).err();
        // Without a value that must be there, reading gets no further.
        let is_needed = left
            .as_ref()
            .is_some_and(|left| left.message.starts_with("missing field"));
        if !is_needed && left.as_ref() != Some(&fault) {
            return Fault {
                path,
                message: fault.message,
            };
        }
    }
    fault
}

fn collect_leaves(node: &Node, path: &mut Vec<Step>, leaves: &mut Vec<Vec<Step>>) {
    match &node.data {
        Data::Leaf(_) => leaves.push(path.clone()),
        Data::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                path.push(Step::Index(index));
                collect_leaves(item, path, leaves);
                path.pop();
            }
        }
        Data::Table(table) => {
            for (key, entry) in table {
                path.push(Step::Key(key.clone()));
                collect_leaves(&entry.node, path, leaves);
                path.pop();
            }
        }
    }
}

fn problem(tree: &Node, schema: &Schema, fault: &Fault, written: &[Step]) -> Problem {
    let key = path_text(written);
    let message = fault.message.trim_end_matches(['\n', ' ']);
    let problem = if key.is_empty() {
        Problem::error(format!("the configuration cannot be used: {message}"))
    } else {
        Problem::error(format!("`{key}` cannot be used"))
    };
    let Some(node) = tree.find(&fault.path).filter(|_| !key.is_empty()) else {
        return problem;
    };
    let at = schema
        .root()
        .find(&fault.path, &|path, tag| tag_in(tree, path, tag));
    let help = match (fault.path.last(), at) {
        (Some(Step::Key(key)), Some(at)) => example_line(key, at),
        _ => None,
    };
    problem.mark(&node.at, message).maybe_help(help)
}

/// The tag that the tree gives to a tagged table.
pub(crate) fn tag_in(tree: &Node, path: &[Step], tag: &str) -> Option<String> {
    let table = tree.find(path)?.as_table()?;
    Some(table.get(tag)?.node.as_str()?.to_owned())
}
