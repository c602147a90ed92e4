//! A server's own view of the file system: its own `/tmp`, others' processes invisible, closed folders closed.
//!
//! Made of mounts in a namespace of the server's, which end with it. Where the kernel allows no such namespace (in most
//! containers), a server starts without, and the broker says so; but what an administrator has named as hidden or
//! read-only is not left open: then it does not start.

use std::ffi::CStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, symlink};
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, MountPropagationFlags};

use super::job::{Job, Step};

/// What every `/dev` has.
const NODES: [&str; 7] = ["null", "zero", "full", "random", "urandom", "tty", "ptmx"];
/// The folders of `/dev` that are the machine's.
const FOLDERS: [&str; 4] = ["pts", "shm", "mqueue", "hugepages"];
/// The system's folders.
const SYSTEM: [&str; 4] = ["/usr", "/boot", "/efi", "/etc"];

type Failed = (Step, io::Error, String);

/// Closes what is closed to this server, for this process and whatever it starts.
pub(super) fn close(job: &Job, folders: &[PathBuf]) -> Result<(), Failed> {
    if let Err(error) = enter_namespace() {
        if job.hidden.is_empty() && job.read_only.is_empty() {
            return Ok(());
        }
        return Err((Step::Namespace, error, String::new()));
    }
    let at = |what: &Path| {
        let what = what.to_string_lossy().into_owned();
        move |error: io::Error| (Step::Folders, error, what)
    };
    if let (Some(devices), Some(stage)) = (&job.devices, folders.first()) {
        private_devices(devices, stage).map_err(at(Path::new("/dev")))?;
    }
    for path in &job.hidden {
        match hide(path, folders) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            done => done.map_err(at(path))?,
        }
    }
    for path in &job.read_only {
        match read_only(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            done => done.map_err(at(path))?,
        }
    }
    if job.protect_system {
        for path in SYSTEM.map(Path::new) {
            if path.is_dir() && !job.home.starts_with(path) {
                read_only(path).map_err(at(path))?;
            }
        }
    }
    // A mount may be refused although the namespace was not, by what hides parts of /proc in a container.
    let _ = private_proc();
    if job.private_tmp {
        for (target, folder) in ["/tmp", "/var/tmp"].iter().zip(folders) {
            bind(&folder.join("tmp"), Path::new(target)).map_err(at(Path::new(target)))?;
        }
    }
    Ok(())
}

/// Tries what servers need here, in a process that is of no other use. Gives what cannot be had, a sentence each.
pub(super) fn missing() -> Vec<String> {
    if let Err(error) = enter_namespace() {
        return vec![format!(
            "Servers see other users' processes, share /tmp, and no folder is closed to them: this machine allows no mount namespaces ({error})."
        )];
    }
    let mut missing = Vec::new();
    if let Err(error) = private_proc() {
        missing.push(format!(
            "Servers see other users' processes: /proc cannot be mounted with `hidepid` ({error})."
        ));
    }
    if let Err(error) = read_only(Path::new("/usr")) {
        missing.push(format!(
            "The system's folders are not closed to servers beyond their modes: they cannot be mounted anew ({error})."
        ));
    }
    missing
}

#[expect(unsafe_code, reason = "leaving a namespace is unsafe in general")]
fn enter_namespace() -> io::Result<()> {
    // SAFETY: this process has one thread, and no other one shares its view of the file system.
    let done = unsafe { nix::libc::unshare(nix::libc::CLONE_NEWNS) };
    nix::errno::Errno::result(done)?;
    // What is mounted later (homes by autofs) comes in, and nothing goes out.
    let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    Ok(rustix::mount::mount_change("/", slave)?)
}

fn private_proc() -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let mount =
        |options: &CStr| rustix::mount::mount("proc", "/proc", "proc", flags, Some(options));
    // The word is known since Linux 5.8, the number for ever.
    Ok(mount(c"hidepid=invisible").or_else(|_| mount(c"hidepid=2"))?)
}

/// Makes a `/dev` with nothing in it but what every program needs, and these devices.
fn private_devices(devices: &[PathBuf], stage: &Path) -> io::Result<()> {
    let dev = stage.join("dev");
    fs::create_dir(&dev)?;
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    rustix::mount::mount("tmpfs", &dev, "tmpfs", flags, Some(c"mode=755,size=64k"))?;
    let nodes = NODES.iter().map(|name| Path::new("/dev").join(name));
    for device in nodes.chain(devices.iter().cloned()) {
        let Ok(inside) = device.strip_prefix("/dev") else {
            continue;
        };
        let copy = dev.join(inside);
        let Ok(data) = fs::symlink_metadata(&device) else {
            continue;
        };
        if let Some(parent) = copy.parent() {
            fs::create_dir_all(parent)?;
        }
        if data.is_symlink() {
            symlink(fs::read_link(&device)?, &copy)?;
        } else if data.is_dir() {
            fs::create_dir_all(&copy)?;
            bind(&device, &copy)?;
        } else if data.file_type().is_char_device() || data.file_type().is_block_device() {
            File::create(&copy)?;
            bind(&device, &copy)?;
        }
    }
    for name in FOLDERS {
        let (device, copy) = (Path::new("/dev").join(name), dev.join(name));
        if device.is_dir() {
            fs::create_dir_all(&copy)?;
            bind(&device, &copy)?;
        }
    }
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("log", "/run/systemd/journal/dev-log"),
    ] {
        symlink(target, dev.join(name))?;
    }
    Ok(rustix::mount::mount_move(&dev, "/dev")?)
}

/// Puts an empty folder, or an empty file, which nobody may open, in the place of a path.
fn hide(path: &Path, folders: &[PathBuf]) -> io::Result<()> {
    if fs::metadata(path)?.is_dir() {
        let flags =
            MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::RDONLY;
        return Ok(rustix::mount::mount(
            "tmpfs",
            path,
            "tmpfs",
            flags,
            Some(c"mode=000,size=4k"),
        )?);
    }
    let empty = folders
        .first()
        .ok_or(io::ErrorKind::NotFound)?
        .join("hidden");
    let file = File::create(&empty)?;
    rustix::fs::fchmod(&file, rustix::fs::Mode::empty())?;
    bind(&empty, path)
}

/// Makes a path, with all that is mounted below, one that cannot be written to.
fn read_only(path: &Path) -> io::Result<()> {
    fs::metadata(path)?;
    bind(path, path)?;
    match set_read_only(path) {
        // Linux 5.12 has the call that reaches the mounts below.
        Err(error) if error.raw_os_error() == Some(nix::libc::ENOSYS) => {
            let flags = MountFlags::BIND | MountFlags::RDONLY;
            Ok(rustix::mount::mount_remount(path, flags, c"")?)
        }
        done => done,
    }
}

#[expect(unsafe_code, reason = "no library has this system call yet")]
fn set_read_only(path: &Path) -> io::Result<()> {
    #[repr(C)]
    struct MountAttributes {
        set: u64,
        clear: u64,
        propagation: u64,
        user_namespace: u64,
    }
    let path = std::ffi::CString::new(path.as_os_str().as_bytes())?;
    let attributes = MountAttributes {
        // `MOUNT_ATTR_RDONLY`
        set: 1,
        clear: 0,
        propagation: 0,
        user_namespace: 0,
    };
    // SAFETY: path and attributes live until the call returns, and the size is that of the attributes.
    let done = unsafe {
        nix::libc::syscall(
            nix::libc::SYS_mount_setattr,
            nix::libc::AT_FDCWD,
            path.as_ptr(),
            nix::libc::AT_RECURSIVE,
            std::ptr::from_ref(&attributes),
            size_of::<MountAttributes>(),
        )
    };
    nix::errno::Errno::result(done)?;
    Ok(())
}

fn bind(from: &Path, to: &Path) -> io::Result<()> {
    Ok(rustix::mount::mount_bind_recursive(from, to)?)
}
