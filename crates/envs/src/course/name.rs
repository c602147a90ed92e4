//! The name of a course, from which those of its groups and folders follow.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::CourseError;

/// What the group of everybody in a course begins with.
pub(super) const EVERYBODY: &str = "course-";
/// What the group of its teachers begins with.
pub(super) const TEACHERS: &str = "teach-";
/// The longest name: with it, the names of groups have 32 characters at most, as the system's tools want it.
const MAX_NAME: usize = 24;

/// The name of a course: it is nbgrader's `course_id`, a folder, and a part of groups' names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CourseName(String);

impl CourseName {
    /// Reads a name: lower-case letters, digits and hyphens, a letter or digit first and last.
    pub fn parse(text: &str) -> Result<Self, CourseError> {
        let letter = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        let good = (1..=MAX_NAME).contains(&text.len())
            && text.bytes().all(|c| letter(c) || c == b'-')
            && text.bytes().next().is_some_and(letter)
            && text.bytes().last().is_some_and(letter);
        if good {
            return Ok(Self(text.to_owned()));
        }
        Err(CourseError::BadName {
            text: text.to_owned(),
            max: MAX_NAME,
        })
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The group of all who are in the course, teachers among them.
    pub fn everybody(&self) -> String {
        format!("{EVERYBODY}{self}")
    }

    /// The group of its teachers.
    pub fn teachers(&self) -> String {
        format!("{TEACHERS}{self}")
    }
}

impl fmt::Display for CourseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<CourseName> for String {
    fn from(name: CourseName) -> Self {
        name.0
    }
}

impl TryFrom<String> for CourseName {
    type Error = CourseError;

    fn try_from(text: String) -> Result<Self, CourseError> {
        Self::parse(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_folders_groups_and_nbgrader() {
        for good in ["stats-2026", "a", "2", &"x".repeat(24)] {
            let name = CourseName::parse(good).unwrap();
            assert!(name.everybody().len() <= 32 && name.teachers().len() <= 32);
        }
        for bad in [
            "",
            "-a",
            "a-",
            "A",
            "a b",
            "a/b",
            "..",
            "é",
            "a+b",
            "a_b",
            &"x".repeat(25),
        ] {
            assert!(CourseName::parse(bad).is_err(), "{bad}");
        }
    }
}
