//! Paths that nobody but root, or whoever runs this, can lead elsewhere: resolved step by step, each step looked at.
//!
//! The rule only, so that whoever makes something for root and whoever starts it agree: what is at a path, the caller looks.

use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};

/// How many links one path may go over, as in the kernel.
pub const MAX_LINKS: usize = 40;
/// In a folder with this bit, others change nothing but what is theirs.
const STICKY: u32 = 0o1000;

/// Why a path is not followed.
#[derive(Debug)]
pub enum NotTrusted {
    /// Somebody else can change what is there.
    Others(PathBuf),
    /// It cannot be looked at.
    Io(PathBuf, io::Error),
}

impl NotTrusted {
    /// Whether there is nothing at the path.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Io(_, error) if error.kind() == io::ErrorKind::NotFound)
    }
}

/// Who runs this: trusted beside root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Us {
    /// The number of the account.
    pub uid: u32,
    /// The number of its group.
    pub gid: u32,
}

/// What is at a path, links not followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Whose it is.
    pub uid: u32,
    /// Which group it has.
    pub gid: u32,
    /// Who may do what.
    pub mode: u32,
    /// Whether it is a folder.
    pub is_folder: bool,
    /// Where it leads, if it is a link.
    pub link: Option<PathBuf>,
}

/// Gives the path without links, if nobody else can change anything on the way. Takes an absolute one.
///
/// Sound without descriptors: what root's folders hold cannot be swapped by others between the look and the use.
pub fn real_path(
    path: &Path,
    us: Us,
    look: impl Fn(&Path) -> io::Result<Seen>,
) -> Result<PathBuf, NotTrusted> {
    let look = |path: &Path| {
        let seen = look(path).map_err(|error| NotTrusted::Io(path.to_owned(), error))?;
        if is_closed(&seen, us) {
            Ok(seen)
        } else {
            Err(NotTrusted::Others(path.to_owned()))
        }
    };
    let fail = |kind, what: &str| NotTrusted::Io(path.to_owned(), io::Error::new(kind, what));
    if !path.is_absolute() {
        return Err(fail(
            io::ErrorKind::InvalidInput,
            "the path is not absolute",
        ));
    }
    let mut real = PathBuf::from("/");
    look(&real)?;
    let mut steps = steps(path);
    let mut links = 0;
    while let Some(step) = steps.pop() {
        if step == ".." {
            real.pop();
            continue;
        }
        let next = real.join(step);
        let Some(target) = look(&next)?.link else {
            real = next;
            continue;
        };
        links += 1;
        if links > MAX_LINKS {
            return Err(fail(
                io::ErrorKind::Other,
                "there are too many links on the way",
            ));
        }
        if target.is_absolute() {
            real = PathBuf::from("/");
        }
        steps.extend(self::steps(&target));
    }
    Ok(real)
}

/// The steps of a path, the last one first: for whoever goes it step by step, and puts those of a link on top.
pub fn steps(path: &Path) -> Vec<OsString> {
    let step = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().rev().filter_map(step).collect()
}

/// Whether it is root's or ours, and others cannot write to it.
fn is_closed(seen: &Seen, us: Us) -> bool {
    let ours = seen.uid == 0 || seen.uid == us.uid;
    let shared = seen.gid != 0 && seen.gid != us.gid;
    let open = seen.mode & 0o002 != 0 || shared && seen.mode & 0o020 != 0;
    // The mode of a link says nothing; its folder says who can change it.
    ours && (!open || seen.link.is_some() || seen.is_folder && seen.mode & STICKY != 0)
}
