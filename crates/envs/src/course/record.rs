//! What is written down of a course, for nbgrader's settings and for ourselves: root writes it, everybody reads it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::config::write_file;
use super::{CourseError, CourseName, CourseWish, Courses};

/// The time zone where nobody has said one.
const USUAL_ZONE: &str = "UTC";
/// The language where nobody has said one.
const USUAL_LANGUAGE: &str = "en";
/// How long a cell may run where nobody has said it, in seconds.
const USUAL_TIMEOUT: u64 = 120;

/// What is written down of a course.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CourseRecord {
    /// Its name.
    pub name: CourseName,
    /// What people see of it.
    pub title: String,
    /// Its time zone.
    pub timezone: String,
    /// The code of its language.
    pub language: String,
    /// How long a cell may run when it is graded, in seconds.
    pub execution_timeout: u64,
    /// Its folder.
    pub root: PathBuf,
    /// The folder of all courses' exchange.
    pub exchange: PathBuf,
    /// Whether it is over.
    pub archived: bool,
}

impl CourseRecord {
    /// What is to be written down: the wish, else what is there, else what is usual.
    pub(super) fn merged(
        courses: &Courses,
        name: &CourseName,
        old: Option<&Self>,
        wish: &CourseWish,
    ) -> Self {
        let text = |wish: &Option<String>, old: Option<&String>, usual: &str| {
            let text = wish.as_ref().or(old).map(String::as_str);
            text.unwrap_or(usual).to_owned()
        };
        let old_timeout = old.map(|old| old.execution_timeout);
        Self {
            name: name.clone(),
            title: text(&wish.title, old.map(|old| &old.title), name.as_str()),
            timezone: text(&wish.timezone, old.map(|old| &old.timezone), USUAL_ZONE),
            language: text(&wish.language, old.map(|old| &old.language), USUAL_LANGUAGE),
            execution_timeout: wish
                .execution_timeout
                .or(old_timeout)
                .unwrap_or(USUAL_TIMEOUT),
            root: courses.root.join(name.as_str()),
            exchange: courses.exchange.clone(),
            archived: false,
        }
    }

    pub(super) fn write(&self, settings: &Path) -> Result<(), CourseError> {
        let path = path(settings, &self.name);
        let mut text = serde_json::to_string_pretty(self)
            .map_err(io::Error::other)
            .map_err(CourseError::io("write", &path))?;
        text.push('\n');
        write_file(&path, text.as_bytes())
    }

    pub(super) fn find(settings: &Path, name: &CourseName) -> Result<Option<Self>, CourseError> {
        let path = path(settings, name);
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .map_err(io::Error::other)
                .map_err(CourseError::io("read", &path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(CourseError::io("read", &path)(error)),
        }
    }

    pub(super) fn list(settings: &Path) -> Result<Vec<Self>, CourseError> {
        let entries = match fs::read_dir(settings) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(CourseError::io("read", settings)(error)),
        };
        let mut records = Vec::new();
        for entry in entries {
            let entry = entry.map_err(CourseError::io("read", settings))?;
            let file = entry.file_name();
            let name = file.to_str().and_then(|name| name.strip_suffix(".json"));
            if let Some(Ok(name)) = name.map(CourseName::parse) {
                records.extend(Self::find(settings, &name)?);
            }
        }
        records.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(records)
    }
}

fn path(settings: &Path, name: &CourseName) -> PathBuf {
    settings.join(format!("{name}.json"))
}
