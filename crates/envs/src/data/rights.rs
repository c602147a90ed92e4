//! Who may read and write a folder: modes with the setgid bit, and access control lists that hold for whatever is created
//! in it, whatever the umask of who creates it.
//!
//! `numbers.rs` finds out who gets what, `list.rs` says it as the kernel does.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, Uid, fchmod, fchown, fgetxattr, fremovexattr,
    fsetxattr, fstat, open, openat, unlinkat,
};
use rustix::io::Errno;

mod list;
mod numbers;

use list::{Entries, PLAIN};
use numbers::Numbers;

use super::{DataError, stamp};

const ACCESS: &str = "system.posix_acl_access";
const DEFAULT: &str = "system.posix_acl_default";
/// The deepest folder whose contents get rights: each one on the way is open twice.
const DEEPEST: usize = 200;
const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
const ANY: OFlags = OFlags::RDONLY
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Some people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Audience {
    /// Nobody but root.
    #[default]
    Nobody,
    /// Everybody with an account on this machine.
    Everybody,
    /// These.
    Some {
        /// Accounts.
        users: Vec<String>,
        /// Groups of this machine.
        groups: Vec<String>,
    },
}

/// Who may use a folder. Whoever may write may read, too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    /// Who may read what is in it.
    pub read: Audience,
    /// Who may create and change what is in it.
    pub write: Audience,
}

/// What became of a wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It was so already.
    None,
    /// It was done, or would be.
    Changed,
    /// The same, but the file system has no access control lists: for what is created later, the umask decides whether
    /// the group may write to it.
    WithoutLists,
}

/// Makes a folder if it is missing, and gives it these rights. The folder above has to be there, and be the caller's
/// alone to change. Blocks.
pub fn create(path: &Path, rights: &Rights, dry_run: bool) -> Result<Change, DataError> {
    match fs::symlink_metadata(path) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // What is wrong with the names is to be said before there is anything.
            let _ = Numbers::find(rights)?;
            if dry_run {
                return Ok(Change::Changed);
            }
            DirBuilder::new()
                .mode(0o700)
                .create(path)
                .map_err(DataError::io("make the folder", path))?;
            return match apply(path, rights, false)? {
                Change::WithoutLists => Ok(Change::WithoutLists),
                _ => Ok(Change::Changed),
            };
        }
        Err(error) => return Err(DataError::io("look at", path)(error)),
    }
    apply(path, rights, dry_run)
}

/// Gives a folder these rights. It becomes root's, if we are root. Blocks.
///
/// What others may write from now on is not ours any more, so that the record of what `lyceum data add` has put there goes:
/// nothing of it would be true when they may not write any more.
pub fn apply(path: &Path, rights: &Rights, dry_run: bool) -> Result<Change, DataError> {
    let numbers = Numbers::find(rights)?;
    let folder = open(path, FOLDER, Mode::empty())
        .map_err(io::Error::from)
        .map_err(DataError::io("open the folder", path))?;
    if numbers.is_shared() && !dry_run {
        match unlinkat(&folder, stamp::FILE, AtFlags::empty()) {
            // A folder of that name is no record.
            Ok(()) | Err(Errno::NOENT | Errno::ISDIR) => {}
            Err(error) => {
                return Err(DataError::io("change", &path.join(stamp::FILE))(
                    error.into(),
                ));
            }
        }
    }
    set(&folder, &numbers, Kind::Folder, path, dry_run)
}

/// Gives everything below a folder the rights that it would have if it were created there now. Links are left alone, and so
/// are files with several names, programs that run as somebody else, and what lies deeper than 200 folders. Gives the number
/// of what was left alone. Blocks.
pub fn apply_below(path: &Path, rights: &Rights) -> Result<u64, DataError> {
    let numbers = Numbers::find(rights)?;
    let failed = || DataError::io("go through", path);
    let top = open(path, FOLDER, Mode::empty()).map_err(io::Error::from);
    let mut open_folders = vec![Level::of(top.map_err(failed())?).map_err(failed())?];
    let mut left_alone = 0;
    // Only the folders on the way to where we are, as no process may have thousands of them open.
    while let Some(level) = open_folders.last_mut() {
        let Some(entry) = level.entries.next() else {
            open_folders.pop();
            continue;
        };
        let entry = entry.map_err(io::Error::from).map_err(failed())?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        // Those who may write can put anything in our way meanwhile: what we change is what we have opened.
        let opened = match openat(&level.folder, name, ANY, Mode::empty()) {
            Ok(opened) => opened,
            Err(Errno::NOENT) => continue,
            // A link, or a socket.
            Err(Errno::LOOP | Errno::NXIO) => {
                left_alone += 1;
                continue;
            }
            // Whatever else it is, the folder has not got its rights.
            Err(error) => return Err(failed()(error.into())),
        };
        let stat = fstat(&opened).map_err(io::Error::from).map_err(failed())?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            set(&opened, &numbers, Kind::Below, path, false)?;
            if open_folders.len() > DEEPEST {
                left_alone += 1;
            } else {
                open_folders.push(Level::of(opened).map_err(failed())?);
            }
        } else if kind == FileType::RegularFile && stat.st_nlink == 1 && stat.st_mode & 0o6000 == 0
        {
            let kind = Kind::File(stat.st_mode & 0o111 != 0);
            set(&opened, &numbers, kind, path, false)?;
        } else {
            left_alone += 1;
        }
    }
    Ok(left_alone)
}

/// A folder that is being gone through.
#[derive(Debug)]
struct Level {
    folder: OwnedFd,
    entries: Dir,
}

impl Level {
    fn of(folder: OwnedFd) -> io::Result<Self> {
        let entries = Dir::read_from(&folder)?;
        Ok(Self { folder, entries })
    }
}

/// Gives a folder exactly this group and mode. If it is `shared`, whatever is created in it is the group's to change,
/// and others' as far as the mode says. Blocks.
pub(crate) fn fixed(
    path: &Path,
    group: u32,
    mode: u32,
    shared: bool,
    dry_run: bool,
) -> Result<Change, DataError> {
    let failed = |doing| move |error: Errno| DataError::io(doing, path)(error.into());
    let folder = open(path, FOLDER, Mode::empty()).map_err(failed("open the folder"))?;
    let stat = fstat(&folder).map_err(failed("look at"))?;
    let entries = Entries {
        owner: 7,
        group: mode >> 3 & 7,
        others: mode & 7,
        users: Vec::new(),
        groups: Vec::new(),
    };
    let default = shared.then(|| entries.bytes());
    let owner = rustix::process::geteuid().as_raw();
    let same = stat.st_mode & 0o7777 == mode
        && (stat.st_uid, stat.st_gid) == (owner, group)
        && has(&folder, ACCESS, None)
        && has(&folder, DEFAULT, default.as_deref());
    if same {
        return Ok(Change::None);
    }
    if dry_run {
        return Ok(Change::Changed);
    }
    let own = Mode::from_raw_mode(mode & 0o700);
    fchmod(&folder, own).map_err(failed("change the mode of"))?;
    fchown(
        &folder,
        Some(Uid::from_raw(owner)),
        Some(Gid::from_raw(group)),
    )
    .map_err(failed("change the owner of"))?;
    let mut change = Change::Changed;
    for (name, list) in [(ACCESS, None), (DEFAULT, default)] {
        match replace(&folder, name, list.as_deref()) {
            Err(Errno::OPNOTSUPP) if list.is_none() => {}
            Err(Errno::OPNOTSUPP) => change = Change::WithoutLists,
            done => done.map_err(failed("write the access control list of"))?,
        }
    }
    fchmod(&folder, Mode::from_raw_mode(mode)).map_err(failed("change the mode of"))?;
    Ok(change)
}

/// What is to be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The folder itself.
    Folder,
    /// A folder in it, which stays its owner's.
    Below,
    /// A file in it, which stays its owner's; and whether it can be run.
    File(bool),
}

fn set(
    opened: &OwnedFd,
    numbers: &Numbers,
    kind: Kind,
    path: &Path,
    dry_run: bool,
) -> Result<Change, DataError> {
    let failed = |doing| move |error: Errno| DataError::io(doing, path)(error.into());
    let wanted = numbers.entries(match kind {
        Kind::File(runs) => runs,
        Kind::Folder | Kind::Below => true,
    });
    let is_folder = !matches!(kind, Kind::File(_));
    let mode = wanted.mode() | numbers.bits(is_folder);
    let list = wanted.is_extended().then(|| wanted.bytes());
    let default = (is_folder && numbers.is_shared()).then(|| wanted.bytes());
    let stat = fstat(opened).map_err(failed("look at"))?;
    let owner = match kind {
        Kind::Folder => rustix::process::geteuid().as_raw(),
        Kind::Below | Kind::File(_) => stat.st_uid,
    };
    let same = stat.st_mode & 0o7777 == mode
        && (stat.st_uid, stat.st_gid) == (owner, numbers.group)
        && has(opened, ACCESS, list.as_deref())
        && (!is_folder || has(opened, DEFAULT, default.as_deref()));
    if same {
        return Ok(Change::None);
    }
    if dry_run {
        return Ok(Change::Changed);
    }
    // First nobody but the owner, so that at no moment somebody may who shall not.
    let own = Mode::from_raw_mode(mode & 0o700);
    fchmod(opened, own).map_err(failed("change the mode of"))?;
    fchown(
        opened,
        Some(Uid::from_raw(owner)),
        Some(Gid::from_raw(numbers.group)),
    )
    .map_err(failed("change the owner of"))?;
    let mut change = Change::Changed;
    if is_folder {
        match replace(opened, DEFAULT, default.as_deref()) {
            Err(Errno::OPNOTSUPP) if wanted.is_extended() => {
                return Err(DataError::NoLists {
                    path: path.to_owned(),
                });
            }
            Err(Errno::OPNOTSUPP) => change = Change::WithoutLists,
            done => done.map_err(failed("write the access control list of"))?,
        }
    }
    match replace(opened, ACCESS, list.as_deref()) {
        Err(Errno::OPNOTSUPP) if list.is_none() => {}
        Err(Errno::OPNOTSUPP) => {
            return Err(DataError::NoLists {
                path: path.to_owned(),
            });
        }
        done => done.map_err(failed("write the access control list of"))?,
    }
    fchmod(opened, Mode::from_raw_mode(mode)).map_err(failed("change the mode of"))?;
    Ok(change)
}

/// Whether something has this list. Where there are no lists at all, one that only says what the mode says is there in effect.
fn has(opened: impl AsFd, name: &str, wanted: Option<&[u8]>) -> bool {
    let mut buffer = vec![0_u8; 4096];
    match fgetxattr(opened, name, buffer.as_mut_slice()) {
        Ok(length) => buffer.get(..length) == wanted,
        Err(Errno::OPNOTSUPP) => wanted.is_none_or(|list| list.len() <= PLAIN),
        Err(_) => wanted.is_none(),
    }
}

fn replace(opened: impl AsFd, name: &str, value: Option<&[u8]>) -> Result<(), Errno> {
    match value {
        Some(value) => fsetxattr(opened, name, value, rustix::fs::XattrFlags::empty()),
        None => match fremovexattr(opened, name) {
            Err(Errno::NODATA) => Ok(()),
            done => done,
        },
    }
}
