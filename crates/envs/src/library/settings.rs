//! What an environment is told: names, places, limits.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{
    MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown, lchown,
};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;
use rustix::fs::OFlags;

use super::account;
use super::share::make_folder;
use crate::command::Account;
use crate::error::EnvError;
use crate::python::interpreter::Host;

/// How long the answer of an installer may be.
const MAX_ANSWER: u64 = 64 * 1024 * 1024;

/// What a named Python environment is made of, and where.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its name, which becomes a folder: letters, digits, hyphens and underscores.
    pub name: String,
    /// What people see of it, in the title of its kernel; if it is empty, the kernel keeps the title that it came with.
    pub title: String,
    /// The folder of all environments, such as `/opt/lyceum/envs`.
    pub folder: PathBuf,
    /// The requirements file. The lock file stands beside it.
    pub requirements: PathBuf,
    /// The Python: a version, a path, or empty for the one of the newest generation.
    pub python: String,
    /// How many older generations stay when old ones are removed.
    pub keep: u32,
    /// Modules that have to be importable.
    pub smoke: Vec<String>,
    /// Whether servers are started from it, so that it has to have what they need.
    pub serves: bool,
    /// Whether users see the packages that they have installed for themselves.
    pub user_packages: bool,
    /// A folder of wheels that are looked into, too.
    pub wheels: Option<PathBuf>,
    /// The account that builds, when we are root.
    pub build_as: String,
    /// How much room has to be there before the first build is begun, in MiB. Later ones need about a third of what the
    /// newest generation has.
    pub needed_mib: u64,
    /// Where programs are looked for.
    pub host: Host,
}

impl Settings {
    /// The usual ones for an environment of this name below this folder, with this requirements file.
    pub fn new(name: &str, folder: &Path, requirements: &Path) -> Self {
        Self {
            name: name.to_owned(),
            title: String::new(),
            folder: folder.to_owned(),
            requirements: requirements.to_owned(),
            python: String::new(),
            keep: 3,
            smoke: Vec::new(),
            serves: false,
            user_packages: true,
            wheels: None,
            build_as: "lyceum-build".to_owned(),
            needed_mib: 1000,
            host: Host::this(),
        }
    }

    /// The lock file, beside the requirements.
    pub fn lock_file(&self) -> PathBuf {
        self.requirements
            .with_file_name(format!("{}.lock", self.name))
    }

    /// The folder of the generations.
    pub fn generations(&self) -> PathBuf {
        self.folder.join("python").join(&self.name)
    }
}

/// The folders of one environment, and who may write where.
///
/// ```text
/// cache/            what installers have downloaded; what is in it belongs to the builder
/// build/python-NAME/  what a build is told, and `out` for what the builder answers
/// python/NAME/      the generations
/// ```
#[derive(Debug, Clone)]
pub(crate) struct Places {
    pub(crate) generations: PathBuf,
    pub(crate) cache: PathBuf,
    pub(crate) work: PathBuf,
    /// Where the builder writes its answers.
    pub(crate) out: PathBuf,
    /// The account that builds; `None` is ourselves.
    pub(crate) builder: Option<Account>,
}

impl Places {
    /// Makes the folders, and refuses those that others could change.
    pub(crate) fn prepare(settings: &Settings) -> Result<Self, EnvError> {
        let builder = account::builder(&settings.build_as)?;
        if settings
            .folder
            .as_os_str()
            .as_encoded_bytes()
            .contains(&b':')
        {
            return Err(EnvError::PathWithColon {
                path: settings.folder.clone(),
            });
        }
        let fail = |path: &Path| {
            let path = path.to_owned();
            move |source| EnvError::Io {
                doing: "create the folder",
                path,
                source,
            }
        };
        if let Some(parent) = settings.folder.parent() {
            fs::create_dir_all(parent).map_err(fail(parent))?;
        }
        make_ours(&settings.folder)?;
        // What is built must not depend on links in the path.
        let folder = settings
            .folder
            .canonicalize()
            .map_err(fail(&settings.folder))?;
        let python = folder.join("python");
        let places = Self {
            generations: python.join(&settings.name),
            cache: folder.join("cache"),
            work: folder
                .join("build")
                .join(format!("python-{}", settings.name)),
            out: folder
                .join("build")
                .join(format!("python-{}/out", settings.name)),
            builder,
        };
        for path in [
            &python,
            &places.generations,
            &places.cache,
            &folder.join("build"),
        ] {
            make_ours(path)?;
        }
        for name in ["home", "tmp", "tools", "uv", "pip"] {
            places.hand_over(&places.cache.join(name))?;
        }
        Ok(places)
    }

    /// Makes a folder for the builder, in one that is ours: so nobody can put something else in its place.
    pub(crate) fn hand_over(&self, path: &Path) -> Result<(), EnvError> {
        let make = || match fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.builder.as_ref().map_or(Ok(()), |account| {
                    lchown(path, Some(account.uid), Some(account.gid))
                })
            }
            Err(error) => Err(error),
            Ok(()) => {
                fs::set_permissions(path, Permissions::from_mode(0o700))?;
                self.builder.as_ref().map_or(Ok(()), |account| {
                    lchown(path, Some(account.uid), Some(account.gid))
                })
            }
        };
        make().map_err(|source| EnvError::Io {
            doing: "create the folder",
            path: path.to_owned(),
            source,
        })
    }

    /// Who owns what is built, as far as that is somebody else.
    pub(crate) fn owner(&self) -> Option<u32> {
        self.builder.as_ref().map(|account| account.uid)
    }

    /// Empties the folder of what a build is told.
    pub(crate) fn begin_work(&self) -> Result<(), EnvError> {
        self.end_work()?;
        make_ours(&self.work)?;
        self.hand_over(&self.out)
    }

    /// Removes the folder of what a build is told.
    pub(crate) fn end_work(&self) -> Result<(), EnvError> {
        remove(&self.work)
    }

    /// Writes what the builder finds where its answer goes; nobody can write there before it is handed over.
    pub(crate) fn answer_before(&self, path: &Path, text: &str) -> Result<(), EnvError> {
        let write = || -> io::Result<()> {
            let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
            file.write_all(text.as_bytes())?;
            self.builder.as_ref().map_or(Ok(()), |account| {
                fchown(&file, Some(account.uid), Some(account.gid))
            })
        };
        write().map_err(|source| EnvError::Io {
            doing: "write",
            path: path.to_owned(),
            source,
        })
    }

    /// Reads what the builder wrote: an ordinary file of a sound size, and not where a link leads.
    pub(crate) fn read_answer(&self, path: &Path) -> Result<Vec<u8>, EnvError> {
        let read = || -> io::Result<Vec<u8>> {
            let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
            let file = OpenOptions::new()
                .read(true)
                .custom_flags(i32::try_from(flags.bits()).unwrap_or(0))
                .open(path)?;
            let data = file.metadata()?;
            let foreign = self.owner().is_some_and(|owner| data.uid() != owner);
            if !data.is_file() || data.len() > MAX_ANSWER || foreign {
                return Err(io::Error::other("it is not what an installer writes"));
            }
            let mut text = Vec::new();
            file.take(MAX_ANSWER).read_to_end(&mut text)?;
            Ok(text)
        };
        read().map_err(|source| EnvError::Io {
            doing: "read",
            path: path.to_owned(),
            source,
        })
    }

    /// Writes a file that the builder reads. It may hold the password of a package index.
    pub(crate) fn tell(&self, name: &str, text: &str) -> Result<PathBuf, EnvError> {
        let path = self.work.join(name);
        let write = || -> io::Result<()> {
            fs::write(&path, "")?;
            fs::set_permissions(&path, Permissions::from_mode(0o640))?;
            if let Some(account) = &self.builder {
                lchown(&path, None, Some(account.gid))?;
            }
            fs::write(&path, text)
        };
        write().map_err(|source| EnvError::Io {
            doing: "write",
            path: path.clone(),
            source,
        })?;
        Ok(path)
    }
}

/// Removes a folder with all that is in it, if it is there. Links in it are not followed. Blocks.
pub(crate) fn remove(path: &Path) -> Result<(), EnvError> {
    match fs::remove_dir_all(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(EnvError::Io {
            doing: "remove",
            path: path.to_owned(),
            source,
        }),
        _ => Ok(()),
    }
}

/// Makes a folder of ours that everybody can read. One that is there has to be ours, and closed to others' writing: users
/// run what is in it.
fn make_ours(path: &Path) -> Result<(), EnvError> {
    let fail = |source| EnvError::Io {
        doing: "create the folder",
        path: path.to_owned(),
        source,
    };
    if !path.exists() {
        make_folder(path).map_err(fail)?;
    }
    check_ours(path)
}

/// Refuses a folder that others could change.
pub(crate) fn check_ours(path: &Path) -> Result<(), EnvError> {
    let data = fs::metadata(path).map_err(|source| EnvError::Io {
        doing: "look at",
        path: path.to_owned(),
        source,
    })?;
    let unsafe_path = |what: &str| EnvError::Unsafe {
        path: path.to_owned(),
        what: what.to_owned(),
    };
    let us = geteuid().as_raw();
    if data.uid() != us && us == 0 {
        return Err(unsafe_path(
            "does not belong to root, so that its owner could change what users run",
        ));
    }
    if us == 0 && data.mode() & 0o022 != 0 {
        return Err(unsafe_path(
            "can be written to by others than root, who could change what users run",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_others_can_write_to_is_refused_to_root() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("envs");
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, Permissions::from_mode(0o777)).unwrap();
        let mut settings = Settings::new("base", &folder, &dir.path().join("base.txt"));
        settings.build_as = "root".to_owned();
        let prepared = Places::prepare(&settings);
        if geteuid().is_root() {
            let error = prepared.unwrap_err();
            assert!(matches!(error, EnvError::Unsafe { .. }), "{error}");
            assert!(error.hint().unwrap().contains("chmod go-w"));
        } else {
            prepared.unwrap();
        }
    }

    #[test]
    fn the_lock_file_stands_beside_the_requirements() {
        let settings = Settings::new("base", Path::new("/opt/envs"), Path::new("/etc/l/x.txt"));
        assert_eq!(settings.lock_file(), Path::new("/etc/l/base.lock"));
        assert_eq!(settings.generations(), Path::new("/opt/envs/python/base"));
    }
}
