//! One package of a list: where it comes from, and what can stand for that.

use std::fmt;
use std::path::Path;

use serde::Deserialize;

/// Where a package comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Method {
    /// A repository like CRAN, by name.
    Cran,
    /// The distribution's package, ready-made.
    Apt,
    /// Bioconductor, by name.
    Bioc,
    /// A repository on GitHub.
    Github,
    /// Any git repository.
    Git,
    /// An archive at an address.
    Url,
    /// An archive or a folder of this machine.
    Local,
}

impl Method {
    /// The word in the list.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cran => "cran",
            Self::Apt => "apt",
            Self::Bioc => "bioc",
            Self::Github => "github",
            Self::Git => "git",
            Self::Url => "url",
            Self::Local => "local",
        }
    }

    /// Reads the word.
    pub(in crate::r) fn of(word: &str) -> Option<Self> {
        [
            Self::Cran,
            Self::Apt,
            Self::Bioc,
            Self::Github,
            Self::Git,
            Self::Url,
            Self::Local,
        ]
        .into_iter()
        .find(|method| method.as_str() == word)
    }

    /// Whether a name is all that is needed to find the package.
    pub(in crate::r) fn by_name(self) -> bool {
        matches!(self, Self::Cran | Self::Apt | Self::Bioc)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One package of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The package's name, as `library()` takes it.
    pub name: String,
    /// Where it comes from.
    pub method: Method,
    /// Where exactly, for methods that need more than the name.
    pub locator: Option<String>,
    /// The version that it has to have.
    pub version: Option<String>,
    /// What the archive has to be, for `url` and `local`: 64 hexadecimal digits.
    pub sha256: Option<String>,
    /// Whether a library without it is of no use.
    pub required: bool,
}

impl Entry {
    /// An entry that needs nothing but its name.
    pub fn named(method: Method, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            method,
            locator: None,
            version: None,
            sha256: None,
            required: true,
        }
    }

    /// Reads what a person types: `name`, `name@version`, `bioc:name`, `apt:name`, `github:owner/name@ref`, `git:URL@ref`,
    /// `url:ADDRESS`, `local:PATH`. `name` is needed where it does not follow from the rest.
    pub fn parse(text: &str, name: Option<&str>) -> Result<Self, String> {
        let (method, rest) = match text.split_once(':') {
            None => (Method::Cran, text),
            Some(("cran", rest)) => (Method::Cran, rest),
            Some(("apt", rest)) => (Method::Apt, rest),
            Some(("bioc", rest)) => (Method::Bioc, rest),
            Some(("github", rest)) => (Method::Github, rest),
            Some(("git", rest)) => (Method::Git, rest),
            Some(("url", rest)) => (Method::Url, rest),
            Some(("local", rest)) => (Method::Local, rest),
            Some(_) => {
                return Err(format!(
                    "`{text}`: expected a name, or one of cran:, apt:, bioc:, github:, git:, url:, local: before it"
                ));
            }
        };
        let entry = if method.by_name() {
            short(method, rest)?
        } else {
            let name = name.map(str::to_owned).or_else(|| name_in(rest));
            let Some(name) = name else {
                return Err(format!(
                    "`{text}`: the package's name cannot be read from that; say it with --name"
                ));
            };
            Self {
                locator: Some(rest.to_owned()),
                ..Self::named(method, &name)
            }
        };
        entry.check().map_err(|(_, problem)| problem)?;
        Ok(entry)
    }

    /// Whether it is a folder of this machine.
    pub(in crate::r) fn is_folder(&self) -> bool {
        let locator = self.locator.as_deref().unwrap_or_default();
        self.method == Method::Local && Path::new(locator).is_dir()
    }

    /// The package of the distribution, for methods that have one.
    pub(in crate::r) fn debian_name(&self) -> Option<String> {
        let name = match (self.method, &self.locator) {
            (Method::Apt, Some(locator)) => locator.clone(),
            (Method::Apt | Method::Cran, _) => format!("r-cran-{}", self.name.to_lowercase()),
            (Method::Bioc, _) => format!("r-bioc-{}", self.name.to_lowercase()),
            _ => return None,
        };
        Some(name)
    }

    /// Says which key cannot be what it is, and why.
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        if !is_package_name(&self.name) {
            return Err((
                "name",
                format!(
                    "`{}` cannot be a package: expected a letter, then letters, digits and dots",
                    self.name
                ),
            ));
        }
        if let Some(version) = &self.version {
            if !is_version(version) {
                return Err((
                    "version",
                    format!("`{version}` is no version: expected one such as `1.2.3`"),
                ));
            }
            if !matches!(
                self.method,
                Method::Cran | Method::Url | Method::Local | Method::Git | Method::Github
            ) {
                return Err((
                    "version",
                    format!(
                        "the version of a package from {} cannot be chosen",
                        self.method
                    ),
                ));
            }
        }
        if let Some(sum) = &self.sha256 {
            if sum.len() != 64 || !sum.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(("sha256", "a SHA-256 has 64 hexadecimal digits".to_owned()));
            }
            if !matches!(self.method, Method::Url | Method::Local | Method::Cran) {
                return Err((
                    "sha256",
                    format!("a package from {} has no archive to compare", self.method),
                ));
            }
        }
        self.check_locator().map_err(|problem| ("locator", problem))
    }

    fn check_locator(&self) -> Result<(), String> {
        let Some(locator) = &self.locator else {
            return if self.method.by_name() {
                Ok(())
            } else {
                Err(format!("a package from {} needs a `locator`", self.method))
            };
        };
        if has_password(locator) {
            return Err(
                "a password in an address would be seen by others: get this package by hand, and use method local"
                    .to_owned(),
            );
        }
        let fine = match self.method {
            Method::Cran | Method::Bioc => {
                return Err(format!(
                    "a package from {} is found by its name alone",
                    self.method
                ));
            }
            Method::Apt => is_debian_name(locator),
            Method::Github => is_github(locator),
            Method::Git => {
                ["https://", "http://", "ssh://", "file:///", "/"]
                    .iter()
                    .any(|start| locator.starts_with(start))
                    && is_plain(locator)
            }
            Method::Url => {
                ["https://", "http://", "file:///"]
                    .iter()
                    .any(|start| locator.starts_with(start))
                    && is_plain(locator)
            }
            Method::Local => locator.starts_with('/') && is_quiet(locator),
        };
        let expected = match self.method {
            Method::Apt => "the name of a Debian package, in lower case",
            Method::Github => {
                "`owner/repository`, with `@` and a branch, tag or commit behind it if need be"
            }
            Method::Git => "an address that begins with https://, ssh:// or file:///, or a path",
            Method::Url => "an address that begins with https:// or http://",
            _ => "a path that begins with /, without quotes, `$` and the like",
        };
        if fine {
            Ok(())
        } else {
            Err(format!("`{locator}`: expected {expected}"))
        }
    }
}

/// Reads `name` or `name@version`.
pub(super) fn short(method: Method, text: &str) -> Result<Entry, String> {
    let (name, version) = match text.split_once('@') {
        Some((name, version)) => (name.trim(), Some(version.trim().to_owned())),
        None => (text.trim(), None),
    };
    if name.is_empty() {
        return Err("expected the name of a package".to_owned());
    }
    // Debian's own name is understood, too.
    if method == Method::Apt && (name.starts_with("r-cran-") || name.starts_with("r-bioc-")) {
        let plain = name.get(7..).unwrap_or_default();
        return Err(format!(
            "`{name}` is Debian's name: expected the package's own, such as `{plain}`; the prefix is added. A package of \
             another name needs a table: [[package]] name = …, method = \"apt\", locator = \"{name}\""
        ));
    }
    Ok(Entry {
        version,
        ..Entry::named(method, name)
    })
}

pub(super) fn is_short(entry: &Entry) -> bool {
    entry.method.by_name() && entry.locator.is_none() && entry.sha256.is_none() && entry.required
}

pub(super) fn short_text(entry: &Entry) -> String {
    match &entry.version {
        Some(version) => format!("{}@{version}", entry.name),
        None => entry.name.clone(),
    }
}

/// What a name is in R (Writing R Extensions, 1.1.1).
pub(in crate::r) fn is_package_name(name: &str) -> bool {
    name.len() >= 2
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'.')
        && !name.ends_with('.')
}

/// What a version is in R: numbers with dots and hyphens between them.
pub(in crate::r) fn is_version(text: &str) -> bool {
    let mut parts = text.split(['.', '-']);
    let numeric = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    parts.clone().count() > 1 && parts.all(numeric)
}

fn is_debian_name(name: &str) -> bool {
    name.len() > 1
        && name.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
        && name.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte)
        })
}

fn is_github(locator: &str) -> bool {
    let (place, reference) = split_reference(locator);
    let mut parts = place.split('/');
    let part = |part: Option<&str>| {
        part.is_some_and(|part| {
            !part.is_empty()
                && !part.starts_with(['-', '.'])
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        })
    };
    part(parts.next())
        && part(parts.next())
        && parts.all(|one| part(Some(one)))
        && reference.is_none_or(is_reference)
}

/// A branch, tag or commit that git cannot take for an option or for more than a name.
fn is_reference(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && !text.contains("..")
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_./+".contains(&byte))
}

/// Whether no shell would take it for more than a text, should it ever come to stand where one reads.
fn is_quiet(text: &str) -> bool {
    !text.contains(['"', '\'', '`', '\\', '$', '<', '>', '|']) && !text.contains(char::is_control)
}

/// Whether a text is an address from which an archive can be got, and no password is in it.
pub(in crate::r) fn is_archive_address(text: &str) -> bool {
    ["https://", "http://", "file:///"]
        .iter()
        .any(|start| text.starts_with(start))
        && text.bytes().all(|byte| byte.is_ascii_graphic())
        && !has_password(text)
}

fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
        && is_quiet(text)
        && split_reference(text).1.is_none_or(is_reference)
}

/// Whether an address has a password in it.
fn has_password(address: &str) -> bool {
    let host = address.split_once("://").map_or("", |(_, rest)| rest);
    let host = host.split('/').next().unwrap_or_default();
    host.rsplit_once('@')
        .is_some_and(|(user, _)| user.contains(':'))
}

/// Splits `place@reference`; an `@` before the last `/`, as in `ssh://git@host/`, belongs to the place.
pub(in crate::r) fn split_reference(locator: &str) -> (&str, Option<&str>) {
    match locator.rsplit_once('@') {
        Some((place, reference))
            if !place.ends_with("://git") && !reference.contains(['/', ':']) =>
        {
            (place, Some(reference))
        }
        // A branch may have a slash in its name: what is behind the repository's name counts.
        Some((place, reference))
            if !reference.contains(':')
                && Path::new(place).extension().is_some_and(|end| end == "git") =>
        {
            (place, Some(reference))
        }
        _ => (locator, None),
    }
}

/// The package's name in an address: `…/name.git`, `…/name_1.2.tar.gz`, `owner/name`.
fn name_in(locator: &str) -> Option<String> {
    let (place, _) = split_reference(locator);
    let last = place.trim_end_matches('/').rsplit('/').next()?;
    let name = last.split('_').next()?.trim_end_matches(".git");
    let name = name.trim_end_matches(".tar.gz");
    is_package_name(name).then(|| name.to_owned())
}
