//! Where libraries are built in tests: a repository that is made here, packages for it, and what is seen of a build.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use super::super::*;
use crate::progress::Silent;

pub(super) const INSTALL_R: &str = "these tests need R: apt install r-base-core r-base-dev git";

/// A repository, and a place for libraries.
pub(super) struct Place {
    pub(super) folder: TempDir,
    pub(super) account: Option<Account>,
}

/// A package to be made: its fields and its files.
pub(super) struct Made<'a> {
    pub(super) name: &'a str,
    pub(super) version: &'a str,
    pub(super) fields: &'a str,
    pub(super) code: &'a str,
    pub(super) c: Option<&'a str>,
}

impl<'a> Made<'a> {
    pub(super) fn new(name: &'a str, version: &'a str) -> Self {
        Self {
            name,
            version,
            fields: "",
            code: "answer <- function() 42\n",
            c: None,
        }
    }

    pub(super) fn needs(mut self, fields: &'a str) -> Self {
        self.fields = fields;
        self
    }

    pub(super) fn code(mut self, code: &'a str) -> Self {
        self.code = code;
        self
    }

    pub(super) fn with_c(mut self, c: &'a str) -> Self {
        self.c = Some(c);
        self
    }

    /// Writes the sources below a folder, and gives theirs.
    pub(super) fn write(&self, parent: &Path) -> PathBuf {
        let root = parent.join(self.name);
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(root.join("R")).unwrap();
        let description = format!(
            "Package: {}\nVersion: {}\nTitle: A Test\nDescription: For tests.\nAuthor: A. Tester\n\
             Maintainer: A. Tester <a@example.org>\nLicense: MIT\nRepository: CRAN\n{}",
            self.name, self.version, self.fields
        );
        fs::write(
            root.join("DESCRIPTION"),
            description.trim_end().to_owned() + "\n",
        )
        .unwrap();
        let native = self
            .c
            .map_or(String::new(), |_| format!("useDynLib({})\n", self.name));
        fs::write(
            root.join("NAMESPACE"),
            format!("exportPattern(\"^[a-z]\")\n{native}"),
        )
        .unwrap();
        fs::write(root.join("R/code.R"), self.code).unwrap();
        if let Some(c) = self.c {
            fs::create_dir(root.join("src")).unwrap();
            fs::write(root.join("src/code.c"), c).unwrap();
        }
        root
    }
}

impl Place {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Everybody may look, as the account that builds has to.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        // As root the account is another, as on servers.
        let root = rustix::process::geteuid().is_root();
        let account = root.then_some(Account {
            uid: 65534,
            gid: 65534,
        });
        Self { folder, account }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn repository(&self) -> String {
        format!("file://{}", self.path("cran").display())
    }

    /// Puts packages into the repository, in the place of other versions of them.
    pub(super) fn publish(&self, packages: &[Made<'_>]) {
        let contrib = self.path("cran/src/contrib");
        fs::create_dir_all(&contrib).unwrap();
        for package in packages {
            let sources = package.write(&self.path("sources"));
            for entry in fs::read_dir(&contrib).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                if name.starts_with(&format!("{}_", package.name)) {
                    let archive = contrib.join("Archive").join(package.name);
                    fs::create_dir_all(&archive).unwrap();
                    fs::rename(&path, archive.join(name)).unwrap();
                }
            }
            let archive = contrib.join(format!("{}_{}.tar.gz", package.name, package.version));
            tar(&sources, &archive);
        }
        let code = format!(
            "invisible(tools::write_PACKAGES('{}', type = 'source'))",
            contrib.display()
        );
        let output = Command::new("Rscript")
            .args(["--vanilla", "-e", &code])
            .output()
            .expect(INSTALL_R);
        assert!(output.status.success(), "{output:?}");
    }

    pub(super) fn library(&self) -> RLibrary {
        RLibrary::new(&self.path("envs"), "base").unwrap()
    }

    pub(super) fn spec(&self, list: &str) -> RSpec {
        RSpec {
            interpreter: find("").expect(INSTALL_R),
            list: PackageList::parse(list, Path::new("base.toml")).unwrap(),
            repositories: vec![self.repository()],
            bioconductor: format!("file://{}", self.path("bioconductor").display()),
            prefer_apt: true,
            lock: None,
            account: self.account.clone(),
            jobs: 2,
        }
    }

    pub(super) async fn build(&self, list: &str) -> BuildReport {
        self.upgrade(list, &Upgrade::Nothing).await
    }

    pub(super) async fn upgrade(&self, list: &str, upgrade: &Upgrade) -> BuildReport {
        self.library()
            .build(&self.spec(list), upgrade, &Silent)
            .await
            .expect(INSTALL_R)
    }

    /// Runs code in an R that has the start files of this place, as a user's R has those of a server.
    pub(super) fn r(&self, code: &str) -> Output {
        self.r_command(code).output().unwrap()
    }

    pub(super) fn r_command(&self, code: &str) -> Command {
        let files = SiteFiles::in_folder(&self.path("etc"));
        files.set(&self.library()).unwrap();
        let mut command = Command::new("Rscript");
        command
            .args(["-e", code])
            .env("R_ENVIRON", &files.environ)
            .env("R_PROFILE", &files.profile)
            .env("HOME", self.home())
            .env_remove("R_LIBS_SITE")
            .env_remove("R_LIBS_USER");
        command
    }

    pub(super) fn home(&self) -> PathBuf {
        let home = self.path("home");
        fs::create_dir_all(&home).unwrap();
        home
    }

    pub(super) fn says(&self, code: &str) -> String {
        let output = self.r(code);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

pub(super) fn series() -> String {
    find("").expect(INSTALL_R).version.series()
}

pub(super) fn tar(sources: &Path, archive: &Path) {
    let status = Command::new("tar")
        .arg("-czf")
        .arg(archive)
        .arg("-C")
        .arg(sources.parent().unwrap())
        .arg(sources.file_name().unwrap())
        .status()
        .unwrap();
    assert!(status.success());
}

pub(super) fn state<'a>(report: &'a BuildReport, name: &str) -> &'a State {
    let found = report.packages.iter().find(|one| one.name == name);
    &found
        .unwrap_or_else(|| panic!("{name} is not in {report:#?}"))
        .state
}

pub(super) fn cause(report: &BuildReport, name: &str) -> String {
    match state(report, name) {
        State::Failed(failure) => {
            format!("{}\n{}\n{}", failure.cause, failure.advice, failure.excerpt)
        }
        other => panic!("{name}: {other:?}"),
    }
}

/// Names, sizes, times and numbers of all files below a folder.
pub(super) fn snapshot(folder: &Path) -> Vec<(PathBuf, u64, i64, u64)> {
    let mut all = Vec::new();
    let mut pending = vec![folder.to_owned()];
    while let Some(path) = pending.pop() {
        let data = path.symlink_metadata().unwrap();
        if data.is_dir() {
            pending.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        }
        all.push((path, data.len(), data.mtime(), data.ino()));
    }
    all.sort();
    all
}

pub(super) const NATIVE: &str = "int lycanswer(void) { return 42; }\n";

/// Serves a folder by http.
pub(super) struct Server {
    pub(super) folder: PathBuf,
    pub(super) address: String,
    pub(super) child: std::process::Child,
}

impl Server {
    pub(super) fn start(folder: PathBuf) -> Self {
        fs::create_dir_all(&folder).unwrap();
        let mut child = Command::new("python3")
            .args([
                "-u",
                "-m",
                "http.server",
                "0",
                "--bind",
                "127.0.0.1",
                "--directory",
            ])
            .arg(&folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("this test needs Python: apt install python3");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line.split(['(', ')']).nth(1).unwrap().to_owned();
        Self {
            folder,
            address,
            child,
        }
    }
}

impl Server {
    pub(super) fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}
