//! How R finds a library: a block in the files that every R of the machine reads when it starts.
//!
//! `Renviron.site` puts the current generation before the distribution's libraries; `Rprofile.site` runs the library's start
//! file, which makes of it the generation of this very moment, also for every R that this one starts.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::{RError, io};
use super::interpreter::Interpreter;
use super::library::RLibrary;
use super::list;

const BEGIN: &str = "# >>> lyceum: the site library, written by `lyceum env r setup`";
const END: &str = "# <<< lyceum";

/// The files that an R reads when it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteFiles {
    /// Variables of the environment.
    pub environ: PathBuf,
    /// Code.
    pub profile: PathBuf,
}

impl SiteFiles {
    /// Those of an R of this machine.
    pub fn of(interpreter: &Interpreter) -> Self {
        Self::in_folder(&interpreter.home.join("etc"))
    }

    /// Those in a folder.
    pub fn in_folder(folder: &Path) -> Self {
        Self {
            environ: folder.join("Renviron.site"),
            profile: folder.join("Rprofile.site"),
        }
    }

    /// Whether R gets this library.
    pub fn is_set(&self, library: &RLibrary) -> bool {
        let has = |path: &Path, block: &str| {
            fs::read_to_string(path).is_ok_and(|text| text.contains(block))
        };
        has(&self.environ, &environ_block(library)) && has(&self.profile, &profile_block(library))
    }

    /// Writes the blocks, in the place of earlier ones. What else is in the files stays. Gives whether something changed.
    pub fn set(&self, library: &RLibrary) -> Result<bool, RError> {
        write_start_file(library)?;
        let environ = replace(&self.environ, Some(&environ_block(library)))?;
        let profile = replace(&self.profile, Some(&profile_block(library)))?;
        Ok(environ || profile)
    }

    /// Takes the blocks out again.
    pub fn unset(&self) -> Result<bool, RError> {
        let environ = replace(&self.environ, None)?;
        let profile = replace(&self.profile, None)?;
        Ok(environ || profile)
    }
}

fn environ_block(library: &RLibrary) -> String {
    format!(
        "{BEGIN}\nR_LIBS_SITE=\"{}:${{R_LIBS_SITE}}\"\n{END}\n",
        library.pattern().display()
    )
}

fn profile_block(library: &RLibrary) -> String {
    let file = quoted(&library.start_file());
    format!("{BEGIN}\nif (file.exists({file})) try(source({file}, local = new.env()))\n{END}\n")
}

/// A path as R code.
pub(super) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Writes the file that R runs when it starts, if it is not there as it should be.
pub(super) fn write_start_file(library: &RLibrary) -> Result<(), RError> {
    let path = library.start_file();
    let folder = library.folder().display().to_string();
    let folder = folder.replace('\\', "\\\\").replace('"', "\\\"");
    let text = include_str!("start.R").replace("@FOLDER@", &folder);
    if fs::read_to_string(&path).is_ok_and(|there| there == text) {
        return Ok(());
    }
    list::write_file(&path, &text)
}

fn replace(path: &Path, block: Option<&str>) -> Result<bool, RError> {
    let before = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(io("read", path)(error)),
    };
    let broken = || RError::BrokenBlock {
        path: path.to_owned(),
        begin: BEGIN,
    };
    let mut after = String::new();
    let mut inside = false;
    for line in before.lines() {
        let bare = line.trim_end();
        if bare == BEGIN {
            if inside {
                return Err(broken());
            }
            inside = true;
        } else if inside && bare == END {
            inside = false;
        } else if !inside {
            after.push_str(line);
            after.push('\n');
        }
    }
    // What follows may be somebody's own.
    if inside {
        return Err(broken());
    }
    if let Some(block) = block {
        after.push_str(block);
    }
    if after == before || (before.is_empty() && after.is_empty()) {
        return Ok(false);
    }
    list::write_file(path, &after)?;
    Ok(true)
}

/// Writes a file beside its place, and moves it there; its rights stay.
pub fn write_file(path: &Path, text: &str) -> Result<(), RError> {
    list::write_file(path, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_without_its_end_is_left_alone_with_all_that_follows() {
        let root = tempfile::tempdir().unwrap();
        let files = SiteFiles::in_folder(root.path());
        let library = RLibrary::new(&root.path().join("envs"), "base").unwrap();
        files.set(&library).unwrap();
        let text = fs::read_to_string(&files.environ).unwrap();
        for changed in [
            text.replace(END, "") + "MINE=1\n",
            text.replace(END, "MINE=1") + &text,
        ] {
            fs::write(&files.environ, &changed).unwrap();
            for result in [files.set(&library), files.unset()] {
                let error = result.unwrap_err();
                assert!(error.to_string().contains("Renviron.site"), "{error}");
                assert!(error.hint().unwrap().contains(BEGIN), "{error}");
            }
            assert_eq!(fs::read_to_string(&files.environ).unwrap(), changed);
        }
        // A space behind it is no other end.
        fs::write(
            &files.environ,
            text.replace(END, &format!("{END} ")) + "MINE=1\n",
        )
        .unwrap();
        assert!(files.unset().unwrap());
        assert_eq!(fs::read_to_string(&files.environ).unwrap(), "MINE=1\n");
    }

    #[test]
    fn blocks_are_written_once_and_taken_out_without_a_trace() {
        let root = tempfile::tempdir().unwrap();
        let files = SiteFiles::in_folder(root.path());
        let library = RLibrary::new(&root.path().join("envs"), "base").unwrap();
        fs::write(&files.environ, "A=1\n").unwrap();
        assert!(files.set(&library).unwrap());
        assert!(files.is_set(&library));
        let text = fs::read_to_string(&files.environ).unwrap();
        assert!(text.starts_with("A=1\n# >>> lyceum"), "{text}");
        assert!(
            text.contains("/r/base/%v/current/library:${R_LIBS_SITE}"),
            "{text}"
        );
        assert!(!files.set(&library).unwrap(), "nothing to do");
        let other = RLibrary::new(&root.path().join("envs"), "stats").unwrap();
        assert!(files.set(&other).unwrap());
        assert!(!files.is_set(&library));
        assert!(files.unset().unwrap());
        assert_eq!(fs::read_to_string(&files.environ).unwrap(), "A=1\n");
        assert_eq!(fs::read_to_string(&files.profile).unwrap(), "");
    }
}
