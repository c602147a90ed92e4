//! `lyceum course`: courses with nbgrader.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use lyceum_config::settings::{Config, CourseLanguage, is_timezone};
use lyceum_core::UserName;
use lyceum_envs::course::{
    AccountMaking, Course, CourseError, CourseName, CourseWish, Courses, Seat,
};
use nix::unistd::geteuid;

use super::report::Report;
use super::{ConfigArgs, FAILED, say};
use crate::cli;

/// The longest list of students that is read, in bytes.
const MAX_LIST: u64 = 1 << 20;

#[derive(Debug, Subcommand)]
pub(crate) enum CourseCommand {
    /// Makes a course, or changes one: groups, folders, and the settings of nbgrader. Has to be done by root.
    ///
    /// Teachers get nbgrader's formgrader, students its list of assignments, from the next start of their servers on.
    /// Done again, it does only what is missing; people are added, and taken out by `lyceum course drop`.
    Add(AddArgs),
    /// Lists the courses
    List {
        /// Those that are archived, too
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Shows one course: who is in it, where it is, and what is wrong with it
    Show {
        /// Its name
        name: String,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Takes people into a course
    Enroll(PeopleArgs),
    /// Takes people out of a course. What they have submitted stays
    Drop(DropArgs),
    /// Archives a course: nothing is released, fetched or submitted any more. Folder, grades and groups stay, and
    /// `lyceum course add` opens it again
    Remove {
        /// Its name
        name: String,
        /// Tell what would be done
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        config: ConfigArgs,
    },
}

#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// Its name: up to 24 lower-case letters, digits and hyphens
    name: String,
    /// Users who teach it
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    teachers: Vec<String>,
    /// Users who attend it
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    students: Vec<String>,
    /// A file with users who attend it: one on a line, or the first column of a table with commas or semicolons
    #[arg(long, value_name = "FILE")]
    students_from: Option<PathBuf>,
    /// What people see of it
    #[arg(long)]
    title: Option<String>,
    /// Its time zone, such as Europe/Prague [default: `courses.timezone`]
    #[arg(long, value_name = "ZONE")]
    timezone: Option<String>,
    /// Its language, in which students read where to write [default: `courses.language`]
    #[arg(long)]
    language: Option<Language>,
    /// Make accounts for those who have none, as `[accounts]` says
    #[arg(long)]
    create_accounts: bool,
    /// Tell what would be done
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, Args)]
pub(crate) struct PeopleArgs {
    /// The course
    name: String,
    /// Users
    people: Vec<String>,
    /// A file with users: one on a line, or the first column of a table
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// They teach it
    #[arg(long)]
    teachers: bool,
    /// Make accounts for those who have none, as `[accounts]` says
    #[arg(long)]
    create_accounts: bool,
    /// Tell what would be done
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DropArgs {
    /// The course
    name: String,
    /// Users, be they students or teachers
    people: Vec<String>,
    /// A file with users: one on a line, or the first column of a table
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Tell what would be done
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Language {
    /// English
    En,
    /// Czech
    Cs,
    /// German
    De,
}

impl From<Language> for CourseLanguage {
    fn from(language: Language) -> Self {
        match language {
            Language::En => Self::En,
            Language::Cs => Self::Cs,
            Language::De => Self::De,
        }
    }
}

pub(crate) fn run(command: &CourseCommand) -> ExitCode {
    match answer(command) {
        Ok((text, fine)) => {
            say(text.trim_end());
            if fine {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(FAILED)
            }
        }
        Err(report) => report.print(),
    }
}

fn answer(command: &CourseCommand) -> Result<(String, bool), Report> {
    let done = match command {
        CourseCommand::Add(args) => add(args)?,
        CourseCommand::List { all, config } => return Ok((list(config, *all)?, true)),
        CourseCommand::Show { name, config } => return show(config, name),
        CourseCommand::Enroll(args) => {
            let config = load(&args.config)?;
            let people = people(&config, &args.people, args.from.as_deref())?;
            let courses = courses(&config, args.create_accounts, args.dry_run)?;
            let seat = if args.teachers {
                Seat::Teacher
            } else {
                Seat::Student
            };
            courses.enroll(&parse(&args.name)?, seat, &people)
        }
        .map_err(|error| report(&error))
        .map(|done| told(&done, args.dry_run))?,
        CourseCommand::Drop(args) => {
            let config = load(&args.config)?;
            let people = people(&config, &args.people, args.from.as_deref())?;
            let courses = courses(&config, false, args.dry_run)?;
            let done = courses.drop_people(&parse(&args.name)?, &people);
            told(&done.map_err(|error| report(&error))?, args.dry_run)
        }
        CourseCommand::Remove {
            name,
            dry_run,
            config,
        } => {
            let courses = courses(&load(config)?, false, *dry_run)?;
            let done = courses.archive(&parse(name)?);
            told(&done.map_err(|error| report(&error))?, *dry_run)
        }
    };
    Ok((done, true))
}

fn load(config: &ConfigArgs) -> Result<Config, Report> {
    Ok(cli::config::load_to_prepare(config)?.config)
}

fn parse(name: &str) -> Result<CourseName, Report> {
    CourseName::parse(name).map_err(|error| report(&error).code(2))
}

fn report(error: &CourseError) -> Report {
    let report = Report::new(error);
    match error.hint() {
        Some(hint) => report.hint(hint),
        None => report,
    }
}

/// Where courses are, for somebody who may change them.
fn courses(config: &Config, create_accounts: bool, dry_run: bool) -> Result<Courses, Report> {
    if !dry_run && !geteuid().is_root() {
        return Err(Report::text(
            "error: groups and folders of courses can be changed by root only",
        )
        .hint("do it with sudo; --dry-run tells what would be done"));
    }
    let mut found = places(config);
    found.dry_run = dry_run;
    let accounts = &config.accounts;
    if create_accounts || accounts.create {
        let [lowest, highest] = accounts.uid_range;
        found.accounts = Some(AccountMaking {
            shell: accounts.shell.clone(),
            home_root: accounts.home_root.clone(),
            groups: accounts.groups.clone(),
            uids: (lowest, highest),
        });
    }
    Ok(found)
}

/// Where courses are, for whoever only looks.
pub(super) fn places(config: &Config) -> Courses {
    Courses {
        root: config.courses.root.clone(),
        exchange: config.courses.exchange.clone(),
        settings: config.courses.settings.clone(),
        accounts: None,
        dry_run: true,
    }
}

fn add(args: &AddArgs) -> Result<String, Report> {
    let config = load(&args.config)?;
    let name = parse(&args.name)?;
    if let Some(zone) = args.timezone.as_deref().filter(|zone| !is_timezone(zone)) {
        return Err(Report::text(format!(
            "error: `{zone}` is no time zone of this machine"
        ))
        .hint("for example --timezone Europe/Prague; the system's list is in the package `tzdata`")
        .code(2));
    }
    let courses = courses(&config, args.create_accounts, args.dry_run)?;
    let mut students = args.students.clone();
    students.extend(read_list(args.students_from.as_deref())?);
    let known = courses.show(&name).ok();
    let is_new = known.is_none();
    let default = &config.courses;
    // What is usual counts for new courses only.
    let usual = |wish: Option<String>, usual: Option<String>| wish.or(usual.filter(|_| is_new));
    let language = args.language.map(CourseLanguage::from);
    let wish = CourseWish {
        title: args.title.clone(),
        timezone: usual(args.timezone.clone(), default.timezone.clone()),
        language: usual(
            language.map(|language| language.code().to_owned()),
            Some(default.language.code().to_owned()),
        ),
        execution_timeout: is_new.then(|| default.execution_timeout.get().as_secs()),
        teachers: accounts(&config, &args.teachers)?,
        students: accounts(&config, &students)?,
    };
    let done = courses.add(&name, &wish).map_err(|error| report(&error))?;
    Ok(told(&done, args.dry_run))
}

/// The accounts of those who are named, or are in a list.
fn people(config: &Config, named: &[String], list: Option<&Path>) -> Result<Vec<String>, Report> {
    let mut people = named.to_vec();
    people.extend(read_list(list)?);
    if people.is_empty() {
        return Err(Report::text("error: who?")
            .hint("name users, or a file with them with --from")
            .code(2));
    }
    accounts(config, &people)
}

/// The accounts of users, each once.
fn accounts(config: &Config, users: &[String]) -> Result<Vec<String>, Report> {
    let mut seen = BTreeSet::new();
    let mut accounts = Vec::new();
    for user in users {
        let user = UserName::normalize(user).map_err(|error| {
            Report::text(format!("error: {user:?} is not a user name: {error}")).code(2)
        })?;
        let account = config.accounts.name.replace("{username}", user.as_str());
        if seen.insert(account.clone()) {
            accounts.push(account);
        }
    }
    Ok(accounts)
}

/// Reads a list of users: lines, or the first column of a table. A line with `#` first says nothing.
fn read_list(file: Option<&Path>) -> Result<Vec<String>, Report> {
    let Some(file) = file else {
        return Ok(Vec::new());
    };
    let failed = |error: &std::io::Error| {
        Report::text(format!(
            "error: could not read {}\n  caused by: {error}",
            file.display()
        ))
    };
    let size = fs::metadata(file).map_err(|error| failed(&error))?.len();
    if size > MAX_LIST {
        return Err(Report::text(format!(
            "error: {} is too large for a list of people",
            file.display()
        )));
    }
    let text = fs::read_to_string(file).map_err(|error| failed(&error))?;
    Ok(names_of(&text))
}

fn names_of(text: &str) -> Vec<String> {
    let text = text.trim_start_matches('\u{feff}');
    text.lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter_map(|line| line.split([',', ';', '\t']).next())
        .map(|name| name.trim().trim_matches('"').trim().to_owned())
        .filter(|name| !name.is_empty())
        .collect()
}

fn told(done: &[String], dry_run: bool) -> String {
    if done.is_empty() {
        return "Everything is so already.".to_owned();
    }
    let mut text = String::new();
    if dry_run {
        text.push_str("This would be done:\n");
    }
    for sentence in done {
        let _ = writeln!(text, "  {sentence}");
    }
    let is_note = |sentence: &String| sentence.starts_with("note: ");
    if !dry_run && !done.iter().all(is_note) {
        text.push_str("Whoever has a server running notices it after its next start.\n");
    }
    text
}

fn list(config: &ConfigArgs, all: bool) -> Result<String, Report> {
    let courses = places(&load(config)?)
        .list()
        .map_err(|error| report(&error))?;
    let mut text = String::new();
    for Course {
        record,
        teachers,
        students,
    } in courses
    {
        if record.archived && !all {
            continue;
        }
        let archived = if record.archived { ", archived" } else { "" };
        let _ = writeln!(
            text,
            "{}  {}  {} {}, taught by {}{archived}",
            record.name,
            record.title,
            students.len(),
            if students.len() == 1 {
                "student"
            } else {
                "students"
            },
            listed(&teachers)
        );
    }
    if text.is_empty() {
        text.push_str("There are no courses.");
    }
    Ok(text)
}

fn listed(names: &[String]) -> String {
    if names.is_empty() {
        "nobody".to_owned()
    } else {
        names.join(", ")
    }
}

fn show(config: &ConfigArgs, name: &str) -> Result<(String, bool), Report> {
    let (name, places) = (parse(name)?, places(&load(config)?));
    let course = places.show(&name).map_err(|error| report(&error))?;
    let record = &course.record;
    let mut text = format!("{} ({name})\n", record.title);
    if record.archived {
        text.push_str("  is archived\n");
    }
    let exchange = record.exchange.join(name.as_str());
    for (what, value) in [
        ("teachers", listed(&course.teachers)),
        ("students", listed(&course.students)),
        ("folder", record.root.display().to_string()),
        ("exchange", exchange.display().to_string()),
        (
            "groups",
            format!("{}, {}", name.teachers(), name.everybody()),
        ),
        ("time zone", record.timezone.clone()),
        ("language", record.language.clone()),
    ] {
        let _ = writeln!(text, "  {what}: {value}");
    }
    // Whoever is not root cannot look everywhere.
    let wrong = if geteuid().is_root() {
        places.check(&name).map_err(|error| report(&error))?
    } else {
        Vec::new()
    };
    for sentence in &wrong {
        let _ = writeln!(text, "  to be mended: {sentence}");
    }
    if !wrong.is_empty() {
        let _ = writeln!(text, "hint: `lyceum course add {name}` mends it");
    }
    Ok((text, wrong.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_people_are_lines_or_tables() {
        let names = names_of("\u{feff}ada\n\n# comment\n bob , Bob B.\n\"cyd\";3\r\neve\t1\n");
        assert_eq!(names, ["ada", "bob", "cyd", "eve"]);
    }

    #[test]
    fn users_become_accounts_as_the_configuration_says() {
        let mut config = Config::default();
        config.accounts.name = "u-{username}".to_owned();
        let users = ["Ada", "ada", "bob"].map(str::to_owned);
        assert_eq!(accounts(&config, &users).unwrap(), ["u-ada", "u-bob"]);
        assert!(accounts(&config, &["a/b".to_owned()]).is_err());
    }
}
