//! Rules for `[env.r]`.

use std::path::Path;

use super::{BUILDER, Rules};
use crate::problem::Problem;
use crate::settings::REnvConfig;
use crate::tree::Step;

impl Rules<'_> {
    pub(super) fn r_libraries(&mut self) {
        let env = &self.config.env;
        let missing = !env.r.is_empty() && !env.r.contains_key(&env.default_r);
        if missing && self.node("env.default_r").is_some() {
            let names: Vec<_> = env.r.keys().map(|name| format!("`{name}`")).collect();
            let help = format!("there are {}", names.join(", "));
            let what = "is not one of the R libraries";
            self.refuse("env.default_r", what, "no such library", &help);
        }
        for (name, library) in &self.config.env.r {
            self.environment_name(&["env", "r"], name);
            self.r_library(name, library);
        }
    }

    fn r_library(&mut self, name: &str, library: &REnvConfig) {
        let key = |key: &str| ["env", "r", name, key].map(Step::from);
        let mut fault = |path: &[Step], what: String, label: &str, help: &str| {
            let problem = Problem::error(what).help(help);
            self.fault(path, false, problem, label);
        };
        let r = library.r.as_str();
        if !(r.is_empty() || is_version(r) || Path::new(r).is_absolute()) {
            let help = "for example `r = \"4.5\"` or `r = \"/opt/R/4.5.1/bin/R\"`";
            fault(
                &key("r"),
                format!("`{r}` names no R"),
                "expected a version or a path",
                help,
            );
        }
        if library
            .packages
            .as_deref()
            .is_some_and(|path| !path.is_absolute())
        {
            let what = format!("`packages` of the library `{name}` must be a path");
            let help = "write the whole path, beginning with a slash";
            fault(&key("packages"), what, "expected a path", help);
        }
        for (index, address) in library.repositories.iter().enumerate() {
            let path = [&key("repositories")[..], &[Step::from(index)]].concat();
            if let Some((label, help)) = address_fault(address) {
                fault(
                    &path,
                    "this repository cannot be asked".to_owned(),
                    label,
                    help,
                );
            }
        }
        if let Some((label, help)) = address_fault(&library.bioconductor) {
            fault(
                &key("bioconductor"),
                "Bioconductor cannot be asked there".to_owned(),
                label,
                help,
            );
        }
        if library.build_as.trim().is_empty() {
            let what = format!("`build_as` of the library `{name}` is empty");
            fault(&key("build_as"), what, "expected an account", BUILDER);
        }
        self.builder(&key("build_as"), &library.build_as);
    }
}

/// Says why this is no address of a repository.
fn address_fault(address: &str) -> Option<(&'static str, &'static str)> {
    let host = ["https://", "http://", "file:///"]
        .iter()
        .find_map(|scheme| address.strip_prefix(scheme));
    let Some(host) = host else {
        return Some((
            "expected an address that begins with https://, http:// or file:///",
            "for example `https://cloud.r-project.org`",
        ));
    };
    if host.is_empty() || !address.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Some((
            "expected a whole address",
            "for example `https://cloud.r-project.org`",
        ));
    }
    let authority = host.split('/').next().unwrap_or_default();
    authority.contains('@').then_some((
        "a name and a password in it would be seen in logs and lists of processes",
        "ask for a mirror that needs none, or make a local one",
    ))
}

/// Whether it is a version of R: `4.5` or `4.5.1`.
fn is_version(text: &str) -> bool {
    let number = |part: &str| {
        (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    (2..=3).contains(&text.split('.').count()) && text.split('.').all(number)
}
