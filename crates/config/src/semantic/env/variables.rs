//! Rules about what `[env]` gives to servers and shells.

use crate::problem::Problem;
use crate::semantic::Rules;
use crate::tree::Step;

/// What belongs to the login, to the system's own programs, or to us. In every login shell of the machine, they would do
/// more than anybody means.
const REFUSED: [&str; 12] = [
    "BASH_ENV",
    "ENV",
    "HOME",
    "IFS",
    "LOGNAME",
    "PATH",
    "PWD",
    "PYTHONHOME",
    "PYTHONPATH",
    "SHELL",
    "TERM",
    "USER",
];
const REFUSED_STARTS: [&str; 3] = ["JUPYTERHUB_", "LD_", "LYCEUM_"];

impl Rules<'_> {
    pub(super) fn variables(&mut self) {
        for (name, value) in &self.config.env.variables {
            let path = ["env", "variables", name].map(Step::from);
            if !is_variable(name) {
                let problem = Problem::error(format!("`{name}` cannot be a variable of shells"))
                    .help("for example `NLTK_DATA`");
                let label = "expected letters, digits and underscores, and no digit first";
                self.fault(&path, true, problem, label);
            } else if is_refused(name) {
                let title = format!("`{name}` cannot be set for every shell of the machine");
                let problem = Problem::error(title)
                    .help("for servers alone, `spawner.environment` can set it");
                self.fault(&path, true, problem, "the system's or Lyceum's own");
            }
            if value.contains(char::is_control) {
                let title = format!("the value of `{name}` is of more than a line");
                let problem = Problem::error(title).help("leave out line breaks and tabulators");
                self.fault(&path, false, problem, "expected one line");
            }
        }
    }

    /// Servers run from an environment only if their program is looked for there.
    pub(super) fn servers_elsewhere(&mut self) {
        let command = self.config.spawner.command();
        let elsewhere = command.first().is_some_and(|program| program.contains('/'));
        if self.config.env.python.is_empty() || !elsewhere || !self.usable(&["spawner.command"]) {
            return;
        }
        let problem = Problem::warning("servers are not started from the Python environments")
            .help("with `command = [\"jupyterhub-singleuser\"]`, the default, they are");
        let keys = [("spawner.command", "names a program at a place of its own")];
        self.add(problem, &keys);
    }
}

/// Whether it is not ours to give to every shell.
pub(in crate::semantic) fn is_refused(name: &str) -> bool {
    REFUSED.contains(&name) || REFUSED_STARTS.iter().any(|start| name.starts_with(start))
}

/// Whether every shell takes it as a name.
pub(in crate::semantic) fn is_variable(name: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(letter) && name.chars().all(|c| letter(c) || c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_variables_are_those_that_every_shell_takes() {
        for good in ["NLTK_DATA", "_x", "a1"] {
            assert!(is_variable(good), "{good}");
        }
        for bad in ["", "1A", "A-B", "A=B", "A B", "Ä", "A;id"] {
            assert!(!is_variable(bad), "{bad}");
        }
    }
}
