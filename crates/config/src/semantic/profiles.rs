//! Rules about `[profiles]`.

use lyceum_core::GroupName;
use lyceum_spawn::ProcessConfig;

use super::Rules;
use crate::problem::Problem;
use crate::settings::{ProfileConfig, is_profile_name};
use crate::tree::Step;

impl Rules<'_> {
    pub(super) fn profiles(&mut self) {
        let mut default: Option<&str> = None;
        for (name, profile) in &self.config.profiles {
            let path = ["profiles", name].map(Step::from);
            if !is_profile_name(name) {
                let problem = Problem::error(format!("`{name}` cannot be the name of a profile"))
                    .help("what people see is its `title`, which can be any text");
                let label = "expected up to 64 letters, digits, hyphens and underscores";
                self.fault(&path, true, problem, label);
            }
            self.profile(name, profile);
            if profile.default
                && let Some(other) = default.replace(name)
            {
                let title = format!("the profiles `{other}` and `{name}` are both the default");
                let problem = Problem::error(title).help("take `default` out of one of the two");
                let path = ["profiles", name, "default"].map(Step::from);
                self.fault(&path, false, problem, "the second one");
            }
        }
    }

    fn profile(&mut self, name: &str, profile: &ProfileConfig) {
        let key = |key: &str| ["profiles", name, key].map(Step::from);
        let blank = |text: &str| text.trim().is_empty();
        if profile.title.as_deref().is_some_and(blank) {
            let title = format!("the title of the profile `{name}` is empty");
            let problem = Problem::error(title).help("leave it out for the name");
            self.fault(&key("title"), false, problem, "expected a text");
        }
        if let Some(groups) = &profile.groups {
            if groups.is_empty() {
                let title = format!("nobody can choose the profile `{name}`");
                let problem =
                    Problem::warning(title).help("leave `groups` out if everybody may choose it");
                self.fault(&key("groups"), false, problem, "no group");
            }
            for (index, group) in groups.iter().enumerate() {
                if let Err(error) = GroupName::parse(group) {
                    let title = format!("`{group}` is not the name of a group");
                    let path = [&key("groups")[..], &[Step::from(index)]].concat();
                    self.fault(&path, false, Problem::error(title), &error.to_string());
                }
            }
        }
        if let Some(python) = &profile.python {
            self.profile_python(name, profile, python);
        }
        // What a server can be started with, the spawner knows.
        let usual = ProcessConfig::default();
        let started = ProcessConfig {
            command: profile.command.clone().unwrap_or(usual.command),
            environment: profile.environment.clone(),
            path: profile.path.clone(),
            default_url: profile.default_url.clone().unwrap_or_default(),
            ..usual
        };
        if let Err(error) = started.check() {
            let place = key(error.key().unwrap_or("command"));
            self.fault(
                &place,
                false,
                Problem::error(format!("in the profile `{name}`, {error}")),
                "cannot work",
            );
        }
        self.limits_of(&["profiles", name].map(Step::from), &profile.limits());
    }

    /// The environment has to be there, and the program has to be looked for in it.
    fn profile_python(&mut self, name: &str, profile: &ProfileConfig, python: &str) {
        let path = ["profiles", name, "python"].map(Step::from);
        let known = &self.config.env.python;
        if !known.contains_key(python) {
            let title = format!("there is no Python environment `{python}`");
            let names: Vec<_> = known.keys().map(|name| format!("`{name}`")).collect();
            let help = if names.is_empty() {
                format!("add a section `[env.python.{python}]`")
            } else {
                format!("there are {}", names.join(", "))
            };
            let problem = Problem::error(title).help(help);
            self.fault(&path, false, problem, "no such environment");
            return;
        }
        let usual = self.config.spawner.command();
        let command = profile.command.as_deref().unwrap_or(usual);
        if command.first().is_some_and(|program| program.contains('/')) {
            let title = format!(
                "the profile `{name}` names an environment, but its program is somewhere else"
            );
            let help = "leave `command` out, or write a plain name such as `jupyterhub-singleuser`";
            let problem = Problem::error(title).help(help);
            self.fault(&path, false, problem, "not looked for in it");
        }
    }
}
