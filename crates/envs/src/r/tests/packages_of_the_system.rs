//! Packages that apt installs: the real apt and the real dpkg, with a package and a database of the system's packages that
//! are made here.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use super::super::apt;
use crate::command::{Log, end_left_over};

/// Names the folder in which the helper process works.
const HELPER_ROOT: &str = "LYCEUM_R_TEST_APT";
const PACKAGE: &str = "r-cran-lycapt";
const LIMIT: Duration = Duration::from_mins(2);

/// A system that has no packages yet, and a repository with one, whose installation waits until it may end.
struct System {
    folder: tempfile::TempDir,
}

impl System {
    fn new() -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "this test has to be run as root"
        );
        let system = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        for name in [
            "etc/apt.conf.d",
            "etc/preferences.d",
            "state/lists/partial",
            "cache/archives/partial",
            "dpkg/info",
            "dpkg/updates",
            "dpkg/triggers",
            "root",
            "repository",
            "package/DEBIAN",
        ] {
            fs::create_dir_all(system.path(name)).unwrap();
        }
        fs::write(system.path("dpkg/status"), "").unwrap();
        let at = system.folder.path().display();
        let control = format!(
            "Package: {PACKAGE}\nVersion: 1.0-1\nArchitecture: all\nMaintainer: A <a@example.org>\nDescription: for tests\n"
        );
        fs::write(system.path("package/DEBIAN/control"), &control).unwrap();
        let script = system.path("package/DEBIAN/postinst");
        fs::write(
            &script,
            format!(
                "#!/bin/sh\ntouch '{at}/began'\nwhile [ -d '{at}' ] && [ ! -e '{at}/may-end' ]; do sleep 0.1; done\n"
            ),
        )
        .unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        let archive = system.path("repository/package.deb");
        let mut build = Command::new("dpkg-deb");
        build.args(["--build", "--root-owner-group"]);
        ran(build.arg(system.path("package")).arg(&archive));
        let size = fs::metadata(&archive).unwrap().len();
        let sum = crate::digest::sha256(&archive).unwrap();
        fs::write(
            system.path("repository/Packages"),
            format!("{control}Filename: ./package.deb\nSize: {size}\nSHA256: {sum}\n"),
        )
        .unwrap();
        fs::write(
            system.path("etc/sources.list"),
            format!("deb [trusted=yes] file:{at}/repository ./\n"),
        )
        .unwrap();
        fs::write(
            system.path("apt.conf"),
            format!(
                "Dir::Etc \"{at}/etc\";\nDir::State \"{at}/state\";\nDir::State::status \"{at}/dpkg/status\";\n\
                 Dir::Cache \"{at}/cache\";\nDir::Log \"{at}\";\nAPT::Sandbox::User \"root\";\n\
                 DPkg::Options {{ \"--admindir={at}/dpkg\"; \"--instdir={at}/root\"; \"--force-script-chrootless\"; }};\n"
            ),
        )
        .unwrap();
        ran(Command::new("apt-get")
            .arg("update")
            .env("APT_CONFIG", system.path("apt.conf")));
        system
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts another process that installs the package, in a process group of its own, as a shell does.
    fn installs(&self, name: &str) -> Child {
        Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "r::tests::packages_of_the_system::helper_that_installs_with_apt",
                "--nocapture",
            ])
            .env(HELPER_ROOT, self.path(name))
            .env("APT_CONFIG", self.path("apt.conf"))
            .process_group(0)
            .spawn()
            .unwrap()
    }

    fn status(&self) -> String {
        let output = Command::new("dpkg-query")
            .arg(format!("--admindir={}", self.path("dpkg").display()))
            .args(["--show", "--showformat=${Status}", PACKAGE])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}

fn ran(command: &mut Command) {
    let output = command
        .output()
        .expect("this test needs Debian's tools: apt install apt dpkg");
    assert!(output.status.success(), "{output:?}");
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < LIMIT, "never came: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn log(folder: &Path) -> Log {
    Log::create(folder.with_extension("log"), folder.to_owned()).unwrap()
}

#[tokio::test]
async fn helper_that_installs_with_apt() {
    let Some(folder) = std::env::var_os(HELPER_ROOT).map(PathBuf::from) else {
        return;
    };
    let waits = |holder: &str| fs::write(folder.with_extension("waits"), holder).unwrap();
    let log = log(&folder);
    let names = [PACKAGE.to_owned()];
    let installed = apt::install(&names, &log, &waits);
    if folder.ends_with("first") {
        // Whoever waits goes away in the middle, as at an interruption or a time limit; and then all of us are killed.
        let began = folder.with_file_name("began");
        tokio::select! {
            ended = installed => panic!("it ended before it was let: {ended:?}"),
            () = until("the installation", || began.exists()) => {}
        }
        fs::write(folder.with_extension("dropped"), "").unwrap();
        std::future::pending::<()>().await;
    } else {
        installed.await.unwrap();
    }
}

#[tokio::test]
async fn apt_comes_to_its_end_though_the_build_is_killed_and_the_next_one_waits_for_it() {
    let system = System::new();
    let mut first = system.installs("first");
    until("the middle of it", || system.path("first.dropped").exists()).await;
    let group = rustix::process::Pid::from_child(&first);
    rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
    first.wait().unwrap();
    // What the next build does first.
    end_left_over(&system.path("first")).await.unwrap();
    assert_eq!(system.status(), "install ok half-configured");

    let mut next = system.installs("next");
    until("that the next one waits", || {
        system.path("next.waits").exists()
    })
    .await;
    let holder = fs::read_to_string(system.path("next.waits")).unwrap();
    assert!(
        holder.starts_with("process ") && holder.ends_with("(apt-get)"),
        "{holder}"
    );
    fs::write(system.path("may-end"), "").unwrap();
    let ended = next.wait().unwrap();
    let told = fs::read_to_string(system.path("next.log")).unwrap();
    assert!(ended.success(), "{told}");
    assert!(told.contains("is already the newest version"), "{told}");
    assert_eq!(system.status(), "install ok installed");
    let first = fs::read_to_string(system.path("first.log")).unwrap();
    assert!(first.contains("Setting up"), "{first}");
}
