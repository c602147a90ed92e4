//! The lock file of a library: exactly which packages, from where, with which checksums, for which R.
//!
//! Which packages are wanted stands in the list; here is what was chosen for them, with all that they need.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::Locked;
use super::error::{RError, io};
use super::list::{Method, PackageList, is_archive_address, is_package_name, is_version, quoted};
use crate::digest::hex;

/// The name of the lock of a generation, in its folder.
pub(super) const FILE: &str = "packages.lock";

/// The method of packages that the machine has and that are not the distribution's.
const MACHINE: &str = "machine";

/// A lock file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RLock {
    /// Where it is, for messages.
    path: PathBuf,
    /// The version of R that it was made with.
    pub(super) r: String,
    /// Stands for the list that it was made from.
    pub(super) list: String,
    pub(super) packages: BTreeMap<String, Exact>,
}

/// One package, exactly.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Exact {
    pub(super) version: String,
    pub(super) origin: Origin,
    /// What has to be installed before it.
    pub(super) needs: Vec<String>,
    /// With whose headers it is compiled.
    pub(super) linking: Vec<String>,
}

/// Where a package comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Origin {
    /// The machine has it: a package of the distribution with its version, if it is one.
    #[default]
    Machine,
    Debian {
        package: String,
        version: String,
    },
    /// An archive of a repository.
    Repository {
        method: Method,
        address: String,
        sha256: String,
    },
    /// What an entry of the list says: with the commit, or the SHA-256 of the archive, if there is such a thing.
    Entry {
        method: Method,
        identity: String,
    },
}

impl RLock {
    /// Where the lock of a list lies: beside it.
    pub fn beside(list: &Path) -> PathBuf {
        list.with_extension("lock")
    }

    /// Reads a lock file.
    pub fn read(path: &Path) -> Result<Self, RError> {
        let text = fs::read_to_string(path).map_err(io("read", path))?;
        Self::parse(&text, path)
    }

    pub(super) fn new(r: String, list: &PackageList, packages: BTreeMap<String, Exact>) -> Self {
        Self {
            path: PathBuf::from(FILE),
            r,
            list: digest(list),
            packages,
        }
    }

    /// Refuses a lock that is for another R or another list.
    pub(super) fn check(&self, series: &str, list: &PackageList) -> Result<(), RError> {
        if super::RVersion::parse(&self.r).is_none_or(|version| version.series() != series) {
            return Err(RError::OtherR {
                path: self.path.clone(),
                locked: self.r.clone(),
                wanted: series.to_owned(),
            });
        }
        if self.list != digest(list) {
            return Err(RError::StaleLock {
                path: self.path.clone(),
            });
        }
        Ok(())
    }

    /// The same for a list that asks for the same packages in other words.
    pub(super) fn of_list(self, list: &PackageList) -> Self {
        Self {
            list: digest(list),
            ..self
        }
    }

    fn parse(text: &str, path: &Path) -> Result<Self, RError> {
        let fail = |problem: String| RError::Lock {
            path: path.to_owned(),
            problem,
        };
        let file: File = toml::from_str(text)
            .map_err(|error| fail(error.message().trim().replace('\n', "; ")))?;
        let mut packages = BTreeMap::new();
        for table in file.package {
            let name = table.name.clone();
            let exact = table
                .exact()
                .map_err(|problem| fail(format!("the package `{name}`: {problem}")))?;
            if packages.insert(name.clone(), exact).is_some() {
                return Err(fail(format!("the package `{name}` stands in it twice")));
            }
        }
        for (name, one) in &packages {
            if let Some(need) = one
                .needs
                .iter()
                .chain(&one.linking)
                .find(|need| !packages.contains_key(*need))
            {
                return Err(fail(format!(
                    "the package `{name}` needs `{need}`, which is not in it"
                )));
            }
        }
        Ok(Self {
            path: path.to_owned(),
            r: file.r,
            list: file.list,
            packages,
        })
    }

    /// The text of the file, for the library of this name.
    pub(super) fn to_toml(&self, name: &str) -> String {
        let mut text = format!(
            "# The exact packages of the R library `{name}`, written by `lyceum env r build`; with --from-lock it builds just\n\
             # these. Change the list, and not this file; `lyceum env r upgrade` takes newer ones.\n\
             r = {}\nlist = {}\n",
            quoted(&self.r),
            quoted(&self.list)
        );
        for (name, one) in &self.packages {
            let mut line = |key: &str, value: &str| {
                if !value.is_empty() {
                    let _ = writeln!(text, "{key} = {}", quoted(value));
                }
            };
            line("\n[[package]]\nname", name);
            line("version", &one.version);
            match &one.origin {
                Origin::Machine => line("method", MACHINE),
                Origin::Debian { package, version } => {
                    line("method", "apt");
                    line("package", &format!("{package}={version}"));
                }
                Origin::Repository {
                    method,
                    address,
                    sha256,
                } => {
                    line("method", method.as_str());
                    line("source", address);
                    line("sha256", sha256);
                }
                Origin::Entry { method, identity } => {
                    line("method", method.as_str());
                    line(identity_key(*method), identity);
                }
            }
            for (key, names) in [("needs", &one.needs), ("linking", &one.linking)] {
                if !names.is_empty() {
                    let names: Vec<String> = names.iter().map(|name| quoted(name)).collect();
                    let _ = writeln!(text, "{key} = [{}]", names.join(", "));
                }
            }
        }
        text
    }
}

impl Locked {
    /// Where it came from; `None` for what is not understood, from another version of ours.
    pub(super) fn origin(&self) -> Option<Origin> {
        Some(match Method::of(&self.method)? {
            Method::Apt => return None,
            method @ (Method::Cran | Method::Bioc) => Origin::Repository {
                method,
                address: self.source.clone(),
                sha256: self.identity.clone(),
            },
            method => Origin::Entry {
                method,
                identity: self.identity.clone(),
            },
        })
    }
}

fn identity_key(method: Method) -> &'static str {
    match method {
        Method::Git | Method::Github => "commit",
        _ => "sha256",
    }
}

/// Stands for what a list asks for; its order, its comments and what is required are no part of that.
fn digest(list: &PackageList) -> String {
    let mut lines: Vec<String> = list
        .entries
        .iter()
        .map(|entry| {
            let text = |value: &Option<String>| value.clone().unwrap_or_default();
            [
                entry.name.clone(),
                entry.method.to_string(),
                text(&entry.locator),
                text(&entry.version),
                text(&entry.sha256),
            ]
            .join("\t")
        })
        .collect();
    lines.sort();
    hex(&Sha256::digest(lines.join("\n")))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    r: String,
    list: String,
    #[serde(default)]
    package: Vec<Table>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    name: String,
    version: String,
    method: String,
    package: Option<String>,
    source: Option<String>,
    sha256: Option<String>,
    commit: Option<String>,
    #[serde(default)]
    needs: Vec<String>,
    #[serde(default)]
    linking: Vec<String>,
}

impl Table {
    fn exact(self) -> Result<Exact, String> {
        if let Some(name) = [&self.name]
            .into_iter()
            .chain(&self.needs)
            .chain(&self.linking)
            .find(|name| !is_package_name(name))
        {
            return Err(format!("`{name}` cannot be a package"));
        }
        if !is_version(&self.version) {
            return Err(format!("`{}` is no version", self.version));
        }
        Ok(Exact {
            origin: self.origin()?,
            version: self.version,
            needs: self.needs,
            linking: self.linking,
        })
    }

    fn origin(&self) -> Result<Origin, String> {
        let is_hex = |text: &str, lengths: &[usize]| {
            lengths.contains(&text.len())
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        };
        let sum = || match &self.sha256 {
            Some(sum) if !is_hex(sum, &[64]) => {
                Err("a sha256 has 64 hexadecimal digits".to_owned())
            }
            sum => Ok(sum.clone().unwrap_or_default()),
        };
        if self.method == MACHINE {
            return Ok(Origin::Machine);
        }
        let method = Method::of(&self.method)
            .ok_or_else(|| format!("there is no method `{}`", self.method))?;
        let identity = match method {
            Method::Apt => {
                let text = self.package.as_deref().unwrap_or_default();
                return debian(text).ok_or_else(|| {
                    format!(
                        "`{text}` is no package with its version, such as `r-cran-zoo=1.8-12-1`"
                    )
                });
            }
            Method::Cran | Method::Bioc => {
                let address = self.source.clone().unwrap_or_default();
                let sha256 = sum()?;
                if !is_archive_address(&address) || sha256.is_empty() {
                    return Err("it needs the address of an archive, and its sha256".to_owned());
                }
                return Ok(Origin::Repository {
                    method,
                    address,
                    sha256,
                });
            }
            Method::Git | Method::Github => self
                .commit
                .clone()
                .filter(|commit| is_hex(commit, &[40, 64]))
                .ok_or("it needs a whole commit")?,
            Method::Url => Some(sum()?)
                .filter(|sum| !sum.is_empty())
                .ok_or("it needs a sha256")?,
            Method::Local => sum()?,
        };
        Ok(Origin::Entry { method, identity })
    }
}

/// Reads `r-cran-zoo=1.8-12-1`.
fn debian(text: &str) -> Option<Origin> {
    let (package, version) = text.split_once('=')?;
    (is_debian(package, "+-.") && is_debian(version, "+-.~:")).then(|| Origin::Debian {
        package: package.to_owned(),
        version: version.to_owned(),
    })
}

/// Whether a text is a name or version of Debian's, which no program can take for an option.
fn is_debian(text: &str, signs: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text
            .chars()
            .all(|one| one.is_ascii_alphanumeric() || signs.contains(one))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> PackageList {
        PackageList::parse(text, Path::new("base.toml")).unwrap()
    }

    fn exact(origin: Origin) -> Exact {
        Exact {
            version: "1.0-2".to_owned(),
            origin,
            ..Exact::default()
        }
    }

    #[test]
    fn a_lock_is_written_and_read_and_knows_its_list() {
        let wanted = list("cran = [\"lyca\", \"zoo\"]");
        let repository = Origin::Repository {
            method: Method::Cran,
            address: "https://cran.example/src/contrib/lyca_1.0-2.tar.gz".to_owned(),
            sha256: "a".repeat(64),
        };
        let debian = Origin::Debian {
            package: "r-cran-zoo".to_owned(),
            version: "1:1.8-12~bpo-1".to_owned(),
        };
        let git = Origin::Entry {
            method: Method::Git,
            identity: "b".repeat(40),
        };
        let mut lyca = exact(repository);
        lyca.needs = vec!["zoo".to_owned()];
        lyca.linking = vec!["rcpp".to_owned()];
        let packages = BTreeMap::from([
            ("lyca".to_owned(), lyca),
            ("zoo".to_owned(), exact(debian)),
            ("rcpp".to_owned(), exact(Origin::Machine)),
            ("lycgit".to_owned(), exact(git)),
        ]);
        let lock = RLock::new("4.2.2".to_owned(), &wanted, packages);
        let read = RLock::parse(&lock.to_toml("base"), Path::new(FILE)).unwrap();
        assert_eq!(read, lock);
        lock.check("4.2", &list("# Others say\ncran = [\"zoo\", \"lyca\"]"))
            .unwrap();
        let stale = lock.check("4.2", &list("cran = [\"zoo\"]")).unwrap_err();
        assert!(matches!(stale, RError::StaleLock { .. }), "{stale}");
        let other = lock.check("4.5", &wanted).unwrap_err();
        assert!(
            other
                .to_string()
                .contains("is for R 4.2.2, and this is R 4.5"),
            "{other}"
        );
    }

    #[test]
    fn what_is_no_lock_is_refused_with_the_reason() {
        let lock = |package: &str| {
            let text = format!("r = \"4.2.2\"\nlist = \"x\"\n[[package]]\n{package}");
            RLock::parse(&text, Path::new("base.lock"))
                .unwrap_err()
                .to_string()
        };
        for (package, problem) in [
            (
                "name = \"../x\"\nversion = \"1.0\"\nmethod = \"cran\"",
                "cannot be a package",
            ),
            (
                "name = \"zoo\"\nversion = \"../1\"\nmethod = \"cran\"",
                "is no version",
            ),
            (
                "name = \"zoo\"\nversion = \"1.0\"\nmethod = \"cran\"",
                "needs the address of an archive",
            ),
            (
                "name = \"zoo\"\nversion = \"1.0\"\nmethod = \"apt\"\npackage = \"--purge=1\"",
                "is no package with its version",
            ),
            (
                "name = \"zoo\"\nversion = \"1.0\"\nmethod = \"git\"\ncommit = \"main\"",
                "needs a whole commit",
            ),
            (
                "name = \"zoo\"\nversion = \"1.0\"\nmethod = \"url\"\nsha256 = \"12\"",
                "64 hexadecimal digits",
            ),
            (
                "name = \"zoo\"\nversion = \"1.0\"\nmethod = \"magic\"",
                "no method `magic`",
            ),
            (
                "name = \"zoo\"\nversion = \"1.0\"\nmethod = \"machine\"\nneeds = [\"gone\"]",
                "needs `gone`, which is not in it",
            ),
        ] {
            let said = lock(package);
            assert!(
                said.starts_with("base.lock: ") && said.contains(problem),
                "{said}"
            );
        }
    }
}
