//! Two courses with real accounts and the real nbgrader: what teachers and students do, and what they cannot.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "the helpers of a test fail as the test itself does"
)]

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;

use lyceum_envs::course::{AccountMaking, CourseName, CourseWish, Courses, Seat};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use tempfile::TempDir;

/// The folder with nbgrader's programs.
fn nbgrader() -> PathBuf {
    let environment = std::env::var_os("LYCEUM_TEST_PYENV_NBGRADER").map(PathBuf::from);
    let bin = environment.map(|folder| folder.join("bin"));
    bin.filter(|bin| bin.join("nbgrader").is_file()).expect(
        "LYCEUM_TEST_PYENV_NBGRADER names a Python environment with nbgrader; `cargo xtask envs` makes it",
    )
}

/// Gives this thread a copy of `/etc`, so that its accounts and groups are no others'.
fn own_machine(etc: &Path) {
    unshare(CloneFlags::CLONE_NEWNS).expect(
        "this test makes accounts and groups on a copy of the machine, so it has to be run as root",
    );
    let none: Option<&str> = None;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(none, "/", none, private, none).unwrap();
    run(Command::new("cp").arg("-a").arg("/etc").arg(etc));
    mount(Some(etc), "/etc", none, MsFlags::MS_BIND, none).unwrap();
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", text(&output));
}

fn text(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&both).into_owned()
}

/// Accounts, groups and folders that go with the test.
struct Machine {
    dir: TempDir,
    courses: Courses,
    bin: PathBuf,
}

impl Machine {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        own_machine(&dir.path().join("etc"));
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let courses = Courses {
            root: dir.path().join("courses"),
            exchange: dir.path().join("exchange"),
            settings: dir.path().join("settings"),
            accounts: Some(AccountMaking {
                shell: "/bin/bash".into(),
                home_root: dir.path().join("homes"),
                groups: Vec::new(),
                uids: (20_000, 59_999),
            }),
            dry_run: false,
        };
        Self {
            dir,
            courses,
            bin: nbgrader(),
        }
    }

    fn home(&self, account: &str) -> PathBuf {
        let home = self.dir.path().join("homes").join(account);
        if !home.is_dir() {
            fs::create_dir_all(&home).unwrap();
            run(Command::new("chown").arg(format!("{account}:")).arg(&home));
            fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
        }
        home
    }

    /// Runs a command as an account with all its groups, as a login or a server would.
    fn sh(&self, account: &str, folder: &Path, command: &str) -> Output {
        let home = self.home(account);
        let config = self.courses.settings.join("jupyter/common");
        Command::new("setpriv")
            .args([
                "--reuid",
                account,
                "--regid",
                account,
                "--init-groups",
                "--",
            ])
            .args(["sh", "-c", command])
            .current_dir(folder)
            .env_clear()
            // nbgrader starts another program of its environment, so the folder has to be on the path.
            .env("PATH", format!("{}:/usr/bin:/bin", self.bin.display()))
            .env("HOME", home)
            .env("USER", account)
            .env("LANG", "C.UTF-8")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("JUPYTER_CONFIG_PATH", config)
            .output()
            .unwrap()
    }

    fn may(&self, account: &str, folder: &Path, command: &str) -> String {
        let output = self.sh(account, folder, command);
        assert!(
            output.status.success(),
            "{account}: {command}: {}",
            text(&output)
        );
        text(&output)
    }

    fn may_not(&self, account: &str, folder: &Path, command: &str) -> String {
        let output = self.sh(account, folder, command);
        assert!(
            !output.status.success(),
            "{account}: {command}: {}",
            text(&output)
        );
        text(&output)
    }

    fn nbgrader(&self, account: &str, folder: &Path, command: &str) -> String {
        self.may(
            account,
            folder,
            &format!("umask 022; exec nbgrader {command}"),
        )
    }
}

/// An assignment with one solution, as a teacher writes it.
fn notebook() -> String {
    serde_json::json!({
        "nbformat": 4, "nbformat_minor": 5,
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        "cells": [{
            "cell_type": "code", "id": "one", "execution_count": null, "outputs": [],
            "source": "def two():\n    ### BEGIN SOLUTION\n    return 2\n    ### END SOLUTION",
            "metadata": {"nbgrader": {
                "grade": false, "grade_id": "two", "locked": false, "schema_version": 3, "solution": true, "task": false
            }}
        }]
    })
    .to_string()
}

/// A student fetches, works and submits.
fn hand_in(machine: &Machine, course: &str, student: &str, released: &str) {
    let home = machine.home(student);
    let fetch = format!("fetch_assignment ps1 --course {course}");
    machine.nbgrader(student, &home, &fetch);
    let work = home.join(course).join("ps1/p1.ipynb");
    let mode = fs::metadata(&work).unwrap().mode();
    assert_eq!(mode & 0o022, 0, "nobody else's to write");
    let folder = work.parent().unwrap();
    let own = "umask 077; touch own; stat -c %a own; rm own";
    assert_eq!(machine.may(student, folder, own).trim(), "600");
    let own = released.replace(
        "raise NotImplementedError()",
        &format!("return '{student}'"),
    );
    fs::write(&work, own).unwrap();
    machine.nbgrader(student, &home, &format!("submit ps1 --course {course}"));
}

#[test]
fn two_courses_of_real_accounts_go_from_release_to_collection() {
    let machine = Machine::new();
    let [tina, theo, uwe, ada, bob] = ["tina", "theo", "uwe", "ada", "bob"].map(str::to_owned);
    let [stats, texts] = ["stats-2026", "texts"].map(|name| CourseName::parse(name).unwrap());
    let wish = CourseWish {
        title: Some("Statistics".to_owned()),
        timezone: Some("Asia/Tokyo".to_owned()),
        language: Some("cs".to_owned()),
        teachers: vec![tina.clone(), theo.clone()],
        students: vec![ada.clone(), bob.clone()],
        ..CourseWish::default()
    };
    let dry = Courses {
        dry_run: true,
        ..machine.courses.clone()
    };
    let planned = dry.add(&stats, &wish).unwrap();
    assert!(!machine.courses.settings.exists() && !machine.courses.root.exists());
    let done = machine.courses.add(&stats, &wish).unwrap();
    assert_eq!(planned, done, "what is planned is what is done");
    assert_eq!(
        machine.courses.add(&stats, &wish).unwrap(),
        [""; 0],
        "and once is enough"
    );
    assert_eq!(machine.courses.check(&stats).unwrap(), [""; 0]);
    let other = CourseWish {
        teachers: vec![uwe.clone()],
        students: vec![ada.clone()],
        ..CourseWish::default()
    };
    machine.courses.add(&texts, &other).unwrap();
    let root = machine.courses.root.join(stats.as_str());
    let course = stats.as_str();

    // One teacher writes and releases, in a folder and a gradebook that the other one may change, too.
    fs::write(machine.home(&tina).join("p1.ipynb"), notebook()).unwrap();
    machine.may(
        &tina,
        &root,
        "umask 022; mkdir source/ps1; cat > source/ps1/p1.ipynb < ~/p1.ipynb",
    );
    machine.nbgrader(&tina, &root, "generate_assignment ps1");
    machine.nbgrader(&theo, &root, "release_assignment ps1");
    let released = machine
        .courses
        .exchange
        .join(course)
        .join("outbound/ps1/p1.ipynb");
    let released = fs::read_to_string(released).unwrap();
    assert!(released.contains("ZDE NAPIŠTE SVŮJ KÓD") && !released.contains("return 2"));

    // Students fetch, work and submit, in their homes; all at once.
    thread::scope(|scope| {
        for student in [&ada, &bob] {
            scope.spawn(|| hand_in(&machine, course, student, &released));
        }
    });

    // Nobody sees what another one has submitted, not even knowing its secret name.
    let inbound = machine.courses.exchange.join(course).join("inbound");
    let of_ada = fs::read_dir(&inbound)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| {
            path.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with(&ada)
        })
        .unwrap();
    let stamp = fs::read_to_string(of_ada.join("timestamp.txt")).unwrap();
    assert!(stamp.trim().ends_with("JST"), "{stamp}");
    let home = machine.home(&bob);
    for command in [
        format!("ls {}", inbound.display()),
        format!("cat '{}/p1.ipynb'", of_ada.display()),
        format!("mv '{}' ~/stolen", of_ada.display()),
        format!("mv '{}' '{}/other'", of_ada.display(), inbound.display()),
        format!("touch '{}/x'", of_ada.display()),
        format!("ls {}", root.display()),
        format!("cat {}/gradebook.db", root.display()),
        format!("touch {}/x", machine.courses.exchange.display()),
        format!(
            "touch {}/{course}/outbound/x",
            machine.courses.exchange.display()
        ),
    ] {
        machine.may_not(&bob, &home, &command);
        machine.may_not(&uwe, &machine.home(&uwe), &command);
    }
    // Bob is not in the other course, and its teacher not in this one.
    let exchange = machine.courses.exchange.display();
    machine.may_not(&bob, &home, &format!("ls {exchange}/{texts}/outbound"));
    let refused = machine.may_not(
        &bob,
        &home,
        &format!("nbgrader fetch_assignment ps1 --course {texts}"),
    );
    assert!(refused.contains("do not have access"), "{refused}");

    // The other teacher collects; both read what was collected.
    machine.nbgrader(&theo, &root, "collect ps1");
    for student in [&ada, &bob] {
        let text = machine.may(
            &tina,
            &root,
            &format!("cat submitted/{student}/ps1/p1.ipynb"),
        );
        assert!(text.contains(&format!("return '{student}'")));
        machine.may_not(
            student,
            &machine.home(student),
            &format!("cat {}/submitted/{student}/ps1/p1.ipynb", root.display()),
        );
    }

    // Feedback is for the one whose submission it is, and is that one's own.
    machine.nbgrader(&tina, &root, "autograde ps1 --student ada");
    machine.nbgrader(&tina, &root, "generate_feedback ps1");
    machine.nbgrader(&theo, &root, "release_feedback ps1");
    let fetch = format!("fetch_feedback ps1 --course {course}");
    machine.nbgrader(&ada, &machine.home(&ada), &fetch);
    let feedback = machine.home(&ada).join(course).join("ps1/feedback");
    let others = format!("find '{}' -perm /022 | wc -l", feedback.display());
    assert_eq!(machine.may(&ada, &root.join(".."), &others).trim(), "0");
    assert_eq!(fs::read_dir(&feedback).unwrap().count(), 1);
    let listing = format!("ls {exchange}/{course}/feedback");
    machine.may_not(&bob, &home, &listing);

    // Whoever is dropped is out, and so are all when the course is over.
    let dropped = [bob.clone(), "nobody-here".to_owned()];
    let done = machine.courses.drop_people(&stats, &dropped).unwrap();
    assert_eq!(
        done,
        [
            "took bob out of the group course-stats-2026",
            "note: nobody-here is not in the course stats-2026"
        ]
    );
    machine.may_not(&bob, &home, &format!("ls {exchange}/{course}/outbound"));
    machine
        .courses
        .enroll(&texts, Seat::Student, std::slice::from_ref(&bob))
        .unwrap();
    machine.may(&bob, &home, &format!("ls {exchange}/{texts}/outbound"));
    machine.courses.archive(&stats).unwrap();
    machine.may_not(
        &ada,
        &machine.home(&ada),
        &format!("ls {exchange}/{course}/outbound"),
    );
    machine.may(&tina, &root, "ls submitted");
    assert_eq!(machine.courses.archive(&stats).unwrap(), [""; 0]);
    let seen = machine.courses.show(&texts).unwrap();
    assert_eq!(
        (seen.teachers, seen.students),
        (vec![uwe], vec![ada.clone(), bob])
    );
    machine.courses.add(&stats, &CourseWish::default()).unwrap();
    machine.may(
        &ada,
        &machine.home(&ada),
        &format!("ls {exchange}/{course}/outbound"),
    );
    assert_eq!(machine.courses.show(&stats).unwrap().record.language, "cs");

    // What is missing is told, and so is who is gone.
    fs::remove_dir(root.join("solution")).unwrap();
    fs::set_permissions(&inbound, fs::Permissions::from_mode(0o777)).unwrap();
    let wrong = machine.courses.check(&stats).unwrap();
    let solution = root.join("solution");
    assert_eq!(
        wrong,
        [
            format!("the folder {} is missing", solution.display()),
            format!(
                "the folder {} has not the rights that it should have",
                inbound.display()
            )
        ]
    );
    run(Command::new("sed").args(["-i", "/^ada:/d", "/etc/passwd"]));
    assert_eq!(machine.courses.without_account(&stats).unwrap(), [ada]);
    run(Command::new("groupdel").arg("teach-texts"));
    assert_eq!(
        machine.courses.check(&texts).unwrap(),
        ["the group teach-texts is missing"]
    );
}

#[test]
fn nobody_replaces_reads_or_holds_up_anything_by_what_they_submit() {
    let machine = Machine::new();
    let [tina, ada, bob, eve, kim, lea, max] =
        ["tina", "ada", "bob", "eve", "kim", "lea", "max"].map(str::to_owned);
    let course = CourseName::parse("proofs").unwrap();
    let students = [&ada, &bob, &eve, &kim, &lea, &max];
    let wish = CourseWish {
        teachers: vec![tina.clone()],
        students: students.map(Clone::clone).to_vec(),
        ..CourseWish::default()
    };
    machine.courses.add(&course, &wish).unwrap();
    let root = machine.courses.root.join(course.as_str());
    let inbound = machine.courses.exchange.join(course.as_str());
    let inbound = inbound.join("inbound");
    machine.may(
        &tina,
        &root,
        "mkdir source/ps1 && echo solution > source/ps1/p1.ipynb",
    );
    // What `nbgrader submit` makes, by hand, so that it can be made wrong.
    let submit = |student: &str, name: &str, then: &str| {
        let make = format!(
            "umask 022; mkdir '{name}' && cd '{name}' && echo {student} > p1.ipynb && mkdir data && echo 1 > data/a && \
             printf %0128d 7 > submission_secret.txt && echo 2026-01-01 > timestamp.txt; {then}"
        );
        machine.may(student, &inbound, &make);
    };
    let solution = root.join("source/ps1/p1.ipynb");
    let solution = solution.display();
    submit(&ada, "ada+ps1+2026-01-01 10:00:00.5 UTC+aaaa", "");
    submit(
        &bob,
        "bob+ps1+2026-01-01 10:00:00 UTC+aaaa",
        "echo never > timestamp.txt",
    );
    // Somebody else's name with a date that would win, dates that are none, and names that say too little or too much.
    for name in [
        "ada+ps1+2099-01-01 00:00:00 UTC+aaaa",
        "eve+ps1+tomorrow+aaaa",
        "eve+ps1+9999-12-31 23:59:59 -23+aaaa",
        "nobody-has-this+ps1+2026-01-01 10:00:00 UTC+aaaa",
        "eve+x+ps1+2026-01-01 10:00:00 UTC",
    ] {
        submit(&eve, name, "");
    }
    // Links, to a file and as a whole; a pipe, on which a reader would wait; and what its teacher cannot read.
    let link = format!("ln -sf {solution} p1.ipynb");
    submit(&eve, "eve+ps1+2026-01-01 10:00:00 UTC+aaaa", &link);
    machine.may(
        &kim,
        &inbound,
        &format!(
            "ln -s {}/source/ps1 'kim+ps1+2026-01-01 10:00:00 UTC+aaaa'",
            root.display()
        ),
    );
    let pipe = "mkfifo data/pipe";
    submit(&lea, "lea+ps1+2026-01-01 10:00:00 UTC+aaaa", pipe);
    let closed = "chmod 0 data";
    submit(&max, "max+ps1+2026-01-01 10:00:00 UTC+aaaa", closed);

    let said = machine.nbgrader(&tina, &root, "collect ps1");
    let submitted = |path: &str| fs::read_to_string(root.join("submitted").join(path)).ok();
    let there = |who: &str| root.join("submitted").join(who).join("ps1").exists();
    assert_eq!(submitted("ada/ps1/p1.ipynb").as_deref(), Some("ada\n"));
    assert_eq!(submitted("bob/ps1/data/a").as_deref(), Some("1\n"));
    for who in [&eve, &kim, &lea, &max] {
        assert!(!there(who), "{who}: {said}");
    }
    for why in ["'p1.ipynb' is a link", "'data/pipe' is neither"] {
        assert!(said.contains(why), "{why}: {said}");
    }
    assert!(
        said.contains("'ada+ps1+2099-01-01 00:00:00 UTC+aaaa'"),
        "{said}"
    );
    let mode = |path: &str| {
        let data = fs::metadata(root.join("submitted/ada/ps1").join(path)).unwrap();
        data.mode() & 0o7777
    };
    assert_eq!(
        (mode(""), mode("data"), mode("p1.ipynb")),
        (0o2770, 0o2770, 0o660)
    );

    // What is newer comes with --update; what may not be collected leaves alone what was.
    submit(
        &bob,
        "bob+ps1+2026-01-02 10:00:00 UTC+bbbb",
        "echo new > p1.ipynb",
    );
    submit(&ada, "ada+ps1+2026-01-02 10:00:00 UTC+bbbb", &link);
    machine.nbgrader(&tina, &root, "collect ps1 --update");
    assert_eq!(submitted("ada/ps1/p1.ipynb").as_deref(), Some("ada\n"));
    assert_eq!(submitted("bob/ps1/p1.ipynb").as_deref(), Some("new\n"));
    let left = fs::read_dir(root.join("submitted/ada")).unwrap().count();
    assert_eq!(left, 1, "nothing half is left");
}
