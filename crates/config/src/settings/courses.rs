//! `[courses]`: courses with nbgrader.

use std::path::PathBuf;

use lyceum_core::HumanDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Courses with nbgrader: where they are, and what new ones begin with. The courses themselves are made by
/// `lyceum course add`, and who is in them is told by groups of this machine. See `docs/courses.md`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CoursesConfig {
    /// The folder with a folder for each course, which its teachers alone can enter: assignments, submissions, grades.
    #[schemars(example = "/data/courses", extend("format" = "path"))]
    pub root: PathBuf,

    /// The folder by which assignments go to students, and come back.
    #[schemars(example = "/data/exchange", extend("format" = "path"))]
    pub exchange: PathBuf,

    /// The folder for what is known of courses, and for the settings of nbgrader and Jupyter that follow from it. Everybody
    /// reads it, and root alone writes it. All servers read it when they start, so it should be on this machine.
    #[schemars(example = "/data/course-settings", extend("format" = "path"))]
    pub settings: PathBuf,

    /// The time zone of courses that are added without one, as the IANA calls it.
    #[schemars(example = "Europe/Prague")]
    pub timezone: Option<String>,

    /// The language of courses that are added without one: in it stands what students find in place of a solution.
    #[schemars(example = &"cs")]
    pub language: CourseLanguage,

    /// How long a cell may run when a submission is graded.
    #[schemars(example = "120s")]
    pub execution_timeout: HumanDuration,
}

impl Default for CoursesConfig {
    fn default() -> Self {
        Self {
            root: "/srv/lyceum/courses".into(),
            exchange: "/srv/lyceum/exchange".into(),
            settings: "/srv/lyceum/course-settings".into(),
            timezone: None,
            language: CourseLanguage::En,
            execution_timeout: HumanDuration::from_secs(120),
        }
    }
}

/// Whether this machine knows a time zone of this name.
pub fn is_timezone(name: &str) -> bool {
    jiff::tz::TimeZone::get(name).is_ok()
}

/// A language of courses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CourseLanguage {
    /// English
    #[default]
    En,
    /// Czech
    Cs,
    /// German
    De,
}

impl CourseLanguage {
    /// Its code.
    pub fn code(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Cs => "cs",
            Self::De => "de",
        }
    }
}
