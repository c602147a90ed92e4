//! Who may read and write a folder: modes with the setgid bit, and access control lists that hold for whatever is created
//! in it, whatever the umask of who creates it.
//!
//! The lists are written as the attributes that the kernel itself reads (acl(5)), so that no program has to be there.

use std::ffi::CString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use nix::unistd::{Group, User, getgrouplist};
use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, Uid, fchmod, fchown, fgetxattr, fremovexattr,
    fsetxattr, fstat, open, openat, unlinkat,
};
use rustix::io::Errno;

use super::{DataError, stamp};

const ACCESS: &str = "system.posix_acl_access";
const DEFAULT: &str = "system.posix_acl_default";
/// The version of the attributes' form.
const VERSION: u32 = 2;
/// The deepest folder whose contents get rights: each one on the way is open twice.
const DEEPEST: usize = 200;
/// How long a list is that only has an owner, a group and others.
const PLAIN: usize = 4 + 3 * 8;
/// The number where none belongs.
const NO_ID: u32 = u32::MAX;
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

/// Rights with numbers in the place of names.
#[derive(Debug)]
struct Numbers {
    /// The group that owns the folder.
    group: u32,
    /// What that group may.
    of_group: Bits,
    of_others: Bits,
    users: Vec<(u32, Bits)>,
    groups: Vec<(u32, Bits)>,
    everybody_writes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Bits {
    None,
    Read,
    Write,
}

impl Bits {
    fn number(self, runs: bool) -> u32 {
        let run = u32::from(runs);
        match self {
            Self::None => 0,
            Self::Read => 4 | run,
            Self::Write => 6 | run,
        }
    }
}

impl Numbers {
    /// Looks names up.
    fn find(rights: &Rights) -> Result<Self, DataError> {
        let mut users: Vec<(u32, Bits)> = Vec::new();
        let mut groups: Vec<(u32, Bits)> = Vec::new();
        let mut found = Vec::new();
        let (mut no_users, mut no_groups) = (Vec::new(), Vec::new());
        let unreadable = |error: Errno| DataError::io("look up", Path::new("names"))(error.into());
        let unreadable = |error: nix::Error| unreadable(Errno::from_raw_os_error(error as i32));
        // Those who write come first: whoever is named twice gets more.
        for (audience, bits) in [(&rights.write, Bits::Write), (&rights.read, Bits::Read)] {
            let Audience::Some {
                users: by_user,
                groups: by_group,
            } = audience
            else {
                continue;
            };
            for name in by_user {
                match User::from_name(name).map_err(unreadable)? {
                    Some(user) => {
                        put(&mut users, user.uid.as_raw(), bits);
                        found.push(user);
                    }
                    None => no_users.push(name.clone()),
                }
            }
            for name in by_group {
                match Group::from_name(name).map_err(unreadable)? {
                    Some(group) => put(&mut groups, group.gid.as_raw(), bits),
                    None => no_groups.push(name.clone()),
                }
            }
        }
        for (what, names) in [("account", no_users), ("group", no_groups)] {
            if !names.is_empty() {
                return Err(DataError::Unknown { what, names });
            }
        }
        let everybody = |audience: &Audience| *audience == Audience::Everybody;
        if everybody(&rights.write) {
            // An entry of their own would give those who are named less than everybody else.
            users.clear();
            groups.clear();
        }
        // An entry of one's own counts more than those of one's groups. Without it, a reader whose group writes writes; and
        // if the group loses him, he may do too little until rights are given again, and never too much.
        for user in found {
            let id = (user.uid.as_raw(), Bits::Read);
            if users.contains(&id) && is_writer(&user, &groups).map_err(unreadable)? {
                users.retain(|one| *one != id);
            }
        }
        let of_others = if everybody(&rights.write) {
            Bits::Write
        } else if everybody(&rights.read) {
            Bits::Read
        } else {
            Bits::None
        };
        // The first group owns the folder, so that `ls -l` tells most of it.
        let (group, of_group) = if groups.is_empty() {
            (rustix::process::getegid().as_raw(), of_others)
        } else {
            groups.remove(0)
        };
        users.sort_unstable();
        groups.sort_unstable();
        Ok(Self {
            group,
            of_group: of_group.max(of_others),
            of_others,
            users,
            groups,
            everybody_writes: everybody(&rights.write),
        })
    }

    /// Whether anybody but root writes there.
    fn is_shared(&self) -> bool {
        let writes = |(_, bits): &(u32, Bits)| *bits == Bits::Write;
        self.of_group == Bits::Write
            || self.of_others == Bits::Write
            || self.users.iter().chain(&self.groups).any(writes)
    }

    /// The setgid bit for what is shared, and the sticky bit where everybody could remove everything.
    fn bits(&self, is_folder: bool) -> u32 {
        match (is_folder && self.is_shared(), self.everybody_writes) {
            (false, _) => 0,
            (true, false) => 0o2000,
            (true, true) => 0o3000,
        }
    }

    fn entries(&self, runs: bool) -> Entries {
        let number = |bits: Bits| bits.number(runs);
        let named = |all: &[(u32, Bits)]| {
            let all = all.iter().map(|(id, bits)| (*id, number(*bits)));
            all.collect()
        };
        Entries {
            owner: Bits::Write.number(runs),
            group: number(self.of_group),
            others: number(self.of_others),
            users: named(&self.users),
            groups: named(&self.groups),
        }
    }
}

/// Whether one of an account's groups may write.
fn is_writer(user: &User, groups: &[(u32, Bits)]) -> Result<bool, nix::Error> {
    let name = CString::new(user.name.as_str()).map_err(|_| nix::Error::EINVAL)?;
    let own = getgrouplist(&name, user.gid)?;
    let writes = |gid: &nix::unistd::Gid| groups.contains(&(gid.as_raw(), Bits::Write));
    Ok(own.iter().any(writes))
}

fn put(all: &mut Vec<(u32, Bits)>, id: u32, bits: Bits) {
    if !all.iter().any(|(known, _)| *known == id) {
        all.push((id, bits));
    }
}

/// An access control list.
#[derive(Debug)]
struct Entries {
    owner: u32,
    group: u32,
    others: u32,
    users: Vec<(u32, u32)>,
    groups: Vec<(u32, u32)>,
}

impl Entries {
    /// Whether modes cannot say it.
    fn is_extended(&self) -> bool {
        !self.users.is_empty() || !self.groups.is_empty()
    }

    /// What anybody but the owner and others may have at most.
    fn mask(&self) -> u32 {
        let named = self.users.iter().chain(&self.groups);
        named.fold(self.group, |mask, (_, bits)| mask | bits)
    }

    /// With a list, the bits of the group are those of the mask.
    fn mode(&self) -> u32 {
        let group = if self.is_extended() {
            self.mask()
        } else {
            self.group
        };
        self.owner << 6 | group << 3 | self.others
    }

    /// The attribute: a version, then entries of tag, rights and number, in this order.
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = VERSION.to_le_bytes().to_vec();
        let mut put = |tag: u16, bits: u32, id: u32| {
            bytes.extend(tag.to_le_bytes());
            bytes.extend((u16::try_from(bits).unwrap_or(0)).to_le_bytes());
            bytes.extend(id.to_le_bytes());
        };
        put(0x01, self.owner, NO_ID);
        for (id, bits) in &self.users {
            put(0x02, *bits, *id);
        }
        put(0x04, self.group, NO_ID);
        for (id, bits) in &self.groups {
            put(0x08, *bits, *id);
        }
        if self.is_extended() {
            put(0x10, self.mask(), NO_ID);
        }
        put(0x20, self.others, NO_ID);
        bytes
    }
}
