//! Which environment and which generations are meant.

use lyceum_config::settings::{Config, EnvConfig};
use lyceum_envs::library::{Library, Settings};

use crate::cli;
use crate::cli::env::check_builders;
use crate::cli::{ConfigArgs, Report};
use crate::wire;

/// Loads a configuration; it may have no Python environment.
pub(super) fn read(config: &ConfigArgs) -> Result<Config, Report> {
    let config = cli::config::load_to_prepare(config)?.config;
    check_builders(&config)?;
    Ok(config)
}

/// Loads a configuration that has Python environments.
pub(super) fn load(config: &ConfigArgs) -> Result<Config, Report> {
    let config = read(config)?;
    if config.env.python.is_empty() {
        return Err(
            Report::text("error: no Python environment is configured").hint(
                "add a section `[env.python.base]`; `lyceum config explain env.python` tells more",
            ),
        );
    }
    Ok(config)
}

/// The environments that are meant: the one that is named, or all.
pub(super) fn names(config: &Config, name: Option<&str>) -> Result<Vec<String>, Report> {
    match name {
        Some(name) => library(config, Some(name)).map(|_| vec![name.to_owned()]),
        None => Ok(config.env.python.keys().cloned().collect()),
    }
}

/// The environment of this name, or the default one.
pub(in crate::cli) fn library(config: &Config, name: Option<&str>) -> Result<Library, Report> {
    let env = &config.env;
    let name = name.or_else(|| env.default_python()).unwrap_or_default();
    let known = || {
        let names: Vec<_> = env.python.keys().map(|name| format!("`{name}`")).collect();
        Report::text(format!("error: there is no Python environment `{name}`"))
            .hint(format!("configured are {}", names.join(", ")))
            .code(2)
    };
    let (Some(one), Some(requirements)) = (env.python.get(name), env.python_requirements(name))
    else {
        return Err(known());
    };
    let usual = Settings::new(name, &env.folder, &requirements);
    Ok(Library::new(Settings {
        title: one.title(name).to_owned(),
        python: one.python.clone(),
        keep: one.keep,
        serves: wire::python::starts_jupyter(config, name),
        smoke: one.smoke.clone(),
        user_packages: one.user_packages,
        wheels: one.wheels.clone(),
        build_as: one.build_as.clone(),
        ..usual
    }))
}

/// Refuses names of environments where packages are named: other commands take the environment just so, and what an index
/// has under that name is a stranger's. Whoever names the environment, too, means packages.
pub(super) fn refuse_environments(
    env: &EnvConfig,
    name: Option<&str>,
    packages: &[String],
) -> Result<(), Report> {
    let meant = packages.iter().find(|one| env.python.contains_key(*one));
    match (name, meant) {
        (None, Some(found)) => Err(Report::text(format!(
            "error: `{found}` is the name of an environment"
        ))
        .hint(format!(
            "name the environment with --env {found}; if the package is meant, with --env {}",
            env.default_python().unwrap_or("NAME")
        ))
        .code(2)),
        _ => Ok(()),
    }
}

/// Tells names of environments from numbers of generations.
pub(super) fn split(
    env: &EnvConfig,
    words: &[String],
    most: usize,
) -> Result<(Option<String>, Vec<u32>), Report> {
    let mut rest = words;
    let mut name = None;
    if let Some((first, others)) = words.split_first()
        && (env.python.contains_key(first) || first.parse::<u32>().is_err())
    {
        name = Some(first.clone());
        rest = others;
    }
    let numbers: Result<Vec<u32>, _> = rest.iter().map(|word| word.parse()).collect();
    match numbers {
        Ok(numbers) if numbers.len() <= most => Ok((name, numbers)),
        _ => Err(Report::text("error: a generation is a number".to_owned())
            .hint("`lyceum env python list` lists what there is")
            .code(2)),
    }
}

#[cfg(test)]
mod tests {
    use lyceum_config::settings::PythonEnvConfig;

    use super::*;

    #[test]
    fn an_environment_is_not_taken_for_a_package() {
        let mut env = EnvConfig::default();
        for name in ["base", "stats"] {
            env.python
                .insert(name.to_owned(), PythonEnvConfig::default());
        }
        let packages = ["six".to_owned(), "stats".to_owned()];
        assert!(refuse_environments(&env, None, &packages).is_err());
        refuse_environments(&env, Some("base"), &packages).unwrap();
        refuse_environments(&env, None, &packages[..1]).unwrap();
    }

    #[test]
    fn names_and_numbers_are_told_apart() {
        let mut env = EnvConfig::default();
        env.python
            .insert("base".to_owned(), PythonEnvConfig::default());
        env.python
            .insert("7".to_owned(), PythonEnvConfig::default());
        let words = |text: &str| {
            text.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let split = |text: &str| split(&env, &words(text), 2);
        let named = |name: &str| Some(name.to_owned());
        assert_eq!(split("").unwrap(), (None, vec![]));
        assert_eq!(split("base").unwrap(), (named("base"), vec![]));
        assert_eq!(split("3 4").unwrap(), (None, vec![3, 4]));
        assert_eq!(split("base 3").unwrap(), (named("base"), vec![3]));
        assert_eq!(split("7 3").unwrap(), (named("7"), vec![3]));
        assert_eq!(split("other").unwrap(), (named("other"), vec![]));
        assert!(split("base x").is_err());
        assert!(split("1 2 3").is_err());
    }
}
