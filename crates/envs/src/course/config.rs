//! The settings of nbgrader and Jupyter: one for all, and one for each role, which servers are given when they start.
//!
//! ```text
//! NAME.json                        what is written down of a course
//! jupyter/common/nbgrader_config.py   tells nbgrader who its user is, when it starts
//! jupyter/nobody|student|teacher/     which of nbgrader's extensions a server shows
//! ```

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use serde_json::{Map, Value, json};

use super::CourseError;
use super::deed::Deed;

/// The part that computes from groups.
const NBGRADER: &str = include_str!("nbgrader_config.py");
/// What nbgrader shows in JupyterLab, and the part of the server behind it, if there is one; and who sees it.
const EXTENSIONS: [(&str, Option<&str>, bool); 5] = [
    ("formgrader", Some("formgrader"), false),
    ("create-assignment", None, false),
    ("course-list", Some("course_list"), false),
    ("assignment-list", Some("assignment_list"), true),
    ("validate-assignment", Some("validate_assignment"), true),
];

/// Writes all settings, where they are not so already.
pub(super) fn write(
    settings: &Path,
    dry_run: bool,
    done: &mut Vec<Deed>,
) -> Result<(), CourseError> {
    let jupyter = settings.join("jupyter");
    let mut files = vec![(
        jupyter.join("common/nbgrader_config.py"),
        NBGRADER.as_bytes().to_vec(),
    )];
    for (role, is_student, is_teacher) in [
        ("nobody", false, false),
        ("student", true, false),
        ("teacher", true, true),
    ] {
        let hidden = EXTENSIONS
            .iter()
            .filter(|(_, _, of_students)| !(is_teacher || is_student && *of_students));
        let mut lab = Map::new();
        let mut server = Map::new();
        for (plugin, module, _) in hidden {
            lab.insert(format!("@jupyter/nbgrader:{plugin}"), Value::Bool(true));
            if let Some(module) = module {
                let module = format!("nbgrader.server_extensions.{module}");
                server.insert(module, Value::Bool(false));
            }
        }
        if !is_student {
            lab.insert("@jupyter/nbgrader:menu".to_owned(), Value::Bool(true));
        }
        let folder = jupyter.join(role);
        for (name, value) in [
            (
                "labconfig/page_config.json",
                json!({ "disabledExtensions": lab }),
            ),
            (
                "jupyter_server_config.d/lyceum-courses.json",
                json!({ "ServerApp": { "jpserver_extensions": server } }),
            ),
        ] {
            files.push((folder.join(name), format!("{value:#}\n").into_bytes()));
        }
    }
    for (path, text) in files {
        if fs::read(&path).is_ok_and(|found| found == text) {
            continue;
        }
        if !dry_run {
            write_file(&path, &text)?;
        }
        done.push(Deed::Wrote(path));
    }
    Ok(())
}

/// Writes a file that everybody may read, with its folder, so that nobody reads half of it.
pub(super) fn write_file(path: &Path, text: &[u8]) -> Result<(), CourseError> {
    let failed = || CourseError::io("write", path);
    let Some(folder) = path.parent() else {
        return Err(failed()(io::Error::other("it has no folder")));
    };
    make_folder(folder)?;
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .open(&new)
        .map_err(failed())?;
    file.write_all(text)
        .and_then(|()| file.set_permissions(fs::Permissions::from_mode(0o644)))
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&new, path))
        .map_err(failed())
}

/// Makes a folder, and those above it, for everybody to read: whatever root's umask is.
pub(super) fn make_folder(folder: &Path) -> Result<(), CourseError> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(above) = folder.parent() {
        make_folder(above)?;
    }
    match DirBuilder::new().mode(0o755).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(CourseError::io("make the folder", folder)(error))
        }
        _ => fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
            .map_err(CourseError::io("change the mode of", folder)),
    }
}
