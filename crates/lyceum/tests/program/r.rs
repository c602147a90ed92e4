//! `lyceum env r` as an administrator types it: with the machine's R, and a repository that is made here.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::support::{lyceum, text};

const INSTALL_R: &str = "this test needs R: apt install r-base-core r-base-dev";

/// A machine with a repository, a Python environment, and a library of R that a kernel names.
struct Machine(TempDir);

impl Machine {
    fn new() -> Self {
        let machine = Self(TempDir::new().unwrap());
        // Everybody may look, as the account that builds has to.
        fs::set_permissions(machine.0.path(), fs::Permissions::from_mode(0o755)).unwrap();
        // An R that only the configuration knows.
        let home = machine.path("R-9/lib/R");
        machine.put(
            "R-9/lib/R/library/base/DESCRIPTION",
            "Package: base\nVersion: 9.1.0\nPriority: base\n",
        );
        machine.put(
            "R-9/bin/R",
            &format!("#!/bin/sh\nR_HOME_DIR={}\n", home.display()),
        );
        // Of an environment for servers, what kernels are placed by.
        for file in ["bin/python", "bin/jupyterhub-singleuser"] {
            machine.put(&format!("envs/python/base/1/{file}"), "");
            let path = machine.path(&format!("envs/python/base/1/{file}"));
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        machine.put("envs/python/base/1/lib/python3.11/site-packages/x.py", "");
        symlink("1", machine.path("envs/python/base/current")).unwrap();
        machine.put(
            "lyceum.toml",
            &format!(
                "[env]\nfolder = \"{at}/envs\"\ndefault_r = \"base\"\n[env.python.base]\n[env.r.base]\npackages = \"base.toml\"\n\
                 site_files = false\nbuild_as = \"nobody\"\nprefer_apt = false\nrepositories = [\"file://{at}/cran\"]\n\
                 [env.r.other]\nr = \"{at}/R-9/bin/R\"\n[kernels.stats]\nr = \"base\"\n\
                 [auth]\nkind = \"dummy\"\n[access]\nallow_all = true\n",
                at = machine.0.path().display()
            ),
        );
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn put(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Puts a package into the repository, in the place of other versions of it.
    fn publish(&self, name: &str, version: &str) {
        let sources = format!("sources/{name}");
        self.put(
            &format!("{sources}/DESCRIPTION"),
            &format!(
                "Package: {name}\nVersion: {version}\nTitle: A Test\nDescription: For tests.\nLicense: MIT\n\
                 Author: A. Tester\nMaintainer: A. Tester <a@example.org>\n"
            ),
        );
        self.put(&format!("{sources}/NAMESPACE"), "export(main)\n");
        self.put(&format!("{sources}/R/code.R"), "main <- function() 42\n");
        let contrib = self.path("cran/src/contrib");
        let older = contrib.join("Archive").join(name);
        fs::create_dir_all(&older).unwrap();
        for entry in fs::read_dir(&contrib).unwrap() {
            let entry = entry.unwrap();
            let file = entry.file_name();
            if file.to_str().unwrap().starts_with(&format!("{name}_")) {
                fs::rename(entry.path(), older.join(file)).unwrap();
            }
        }
        let archive = contrib.join(format!("{name}_{version}.tar.gz"));
        let mut tar = Command::new("tar");
        tar.arg("-czf").arg(archive).arg("-C");
        ran(tar.arg(self.path("sources")).arg(name));
        let code = format!(
            "invisible(tools::write_PACKAGES('{}', type = 'source'))",
            contrib.display()
        );
        ran(Command::new("Rscript").args(["--vanilla", "-e", &code]));
    }

    /// Runs the program, and gives its status with all that it says.
    fn r(&self, words: &[&str]) -> (i32, String) {
        let mut command = lyceum(&["env", "r"]);
        command.args(words).current_dir(self.0.path());
        let config = self.path("lyceum.toml");
        let output = command.arg("--config").arg(config).output().unwrap();
        let said = text(&output.stdout) + &text(&output.stderr);
        (output.status.code().unwrap(), said)
    }

    fn does(&self, words: &[&str]) -> String {
        let (code, said) = self.r(words);
        assert_eq!(code, 0, "{words:?}: {said}");
        said
    }

    fn refuses(&self, words: &[&str], why: &str) {
        let (code, said) = self.r(words);
        assert!(code != 0 && said.contains(why), "{words:?}: {why}: {said}");
    }
}

fn ran(command: &mut Command) {
    let output = command.output().expect(INSTALL_R);
    assert!(output.status.success(), "{output:?}");
}

fn kernels(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut pending = vec![folder.to_owned()];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_name() == "kernel.json" {
                found.push(fs::read_to_string(entry.path()).unwrap());
            } else if entry.path().is_dir() {
                pending.push(entry.path());
            }
        }
    }
    found
}

#[test]
fn a_library_of_r_is_kept_by_command() {
    let machine = Machine::new();
    machine.publish("lyca", "1.0");
    machine.publish("IRkernel", "1.0");

    // Before there is anything.
    machine.refuses(&["build"], "has no list of packages");
    machine.refuses(&["switch"], "`lyceum env r build` builds one");
    let versions = machine.does(&["versions", "--json"]);
    assert!(versions.contains("/usr/bin/R"), "{INSTALL_R}: {versions}");
    assert!(
        versions.contains("\"9.1.0\"") && versions.contains("R-9/bin/R"),
        "the one that only the configuration names: {versions}"
    );

    // What people get wrong changes nothing.
    let sum = "0".repeat(64);
    for (words, why) in [
        (
            vec!["add", "lyca", "lycb", "--sha256", &sum],
            "belongs to one package",
        ),
        (
            vec!["add", "local:gone.tar.gz", "--name", "gone"],
            "base.toml stays as it was",
        ),
        (vec!["remove", "lyca"], "lyca is not in"),
    ] {
        machine.refuses(&words, why);
        assert!(!machine.path("base.toml").exists(), "{words:?}");
    }
    machine.does(&["add", "lyca", "IRkernel"]);
    machine.refuses(&["upgrade", "lyxa"], "lyxa is neither in the list");
    machine.refuses(&["build", "--from-lock", "--library", "other"], "other");

    // The lock file is there, and so is the kernel once something is switched to.
    let lock = fs::read_to_string(machine.path("base.lock")).unwrap();
    assert!(
        lock.contains("name = \"lyca\"\nversion = \"1.0\"\nmethod = \"cran\""),
        "{lock}"
    );
    let placed = || kernels(&machine.path("envs/kernels"));
    assert!(placed().is_empty());
    machine.does(&["switch"]);
    let kernel = placed().join("");
    assert!(
        kernel.contains("IRkernel::main()"),
        "kernels follow: {kernel}"
    );

    // Newer ones, back, and to the newest again though there is nothing to build.
    machine.publish("lyca", "2.0");
    assert!(
        machine
            .does(&["upgrade", "lyca", "--switch"])
            .contains("lyca 2.0")
    );
    let newer = fs::read_to_string(machine.path("base.lock")).unwrap();
    assert_ne!(newer, lock, "the lock follows");
    machine.does(&["rollback"]);
    let said = machine.does(&["build", "--switch"]);
    assert!(
        said.contains("nothing to do") && said.contains("have generation"),
        "{said}"
    );

    // An older lock is built exactly, and stays.
    fs::write(machine.path("base.lock"), &lock).unwrap();
    let said = machine.does(&["build", "--from-lock", "--switch"]);
    assert!(said.contains("lyca 1.0"), "{said}");
    assert_eq!(fs::read_to_string(machine.path("base.lock")).unwrap(), lock);
    fs::remove_file(machine.path("base.lock")).unwrap();
    machine.refuses(&["build", "--from-lock"], "has no lock file");
    let list = machine.does(&["list"]);
    assert_eq!(
        list.lines().filter(|line| line.starts_with('*')).count(),
        1,
        "{list}"
    );
}
