//! Pebble, the test server of the ACME protocol: fetched from the newest Debian, where the machine's own is too old.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::needs::Installing;
use crate::shell::{self, command, find_program};

/// The variable by which tests find the folder with both programs.
pub(super) const VARIABLE: &str = "LYCEUM_TEST_PEBBLE";
/// The programs: the server, and the DNS server that it asks in tests.
const PROGRAMS: [&str; 2] = ["pebble", "pebble-challtestsrv"];
/// Debian's suite that has a version with renewal information and profiles (2.10).
const SUITE: &str = "sid";

/// Finds the folder with the programs, or fetches them once into `target/tools`.
pub(super) fn find(root: &Path, installing: Installing) -> Result<PathBuf> {
    if let Some(folder) = std::env::var_os(VARIABLE).map(PathBuf::from) {
        if !has_both(&folder) {
            bail!(
                "{VARIABLE} is set, but {} has no {}",
                folder.display(),
                PROGRAMS.join(" and ")
            );
        }
        return Ok(folder);
    }
    let tools = root.join("target/tools/pebble");
    let folder = tools.join("usr/bin");
    if has_both(&folder) {
        return Ok(folder);
    }
    let by_hand = format!(
        "set {VARIABLE} to a folder with {} of Pebble 2.10 or newer",
        PROGRAMS.join(" and ")
    );
    if installing == Installing::Forbidden {
        bail!("missing: Pebble\n  {by_hand}");
    }
    let source = debian_source().with_context(|| {
        format!(
            "missing: Pebble, and this is no Debian from which it could be fetched\n  {by_hand}"
        )
    })?;
    println!("    fetching from Debian {SUITE}: pebble");
    fetch(&tools, &source).with_context(|| format!("Pebble could not be fetched\n  {by_hand}"))?;
    if !has_both(&folder) {
        bail!("Debian's package pebble has other programs than were expected\n  {by_hand}");
    }
    Ok(folder)
}

fn has_both(folder: &Path) -> bool {
    PROGRAMS.iter().all(|name| folder.join(name).is_file())
}

/// Downloads the package with lists of its own, and unpacks it: nothing of the machine's packages changes.
fn fetch(tools: &Path, source: &str) -> Result<()> {
    for folder in ["lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(tools.join(folder))?;
    }
    let list = tools.join("sources.list");
    fs::write(&list, source)?;
    let apt = |arguments: &[&str]| -> Result<()> {
        let options = [
            format!("Dir::Etc::sourcelist={}", list.display()),
            "Dir::Etc::sourceparts=/dev/null".to_owned(),
            format!("Dir::State::lists={}", tools.join("lists").display()),
            format!("Dir::Cache={}", tools.join("cache").display()),
            // Folders below the one of a user cannot be read by apt's own account.
            "APT::Sandbox::User=root".to_owned(),
        ];
        let mut apt = command(tools, "apt-get", &["--quiet"]);
        for option in &options {
            apt.args(["-o", option]);
        }
        shell::run(apt.args(arguments))
    };
    apt(&["update"])?;
    apt(&["download", "pebble"])?;
    let package = fs::read_dir(tools)?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|end| end == "deb"))
        .context("apt-get has downloaded nothing")?;
    find_program("dpkg-deb").context("dpkg-deb is missing")?;
    shell::run(
        command(tools, "dpkg-deb", &["--extract"])
            .arg(&package)
            .arg(tools),
    )?;
    fs::remove_dir_all(tools.join("lists"))?;
    Ok(())
}

/// The line of a source with the suite, from where this machine gets its packages.
fn debian_source() -> Option<String> {
    let mut texts = Vec::new();
    let mut paths = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(entries) = fs::read_dir("/etc/apt/sources.list.d") {
        paths.extend(entries.filter_map(Result::ok).map(|entry| entry.path()));
    }
    paths.sort();
    for path in paths {
        texts.extend(fs::read_to_string(path));
    }
    texts.iter().find_map(|text| source_from(text))
}

/// Reads the mirror of Debian itself in either of apt's formats; those of others, and of security updates, are passed
/// over.
fn source_from(text: &str) -> Option<String> {
    let is_debian =
        |url: &str| url.starts_with("http") && url.trim_end_matches('/').ends_with("/debian");
    for stanza in text.split("\n\n") {
        let field = |name: &str| {
            stanza.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.eq_ignore_ascii_case(name).then(|| value.trim())
            })
        };
        if let Some(url) = field("URIs").filter(|url| is_debian(url)) {
            let signed =
                field("Signed-By").map_or_else(String::new, |key| format!("[signed-by={key}] "));
            return Some(format!("deb {signed}{url} {SUITE} main\n"));
        }
    }
    text.lines().find_map(|line| {
        let rest = line.trim().strip_prefix("deb ")?.trim();
        let (options, rest) = match rest.strip_prefix('[') {
            Some(rest) => rest
                .split_once(']')
                .map(|(options, rest)| (format!("[{options}] "), rest))?,
            None => (String::new(), rest),
        };
        let url = rest
            .split_whitespace()
            .next()
            .filter(|url| is_debian(url))?;
        Some(format!("deb {options}{url} {SUITE} main\n"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_of_debian_is_found_in_both_formats() {
        let stanzas = "Types: deb\n# a remark\nURIs: http://mirror.example/debian-security\nSuites: x-security\n\n\
                       Types: deb\nURIs: http://mirror.example/debian\nSuites: x x-updates\nComponents: main\n\
                       Signed-By: /usr/share/keyrings/k.gpg\n";
        assert_eq!(
            source_from(stanzas).as_deref(),
            Some(
                "deb [signed-by=/usr/share/keyrings/k.gpg] http://mirror.example/debian sid main\n"
            )
        );
        let lines = "# deb http://no.example/debian x main\ndeb http://other.example/apt x main\n\
                     deb [arch=amd64] http://mirror.example/debian/ x main\n";
        assert_eq!(
            source_from(lines).as_deref(),
            Some("deb [arch=amd64] http://mirror.example/debian/ sid main\n")
        );
        assert_eq!(
            source_from("deb http://other.example/ubuntu x main\n"),
            None
        );
    }
}
