//! Rules about `[shared]` and `[courses]`.

use std::collections::BTreeMap;

use super::Rules;
use super::env::variables::{is_refused, is_variable};
use crate::problem::Problem;
use crate::settings::{
    SharedConfig, SharedWith, is_link_name, is_place, is_shared_name, is_timezone,
};
use crate::tree::Step;

/// What variables begin with that lead to code which runs in servers.
const CODE_STARTS: [&str; 3] = ["JPY_", "JUPYTER", "PYTHON"];

impl Rules<'_> {
    pub(super) fn shared(&mut self) {
        let mut links = BTreeMap::new();
        let mut variables = BTreeMap::new();
        for (name, shared) in &self.config.shared {
            let key = |key: &str| ["shared", name, key].map(Step::from);
            if !is_shared_name(name) {
                let title = format!("`{name}` cannot be the name of a shared folder");
                let label = "expected up to 64 letters, digits, hyphens and underscores";
                let path = ["shared", name].map(Step::from);
                self.fault(&path, true, Problem::error(title), label);
            }
            if shared.path.as_deref().is_some_and(|path| !is_place(path)) {
                let title = format!("`shared.{name}.path` must be a folder");
                let problem =
                    Problem::error(title).help("write the whole path, beginning with a slash");
                self.fault(&key("path"), false, problem, "expected a path");
            }
            self.audiences(name, shared);
            if let Some(link) = &shared.link {
                if !is_link_name(link) {
                    let title = format!("`{link}` cannot be a link in a home");
                    let label = "expected one name, without slash, and not hidden";
                    self.fault(&key("link"), false, Problem::error(title), label);
                } else if let Some(other) = links.insert(link, name) {
                    let title =
                        format!("the shared folders `{other}` and `{name}` have the same link");
                    self.fault(&key("link"), false, Problem::error(title), "the second one");
                }
            }
            if let Some(variable) = &shared.variable {
                self.variable(name, variable);
                if let Some(other) = variables.insert(variable, name) {
                    let title =
                        format!("the shared folders `{other}` and `{name}` have the same variable");
                    self.fault(
                        &key("variable"),
                        false,
                        Problem::error(title),
                        "the second one",
                    );
                }
            }
        }
    }

    fn audiences(&mut self, name: &str, shared: &SharedConfig) {
        for (key, with) in [("read", &shared.read), ("write", &shared.write)] {
            let SharedWith::Names(names) = with else {
                continue;
            };
            let path = ["shared", name, key].map(Step::from);
            if names.users.is_empty() && names.groups.is_empty() {
                let title = format!("`shared.{name}.{key}` names nobody");
                let problem = Problem::warning(title).help("write `\"nobody\"` if that is meant");
                self.fault(&path, false, problem, "no user and no group");
            }
            for (kind, all) in [("users", &names.users), ("groups", &names.groups)] {
                for (index, one) in all.iter().enumerate() {
                    let plain = one
                        .bytes()
                        .all(|c| c.is_ascii_graphic() && !b":,/".contains(&c));
                    if one.is_empty() || one.starts_with('-') || !plain {
                        let title = format!("`{one}` is no name of this machine's {kind}");
                        let place = [&path[..], &[Step::from(kind), Step::from(index)]].concat();
                        self.fault(&place, false, Problem::error(title), "expected a name");
                    }
                }
            }
        }
    }

    fn variable(&mut self, name: &str, variable: &str) {
        let path = ["shared", name, "variable"].map(Step::from);
        if !is_variable(variable) {
            let title = format!("`{variable}` cannot be a variable");
            let label = "expected letters, digits and underscores, and no digit first";
            self.fault(&path, false, Problem::error(title), label);
        } else if is_refused(variable) || CODE_STARTS.iter().any(|one| variable.starts_with(one)) {
            let title = format!("`{variable}` cannot be set for every server and shell");
            let problem =
                Problem::error(title).help("for servers alone, `spawner.environment` can set it");
            self.fault(&path, false, problem, "the system's or Lyceum's own");
        }
    }

    pub(super) fn courses(&mut self) {
        let courses = &self.config.courses;
        let folders = [
            ("courses.root", &courses.root),
            ("courses.exchange", &courses.exchange),
            ("courses.settings", &courses.settings),
        ];
        for (key, folder) in folders {
            if !is_place(folder) {
                let help = "write the whole path, beginning with a slash";
                self.refuse(key, "must be a folder", "expected a path", help);
            }
        }
        for (index, (key, folder)) in folders.iter().enumerate() {
            for (other, before) in folders.iter().take(index) {
                if folder == before && self.usable(&[key, other]) {
                    let title = format!("`{other}` and `{key}` are the same folder");
                    let problem = Problem::error(title)
                        .help("they are for different people, so each needs a place of its own");
                    self.add(problem, &[(other, "one"), (key, "the other")]);
                }
            }
        }
        if let Some(zone) = &courses.timezone
            && !is_timezone(zone)
        {
            let what = format!("cannot be used: `{zone}` is no time zone of this machine");
            let help = "for example `timezone = \"Europe/Prague\"`; the system's list is in the package `tzdata`";
            self.refuse("courses.timezone", &what, "expected a time zone", help);
        }
        if courses.execution_timeout.is_zero() {
            let help = "for example `execution_timeout = \"120s\"`";
            self.refuse(
                "courses.execution_timeout",
                "cannot be zero",
                "expected a time",
                help,
            );
        }
    }
}
