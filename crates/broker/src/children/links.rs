//! Links in homes to what is shared: made by the account itself, and led elsewhere when the place of what is shared changes.
//!
//! Only what we have made is changed. So it is written down in the home where each link of ours leads; an account that
//! changes that record harms nobody but itself. Where links lead is not looked at, as that may be on a network that is down.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, fstat, open, openat, readlinkat, renameat, symlinkat, unlinkat,
};
use rustix::io::Errno;

use super::home::become_account;
use super::job::{Links, Outcome};
use crate::beside::Link;

/// Where it is written down, in the home.
const RECORD: &str = ".lyceum-links.json";
/// The longest record that is read, in bytes.
const MAX_RECORD: u64 = 64 * 1024;
/// What is made before it gets its name.
const NEW: &str = ".lyceum-links.new";

/// Where links of ours lead, by their names.
type Made = BTreeMap<String, PathBuf>;

/// Puts links into a home, as its owner. What is there already stays, but for links of ours.
pub(super) fn put(wanted: &Links) -> io::Result<Outcome> {
    become_account(&wanted.account)?;
    let home = open(
        &wanted.account.home,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let before = read(&home);
    let mut made = before.clone();
    let mut failed = None;
    for link in &wanted.links {
        let is_entry = !link.name.is_empty() && !link.name.contains('/');
        if !is_entry || !link.target.is_absolute() {
            return Err(io::Error::other("a link has no name or leads nowhere"));
        }
        match put_one(&home, link, made.get(&link.name)) {
            Ok(true) => {
                made.insert(link.name.clone(), link.target.clone());
            }
            Ok(false) => {}
            Err(error) => failed = Some(io::Error::from(error)),
        }
    }
    if made != before
        && let Err(error) = write(&home, &made)
    {
        failed = Some(error);
    }
    failed.map_or(Ok(Outcome::Done {}), Err)
}

/// Tells whether there is now a link that leads where it shall. `ours` is where the last one of ours led.
fn put_one(home: &OwnedFd, link: &Link, ours: Option<&PathBuf>) -> Result<bool, Errno> {
    match symlinkat(&link.target, home, &link.name) {
        Ok(()) => return Ok(true),
        Err(Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    let now = match readlinkat(home, &link.name, Vec::new()) {
        // No link, or gone by now.
        Err(Errno::INVAL | Errno::NOENT) => return Ok(false),
        now => now?,
    };
    let now = Path::new(OsStr::from_bytes(now.to_bytes()));
    if now == link.target {
        return Ok(true);
    }
    if ours.is_none_or(|ours| now != ours) {
        return Ok(false);
    }
    remove_new(home)?;
    symlinkat(&link.target, home, NEW)?;
    if let Err(error) = renameat(home, NEW, home, &link.name) {
        let _ = remove_new(home);
        return Err(error);
    }
    Ok(true)
}

/// Reads what is written down; what cannot be read is nothing.
fn read(home: &OwnedFd) -> Made {
    let text = || {
        // A pipe is not waited for.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = openat(home, RECORD, flags, Mode::empty())?;
        if FileType::from_raw_mode(fstat(&opened)?.st_mode) != FileType::RegularFile {
            return Err(io::Error::other("it is no file"));
        }
        let mut text = Vec::new();
        File::from(opened).take(MAX_RECORD).read_to_end(&mut text)?;
        Ok(text)
    };
    let text: io::Result<Vec<u8>> = text();
    text.ok()
        .and_then(|text| serde_json::from_slice(&text).ok())
        .unwrap_or_default()
}

fn write(home: &OwnedFd, made: &Made) -> io::Result<()> {
    let text = serde_json::to_vec_pretty(made)?;
    remove_new(home)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let opened = openat(home, NEW, flags, Mode::from_raw_mode(0o600))?;
    let done = File::from(opened)
        .write_all(&text)
        .and_then(|()| Ok(renameat(home, NEW, home, RECORD)?));
    if done.is_err() {
        let _ = remove_new(home);
    }
    done
}

fn remove_new(home: &OwnedFd) -> Result<(), Errno> {
    match unlinkat(home, NEW, AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(()),
        done => done,
    }
}
