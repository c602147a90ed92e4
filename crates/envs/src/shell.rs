//! What login shells, ssh sessions and terminals have of the environments: the tools of the default one, and variables.
//!
//! One script, which every shell of the machine reads: `/etc/profile.d/lyceum.sh` is for login shells, and blocks of a line
//! in the files of bash and zsh have it read by the others. Only files that are there get a block.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The script.
const SCRIPT: &str = "etc/profile.d/lyceum.sh";
/// The first line of the script, by which it is known.
const MARK: &str = "# Written by `lyceum env shell --write`";
/// The files of shells that read no profile, and where in them the block belongs: bash's own file ends early for
/// shells that are not interactive, such as `ssh HOST COMMAND`; zsh's own begins with a `PATH`.
const FILES: [(&str, Place); 3] = [
    ("etc/bash.bashrc", Place::First),
    ("etc/zsh/zshenv", Place::Last),
    ("etc/zshenv", Place::Last),
];
const BEGIN: &str = "# >>> lyceum >>> (`lyceum env shell --remove` takes this out)";
const END: &str = "# <<< lyceum <<<";

/// Where in a file the block belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    First,
    Last,
}

/// What shells are to have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShellSettings {
    /// The link to the current generation of the default environment; absolute.
    pub python: Option<PathBuf>,
    /// Variables, unless somebody has set them otherwise.
    pub variables: BTreeMap<String, String>,
}

/// A file that is to be another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShellChange {
    /// The file.
    pub path: PathBuf,
    /// What it is to hold; nothing if it is to go.
    pub text: Option<String>,
}

/// Why a file of the shells is left as it is.
#[derive(Debug, Error)]
pub enum ShellError {
    /// It cannot be read or written.
    #[error("could not {doing} {}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// There is one that somebody else has made.
    #[error("{} is there already, and is not Lyceum's", .0.display())]
    Foreign(PathBuf),
    /// The block was changed by hand.
    #[error("the lines of Lyceum in {} have no end", .0.display())]
    Broken(PathBuf),
}

impl ShellError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "run it as root".to_owned()
            }
            Self::Io { .. } => "see that the file can be read and written, as text".to_owned(),
            Self::Foreign(path) => format!("move it away: `mv {0} {0}.old`", path.display()),
            Self::Broken(path) => {
                format!(
                    "take the line `{BEGIN}` and what belongs to it out of {}",
                    path.display()
                )
            }
        }
    }
}

impl ShellSettings {
    /// The script, for every shell that understands POSIX's words. It ends well and changes nothing else, whatever is
    /// missing; what is set already stays, as the user's own files may have said so.
    pub fn script(&self) -> String {
        let mut text = format!(
            "{MARK}, which writes it anew: changes in here are lost.\n\
             # What shells have of Lyceum's environments. A folder that is missing does no harm.\n"
        );
        if let Some(python) = &self.python {
            let python = quoted(&python.display().to_string());
            let _ = write!(
                text,
                r#"
_lyceum={python}
# Terminals of a server stay with the generation that the server runs from.
if [ ! -O / ] && [ -n "${{LYCEUM_PYTHON-}}" ]; then
  _lyceum=$LYCEUM_PYTHON
fi
if [ -d "$_lyceum/bin" ]; then
  case ":${{PATH-}}:" in
    *":$_lyceum/bin:"*) ;;
    *)
      # For root, the system's own programs come first.
      if [ -O / ]; then
        PATH=${{PATH:+$PATH:}}$_lyceum/bin
      else
        PATH=$_lyceum/bin${{PATH:+:$PATH}}
      fi
      export PATH
      ;;
  esac
  # Without a pip of the system, root's would change the generation that everybody uses.
  if [ -O / ] && [ "$(command -v pip)" = "$_lyceum/bin/pip" ]; then
    pip() {{
      case "${{1-}}" in
        install|uninstall)
          echo "pip: this would change what everybody uses; build a generation: lyceum env python add PACKAGE" >&2
          return 1
          ;;
        *) command pip "$@" ;;
      esac
    }}
    pip3() {{
      pip "$@"
    }}
  fi
fi
unset _lyceum
"#
            );
        }
        // Names are checked where they are read; one that slips through must not become a command in every shell.
        for (name, value) in self.variables.iter().filter(|(name, _)| is_name(name)) {
            let value = quoted(value);
            let _ = write!(
                text,
                "\nif [ -z \"${{{name}+set}}\" ]; then\n  {name}={value}\n  export {name}\nfi\n"
            );
        }
        text
    }
}

/// Whether the script was written below `root`, by whatever settings. Blocks.
pub fn is_written(root: &Path) -> bool {
    fs::read_to_string(root.join(SCRIPT)).is_ok_and(|text| text.starts_with(MARK))
}

/// Finds which files below `root` are to change, so that shells have these settings, or nothing of Lyceum's with `None`.
/// Changes nothing. Blocks.
pub fn changes(
    root: &Path,
    settings: Option<&ShellSettings>,
) -> Result<Vec<ShellChange>, ShellError> {
    let mut all = Vec::new();
    let path = root.join(SCRIPT);
    let old = read(&path)?;
    if old.as_ref().is_some_and(|text| !text.starts_with(MARK)) {
        // What is not ours is in nobody's way when ours is to go.
        if settings.is_some() {
            return Err(ShellError::Foreign(path));
        }
    } else {
        let text = settings.map(ShellSettings::script);
        if text != old {
            all.push(ShellChange { path, text });
        }
    }
    for (file, place) in FILES {
        let path = root.join(file);
        let Some(old) = read(&path)? else { continue };
        let without = without_block(&old).ok_or_else(|| ShellError::Broken(path.clone()))?;
        let text = match (settings, place) {
            (None, _) => without,
            (Some(_), Place::First) => format!("{}{without}", block()),
            (Some(_), Place::Last) => format!("{}{}", with_end(without), block()),
        };
        if text != old {
            let text = Some(text);
            all.push(ShellChange { path, text });
        }
    }
    Ok(all)
}

impl ShellChange {
    /// Makes it so, whole or not at all. Blocks.
    pub fn apply(&self) -> Result<(), ShellError> {
        let fail = |doing| {
            move |source| ShellError::Io {
                doing,
                path: self.path.clone(),
                source,
            }
        };
        match &self.text {
            Some(text) => write(&self.path, text).map_err(fail("write")),
            None => match fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(fail("remove")(error)),
                _ => Ok(()),
            },
        }
    }
}

fn block() -> String {
    format!("{BEGIN}\nif [ -r /{SCRIPT} ]; then . /{SCRIPT}; fi\n{END}\n")
}

/// The text without our block; `None` if the block has no end of its own.
fn without_block(text: &str) -> Option<String> {
    let mut rest = String::with_capacity(text.len());
    let mut inside = false;
    for line in text.split_inclusive('\n') {
        let bare = line.trim_end();
        if bare == BEGIN {
            if inside {
                return None;
            }
            inside = true;
        } else if bare == END && inside {
            inside = false;
        } else if !inside {
            rest.push_str(line);
        }
    }
    (!inside).then_some(rest)
}

fn with_end(mut text: String) -> String {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

/// Whether every shell takes it as the name of a variable.
fn is_name(text: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    text.starts_with(letter) && text.chars().all(|c| letter(c) || c.is_ascii_digit())
}

/// A text as one word of every shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn read(path: &Path) -> Result<Option<String>, ShellError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ShellError::Io {
            doing: "read",
            path: path.to_owned(),
            source,
        }),
    }
}

/// Writes the file anew beside the old one, and puts it into its place. Follows a link, as others do who edit it.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mode = fs::metadata(&path).map_or(0o644, |metadata| metadata.permissions().mode() & 0o777);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    // Neither `*.sh` nor anything else that a shell reads while it is half-written.
    name.push(".lyceum-new");
    let draft = path.with_file_name(name);
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            // Whatever the umask: everybody's shell has to read it.
            file.set_permissions(Permissions::from_mode(mode))?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&draft, &path));
    if written.is_err() {
        let _ = fs::remove_file(&draft);
    }
    written
}

#[cfg(test)]
mod tests;
