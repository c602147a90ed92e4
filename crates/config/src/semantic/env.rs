//! Rules for `[env]`.

pub(super) mod variables;

use std::path::Path;

use super::Rules;
use crate::problem::Problem;
use crate::settings::{PythonEnvConfig, is_environment_name};
use crate::tree::Step;

mod r;

/// Where nothing can be kept that everybody has to reach after every boot.
const NOT_BELOW: [&str; 4] = ["/home", "/root", "/run", "/proc"];

/// An account that builds packages.
const BUILDER: &str = "for example `build_as = \"lyceum-build\"`";

impl Rules<'_> {
    pub(super) fn env(&mut self) {
        let env = &self.config.env;
        let below = |folder: &&str| env.folder.starts_with(folder);
        if !env.folder.is_absolute() {
            self.refuse(
                "env.folder",
                "must be a folder",
                "expected a path",
                "write the whole path, beginning with a slash",
            );
        } else if let Some(folder) = NOT_BELOW.iter().find(|folder| below(folder)) {
            let label = format!("not everybody can read what is below {folder} at all times");
            let help = "for example `folder = \"/opt/lyceum/envs\"`";
            self.refuse("env.folder", "cannot be there", &label, help);
        } else if env.folder.as_os_str().as_encoded_bytes().contains(&b':') {
            self.refuse(
                "env.folder",
                "cannot be used",
                "its path has a colon, which separates the entries of PATH",
                "for example `folder = \"/opt/lyceum/envs\"`",
            );
        }
        let missing = !env.python.is_empty() && !env.python.contains_key(&env.default);
        if missing && self.node("env.default").is_some() {
            let names: Vec<_> = env.python.keys().map(|name| format!("`{name}`")).collect();
            let help = format!("there are {}", names.join(", "));
            let what = "is not one of the Python environments";
            self.refuse("env.default", what, "no such environment", &help);
        }
        self.variables();
        self.servers_elsewhere();
        for (name, environment) in &self.config.env.python {
            self.environment_name(&["env", "python"], name);
            self.python_environment(name, environment);
        }
        self.r_libraries();
    }

    /// Checks the name of an environment of some kind.
    pub(super) fn environment_name(&mut self, section: &[&str], name: &str) {
        if is_environment_name(name) {
            return;
        }
        let mut path: Vec<Step> = section.iter().map(|key| Step::from(*key)).collect();
        path.push(Step::from(name));
        let problem = Problem::error(format!("`{name}` cannot be the name of an environment"))
            .help("what people see is its `title`, which can be any text");
        let label = "expected up to 64 letters, digits, hyphens and underscores, and not `current`";
        self.fault(&path, true, problem, label);
    }

    /// Refuses the account that runs `lyceum serve`: what it runs would be ended after each step of a build, and what it
    /// owns would be open to packages' programs.
    fn builder(&mut self, at: &[Step], account: &str) {
        if account == self.config.broker.client {
            let problem =
                Problem::error(format!("`{account}` cannot build packages")).help(BUILDER);
            let label = "`lyceum serve` runs under this account (`broker.client`)";
            self.fault(at, false, problem, label);
        }
    }

    fn python_environment(&mut self, name: &str, environment: &PythonEnvConfig) {
        let key = |key: &str| ["env", "python", name, key].map(Step::from);
        let mut fault = |at: &str, what: String, label: &str, help: &str| {
            let problem = Problem::error(what).help(help);
            self.fault(&key(at), false, problem, label);
        };
        let blank = |text: &str| text.trim().is_empty();
        if environment.title.as_deref().is_some_and(blank) {
            let what = format!("the title of the environment `{name}` is empty");
            fault(
                "title",
                what,
                "expected a text",
                "leave it out for the name",
            );
        }
        for (at, path) in [
            ("requirements", &environment.requirements),
            ("wheels", &environment.wheels),
        ] {
            if path.as_deref().is_some_and(|path| !path.is_absolute()) {
                let what = format!("`{at}` of the environment `{name}` must be a path");
                let help = "write the whole path, beginning with a slash";
                fault(at, what, "expected a path", help);
            }
        }
        let python = environment.python.as_str();
        if !(python.is_empty() || is_version(python) || Path::new(python).is_absolute()) {
            let what = format!("`{python}` names no Python");
            let help = "for example `python = \"3.13\"` or `python = \"/usr/bin/python3.11\"`";
            fault("python", what, "expected a version or a path", help);
        }
        if blank(&environment.build_as) {
            let what = format!("`build_as` of the environment `{name}` is empty");
            fault("build_as", what, "expected an account", BUILDER);
        }
        self.builder(&key("build_as"), &environment.build_as);
        for (index, module) in environment.smoke.iter().enumerate() {
            if !is_module(module) {
                let problem = Problem::error(format!("`{module}` is not the name of a module"))
                    .help("for example `smoke = [\"pandas\", \"sklearn.linear_model\"]`");
                let path = [&key("smoke")[..], &[Step::from(index)]].concat();
                self.fault(&path, false, problem, "expected a name as after `import`");
            }
        }
    }
}

/// Whether it is a version of Python: `3`, `3.13` or `3.13.1`.
fn is_version(text: &str) -> bool {
    let digits = |part: &str| part.bytes().all(|c| c.is_ascii_digit());
    let number = |part: &str| (1..=3).contains(&part.len()) && digits(part);
    let parts = text.split('.').count();
    (1..=3).contains(&parts) && text.split('.').all(number)
}

/// Whether it can stand after `import`.
fn is_module(text: &str) -> bool {
    let letter = |c: char| c.is_alphabetic() || c == '_';
    text.split('.').all(|part| {
        part.starts_with(letter) && part.chars().all(|c| letter(c) || c.is_alphanumeric())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_modules_are_told_from_other_texts() {
        for good in ["3", "3.13", "3.13.1"] {
            assert!(is_version(good), "{good}");
        }
        for bad in ["", "python3", "3.", "3.13.1.1", "+3", "3.1x", "-3"] {
            assert!(!is_version(bad), "{bad}");
        }
        for good in ["pandas", "sklearn.linear_model", "_x", "a1"] {
            assert!(is_module(good), "{good}");
        }
        for bad in ["", "1a", "a..b", "a b", "import os", "a;b", "a-b"] {
            assert!(!is_module(bad), "{bad}");
        }
    }
}
