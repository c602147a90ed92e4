//! Descriptions of kernels: `kernel.json`, and the pictures beside it.
//!
//! Copied, not linked: what a folder holds later on, in whosever hands it is, does not reach users by itself.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::EnvError;
use crate::python::is_executable;

/// Larger files are no descriptions and no pictures.
const MOST: u64 = 1024 * 1024;
/// Where a program without a path is looked for: what every server has on its PATH.
const PROGRAMS: &[&str] = &["/usr/local/bin", "/usr/bin", "/bin"];

/// What we read and write of a `kernel.json`; the rest is kept as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Spec {
    pub(super) argv: Vec<String>,
    pub(super) display_name: String,
    #[serde(default)]
    pub(super) language: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) env: BTreeMap<String, String>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl Spec {
    pub(super) fn to_json(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).unwrap_or_default();
        text.push(b'\n');
        text
    }
}

/// A description with its pictures, by name.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Made {
    pub(super) spec: Spec,
    pub(super) pictures: Vec<(String, Vec<u8>)>,
}

/// Lists the kernels in a folder of kernels, by name. One that cannot be read is not listed by Jupyter either.
pub(super) fn list(folder: &Path) -> Result<Vec<(String, Spec)>, EnvError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(failed(folder, source)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|source| failed(folder, source))?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if let Ok(Ok(spec)) = read(&entry.path()) {
            found.push((name.to_lowercase(), spec));
        }
    }
    found.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(found)
}

/// The kernel that a folder describes, or why there is none.
pub(super) fn from_folder(folder: &Path) -> Result<Result<Made, String>, EnvError> {
    let mut spec = match read(folder)? {
        Ok(spec) => spec,
        Err(why) => return Ok(Err(why)),
    };
    let here = folder.display().to_string();
    for argument in &mut spec.argv {
        *argument = argument.replace("{resource_dir}", &here);
    }
    let Some(program) = spec.argv.first_mut() else {
        return Ok(Err(format!("{here}/kernel.json names no program")));
    };
    match find_program(program, folder) {
        Some(found) => *program = found.display().to_string(),
        None => {
            return Ok(Err(format!(
                "{here}/kernel.json starts {program}, which is not there"
            )));
        }
    }
    Ok(Ok(Made {
        spec,
        pictures: pictures(folder)?,
    }))
}

/// A kernel that is a command.
pub(super) fn from_command(argv: &[String], language: &str, title: &str) -> Result<Made, String> {
    let program = argv.first().map_or("", String::as_str);
    if !is_executable(Path::new(program)) {
        return Err(format!("{program} is not there, or is no program"));
    }
    Ok(Made {
        spec: Spec {
            argv: argv.to_vec(),
            display_name: title.to_owned(),
            language: language.to_owned(),
            env: BTreeMap::new(),
            rest: Map::new(),
        },
        pictures: Vec::new(),
    })
}

fn read(folder: &Path) -> Result<Result<Spec, String>, EnvError> {
    let path = folder.join("kernel.json");
    let text = match read_small(&path, OFlags::empty()) {
        Ok(Some(text)) => text,
        Ok(None) => return Ok(Err(format!("{} is no description", path.display()))),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(Err(format!("{} is not there", path.display())));
        }
        Err(source) => return Err(failed(&path, source)),
    };
    Ok(serde_json::from_slice(&text)
        .map_err(|error| format!("{} cannot be read: {error}", path.display())))
}

/// A file's content, unless it is too large or no file, or a link where `flags` say so.
fn read_small(path: &Path, flags: OFlags) -> io::Result<Option<Vec<u8>>> {
    let flags = flags | OFlags::NONBLOCK;
    let file = File::options()
        .read(true)
        .custom_flags(i32::try_from(flags.bits()).unwrap_or(0))
        .open(path);
    let file = match file {
        // A picture may be a link: what it leads to may be for root's eyes, and is for all once it is copied.
        Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => return Ok(None),
        other => other?,
    };
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.take(MOST + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= MOST).then_some(bytes))
}

fn pictures(folder: &Path) -> Result<Vec<(String, Vec<u8>)>, EnvError> {
    let fail = |source| failed(folder, source);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(fail)? {
        let Ok(name) = entry.map_err(fail)?.file_name().into_string() else {
            continue;
        };
        let is_picture = [".png", ".svg"].iter().any(|end| name.ends_with(end));
        if is_picture
            && name.starts_with("logo")
            && let Some(bytes) = read_small(&folder.join(&name), OFlags::NOFOLLOW).map_err(fail)?
        {
            found.push((name, bytes));
        }
    }
    found.sort();
    Ok(found)
}

/// Finds the program of a kernel. `python` alone would be the server's own, wherever the folder is.
fn find_program(program: &str, folder: &Path) -> Option<PathBuf> {
    let path = Path::new(program);
    if path.is_absolute() {
        return is_executable(path).then(|| path.to_owned());
    }
    if program.contains('/') {
        return None;
    }
    // PREFIX/share/jupyter/kernels/NAME
    let own = folder.ancestors().nth(4).map(|prefix| prefix.join("bin"));
    own.into_iter()
        .chain(PROGRAMS.iter().map(PathBuf::from))
        .map(|place| place.join(program))
        .find(|path| is_executable(path))
}

fn failed(path: &Path, source: io::Error) -> EnvError {
    EnvError::Io {
        doing: "read",
        path: path.to_owned(),
        source,
    }
}
