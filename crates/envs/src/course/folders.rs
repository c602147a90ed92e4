//! The folders of a course, and their modes, on which it depends who can read what.
//!
//! ```text
//! root/NAME             root:teach-NAME   2770   its teachers'; what one makes, all may change
//! exchange/NAME         root:course-NAME  0750   whoever is in the course may enter
//!   outbound            root:teach-NAME   2775   teachers put in, others take out
//!   inbound             root:teach-NAME   3773   students put in, and see nothing of each other's
//!   feedback            root:teach-NAME   2771   is read by whoever knows the name, which follows from one's submission
//! ```

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use super::config::make_folder;
use super::deed::Deed;
use super::groups::find_group;
use super::{CourseError, CourseName, Courses};
use crate::data::{Change, fixed};

/// What nbgrader keeps in the folder of a course.
const STEPS: [&str; 6] = [
    "source",
    "release",
    "submitted",
    "autograded",
    "feedback",
    "solution",
];

/// Makes the folders, where they are not so already.
pub(super) fn make(
    courses: &Courses,
    name: &CourseName,
    done: &mut Vec<Deed>,
) -> Result<(), CourseError> {
    let root = courses.root.join(name.as_str());
    let exchange = courses.exchange.join(name.as_str());
    let teachers = find_group(&name.teachers())?;
    let everybody = find_group(&name.everybody())?;
    for above in [&courses.root, &courses.exchange] {
        if !above.is_dir() {
            if !courses.dry_run {
                make_folder(above)?;
            }
            done.push(Deed::Made("folder", above.clone()));
        }
    }
    let mut folders = vec![(root.clone(), teachers, 0o2770, true)];
    folders.extend(STEPS.map(|step| (root.join(step), teachers, 0o2770, true)));
    folders.extend([
        (exchange.clone(), everybody, 0o0750, false),
        (exchange.join("outbound"), teachers, 0o2775, true),
        // The sticky bit keeps students from moving away what is not theirs, should they learn its name.
        (exchange.join("inbound"), teachers, 0o3773, false),
        (exchange.join("feedback"), teachers, 0o2771, true),
    ]);
    for (path, group, mode, shared) in folders {
        one(courses, &path, group, mode, shared, done)?;
    }
    database(courses, &root.join("gradebook.db"), teachers, done)
}

/// Closes the exchange of a course.
pub(super) fn close(
    courses: &Courses,
    name: &CourseName,
    done: &mut Vec<Deed>,
) -> Result<(), CourseError> {
    let exchange = courses.exchange.join(name.as_str());
    if !exchange.is_dir() {
        return Ok(());
    }
    one(courses, &exchange, Some(0), 0o0700, false, done)
}

fn one(
    courses: &Courses,
    path: &Path,
    group: Option<u32>,
    mode: u32,
    shared: bool,
    done: &mut Vec<Deed>,
) -> Result<(), CourseError> {
    let is_there = path.is_dir();
    // Before its group is there, a folder can only be one that is to be made.
    let Some(group) = group.filter(|_| is_there || !courses.dry_run) else {
        done.push(Deed::Made("folder", path.to_owned()));
        return Ok(());
    };
    if !is_there {
        fs::create_dir(path).map_err(CourseError::io("make the folder", path))?;
    }
    let change = fixed(path, group, mode, shared, courses.dry_run)?;
    done.push(match change {
        // A new one may have got its rights from the folder that it is in.
        Change::None if is_there => return Ok(()),
        _ if is_there => Deed::Rights(path.to_owned()),
        _ => Deed::Made("folder", path.to_owned()),
    });
    if change == Change::WithoutLists {
        done.push(Deed::Note(format!(
            "the file system of {} has no access control lists; teachers share what they make only with umask 002",
            path.display()
        )));
    }
    Ok(())
}

/// Makes an empty database, which SQLite takes for a new one. Made by nbgrader, it would be its maker's alone to write.
fn database(
    courses: &Courses,
    path: &Path,
    group: Option<u32>,
    done: &mut Vec<Deed>,
) -> Result<(), CourseError> {
    match fs::symlink_metadata(path) {
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(CourseError::io("look at", path)(error)),
    }
    done.push(Deed::Made("gradebook", path.to_owned()));
    if courses.dry_run {
        return Ok(());
    }
    // The folder is its teachers' to change: nothing that one of them puts there meanwhile is followed.
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(CourseError::io("write", path))?;
    std::os::unix::fs::fchown(&file, None, group)
        .map_err(CourseError::io("change the owner of", path))?;
    file.set_permissions(fs::Permissions::from_mode(0o660))
        .map_err(CourseError::io("change the mode of", path))
}
