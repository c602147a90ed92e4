//! The place in which a library is built: folders for the account that builds, and an environment in which R sees what it
//! shall see, and nothing of ours or of a user's.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::{RError, io as fail};
use super::interpreter::Interpreter;
use crate::command::{Account, Log, Seen, Step, run};
use crate::error::EnvError;

/// The most that is read of a file that a package or an answer is described in.
const SHORT_FILE: u64 = 16 * 1024 * 1024;
const LOOK_LIMIT: Duration = Duration::from_mins(2);

/// A place to work in.
#[derive(Debug)]
pub(super) struct Room<'a> {
    /// Belongs to the account that builds.
    pub(super) folder: PathBuf,
    /// The library that is being filled; first of all that R looks into.
    pub(super) library: PathBuf,
    /// Where logs go; not inside of what the account can change.
    pub(super) logs: PathBuf,
    /// What the programs are marked with, so that left-over ones are found.
    pub(super) mark: PathBuf,
    pub(super) interpreter: &'a Interpreter,
    pub(super) account: Option<Account>,
    /// The libraries of the machine, as R says.
    pub(super) libraries: Vec<PathBuf>,
}

impl Room<'_> {
    /// Makes the folders.
    pub(super) fn furnish(&self) -> Result<(), RError> {
        for folder in [&self.logs, &self.folder] {
            fs::create_dir_all(folder).map_err(fail("create the folder", folder))?;
        }
        for name in ["home", "tmp", "src"] {
            let folder = self.folder.join(name);
            fs::create_dir_all(&folder).map_err(fail("create the folder", &folder))?;
            if name == "home" {
                // Before it is given away, so that it is written there and nowhere else. Repositories of this machine
                // belong to others; git takes that from this file alone.
                self.write("home/.gitconfig", "[safe]\n\tdirectory = *\n")?;
            }
            self.hand_over(&folder)?;
        }
        self.write("nothing", "")?;
        self.hand_over(&self.folder)
    }

    /// Gives a file or folder to the account that builds.
    pub(super) fn hand_over(&self, path: &Path) -> Result<(), RError> {
        if let Some(account) = &self.account {
            std::os::unix::fs::lchown(path, Some(account.uid), Some(account.gid))
                .map_err(fail("give away", path))?;
        }
        Ok(())
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes a file that programs read. Whatever lies there is replaced, not followed.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<(), RError> {
        let path = self.path(name);
        let _ = fs::remove_file(&path);
        let written = File::options()
            .write(true)
            .create_new(true)
            .open(&path)
            .and_then(|mut file| {
                io::Write::write_all(&mut file, text.as_bytes())?;
                // Not by its name: the folder is the builder's, who could put a link there meanwhile.
                file.set_permissions(fs::Permissions::from_mode(0o644))
            });
        written.map_err(fail("write", &path))
    }

    /// Writes one of our scripts.
    pub(super) fn script(&self, name: &str, text: &str) -> Result<PathBuf, RError> {
        self.write(name, text)?;
        Ok(self.path(name))
    }

    /// What is changed in the environment of all programs.
    pub(super) fn environment(&self) -> Vec<(&'static str, Option<String>)> {
        let path = |path: &Path| Some(path.display().to_string());
        let site = self
            .libraries
            .iter()
            .map(|one| one.display().to_string())
            .collect::<Vec<_>>()
            .join(":");
        let nothing = self.path("nothing");
        vec![
            ("HOME", path(&self.path("home"))),
            ("TMPDIR", path(&self.path("tmp"))),
            ("XDG_CACHE_HOME", path(&self.path("home"))),
            ("R_USER_CACHE_DIR", path(&self.path("home"))),
            // Neither the machine's start files, which lead to the current generation, nor a user's.
            ("R_PROFILE", path(&nothing)),
            ("R_PROFILE_USER", path(&nothing)),
            ("R_ENVIRON", path(&nothing)),
            ("R_ENVIRON_USER", path(&nothing)),
            ("R_MAKEVARS_USER", path(&nothing)),
            ("R_LIBS", path(&self.library)),
            ("R_LIBS_USER", Some("NULL".to_owned())),
            ("R_LIBS_SITE", Some(site)),
            ("LYCEUM_R_LIBRARY", None),
            ("R_DEFAULT_PACKAGES", None),
            ("R_HOME", None),
            ("LC_ALL", Some("C.UTF-8".to_owned())),
            ("LANGUAGE", Some("en".to_owned())),
            ("DISPLAY", None),
            // Packages that draw in three dimensions load without a screen then.
            ("RGL_USE_NULL", Some("TRUE".to_owned())),
            ("GIT_TERMINAL_PROMPT", Some("0".to_owned())),
            ("GIT_ASKPASS", Some("/bin/false".to_owned())),
            ("SSH_ASKPASS", Some("/bin/false".to_owned())),
        ]
    }

    /// Runs a program with a log of this name, and gives the last lines of its output.
    pub(super) async fn run(&self, step: Step<'_>, log: &str) -> Result<Vec<String>, EnvError> {
        self.run_watched(step, log, &mut |_| {}).await
    }

    pub(super) async fn run_watched(
        &self,
        step: Step<'_>,
        log: &str,
        observer: &mut (dyn FnMut(Seen<'_>) + Send),
    ) -> Result<Vec<String>, EnvError> {
        let log = Log::create(self.log_path(log), self.mark.clone())?
            .run_as(self.account.clone())
            .run_in(self.folder.clone());
        run(step, &log, observer).await
    }

    pub(super) fn log_path(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }

    /// Asks R which libraries of the machine it has, without users' own and without those below `ours`.
    pub(super) async fn look(&mut self, ours: &Path) -> Result<(), RError> {
        let mut environment = self.environment();
        environment.retain(|(name, _)| {
            !matches!(*name, "R_PROFILE" | "R_ENVIRON" | "R_LIBS" | "R_LIBS_SITE")
        });
        environment.extend([
            ("R_LIBS", None),
            ("R_LIBS_SITE", None),
            ("R_PROFILE", None),
            ("R_ENVIRON", None),
        ]);
        let program = self.interpreter.script_program();
        let step = Step {
            doing: "ask R where it looks for packages",
            program: program.as_os_str(),
            arguments: vec![
                "-e".as_ref(),
                "cat(paste0('library:',.libPaths()),sep='\\n')".as_ref(),
            ],
            environment,
            limit: LOOK_LIMIT,
        };
        let lines = self.run(step, "look").await?;
        self.libraries = lines
            .iter()
            .filter_map(|line| line.strip_prefix("library:"))
            .map(PathBuf::from)
            .filter(|path| !path.starts_with(ours) && !path.starts_with(&self.folder))
            .collect();
        Ok(())
    }
}

/// Reads a file that somebody else has written: no link, no device, and not more than is sensible.
pub(super) fn read_short(path: &Path) -> io::Result<String> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "no regular file",
        ));
    }
    let mut bytes = Vec::new();
    file.take(SHORT_FILE).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
