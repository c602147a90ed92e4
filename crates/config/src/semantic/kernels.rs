//! Rules for `[kernels]`.

use super::Rules;
use crate::problem::Problem;
use crate::settings::{KernelConfig, is_environment_name};
use crate::tree::Step;

/// The name of the kernel that every environment has for itself.
const OWN: &str = "python3";

impl Rules<'_> {
    pub(super) fn kernels(&mut self) {
        for (name, kernel) in &self.config.kernels {
            self.kernel_name(name);
            self.kernel(name, kernel);
        }
    }

    fn kernel_name(&mut self, name: &str) {
        let (what, help, label) = if name == OWN {
            let help =
                "its packages and its Python are those of the environment, see `[env.python]`";
            let label = "this name is taken";
            ("is the environment's own kernel", help, label)
        } else if !is_environment_name(name) || name.chars().any(|c| c.is_ascii_uppercase()) {
            let help = "what people see is its `title`, which can be any text";
            let label = "expected up to 64 lower-case letters, digits, hyphens and underscores";
            ("cannot be the name of a kernel", help, label)
        } else {
            return;
        };
        let problem = Problem::error(format!("`{name}` {what}")).help(help);
        self.fault(&["kernels", name].map(Step::from), true, problem, label);
    }

    fn kernel(&mut self, name: &str, kernel: &KernelConfig) {
        let sources = [
            kernel.python.is_some(),
            kernel.r.is_some(),
            kernel.path.is_some(),
            !kernel.argv.is_empty(),
        ];
        let (environments, libraries) = (&self.config.env.python, &self.config.env.r);
        let key = |key: &str| ["kernels", name, key].map(Step::from);
        let mut fault = |at: Option<&str>, what: String, label: &str, help: &str| {
            let problem = Problem::error(what).help(help);
            match at {
                Some(at) => self.fault(&key(at), false, problem, label),
                None => self.fault(&["kernels", name].map(Step::from), true, problem, label),
            }
        };
        if sources.iter().filter(|is_set| **is_set).count() != 1 {
            let what = format!("the kernel `{name}` must say in one way what it runs");
            let label = "expected exactly one of `python`, `r`, `path` and `argv`";
            let help = "for example `python = \"stats-2026\"`, an environment of `[env.python]`";
            fault(None, what, label, help);
        }
        if let Some(environment) = &kernel.python
            && !environments.contains_key(environment)
        {
            let names: Vec<_> = environments.keys().map(|one| format!("`{one}`")).collect();
            let help = if names.is_empty() {
                format!("there is none yet: add `[env.python.{environment}]`")
            } else {
                format!("there are {}", names.join(", "))
            };
            let what = format!("`{environment}` is not one of the Python environments");
            fault(Some("python"), what, "no such environment", &help);
        }
        if let Some(library) = &kernel.r
            && library != "system"
            && !libraries.contains_key(library)
        {
            let what = format!("`{library}` is not one of the libraries of R");
            let help = "add `[env.r.NAME]`, or write `system` for the R of this machine";
            fault(Some("r"), what, "no such library", help);
        }
        if let Some(title) = &kernel.title
            && (title.trim().is_empty() || title.chars().any(char::is_control))
        {
            let what = format!("the title of the kernel `{name}` is no text");
            let help = "leave it out for a title with language, version and name";
            fault(Some("title"), what, "expected a text of one line", help);
        }
        if kernel
            .path
            .as_deref()
            .is_some_and(|path| !path.is_absolute())
        {
            let what = format!("`path` of the kernel `{name}` must be a path");
            let help = "write the whole path, beginning with a slash";
            fault(Some("path"), what, "expected a path", help);
        }
        if let Some(program) = kernel.argv.first() {
            if !program.starts_with('/') {
                // A name would be looked for on the PATH of each user's server.
                let what = format!("the kernel `{name}` must name its program by whole path");
                let help = "write the whole path, beginning with a slash";
                fault(Some("argv"), what, "expected a path first", help);
            } else if !kernel
                .argv
                .iter()
                .any(|one| one.contains("{connection_file}"))
            {
                let what = format!("the kernel `{name}` is not told its connection file");
                let help =
                    "for example `argv = [\"/usr/local/bin/kernel\", \"{connection_file}\"]`";
                fault(Some("argv"), what, "`{connection_file}` is missing", help);
            }
        }
        match (&kernel.language, kernel.argv.is_empty()) {
            (None, false) => {
                let what = format!("the kernel `{name}` does not say its language");
                let help = "for example `language = \"bash\"`";
                fault(None, what, "`language` goes with `argv`", help);
            }
            (Some(_), true) => {
                let what = format!("the kernel `{name}` knows its language");
                let help = "leave it out";
                fault(Some("language"), what, "`language` goes with `argv`", help);
            }
            _ => {}
        }
        for variable in kernel.environment.keys() {
            if !is_variable(variable) {
                let problem = Problem::error(format!("`{variable}` cannot be a variable"))
                    .help("for example `environment = { OMP_NUM_THREADS = \"2\" }`");
                let path = [&key("environment")[..], &[Step::from(variable.as_str())]].concat();
                let label = "expected letters, digits and underscores";
                self.fault(&path, true, problem, label);
            }
        }
    }
}

fn is_variable(name: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(letter) && name.chars().all(|c| letter(c) || c.is_ascii_digit())
}
