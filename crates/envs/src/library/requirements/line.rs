//! One line of a requirements file: what it is, or why it cannot be used.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

/// A line that says something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Line {
    /// Another file, as requirements or as constraints only.
    Include { path: PathBuf, constraints: bool },
    /// An option for the installer, as it was written, but with whole paths.
    Option(String),
    /// A package without a hash in the requirements is not installed.
    RequireHashes,
    /// A package.
    Requirement(Requirement),
}

/// A package that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Requirement {
    /// Its name, normalized; `None` if only its address says it.
    pub(crate) name: Option<String>,
    /// The line for the installer.
    pub(crate) text: String,
    /// The file of this machine that it comes from.
    pub(crate) file: Option<PathBuf>,
    /// Hashes that it has to have, such as `sha256:…`.
    pub(crate) hashes: Vec<String>,
}

/// Why a line cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) what: String,
    pub(crate) help: String,
}

impl Fault {
    fn new(what: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            help: help.into(),
        }
    }
}

/// Options with a value that go to the installer.
const WITH_VALUE: &[&str] = &[
    "-i",
    "--index-url",
    "--extra-index-url",
    "-f",
    "--find-links",
    "--no-binary",
    "--only-binary",
    "--trusted-host",
];
/// Options without a value that go to the installer.
const ALONE: &[&str] = &["--no-index", "--pre", "--prefer-binary"];
/// The endings of files that hold a package.
const ARCHIVES: &[&str] = &[".whl", ".tar.gz", ".tar.bz2", ".tar.xz", ".zip"];

/// Reads a line without its comment; paths count from `folder`.
pub(crate) fn parse_line(text: &str, folder: &Path) -> Result<Line, Fault> {
    if text.chars().any(|c| c.is_control() && c != '\t') {
        return Err(Fault::new("it has a control character", "take it out"));
    }
    if text.starts_with('-') {
        option(text, folder)
    } else {
        requirement(text, folder).map(Line::Requirement)
    }
}

fn option(text: &str, folder: &Path) -> Result<Line, Fault> {
    let (name, value) = split_option(text);
    let need = |value: &str| match value {
        "" => Err(Fault::new(
            format!("`{name}` has no value"),
            format!("write one after `{name}`"),
        )),
        value => Ok(value.trim_matches(['"', '\'']).to_owned()),
    };
    match name {
        "-r" | "--requirement" | "-c" | "--constraint" => {
            let value = need(value)?;
            if value.contains("://") {
                return Err(Fault::new(
                    format!("`{name}` names an address, and not a file of this machine"),
                    "download the file and name it here: what is built may not change by itself",
                ));
            }
            Ok(Line::Include {
                path: whole(folder, Path::new(&value)),
                constraints: name.contains("-c"),
            })
        }
        "-e" | "--editable" => Err(Fault::new(
            "an editable package lives outside of the environment, where it changes under its users",
            "build a wheel from it and name that, or name its repository: `NAME @ git+https://…@TAG`",
        )),
        "--require-hashes" if value.is_empty() => Ok(Line::RequireHashes),
        _ if ALONE.contains(&name) && value.is_empty() => Ok(Line::Option(name.to_owned())),
        "-f" | "--find-links" => {
            let value = need(value)?;
            let place = if value.contains("://") {
                value
            } else {
                whole(folder, Path::new(&value)).display().to_string()
            };
            Ok(Line::Option(format!("--find-links {place}")))
        }
        _ if WITH_VALUE.contains(&name) => Ok(Line::Option(format!("{name} {}", need(value)?))),
        _ => Err(Fault::new(
            format!("`{name}` is no option that can be used here"),
            format!(
                "there are -r, -c, --no-index, --pre, --prefer-binary, --require-hashes, {}",
                WITH_VALUE.join(", ")
            ),
        )),
    }
}

/// Splits such as `--find-links=x`, `--find-links x`, `-r x` and `-rx`.
fn split_option(text: &str) -> (&str, &str) {
    let short = !text.starts_with("--");
    let end = if short {
        text.char_indices().nth(2).map_or(text.len(), |(at, _)| at)
    } else {
        text.find(|c: char| c == '=' || c.is_whitespace())
            .unwrap_or(text.len())
    };
    let (name, value) = text.split_at_checked(end).unwrap_or((text, ""));
    let value = value.trim_start();
    let value = value.strip_prefix('=').unwrap_or(value);
    (name, value.trim())
}

fn requirement(text: &str, folder: &Path) -> Result<Requirement, Fault> {
    let (body, hashes) = split_hashes(text)?;
    let (front, marker) = split_marker(&body);
    let name_end = name_end(front);
    let after = front.get(name_end..).unwrap_or_default();
    let by_name = after.trim_start().starts_with(['@', '[']);
    let is_place = !by_name && (front.contains("://") || is_path(front));
    let mut found = if is_place {
        place(front, folder, None)?
    } else {
        named(front, name_end, folder)?
    };
    if let Some(marker) = marker {
        found.text.push_str(" ; ");
        found.text.push_str(marker);
    }
    for hash in &hashes {
        found.text.push_str(" --hash=");
        found.text.push_str(hash);
    }
    found.hashes.extend(hashes);
    Ok(found)
}

fn split_hashes(text: &str) -> Result<(String, Vec<String>), Fault> {
    let Some(at) = text.find(" --") else {
        return Ok((text.trim().to_owned(), Vec::new()));
    };
    let (body, options) = text.split_at_checked(at).unwrap_or((text, ""));
    let mut hashes = Vec::new();
    let mut words = options.split_whitespace();
    while let Some(word) = words.next() {
        let value = match word.strip_prefix("--hash=") {
            Some(value) => Some(value),
            None if word == "--hash" => words.next(),
            None => None,
        };
        let good = value.filter(|value| {
            value.split_once(':').is_some_and(|(kind, digest)| {
                ["sha256", "sha384", "sha512"].contains(&kind)
                    && !digest.is_empty()
                    && digest.bytes().all(|c| c.is_ascii_hexdigit())
            })
        });
        match good {
            Some(hash) => hashes.push(hash.to_ascii_lowercase()),
            None => {
                return Err(Fault::new(
                    format!("`{word}` cannot be used after a package"),
                    "only `--hash=sha256:…` can",
                ));
            }
        }
    }
    Ok((body.trim().to_owned(), hashes))
}

/// Splits at the `;` of a marker; inside of an address it has a blank before it.
fn split_marker(body: &str) -> (&str, Option<&str>) {
    let at = if body.contains("://") {
        body.find(" ;")
    } else {
        body.find(';')
    };
    match at.and_then(|at| body.split_at_checked(at)) {
        Some((front, marker)) => {
            let marker = marker.trim_start().trim_start_matches(';').trim();
            (front.trim(), (!marker.is_empty()).then_some(marker))
        }
        None => (body.trim(), None),
    }
}

fn name_end(text: &str) -> usize {
    text.find(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c)))
        .unwrap_or(text.len())
}

fn is_path(text: &str) -> bool {
    ["/", "./", "../"]
        .iter()
        .any(|start| text.starts_with(start))
        || ARCHIVES.iter().any(|end| text.ends_with(end))
}

/// A requirement by name: `NAME[EXTRAS] >=1,<2` or `NAME[EXTRAS] @ URL`.
fn named(text: &str, name_end: usize, folder: &Path) -> Result<Requirement, Fault> {
    let (name, rest) = text.split_at_checked(name_end).unwrap_or((text, ""));
    let edges = |c: char| c.is_ascii_alphanumeric();
    if !name.starts_with(edges) || !name.ends_with(edges) {
        return Err(Fault::new(
            format!("`{text}` is no requirement"),
            "for example `pandas>=2`, `NAME @ git+https://…` or `./wheels/NAME.whl`",
        ));
    }
    let rest = rest.trim_start();
    let (extras, rest) = match rest.strip_prefix('[') {
        Some(inside) => {
            let (extras, rest) = inside.split_once(']').ok_or_else(|| {
                Fault::new(
                    format!("the `[` after `{name}` is not closed"),
                    "for example `pandas[excel]`",
                )
            })?;
            let good = extras.split(',').all(|extra| is_name(extra.trim()));
            if !good {
                return Err(Fault::new(
                    format!("`[{extras}]` are no extras"),
                    "for example `pandas[excel,plot]`",
                ));
            }
            (Some(extras), rest.trim_start())
        }
        None => (None, rest),
    };
    let full = match extras {
        Some(extras) => format!("{name}[{extras}]"),
        None => name.to_owned(),
    };
    if let Some(address) = rest.strip_prefix('@') {
        let mut found = place(address.trim(), folder, Some(&full))?;
        found.name = Some(normalized(name));
        return Ok(found);
    }
    let inner = rest
        .strip_prefix('(')
        .and_then(|rest| rest.strip_suffix(')'))
        .unwrap_or(rest);
    if !inner.is_empty() && !inner.split(',').all(|clause| is_clause(clause.trim())) {
        return Err(Fault::new(
            format!("`{inner}` after `{name}` says no versions"),
            "for example `>=2,<3`",
        ));
    }
    Ok(Requirement {
        name: Some(normalized(name)),
        text: text.to_owned(),
        file: None,
        hashes: Vec::new(),
    })
}

/// Whether the text is a name and nothing more.
pub(crate) fn is_name(text: &str) -> bool {
    !text.is_empty() && name_end(text) == text.len()
}

fn is_clause(clause: &str) -> bool {
    let operators = ["===", "==", "~=", "!=", "<=", ">=", "<", ">"];
    let version = operators
        .iter()
        .find_map(|operator| clause.strip_prefix(operator));
    version.is_some_and(|version| {
        let version = version.trim();
        version.starts_with(|c: char| c.is_ascii_alphanumeric())
            && version
                .bytes()
                .all(|c| c.is_ascii_alphanumeric() || b".*+!_-".contains(&c))
    })
}

/// A requirement by its place: an address, or a file of this machine.
fn place(text: &str, folder: &Path, name: Option<&str>) -> Result<Requirement, Fault> {
    let (address, fragment) = match text.split_once('#') {
        Some((address, fragment)) => (address, Some(fragment)),
        None => (text, None),
    };
    let is_address = address.contains("://");
    if address.is_empty() || (is_address && address.contains(char::is_whitespace)) {
        return Err(Fault::new(
            format!("`{text}` is no address"),
            "for example `NAME @ git+https://example.org/repository@TAG`; a blank in an address is written `%20`",
        ));
    }
    if address.contains("${") {
        return Err(Fault::new(
            "an address with a variable would differ from one build to the next",
            "write it out; for a password use ssh, or the builder's .netrc",
        ));
    }
    let file = match address_file(address) {
        Some(path) => Some(whole(folder, &path)),
        None => (!is_address).then(|| whole(folder, Path::new(address))),
    };
    if let Some(file) = &file {
        if !ARCHIVES
            .iter()
            .any(|end| file.to_string_lossy().ends_with(end))
        {
            return Err(Fault::new(
                format!("{} is no wheel and no archive", file.display()),
                "a folder of sources can change: build a wheel from it and name that",
            ));
        }
    } else {
        check_address(address, fragment)?;
    }
    let address = match &file {
        // Not as a path: uv would repeat it without the package's name.
        Some(file) => file_address(file),
        None => address.to_owned(),
    };
    let mut line = match name {
        Some(name) => format!("{name} @ {address}"),
        None => address.clone(),
    };
    if let Some(fragment) = fragment {
        line.push('#');
        line.push_str(fragment);
    }
    let egg = fragment.and_then(|fragment| {
        fragment
            .split('&')
            .find_map(|part| part.strip_prefix("egg="))
    });
    let guessed = egg.map(|egg| egg.get(..name_end(egg)).unwrap_or(egg));
    Ok(Requirement {
        name: guessed.or_else(|| wheel_name(&address)).map(normalized),
        text: line,
        file,
        hashes: Vec::new(),
    })
}

/// What stands in the address of a file as it is; the rest is written as `%20` and the like.
const ADDRESS: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'.')
    .remove(b'_')
    .remove(b'-')
    .remove(b'~')
    .remove(b'+')
    .remove(b'!')
    .remove(b'@')
    .remove(b'=')
    .remove(b',');

/// The address of a file of this machine.
fn file_address(path: &Path) -> String {
    let path = percent_encode(path.as_os_str().as_bytes(), ADDRESS);
    format!("file://{path}")
}

/// The file of this machine that an address means, without what follows a `#`.
pub(crate) fn address_file(address: &str) -> Option<PathBuf> {
    let path = address.strip_prefix("file://")?;
    let path = path.split('#').next().unwrap_or(path);
    let path: Vec<u8> = percent_decode_str(path).collect();
    Some(OsString::from_vec(path).into())
}

fn check_address(address: &str, fragment: Option<&str>) -> Result<(), Fault> {
    let (scheme, rest) = address.split_once("://").unwrap_or(("", address));
    let known = [
        "https",
        "http",
        "git+https",
        "git+ssh",
        "git+file",
        "git+http",
    ];
    if !known.contains(&scheme) {
        return Err(Fault::new(
            format!("`{scheme}://` is no way to fetch a package here"),
            format!("there are {}", known.join(", ")),
        ));
    }
    let host = rest.split('/').next().unwrap_or_default();
    let account = host.rsplit_once('@').map(|(account, _)| account);
    if account.is_some_and(|account| account.contains(':') || scheme != "git+ssh") {
        return Err(Fault::new(
            "the address has a password or a token, which everybody could read in the environment",
            "use ssh, or the builder's .netrc",
        ));
    }
    let hashed = fragment.is_some_and(|fragment| fragment.contains("sha256="));
    if scheme == "http" && !hashed {
        return Err(Fault::new(
            "what comes over plain http can be changed on the way",
            "use https, or add `#sha256=…` to the address",
        ));
    }
    Ok(())
}

/// The name in the name of a wheel, `NAME-VERSION-….whl`.
fn wheel_name(address: &str) -> Option<&str> {
    let file = address.rsplit('/').next()?;
    file.strip_suffix(".whl")?.split('-').next()
}

/// The name of a package as indexes compare it (PEP 503).
pub(crate) fn normalized(name: &str) -> String {
    let mut result = String::new();
    for c in name.trim().chars() {
        if "-_.".contains(c) {
            if !result.ends_with('-') {
                result.push('-');
            }
        } else {
            result.push(c.to_ascii_lowercase());
        }
    }
    result
}

/// The whole path, without `.` and `..`, as far as names alone tell.
fn whole(folder: &Path, path: &Path) -> PathBuf {
    let mut result = PathBuf::new();
    for component in folder.join(path).components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                result.pop();
            }
            other => result.push(other),
        }
    }
    result
}

/// Takes name and password out of the addresses of an option.
pub(crate) fn without_password(text: &str) -> String {
    let Some((front, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let end = rest.find('/').unwrap_or(rest.len());
    let (host, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    format!("{front}://{host}{path}")
}

/// Puts in the values of variables, written `${NAME}`.
pub(crate) fn expand(text: &str, value: impl Fn(&str) -> Option<String>) -> Result<String, Fault> {
    let mut result = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        result.push_str(before);
        let (name, after) = after
            .split_once('}')
            .ok_or_else(|| Fault::new("a `${` is not closed", "write variables as `${NAME}`"))?;
        let value = value(name).ok_or_else(|| {
            Fault::new(
                format!("the variable `{name}` is not set"),
                "set it in the environment of this command",
            )
        })?;
        result.push_str(&value);
        rest = after;
    }
    result.push_str(rest);
    Ok(result)
}

#[cfg(test)]
mod tests;
