//! Which processes use which generation: told by what they run, which of its files they have open or mapped, and where
//! they are; and by the words that they were started with, as far as these fit what they run.
//!
//! Anybody can write anything into a command line, so that words alone keep nothing. Root sees all processes; anybody else
//! sees less of others' processes, and only their command lines.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use nix::unistd::{Uid, User, geteuid};
use serde::Serialize;

use crate::generations::GONE;

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
}

impl Uses {
    /// Whether a generation is in use.
    pub(crate) fn includes(&self, number: u32) -> bool {
        self.of.contains_key(&number)
    }
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
        let numbers = look(&process.path(), folder);
        if numbers.is_empty() {
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
        for number in numbers {
            uses.of.entry(number).or_default().push(one.clone());
        }
    }
    Ok(uses)
}

/// The generations that a process uses.
fn look(process: &Path, folder: &Path) -> BTreeSet<u32> {
    let mut numbers = BTreeSet::new();
    let mut note = |path: &Path| numbers.extend(below(path, folder).map(|(number, _)| number));
    let exe = fs::read_link(process.join("exe"));
    if let Ok(exe) = &exe {
        note(exe);
    }
    if let Ok(cwd) = fs::read_link(process.join("cwd")) {
        note(&cwd);
    }
    for entry in fs::read_dir(process.join("fd"))
        .into_iter()
        .flatten()
        .flatten()
    {
        if let Ok(target) = fs::read_link(entry.path()) {
            note(&target);
        }
    }
    // The search in texts is many times faster than one in bytes, and maps are long.
    let maps = fs::read(process.join("maps")).unwrap_or_default();
    for line in String::from_utf8_lossy(&maps).lines() {
        // All before the path is numbers and letters; what follows its beginning may be anything that a user likes.
        if let Some(path) = line.find('/').and_then(|at| line.get(at..)) {
            note(Path::new(path));
        }
    }
    let line = fs::read(process.join("cmdline")).unwrap_or_default();
    let mut words = line.split(|byte| *byte == 0);
    let first = words.next();
    let script = words.find(|word| !word.is_empty() && !word.starts_with(b"-"));
    let exe = exe.ok();
    for word in [first, script].into_iter().flatten() {
        numbers.extend(started(
            Path::new(OsStr::from_bytes(word)),
            exe.as_deref(),
            folder,
        ));
    }
    numbers
}

/// The generation that a path is in, and where in it. One that is being moved away is still that one.
fn below<'a>(path: &'a Path, folder: &Path) -> Option<(u32, &'a Path)> {
    let inside = path.strip_prefix(folder).ok()?;
    let first = inside.components().next()?.as_os_str();
    let name = first.to_str()?;
    let number: u32 = name.strip_suffix(GONE).unwrap_or(name).parse().ok()?;
    Some((number, inside.strip_prefix(first).ok()?))
}

/// The generation in which a program or script of a command line is, if it is there, and if its process runs it.
fn started(path: &Path, exe: Option<&Path>, folder: &Path) -> Option<u32> {
    let whole = path
        .components()
        .all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if !whole {
        return None;
    }
    let inside = path.strip_prefix(folder).ok()?;
    let (number, rest) = match inside.strip_prefix("current") {
        // Through the link comes what is current; what came before it was another has that mapped, and imports what is
        // current now.
        Ok(rest) => {
            let target = fs::read_link(folder.join("current")).ok()?;
            (target.to_str()?.parse().ok()?, rest)
        }
        Err(_) => below(path, folder)?,
    };
    let is_there = |prefix: PathBuf| {
        if !prefix.join(rest).is_file() {
            return false;
        }
        match exe {
            Some(exe) => {
                exe.starts_with(&prefix)
                    || prefix
                        .join("bin/python")
                        .canonicalize()
                        .is_ok_and(|real| real == exe)
            }
            // Not for us to see: then the words have to do.
            None => !geteuid().is_root(),
        }
    };
    let found = is_there(folder.join(number.to_string()))
        || is_there(folder.join(format!("{number}{GONE}")));
    found.then_some(number)
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
    fn generations_are_found_in_paths() {
        let check = |path: &str, number: Option<u32>| {
            let found = below(Path::new(path), Path::new("/opt/envs/base"));
            assert_eq!(found.map(|(number, _)| number), number, "{path}");
        };
        check("/opt/envs/base/3/bin/python", Some(3));
        check("/opt/envs/base/3", Some(3));
        check("/opt/envs/base/3.gone/lib/x.so (deleted)", Some(3));
        check("/opt/envs/base/3.log", None);
        check("/opt/envs/base2/3/bin/python", None);
        check("/opt/envs/base", None);
        check("/home/ada/opt/envs/base/3/x", None);
    }

    #[test]
    fn words_of_a_command_line_alone_keep_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().canonicalize().unwrap();
        fs::create_dir_all(folder.join("7/bin")).unwrap();
        fs::write(folder.join("7/bin/jupyter"), "").unwrap();
        symlink("7", folder.join("current")).unwrap();
        let python = Path::new("/usr/bin/python3").canonicalize().unwrap();
        symlink(&python, folder.join("7/bin/python")).unwrap();
        let check = |word: &str, exe: &Path, number: Option<u32>| {
            let found = started(&folder.join(word), Some(exe), &folder);
            assert_eq!(found, number, "{word} {}", exe.display());
        };
        let shell = Path::new("/bin/sh");
        check("7/bin/python", &python, Some(7));
        check("current/bin/python", &python, Some(7));
        check("7/bin/jupyter", &python, Some(7));
        check("7/bin/python", shell, None);
        check("current/bin/python", shell, None);
        check("7/bin/nothing", &python, None);
        check("8/bin/python", &python, None);
        check("7/../7/bin/python", &python, None);
        // A real process that only talks of generations.
        let mut talker = Command::new("sh")
            .args(["-c", "read line", "sh"])
            .args(["7/bin/python", "current/bin/python"].map(|path| folder.join(path)))
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let uses = find(&folder);
        talker.kill().unwrap();
        talker.wait().unwrap();
        assert_eq!(uses.unwrap(), Uses::default());
        fs::rename(folder.join("7"), folder.join("7.gone")).unwrap();
        check("7/bin/python", &python, Some(7));
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
