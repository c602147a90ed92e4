//! Finds the R versions of the machine: the distribution's, and those below `/opt/R`.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use super::error::RError;

/// Where R lies on usual machines; each version has a folder of its own below the second.
const PROGRAM: &str = "/usr/bin/R";
const OPT: &str = "/opt/R";
/// The home of the R for which `r-cran-*` packages are made.
const DISTRIBUTION_HOME: &str = "/usr/lib/R";

/// A version of R, which sorts by its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RVersion {
    /// The first number.
    pub major: u32,
    /// The second: packages are installed for the first two.
    pub minor: u32,
    /// The third.
    pub patch: u32,
}

impl RVersion {
    /// Reads `4.2.2`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.trim().split('.').map(|part| part.parse().ok());
        let version = Self {
            major: numbers.next()??,
            minor: numbers.next()??,
            patch: numbers.next()??,
        };
        numbers.next().is_none().then_some(version)
    }

    /// The first two numbers, as in `4.2`: packages that are installed for one such pair do not fit another.
    pub fn series(&self) -> String {
        format!("{}.{}", self.major, self.minor)
    }
}

impl fmt::Display for RVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// An R of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interpreter {
    /// The program `R`.
    pub program: PathBuf,
    /// `R.home()`: the folder with R's own packages.
    pub home: PathBuf,
    /// Its version.
    pub version: RVersion,
}

impl Interpreter {
    /// Looks at a program `R`, without starting it: the home is written in it, and the version beside it.
    pub fn at(program: &Path) -> Option<Self> {
        let real = program.canonicalize().ok()?;
        let home = home_beside(&real).or_else(|| home_in(&real))?;
        let description = fs::read_to_string(home.join("library/base/DESCRIPTION")).ok()?;
        let version = description
            .lines()
            .find_map(|line| line.strip_prefix("Version:"))
            .and_then(RVersion::parse)?;
        Some(Self {
            program: program.to_owned(),
            home,
            version,
        })
    }

    /// The program that runs scripts.
    pub(super) fn script_program(&self) -> PathBuf {
        let beside = self.home.join("bin/Rscript");
        if beside.is_file() {
            beside
        } else {
            self.program.with_file_name("Rscript")
        }
    }

    /// Whether packages of the distribution (`r-cran-*`) are made for it.
    pub fn is_distributions(&self) -> bool {
        self.home == Path::new(DISTRIBUTION_HOME)
    }
}

/// `/usr/lib/R/bin/R` lies in its home.
fn home_beside(program: &Path) -> Option<PathBuf> {
    let home = program.parent()?.parent()?;
    home.join("library/base/DESCRIPTION")
        .is_file()
        .then(|| home.to_owned())
}

/// The script `R` says where its home is: `R_HOME_DIR=/opt/R/4.3.1/lib/R`.
fn home_in(program: &Path) -> Option<PathBuf> {
    let text = fs::read(program).ok()?;
    let text = String::from_utf8_lossy(&text);
    let home = text
        .lines()
        .find_map(|line| line.strip_prefix("R_HOME_DIR="))?
        .trim_matches('"');
    let home = Path::new(home);
    home.is_absolute().then(|| home.to_owned())
}

/// Finds all R versions of this machine, the oldest first.
pub fn find_all() -> Vec<Interpreter> {
    find_in(Path::new(PROGRAM), Path::new(OPT))
}

fn find_in(program: &Path, opt: &Path) -> Vec<Interpreter> {
    let mut found: Vec<Interpreter> = Interpreter::at(program).into_iter().collect();
    for entry in fs::read_dir(opt).into_iter().flatten().flatten() {
        if let Some(one) = Interpreter::at(&entry.path().join("bin/R"))
            && found.iter().all(|other| other.home != one.home)
        {
            found.push(one);
        }
    }
    found.sort_by(|a, b| (a.version, &a.program).cmp(&(b.version, &b.program)));
    found
}

/// Finds the R that is asked for: a path, a version such as `4.3` or `4.3.1`, or with "" the distribution's, else the
/// newest.
pub fn find(asked: &str) -> Result<Interpreter, RError> {
    choose(asked, &find_all())
}

fn choose(asked: &str, all: &[Interpreter]) -> Result<Interpreter, RError> {
    let listed = |all: &[Interpreter]| {
        all.iter()
            .map(|one| format!("R {} at {}", one.version, one.program.display()))
            .collect()
    };
    let none = |all: &[Interpreter]| RError::NoR {
        asked: (!asked.is_empty()).then(|| asked.to_owned()),
        found: listed(all),
    };
    if asked.starts_with('/') {
        return Interpreter::at(Path::new(asked)).ok_or_else(|| none(all));
    }
    let fits = |one: &&Interpreter| {
        if asked.is_empty() {
            one.program == Path::new(PROGRAM)
        } else {
            asked == one.version.to_string() || asked == one.version.series()
        }
    };
    let found = all.iter().rev().find(fits);
    let found = found.or_else(|| all.last().filter(|_| asked.is_empty()));
    found.cloned().ok_or_else(|| none(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(root: &Path, version: &str) -> PathBuf {
        let home = root.join(version).join("lib/R");
        let program = root.join(version).join("bin/R");
        fs::create_dir_all(home.join("library/base")).unwrap();
        fs::create_dir_all(program.parent().unwrap()).unwrap();
        let description = format!("Package: base\nVersion: {version}\nPriority: base\n");
        fs::write(home.join("library/base/DESCRIPTION"), description).unwrap();
        let script = format!("#!/bin/sh\nR_HOME_DIR={}\n", home.display());
        fs::write(&program, script).unwrap();
        program
    }

    #[test]
    fn versions_are_found_and_sorted_by_their_numbers() {
        let root = tempfile::tempdir().unwrap();
        for version in ["4.10.0", "4.9.3", "4.9.12"] {
            make(root.path(), version);
        }
        fs::create_dir_all(root.path().join("broken/bin")).unwrap();
        let found = find_in(Path::new("/nonexistent"), root.path());
        let versions: Vec<_> = found.iter().map(|one| one.version.to_string()).collect();
        assert_eq!(versions, ["4.9.3", "4.9.12", "4.10.0"]);
        let chosen = |asked| choose(asked, &found).map(|one| one.version.to_string());
        assert_eq!(chosen("4.9").unwrap(), "4.9.12");
        assert_eq!(chosen("4.9.3").unwrap(), "4.9.3");
        assert_eq!(chosen("").unwrap(), "4.10.0");
        let error = chosen("3.6").unwrap_err();
        assert_eq!(error.to_string(), "found no R that is 3.6");
        assert!(error.hint().unwrap().contains("R 4.9.12 at "), "{error:?}");
        assert!(Interpreter::at(Path::new("/bin/sh")).is_none());
    }

    #[test]
    fn the_distributions_r_is_found_without_starting_it() {
        let found = Interpreter::at(Path::new(PROGRAM))
            .expect("this test needs R: apt install r-base-core");
        assert!(found.is_distributions());
        assert!(found.script_program().is_file());
    }
}
