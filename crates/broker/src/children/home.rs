//! Home folders: made where they lack, and how much space they have. What touches a home is done as its owner.

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use nix::libc;
use nix::unistd::{Gid, Uid, setegid, seteuid, setgroups, setresgid, setresuid};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::set_parent_process_death_signal;

use super::copy;
use super::job::{Home, Outcome};
use crate::account::Account;
use crate::protocol::HomeSpace;

/// How a folder is opened: itself, and not what a link points at.
const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
/// The name of a home folder while it is made, in a hidden folder beside its place.
const NEW: &str = "home";
/// The unit of the limits that quotas tell, in bytes.
const QUOTA_BLOCK: u64 = 1024;

/// Makes a home folder, in a folder that root alone can change, and fills it as its owner.
pub(super) fn make(wanted: &Home) -> io::Result<Outcome> {
    let home = &wanted.account.home;
    match std::fs::symlink_metadata(home) {
        Ok(_) => return Ok(Outcome::Exists {}),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let (Some(parent), Some(name)) = (home.parent(), home.file_name()) else {
        return Err(io::Error::other("the home folder has no place"));
    };
    let parent = open_of_root(parent)?;
    let name = CString::new(name.as_bytes())?;
    // Made out of everybody's reach, and moved into its place when it is complete: what is broken off is no home.
    let hidden = format!(".lyceum-home-{}", wanted.account.name);
    let around = home.with_file_name(&hidden);
    match std::fs::remove_dir_all(&around) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let hidden = CString::new(hidden)?;
    rustix::fs::mkdirat(&parent, &hidden, Mode::from_raw_mode(0o700))?;
    let around_it = rustix::fs::openat(&parent, &hidden, DIRECTORY, Mode::empty())?;
    let made = fill(wanted, &around_it).and_then(|()| {
        match rustix::fs::renameat(&around_it, NEW, &parent, &name) {
            Ok(()) => Ok(Outcome::Done {}),
            Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR | Errno::BUSY) => {
                Ok(Outcome::Exists {})
            }
            Err(error) => Err(error.into()),
        }
    });
    // What cannot be removed now is removed the next time; the home itself is not in it any more.
    let _ = std::fs::remove_dir_all(&around);
    made
}

/// Makes the new home in a folder that root alone can enter.
fn fill(wanted: &Home, around: &OwnedFd) -> io::Result<()> {
    rustix::fs::mkdirat(around, NEW, Mode::from_raw_mode(0o700))?;
    let folder = rustix::fs::openat(around, NEW, DIRECTORY, Mode::empty())?;
    rustix::fs::fchown(
        &folder,
        Some(rustix::fs::Uid::from_raw(wanted.account.uid)),
        Some(rustix::fs::Gid::from_raw(wanted.account.gid)),
    )?;
    as_account(&wanted.account, || {
        copy::copy(&wanted.skeleton, &folder).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!(
                    "{} could not be copied into the home folder: {error}",
                    wanted.skeleton.display()
                ),
            )
        })?;
        rustix::fs::fchmod(&folder, Mode::from_raw_mode(wanted.mode & 0o7777))?;
        Ok(())
    })
}

/// Opens a folder step by step from the root, each step root's alone to change, and none a link.
fn open_of_root(path: &Path) -> io::Result<OwnedFd> {
    let mut folder = rustix::fs::open("/", DIRECTORY, Mode::empty())?;
    let mut so_far = Path::new("/").to_owned();
    for part in path.components() {
        let std::path::Component::Normal(part) = part else {
            continue;
        };
        so_far.push(part);
        folder = rustix::fs::openat(&folder, part, DIRECTORY, Mode::empty()).map_err(|error| {
            let error = io::Error::from(error);
            io::Error::new(error.kind(), format!("{}: {error}", so_far.display()))
        })?;
        let stat = rustix::fs::fstat(&folder)?;
        if stat.st_uid != 0 || stat.st_mode & 0o022 != 0 {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!(
                    "{} is not root's alone to change, so no home folder is made below it",
                    so_far.display()
                ),
            ));
        }
    }
    Ok(folder)
}

/// Does something with an account's rights, then is root again. Runs no code but our own.
fn as_account<T>(account: &Account, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let (uid, gid) = take_groups(account)?;
    setegid(gid)?;
    seteuid(uid)?;
    // The system forgets it with each change of the account.
    let _ = set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    let done = work();
    seteuid(Uid::from_raw(0))?;
    setegid(Gid::from_raw(0))?;
    setgroups(&[])?;
    done
}

/// Gives up root for an account, for good.
pub(super) fn become_account(account: &Account) -> io::Result<()> {
    let (uid, gid) = take_groups(account)?;
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)?;
    Ok(())
}

fn take_groups(account: &Account) -> io::Result<(Uid, Gid)> {
    let (uid, gid) = (Uid::from_raw(account.uid), Gid::from_raw(account.gid));
    if uid.is_root() || account.gid == 0 {
        return Err(io::Error::other("root's account is no user's"));
    }
    let gids: Vec<Gid> = account.gids.iter().copied().map(Gid::from_raw).collect();
    setgroups(&gids)?;
    Ok((uid, gid))
}

/// Looks at the space of a home, as its owner.
pub(super) fn space(account: &Account) -> io::Result<HomeSpace> {
    become_account(account)?;
    let home = rustix::fs::open(
        &account.home,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let whole = rustix::fs::fstatvfs(&home)?;
    let quota = quota(&home, account.uid);
    Ok(HomeSpace {
        used: quota.map(|(used, _)| used),
        quota: quota.and_then(|(_, limit)| limit),
        free: Some(whole.f_bavail.saturating_mul(whole.f_frsize)),
    })
}

/// What a user has and may have on a file system; `None` where it does not count, or does not tell.
#[expect(
    unsafe_code,
    reason = "the system call has no safe form in the crates that we use"
)]
fn quota(folder: impl AsFd, uid: u32) -> Option<(u64, Option<u64>)> {
    let command = libc::QCMD(libc::Q_GETQUOTA, libc::USRQUOTA);
    let mut found = MaybeUninit::<libc::dqblk>::zeroed();
    // SAFETY: the descriptor is open, and the last argument points at a structure of the kind and size that this
    // command fills; the system keeps no pointer to it.
    let done = unsafe {
        libc::syscall(
            libc::SYS_quotactl_fd,
            folder.as_fd().as_raw_fd(),
            command,
            uid,
            found.as_mut_ptr(),
        )
    };
    if done != 0 {
        return None;
    }
    // SAFETY: it was zeroed, which is a valid value, and then filled by the system.
    let found = unsafe { found.assume_init() };
    let limit = if found.dqb_bsoftlimit > 0 {
        found.dqb_bsoftlimit
    } else {
        found.dqb_bhardlimit
    };
    let limit = (limit > 0).then(|| limit.saturating_mul(QUOTA_BLOCK));
    Some((found.dqb_curspace, limit))
}
