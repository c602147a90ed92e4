//! The Python environments that servers are started from, by name: which generation is the current one, found anew at
//! each start, and only where nobody else can have put it.
//!
//! Builds nothing and starts nothing; what is in an environment is its builder's.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use lyceum_core::seams::PythonInUse;
use thiserror::Error;

use crate::trusted::{self, NotTrusted};

/// Programs of an environment that are users' servers: they take JupyterHub's variables and Jupyter Server's options.
pub const JUPYTER_PROGRAMS: [&str; 2] = ["jupyterhub-singleuser", "jupyter-labhub"];
/// The variable that tells a server's terminals which generation it runs from.
pub const VARIABLE: &str = "LYCEUM_PYTHON";
/// The link to the current generation.
const CURRENT: &str = "current";

/// Where the environments are, and which there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PythonFolders {
    /// The folder of all environments, such as `/opt/lyceum/envs`.
    pub folder: PathBuf,
    /// The name of the one for servers whose profile names none.
    pub default: String,
    /// The names of all.
    pub names: BTreeSet<String>,
}

/// Why there is no environment to start from.
#[derive(Debug, Error)]
pub enum PythonError {
    /// The configuration has none of this name.
    #[error("There is no Python environment `{0}` in the configuration.")]
    Unknown(String),
    /// It was never built, or not switched to.
    #[error(
        "The Python environment `{name}` cannot be used yet: no generation of it is the current one in {}.",
        folder.display()
    )]
    NoGeneration {
        /// The environment.
        name: String,
        /// The folder of its generations.
        folder: PathBuf,
    },
    /// The program that servers are is not in it.
    #[error(
        "Generation {generation} of the Python environment `{name}` has no program `{program}`."
    )]
    NoProgram {
        /// The environment.
        name: String,
        /// Its generation.
        generation: u32,
        /// The program.
        program: String,
    },
    /// Others could have put anything there.
    #[error("Others than root can change {}, so no server is started from the Python environment `{name}`.", path.display())]
    Untrusted {
        /// The environment.
        name: String,
        /// What they can change.
        path: PathBuf,
    },
    /// The disk does not tell.
    #[error("Lyceum could not look at {}, which belongs to the Python environment `{name}`: {source}.", path.display())]
    Io {
        /// The environment.
        name: String,
        /// What could not be looked at.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

impl PythonError {
    /// What to do about it, one sentence.
    pub fn hint(&self) -> String {
        match self {
            Self::Unknown(name) => format!(
                "An administrator adds the section `[env.python.{name}]`, or corrects the name."
            ),
            Self::NoGeneration { name, .. } => format!(
                "An administrator builds it with `lyceum env python build {name} --switch`."
            ),
            Self::NoProgram { name, .. } => format!(
                "An administrator brings the last generation back with `lyceum env python rollback {name}`, or puts \
                 `jupyterhub` and `jupyterlab` into its requirements and builds it again."
            ),
            Self::Untrusted { path, .. } => format!(
                "An administrator gives it to root alone: `chown root:root` and `chmod go-w` on {}.",
                path.display()
            ),
            Self::Io { .. } => {
                "An administrator sees whether the folder is there, its disk answers, and everybody may enter it."
                    .to_owned()
            }
        }
    }
}

impl PythonFolders {
    /// The folder of an environment's generations.
    pub fn generations(&self, name: &str) -> PathBuf {
        self.folder.join("python").join(name)
    }

    /// Finds the current generation of an environment for a start of `program`, a plain name. If that is one of
    /// [`JUPYTER_PROGRAMS`], the environment has to have it. Blocks for moments.
    pub fn find(&self, name: &str, program: &str) -> Result<PythonInUse, PythonError> {
        if !self.names.contains(name) {
            return Err(PythonError::Unknown(name.to_owned()));
        }
        let generations = self.generations(name);
        let none = || PythonError::NoGeneration {
            name: name.to_owned(),
            folder: generations.clone(),
        };
        let failed = |error| match error {
            NotTrusted::Others(path) => PythonError::Untrusted {
                name: name.to_owned(),
                path,
            },
            NotTrusted::Io(path, source) => PythonError::Io {
                name: name.to_owned(),
                path,
                source,
            },
        };
        let absent = |error: NotTrusted| {
            if error.is_absent() {
                none()
            } else {
                failed(error)
            }
        };
        let folder = trusted::real_path(&generations).map_err(absent)?;
        let generation = current(&folder).ok_or_else(none)?;
        let expected = folder.join(generation.to_string());
        let prefix = trusted::real_path(&expected).map_err(absent)?;
        // A link in a generation's place could lead to another one by the next start.
        if prefix != expected {
            return Err(none());
        }
        trusted::real_path(&prefix.join("bin/python")).map_err(failed)?;
        if JUPYTER_PROGRAMS.contains(&program) {
            let real = trusted::real_path(&prefix.join("bin").join(program));
            if real.as_ref().is_err_and(NotTrusted::is_absent) {
                return Err(PythonError::NoProgram {
                    name: name.to_owned(),
                    generation,
                    program: program.to_owned(),
                });
            }
            real.map_err(failed)?;
        }
        Ok(PythonInUse {
            name: name.to_owned(),
            generation,
            prefix,
        })
    }

    /// Tells which generation of an environment is the current one, without a look at who can change it. Blocks for
    /// moments.
    pub fn current(&self, name: &str) -> Option<u32> {
        current(&self.generations(name))
    }
}

/// Whether a command is looked for in the environment: a program's plain name, and not a place on the disk.
pub fn is_plain(command: &[String]) -> bool {
    command.first().is_some_and(|name| !name.contains('/'))
}

/// Reads the link to the current generation, once: what is made of it stays whatever is switched to meanwhile.
fn current(generations: &Path) -> Option<u32> {
    let target = fs::read_link(generations.join(CURRENT)).ok()?;
    let name = target.to_str()?;
    let number: u32 = name.parse().ok()?;
    (number > 0 && number.to_string() == name).then_some(number)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    const PROGRAM: &str = "jupyterhub-singleuser";

    fn environments() -> (tempfile::TempDir, PythonFolders) {
        let base = tempfile::tempdir().unwrap();
        let folders = PythonFolders {
            folder: base.path().canonicalize().unwrap(),
            default: "base".to_owned(),
            names: ["base", "stats"].map(str::to_owned).into(),
        };
        for number in [1, 2] {
            let bin = folders
                .generations("base")
                .join(number.to_string())
                .join("bin");
            fs::create_dir_all(&bin).unwrap();
            fs::write(bin.join("python"), "").unwrap();
            fs::write(bin.join(PROGRAM), "").unwrap();
        }
        switch(&folders, "1");
        (base, folders)
    }

    fn switch(folders: &PythonFolders, target: &str) {
        let link = folders.generations("base").join("current");
        let _ = fs::remove_file(&link);
        symlink(target, link).unwrap();
    }

    #[test]
    fn the_generation_is_the_one_that_is_current_at_the_moment() {
        let (_base, folders) = environments();
        let first = folders.find("base", PROGRAM).unwrap();
        assert_eq!((first.name.as_str(), first.generation), ("base", 1));
        assert_eq!(first.prefix, folders.generations("base").join("1"));
        switch(&folders, "2");
        assert_eq!(folders.find("base", PROGRAM).unwrap().generation, 2);
        assert_eq!(folders.current("base"), Some(2));
        assert_eq!(folders.current("stats"), None);
        assert_eq!(first.prefix, folders.generations("base").join("1"));
    }

    #[test]
    fn what_is_not_there_is_told_with_the_next_step() {
        let (_base, folders) = environments();
        let told = |name: &str| {
            let error = folders.find(name, PROGRAM).unwrap_err();
            (error.to_string(), error.hint())
        };
        let (what, next) = told("stats");
        assert!(what.contains("`stats` cannot be used yet"), "{what}");
        assert!(
            next.contains("`lyceum env python build stats --switch`"),
            "{next}"
        );
        assert!(told("other").1.contains("[env.python.other]"));
        fs::remove_file(folders.generations("base").join("1/bin").join(PROGRAM)).unwrap();
        let (what, next) = told("base");
        assert!(
            what.contains("Generation 1") && what.contains(PROGRAM),
            "{what}"
        );
        assert!(next.contains("rollback base"), "{next}");
        // A wrapper need not be in it.
        folders.find("base", "wrapper").unwrap();
    }

    #[test]
    fn a_link_to_anything_but_a_generation_is_none() {
        let (base, folders) = environments();
        for target in ["../base/1", "/etc", "01", "0", "-1", "9", "+1"] {
            switch(&folders, target);
            let error = folders.find("base", PROGRAM).unwrap_err();
            assert!(
                matches!(error, PythonError::NoGeneration { .. }),
                "{target}: {error}"
            );
        }
        symlink(base.path(), folders.generations("base").join("3")).unwrap();
        switch(&folders, "3");
        assert!(folders.find("base", PROGRAM).is_err());
    }

    #[test]
    fn nothing_is_started_from_what_others_can_change() {
        for open in [
            "",
            "python",
            "python/base",
            "python/base/1",
            "python/base/1/bin/python",
        ] {
            let (_base, folders) = environments();
            let path = folders.folder.join(open);
            fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
            let error = folders.find("base", PROGRAM).unwrap_err();
            assert!(
                matches!(error, PythonError::Untrusted { .. }),
                "{open}: {error}"
            );
        }
    }
}
