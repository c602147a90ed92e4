//! Rules about roles, groups, custom scopes and services: what is wrong with them is found where they are read.

use std::os::unix::fs::PermissionsExt as _;

use super::Rules;
use crate::problem::Problem;
use crate::source::{Origin, Place};
use crate::tree::{Step, path_text};

impl Rules<'_> {
    pub(super) fn declared(&mut self) {
        let (_, _, faults) = self.config.read_declared();
        for fault in faults {
            let key = path_text(&fault.path);
            // A role names a service whose entry is wrong elsewhere: enough is said.
            let service_unusable = fault.path.get(2) == Some(&Step::Key("services".to_owned()))
                && self.unusable.iter().any(|key| key.starts_with("services"));
            // Without its kind, nothing can be said of the keys of a service.
            let kind_unusable = fault.path.get(..2).is_some_and(|entry| {
                let kind = format!("{}.kind", path_text(entry));
                self.unusable.contains(&kind)
            });
            if !self.usable(&[&key]) || service_unusable || kind_unusable {
                continue;
            }
            let mut problem = if fault.is_warning {
                Problem::warning(fault.title)
            } else {
                Problem::error(fault.title)
            };
            problem = match self.place(&fault.path, fault.is_key) {
                Some(at) => problem.mark(&at, fault.label),
                None => problem.note(fault.label),
            };
            if let Some((path, label)) = fault.other
                && let Some(at) = self.place(&path, false)
            {
                problem = problem.mark(&at, label);
            }
            self.report.add(problem.maybe_help(fault.help));
        }
        self.inline_tokens();
    }

    /// Where a value is written; what is not set points at what it belongs to.
    pub(super) fn place(&self, path: &[Step], is_key: bool) -> Option<Place> {
        let (last, parents) = path.split_last()?;
        if is_key && let Step::Key(key) = last {
            let table = self.tree.find(parents)?.as_table()?;
            return Some(table.get(key)?.key_at.clone());
        }
        match self.tree.find(path) {
            Some(node) => Some(node.at.clone()),
            None => self.place(parents, false),
        }
    }

    /// Tokens in a file that everybody on this machine can read.
    fn inline_tokens(&mut self) {
        for (index, service) in self.config.services.iter().enumerate() {
            if service.api_token.is_none() {
                continue;
            }
            let path = [
                Step::Key("services".to_owned()),
                Step::Index(index),
                Step::Key("api_token".to_owned()),
            ];
            let Some(at) = self.place(&path, false) else {
                continue;
            };
            let Origin::File { path: file, .. } = self.sources.origin(&at) else {
                continue;
            };
            let open = std::fs::metadata(&file)
                .is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0);
            if open {
                let title = format!(
                    "everybody on this machine can read the token of the service `{}`",
                    service.name
                );
                let problem = Problem::warning(title)
                    .mark(&at, "a secret")
                    .help("write it into a file of its own, and name that in `api_token_file`")
                    .help(format!(
                        "or keep this file to its owner: chmod 600 '{}'",
                        file.display()
                    ));
                self.report.add(problem);
            }
        }
    }
}
