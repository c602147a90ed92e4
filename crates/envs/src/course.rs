//! Courses with nbgrader: groups, folders with the right modes, and the settings by which nbgrader and Jupyter know who is
//! what in which course.
//!
//! Who is in a course is told by groups of the machine, and by nothing else. Everything here is done by root, blocks, and
//! can be done again without harm: what is right already is left alone.

mod config;
mod deed;
mod error;
mod folders;
mod groups;
mod name;
mod record;

use std::path::PathBuf;

pub use error::CourseError;
pub use groups::AccountMaking;
pub use name::CourseName;
pub use record::CourseRecord;

use deed::Deed;
use groups::Groups;

/// Where everything about courses is.
#[derive(Debug, Clone)]
pub struct Courses {
    /// The folder with a folder for each course.
    pub root: PathBuf,
    /// The folder by which assignments go to students, and come back.
    pub exchange: PathBuf,
    /// The folder with the records of courses and the settings that follow from them.
    pub settings: PathBuf,
    /// How missing accounts are made; `None` makes none.
    pub accounts: Option<AccountMaking>,
    /// Changes nothing, and tells what would be changed.
    pub dry_run: bool,
}

/// What a course shall be. What is `None` stays, or gets its default.
#[derive(Debug, Clone, Default)]
pub struct CourseWish {
    /// What people see of it.
    pub title: Option<String>,
    /// Its time zone, as the IANA calls it.
    pub timezone: Option<String>,
    /// The code of its language.
    pub language: Option<String>,
    /// How long a cell may run when it is graded, in seconds.
    pub execution_timeout: Option<u64>,
    /// Accounts of teachers, who are added.
    pub teachers: Vec<String>,
    /// Accounts of students, who are added.
    pub students: Vec<String>,
}

/// A course with the people in it.
#[derive(Debug, Clone)]
pub struct Course {
    /// What is written down of it.
    pub record: CourseRecord,
    /// Accounts of teachers.
    pub teachers: Vec<String>,
    /// Accounts of those who are in it and do not teach.
    pub students: Vec<String>,
}

/// Into what somebody is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seat {
    /// Teaches.
    Teacher,
    /// Attends.
    Student,
}

impl Courses {
    /// Makes a course, or makes one as it is wished; one that was archived is opened again. Gives what was done, a sentence
    /// for each.
    pub fn add(&self, name: &CourseName, wish: &CourseWish) -> Result<Vec<String>, CourseError> {
        let mut done = Vec::new();
        let people: Vec<_> = wish.teachers.iter().chain(&wish.students).collect();
        let groups = Groups::new(self.dry_run);
        // What is wrong with the names is to be said before there is anything.
        groups.ensure_accounts(&people, self.accounts.as_ref(), &mut done)?;
        let old = self.find(name)?;
        groups.ensure(&name.everybody(), &mut done)?;
        groups.ensure(&name.teachers(), &mut done)?;
        let mut deeds = Vec::new();
        folders::make(self, name, &mut deeds)?;
        done.extend(deeds.drain(..).map(|deed| deed.as_done()));
        let record = CourseRecord::merged(self, name, old.as_ref(), wish);
        if old.as_ref() != Some(&record) {
            if !self.dry_run {
                record.write(&self.settings)?;
            }
            done.push(match old {
                None => format!("wrote down the course {name}"),
                Some(old) if old.archived => format!("opened the course {name} again"),
                Some(_) => format!("changed what is written down of the course {name}"),
            });
        }
        config::write(&self.settings, self.dry_run, &mut deeds)?;
        done.extend(deeds.iter().map(Deed::as_done));
        for (seat, people) in [
            (Seat::Teacher, &wish.teachers),
            (Seat::Student, &wish.students),
        ] {
            seat_all(&groups, name, seat, people, &mut done)?;
        }
        Ok(done)
    }

    /// Takes people into a course that exists.
    pub fn enroll(
        &self,
        name: &CourseName,
        seat: Seat,
        people: &[String],
    ) -> Result<Vec<String>, CourseError> {
        let record = self.get(name)?;
        let mut done = Vec::new();
        let groups = Groups::new(self.dry_run);
        let all: Vec<_> = people.iter().collect();
        groups.ensure_accounts(&all, self.accounts.as_ref(), &mut done)?;
        seat_all(&groups, name, seat, people, &mut done)?;
        if record.archived {
            done.push(format!("note: the course {name} is archived"));
        }
        Ok(done)
    }

    /// Takes people out of a course. Their submissions stay. Servers that run keep their groups until they end.
    pub fn drop_people(
        &self,
        name: &CourseName,
        people: &[String],
    ) -> Result<Vec<String>, CourseError> {
        self.get(name)?;
        let mut done = Vec::new();
        let groups = Groups::new(self.dry_run);
        for person in people {
            let before = done.len();
            for group in [name.everybody(), name.teachers()] {
                groups.take_out(&group, person, &mut done)?;
            }
            if done.len() == before {
                // It may be a slip of the pen.
                done.push(format!("note: {person} is not in the course {name}"));
            }
        }
        Ok(done)
    }

    /// Closes a course: nothing is released, fetched or submitted any more, and nobody is shown it. Its folder, its grades
    /// and its groups stay.
    pub fn archive(&self, name: &CourseName) -> Result<Vec<String>, CourseError> {
        let record = self.get(name)?;
        let mut done = Vec::new();
        if !record.archived {
            if !self.dry_run {
                let record = CourseRecord {
                    archived: true,
                    ..record
                };
                record.write(&self.settings)?;
            }
            done.push(format!("archived the course {name}"));
        }
        let mut deeds = Vec::new();
        folders::close(self, name, &mut deeds)?;
        done.extend(deeds.iter().map(Deed::as_done));
        Ok(done)
    }

    /// Lists all courses, those that are archived too, by name.
    pub fn list(&self) -> Result<Vec<Course>, CourseError> {
        let records = CourseRecord::list(&self.settings)?;
        records.into_iter().map(with_people).collect()
    }

    /// Gets one course.
    pub fn show(&self, name: &CourseName) -> Result<Course, CourseError> {
        with_people(self.get(name)?)
    }

    /// Tells what of a course is not as it should be, a sentence for each: its groups, its folders, and the settings.
    pub fn check(&self, name: &CourseName) -> Result<Vec<String>, CourseError> {
        let record = self.get(name)?;
        let looking = Self {
            dry_run: true,
            ..self.clone()
        };
        let mut wrong = Vec::new();
        for group in [name.everybody(), name.teachers()] {
            if groups::find_group(&group)?.is_none() {
                wrong.push(format!("the group {group} is missing"));
            }
        }
        let mut deeds = Vec::new();
        if record.archived {
            folders::close(&looking, name, &mut deeds)?;
        } else if wrong.is_empty() {
            folders::make(&looking, name, &mut deeds)?;
        }
        config::write(&looking.settings, true, &mut deeds)?;
        wrong.extend(deeds.iter().map(Deed::as_wrong));
        Ok(wrong)
    }

    /// Finds those in a course's groups who have no account on this machine.
    pub fn without_account(&self, name: &CourseName) -> Result<Vec<String>, CourseError> {
        let mut missing = groups::members(&name.everybody())?;
        missing.extend(groups::members(&name.teachers())?);
        missing.sort();
        missing.dedup();
        groups::without_account(missing)
    }

    fn find(&self, name: &CourseName) -> Result<Option<CourseRecord>, CourseError> {
        CourseRecord::find(&self.settings, name)
    }

    fn get(&self, name: &CourseName) -> Result<CourseRecord, CourseError> {
        self.find(name)?.ok_or_else(|| CourseError::NoCourse {
            name: name.to_string(),
        })
    }
}

/// Teachers are in both groups: they have to be able to enter what is everybody's.
fn seat_all(
    groups: &Groups,
    name: &CourseName,
    seat: Seat,
    people: &[String],
    done: &mut Vec<String>,
) -> Result<(), CourseError> {
    for person in people {
        groups.put_in(&name.everybody(), person, done)?;
        if seat == Seat::Teacher {
            groups.put_in(&name.teachers(), person, done)?;
        }
    }
    Ok(())
}

fn with_people(record: CourseRecord) -> Result<Course, CourseError> {
    let teachers = groups::members(&record.name.teachers())?;
    let mut students = groups::members(&record.name.everybody())?;
    students.retain(|name| !teachers.contains(name));
    Ok(Course {
        record,
        teachers,
        students,
    })
}
