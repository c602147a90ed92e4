//! Which processes use which generation: told by what they run, what they were started with, and which of its files they
//! have mapped.
//!
//! Root sees all processes; anybody else sees less of others' processes, and only their command lines.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::unistd::{Uid, User};
use serde::Serialize;

/// A process that uses a generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InUse {
    /// Its number.
    pub pid: u32,
    /// The account that it runs under, by name where it has one.
    pub account: String,
    /// The program, as its command line names it.
    pub program: String,
}

/// What was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Uses {
    /// By generation.
    pub(crate) of: BTreeMap<u32, Vec<InUse>>,
    /// Processes that came through the link `current`: which generation they have cannot be told from outside.
    pub(crate) through_link: Vec<InUse>,
}

impl Uses {
    /// Whether a generation may be in use.
    pub(crate) fn includes(&self, number: u32) -> bool {
        self.of.contains_key(&number) || !self.through_link.is_empty()
    }
}

/// What of a process names a file of a generation.
#[derive(Debug, Default, PartialEq, Eq)]
struct Named {
    numbers: Vec<u32>,
    link: bool,
}

/// Looks at all processes but this one. Blocks.
pub(crate) fn find(folder: &Path) -> std::io::Result<Uses> {
    let mut uses = Uses::default();
    let mut names = BTreeMap::new();
    for process in fs::read_dir("/proc")? {
        let Ok(process) = process else { continue };
        let number = process
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        let Some(pid) = number.filter(|pid| *pid != std::process::id()) else {
            continue;
        };
        let named = look(&process.path(), folder);
        if named.numbers.is_empty() && !named.link {
            continue;
        }
        let Ok(data) = process.metadata() else {
            continue;
        };
        let account = names
            .entry(data.uid())
            .or_insert_with(|| name_of(data.uid()))
            .clone();
        let one = InUse {
            pid,
            account,
            program: program(&process.path()),
        };
        if named.numbers.is_empty() {
            uses.through_link.push(one);
            continue;
        }
        for number in named.numbers {
            uses.of.entry(number).or_default().push(one.clone());
        }
    }
    Ok(uses)
}

fn look(process: &Path, folder: &Path) -> Named {
    let mut named = Named::default();
    let mut text = Vec::new();
    for link in ["exe", "cwd"] {
        if let Ok(target) = fs::read_link(process.join(link)) {
            text.extend_from_slice(target.as_os_str().as_bytes());
            text.push(0);
        }
    }
    for file in ["cmdline", "maps"] {
        text.extend(fs::read(process.join(file)).unwrap_or_default());
        text.push(0);
    }
    // The search in texts is many times faster than one in bytes, and maps are long.
    let text = String::from_utf8_lossy(&text);
    note(&text, &folder.to_string_lossy(), &mut named);
    named
}

/// Finds `<folder>/<number>` in a text, and `<folder>/current`.
fn note(text: &str, folder: &str, named: &mut Named) {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(folder) {
        rest = after;
        let Some(after) = rest.strip_prefix('/') else {
            continue;
        };
        let end = after
            .find(|c: char| !c.is_ascii_alphanumeric())
            .unwrap_or(after.len());
        let word = after.get(..end).unwrap_or_default();
        if word == "current" {
            named.link = true;
        } else if let Ok(number) = word.parse()
            && !named.numbers.contains(&number)
        {
            named.numbers.push(number);
        }
    }
}

fn name_of(uid: u32) -> String {
    let account = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    account.map_or_else(|| uid.to_string(), |account| account.name)
}

/// The first words of the command line: enough to know what it is.
fn program(process: &Path) -> String {
    let line = fs::read(process.join("cmdline")).unwrap_or_default();
    let mut words = line.split(|byte| *byte == 0).map(|word| {
        let text = String::from_utf8_lossy(word);
        text.rsplit('/').next().unwrap_or_default().to_owned()
    });
    let first = words.next().unwrap_or_default();
    if !first.starts_with("python") {
        return first;
    }
    // What Python runs says more: `python -m ipykernel_launcher`, or the path of a script.
    let script = words.find(|word| !word.is_empty() && !word.starts_with('-'));
    match script {
        Some(script) => format!("{first} {script}"),
        None => first,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn generations_are_found_in_texts() {
        let check = |text: &str, numbers: &[u32], link: bool| {
            let mut named = Named::default();
            note(text, "/opt/envs/base", &mut named);
            let expected = Named {
                numbers: numbers.to_vec(),
                link,
            };
            assert_eq!(named, expected, "{text}");
        };
        check("/opt/envs/base/3/bin/python\0-m", &[3], false);
        check(
            "--prefix=/opt/envs/base/12\0/opt/envs/base/3/x",
            &[12, 3],
            false,
        );
        check("/opt/envs/base/current/bin/jupyter", &[], true);
        check("/opt/envs/base2/3/bin/python", &[], false);
        check("/opt/envs/base", &[], false);
        check("/opt/envs/base/3.log", &[3], false);
        check("/opt/envs/base/x3", &[], false);
    }

    #[test]
    fn a_process_that_runs_from_a_generation_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().canonicalize().unwrap();
        fs::create_dir_all(folder.join("7/bin")).unwrap();
        let program = folder.join("7/bin/sleeper");
        fs::copy("/bin/sleep", &program).unwrap();
        symlink("7", folder.join("current")).unwrap();
        let start = |path: &Path| {
            Command::new(path)
                .arg("1000")
                .stdout(Stdio::null())
                .spawn()
                .unwrap()
        };
        let mut children = [start(&program), start(&folder.join("current/bin/sleeper"))];
        let uses = find(&folder).unwrap();
        for child in &mut children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        // The one that was started through the link is told by what it runs.
        let mut pids: Vec<_> = uses.of[&7].iter().map(|one| one.pid).collect();
        pids.sort_unstable();
        let mut expected: Vec<_> = children.iter().map(std::process::Child::id).collect();
        expected.sort_unstable();
        assert_eq!(pids, expected);
        assert_eq!(uses.of[&7][0].program, "sleeper");
        assert!(uses.includes(7) && !uses.includes(6));
    }
}
