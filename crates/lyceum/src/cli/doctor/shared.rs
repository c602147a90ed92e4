//! Whether shared folders are there with their rights, and whether courses have what they need.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use lyceum_certs::Verdict;
use lyceum_config::settings::Config;
use lyceum_envs::course::{Course, CourseError, Courses};
use nix::unistd::geteuid;

use super::Finding;
use crate::cli::{course, data};
use crate::wire;

/// Looks at all shared folders; nothing of those that have none.
pub(super) fn folders(config: &Config) -> Vec<Finding> {
    let (count, faults) = match data::inspect(config) {
        Ok(found) => found,
        Err(error) => {
            return vec![Finding::bad(
                Verdict::Warning,
                format!("shared folders cannot be looked at: {error}"),
                "`lyceum data check` tells more",
            )];
        }
    };
    if count == 0 {
        return Vec::new();
    }
    if faults.is_empty() {
        let what = if geteuid().is_root() {
            format!("{count} shared folders are there, with their rights")
        } else {
            format!(
                "{count} shared folders are there; whether their rights are right, root can see"
            )
        };
        return vec![Finding::fine(what)];
    }
    let finding = |fault: data::Fault| {
        let verdict = if fault.is_serious {
            Verdict::Problem
        } else {
            Verdict::Warning
        };
        Finding::bad(verdict, fault.what, fault.hint)
    };
    faults.into_iter().map(finding).collect()
}

/// Looks at all courses; nothing where there are none.
pub(super) fn courses(config: &Config) -> Vec<Finding> {
    let places = course::places(config);
    let courses = match places.list() {
        Ok(courses) if courses.is_empty() => return Vec::new(),
        Ok(courses) => courses,
        Err(error) => return vec![unreadable(&error)],
    };
    let mut findings = Vec::new();
    findings.extend(settings(&places.settings));
    let mut told = BTreeSet::new();
    for course in &courses {
        let before = findings.len();
        if let Err(error) = one(&places, course, &mut told, &mut findings) {
            findings.push(unreadable(&error));
        }
        if findings.len() == before {
            findings.push(Finding::fine(format!(
                "the course {}: {} teach it, and {} attend it",
                course.record.name,
                course.teachers.len(),
                course.students.len()
            )));
        }
    }
    if courses.iter().any(|course| !course.record.archived) {
        findings.extend(nbgrader(config));
    }
    findings
}

fn unreadable(error: &CourseError) -> Finding {
    Finding::bad(
        Verdict::Problem,
        error.to_string(),
        error.hint().unwrap_or_else(|| {
            "`lyceum course list` tells more; `lyceum course add NAME` writes it anew".to_owned()
        }),
    )
}

/// The broker gives nobody settings that others than root can change.
fn settings(folder: &Path) -> Option<Finding> {
    let data = fs::metadata(folder).ok()?;
    if data.uid() == 0 && data.mode() & 0o022 == 0 {
        return None;
    }
    let shown = folder.display();
    Some(Finding::bad(
        Verdict::Problem,
        format!(
            "others than root can change {shown}, so servers start without the settings of courses"
        ),
        format!("look what was changed; then, as root: `chown root: {shown}; chmod go-w {shown}`"),
    ))
}

fn one(
    places: &Courses,
    course: &Course,
    told: &mut BTreeSet<String>,
    findings: &mut Vec<Finding>,
) -> Result<(), CourseError> {
    let name = &course.record.name;
    // Whoever is not root cannot look everywhere.
    if geteuid().is_root() {
        let wrong = places.check(name)?.into_iter();
        // What all courses share is told once.
        let wrong = wrong.filter(|what| told.insert(what.clone())).map(|what| {
            let hint = if course.record.archived {
                format!("`lyceum course remove {name}` closes it again")
            } else {
                format!("`lyceum course add {name}`")
            };
            Finding::bad(Verdict::Problem, format!("the course {name}: {what}"), hint)
        });
        findings.extend(wrong);
    }
    if course.record.archived {
        return Ok(());
    }
    if course.teachers.is_empty() {
        findings.push(Finding::bad(
            Verdict::Warning,
            format!("nobody teaches the course {name}"),
            format!("`lyceum course enroll {name} NAME --teachers`"),
        ));
    }
    for account in places.without_account(name)? {
        findings.push(Finding::bad(
            Verdict::Warning,
            format!("{account} is in the course {name}, and has no account on this machine"),
            format!("`lyceum course drop {name} {account}`, or make the account"),
        ));
    }
    Ok(())
}

/// Without nbgrader in an environment, people see nothing of their courses. Where servers start from elsewhere, nobody
/// can tell.
fn nbgrader(config: &Config) -> Option<Finding> {
    let folders = wire::python::folders(config)?;
    let has = |name: &String| {
        let bin = folders.folder.join("python").join(name).join("current/bin");
        bin.join("nbgrader").exists()
    };
    let missing = !folders.names.iter().any(has);
    missing.then(|| {
        Finding::bad(
            Verdict::Warning,
            "there are courses, and no Python environment has nbgrader",
            "`lyceum env python add nbgrader --switch`",
        )
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_course_without_groups_and_teachers_and_with_open_settings_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.courses.root = dir.path().join("courses");
        config.courses.exchange = dir.path().join("exchange");
        config.courses.settings = dir.path().join("settings");
        let settings = &config.courses.settings;
        assert_eq!(courses(&config), []);
        fs::create_dir(settings).unwrap();
        let record = serde_json::json!({
            "name": "nobodys-course", "title": "x", "timezone": "UTC", "language": "en", "execution_timeout": 1,
            "root": config.courses.root.join("nobodys-course"), "exchange": config.courses.exchange, "archived": false
        });
        fs::write(settings.join("nobodys-course.json"), record.to_string()).unwrap();
        fs::set_permissions(settings, fs::Permissions::from_mode(0o777)).unwrap();
        let found = courses(&config);
        let find = |what: &str| found.iter().find(|one| one.what.contains(what));
        let open = find("others than root can change").unwrap();
        assert_eq!(open.verdict, Verdict::Problem);
        let nobody = find("nobody teaches the course nobodys-course").unwrap();
        assert_eq!(nobody.verdict, Verdict::Warning);
        let group = find("the group teach-nobodys-course is missing");
        assert_eq!(group.is_some(), geteuid().is_root(), "{found:?}");
        // A damaged record is told, and hides nothing else from `lyceum doctor`.
        fs::write(settings.join("nobodys-course.json"), "{").unwrap();
        assert_eq!(courses(&config).len(), 1);
    }
}
