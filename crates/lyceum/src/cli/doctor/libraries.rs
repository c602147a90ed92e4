//! Whether the libraries of R that are configured are built for the R that they are for.

use lyceum_certs::Verdict;
use lyceum_config::settings::Config;
use lyceum_envs::r::{RError, RLibrary, SiteFiles, find};

use super::Finding;

/// Looks at all of them; starts no R.
pub(super) fn check(config: &Config) -> Vec<Finding> {
    let names = config.env.r.keys();
    names
        .map(|name| one(config, name).unwrap_or_else(|error| failed(name, &error)))
        .collect()
}

fn failed(name: &str, error: &RError) -> Finding {
    Finding::bad(
        Verdict::Problem,
        format!("the R library `{name}`: {error}"),
        error
            .hint()
            .unwrap_or_else(|| "`lyceum env r list` tells more".to_owned()),
    )
}

fn one(config: &Config, name: &str) -> Result<Finding, RError> {
    let env = &config.env;
    let asked = env.r.get(name).map_or("", |one| one.r.as_str());
    let is_set_up = env.r.get(name).is_none_or(|one| one.site_files);
    let interpreter = find(asked)?;
    let library = RLibrary::new(&env.folder, name)?;
    let series = interpreter.version.series();
    let Some(number) = library.find_current(&series) else {
        let others = library.series();
        let what = if others.is_empty() {
            format!("the R library `{name}` is not built yet")
        } else {
            format!(
                "the R library `{name}` is not built for R {series}, only for {}",
                others.join(", ")
            )
        };
        let hint = format!("`lyceum env r build --library {name} --switch`");
        return Ok(Finding::bad(Verdict::Warning, what, hint));
    };
    let is_default = env.default_r() == Some(name);
    if is_default && is_set_up && !SiteFiles::of(&interpreter).is_set(&library) {
        return Ok(Finding::bad(
            Verdict::Warning,
            format!("R {series} does not know of the library `{name}`"),
            "`lyceum env r setup`",
        ));
    }
    Ok(Finding::fine(format!(
        "the R library `{name}` is built for R {series}, generation {number}"
    )))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_library_that_is_not_built_and_an_r_that_is_missing_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("R");
        for folder in ["bin", "library/base"] {
            fs::create_dir_all(home.join(folder)).unwrap();
        }
        fs::write(home.join("bin/R"), "").unwrap();
        let description = home.join("library/base/DESCRIPTION");
        fs::write(description, "Package: base\nVersion: 4.5.1\n").unwrap();
        let mut config = Config::default();
        assert_eq!(check(&config), []);
        config.env.folder = dir.path().join("envs");
        let program = |name: &str| dir.path().join(name).display().to_string();
        let mut put = |name: &str, r: String| {
            config.env.r.entry(name.to_owned()).or_default().r = r;
        };
        put("base", program("R/bin/R"));
        put("gone", program("gone/R"));
        let found = check(&config);
        assert_eq!(found[0].what, "the R library `base` is not built yet");
        assert_eq!(found[0].verdict, Verdict::Warning);
        assert_eq!(found[1].verdict, Verdict::Problem);
        fs::create_dir_all(config.env.folder.join("r/base/4.4")).unwrap();
        let found = check(&config);
        assert!(found[0].what.contains("only for 4.4"), "{found:?}");
    }
}
