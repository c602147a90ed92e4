//! `lyceum env python`: an administrator's days with an environment, from the first generation on.

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{Site, lyceum, text};

/// A site with an environment whose packages are made here, and need no network. uv builds it, which is fast.
struct School {
    site: Site,
}

impl School {
    fn new() -> Self {
        let site = Site::new();
        let folder = site.dir.path();
        // The account that builds has to be let in.
        fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
        let packages = folder.join("packages");
        fs::create_dir(&packages).unwrap();
        let script = "../envs/tests/library/make_packages.py";
        let made = Command::new("python3")
            .args([
                Path::new("-I"),
                &Path::new(env!("CARGO_MANIFEST_DIR")).join(script),
                &packages,
            ])
            .status()
            .expect("this test needs Python: apt install python3 python3-venv");
        assert!(made.success());
        let prefix = std::env::var_os("LYCEUM_TEST_PYENV")
            .expect("this test needs LYCEUM_TEST_PYENV: run it by `cargo xtask test`");
        // Where it is may be closed to the account that builds.
        fs::copy(Path::new(&prefix).join("bin/uv"), folder.join("uv"))
            .expect("this test needs uv beside JupyterLab: pip install uv");
        site.add(
            "[env]\nfolder = \"envs\"\n[env.python.base]\nrequirements = \"base.txt\"\nbuild_as = \"nobody\"\n",
        );
        let school = Self { site };
        school.require("alpha<2  # the old one\n");
        school
    }

    fn path(&self, name: &str) -> PathBuf {
        self.site.dir.path().join(name)
    }

    fn require(&self, requirements: &str) {
        let packages = self.path("packages");
        let text = format!(
            "--no-index\n--find-links {}\n{requirements}",
            packages.display()
        );
        fs::write(self.path("base.txt"), text).unwrap();
    }

    fn command(&self, words: &str) -> Command {
        let words: Vec<_> = words.split(' ').collect();
        let mut command = lyceum(&words);
        command
            .arg("--config")
            .arg(self.site.file())
            .env("UV", self.path("uv"));
        command
    }

    /// Runs a command; gives what it said on both, and its exit status.
    fn run(&self, words: &str) -> (String, String, i32) {
        let answer = self.command(words).output().unwrap();
        (
            text(&answer.stdout),
            text(&answer.stderr),
            answer.status.code().unwrap(),
        )
    }

    /// Runs a command that has to go well, and gives what it said.
    fn good(&self, words: &str) -> String {
        let (said, errors, code) = self.run(words);
        assert_eq!(code, 0, "{words}: {said}{errors}");
        assert_eq!(errors, "", "{words}: {said}");
        said
    }

    /// Runs a command that has to fail, and gives what it complained about.
    fn bad(&self, words: &str) -> String {
        let (said, errors, code) = self.run(words);
        assert_eq!(code, 1, "{words}: {said}{errors}");
        errors
    }

    /// The version of `alpha` that new servers get.
    fn alpha(&self) -> String {
        let code = "import alpha; print(alpha.VERSION)";
        let answer = Command::new(self.path("envs/python/base/current/bin/python"))
            .args(["-I", "-B", "-c", code])
            .output()
            .unwrap();
        text(&answer.stdout).trim().to_owned()
    }
}

#[track_caller]
fn says(said: &str, expected: &[&str]) {
    for one in expected {
        assert!(said.contains(one), "`{one}` is missing in:\n{said}");
    }
}

#[test]
fn an_environment_is_built_switched_changed_and_taken_back() {
    let school = School::new();
    says(
        &school.good("env python list"),
        &["nothing is built yet: lyceum env python build base --switch"],
    );
    says(
        &school.bad("env python switch"),
        &["hint: build one: `lyceum env python build base`"],
    );
    says(
        &school.good("env python build"),
        &[
            "choosing packages",
            "downloading 1 package\n",
            "Generation 1 of base is ready: 2 packages with Python 3.",
            "Next step: lyceum env python switch base 1",
        ],
    );
    assert!(!school.path("envs/python/base/current").exists());
    says(
        &school.good("env python switch"),
        &["New servers get generation 1 of base."],
    );
    assert_eq!(school.alpha(), "1.1");
    // No kernels are configured, so there is nothing to write.
    school.good("env kernels list");
    says(
        &school.bad("env python rollback"),
        &["no complete generation before 1", "lyceum env python list"],
    );

    // What is asked for and cannot be leaves all as it is.
    let before = fs::read_to_string(school.path("base.txt")).unwrap();
    says(
        &school.bad("env python add omega"),
        &[
            "the package index has no version of omega that fits",
            "how the name is spelled",
        ],
    );
    says(
        &school.bad("env python upgrade alhpa"),
        &["base has no such package"],
    );
    says(
        &school.good("env python add gamma alpha --dry-run"),
        &[
            "Against generation 1:",
            "added    gamma  1.0",
            "up       alpha  1.1 -> 2.0",
        ],
    );
    assert_eq!(fs::read_to_string(school.path("base.txt")).unwrap(), before);

    // Builds that failed have their numbers, by which their logs are found.
    says(
        &school.good("env python add gamma alpha==2.0 --switch"),
        &[
            "Generation 4 of base is ready",
            "New servers get generation 4;",
        ],
    );
    assert_eq!(school.alpha(), "2.0");
    let after = fs::read_to_string(school.path("base.txt")).unwrap();
    assert!(
        after.ends_with("alpha==2.0  # the old one\ngamma\n"),
        "{after}"
    );
    let (doctor, ..) = school.run("doctor");
    says(
        &doctor,
        &["start from the Python environment `base`, generation 4"],
    );
    assert!(!doctor.contains("is not as its files say"), "{doctor}");

    says(
        &school.good("env python rollback"),
        &["New servers get generation 1 of base; those that run stay on 4"],
    );
    assert_eq!(school.alpha(), "1.1");
    let difference: serde_json::Value =
        serde_json::from_str(&school.good("env python diff --json")).unwrap();
    assert_eq!(
        (&difference["from"], &difference["to"]),
        (&1.into(), &4.into())
    );
    let listed: serde_json::Value =
        serde_json::from_str(&school.good("env python list --json")).unwrap();
    assert_eq!(listed["base"].as_array().unwrap().len(), 2);
    assert_eq!(listed["base"][0]["current"], true);

    let (doctor, ..) = school.run("doctor");
    says(
        &doctor,
        &["`base` is not as its files say", "`lyceum env apply`"],
    );
    says(
        &school.good("env apply"),
        &[
            "Generation 4 of base has just these packages",
            "New servers get generation 4;",
        ],
    );
    assert_eq!(school.alpha(), "2.0");
}

#[test]
fn a_build_that_is_interrupted_says_so_and_leaves_what_is_in_use() {
    let school = School::new();
    school.good("env python build --switch");
    // An index that takes the call and never says anything.
    let index = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = index.local_addr().unwrap();
    let text = format!("--index-url http://{address}/simple\nalpha<2\ngamma\n");
    fs::write(school.path("base.txt"), text).unwrap();
    let mut child = school
        .command("env python build")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let seen = lines
        .map_while(Result::ok)
        .find(|line| line.contains("choosing packages"));
    assert!(seen.is_some(), "it has ended before");
    let pid = child.id().to_string();
    Command::new("kill").args(["-INT", &pid]).status().unwrap();
    let answer = child.wait_with_output().unwrap();
    assert_eq!(answer.status.code(), Some(130));
    says(
        &crate::support::text(&answer.stderr),
        &["Interrupted. What is in use stays as it is"],
    );
    assert_eq!(school.alpha(), "1.1");
    // What the builder was told may hold the password of an index.
    assert!(!school.path("envs/build/python-base").exists());
    school.require("alpha<2\n");
    says(
        &school.good("env python build"),
        &["Generation 1 of base has just these packages"],
    );
}

#[test]
fn an_environment_that_servers_start_from_has_to_have_jupyterhub() {
    let school = School::new();
    let config = fs::read_to_string(school.site.file()).unwrap();
    let line = config
        .lines()
        .find(|line| line.starts_with("command = "))
        .unwrap();
    school
        .site
        .write(&config.replace(line, "command = [\"jupyterhub-singleuser\"]"));
    says(
        &school.bad("env python build"),
        &[
            "there would be no jupyterhub",
            "add `jupyterhub` and `jupyterlab`",
        ],
    );
    assert!(!school.path("envs/python/base/1").exists());
}

#[test]
fn environments_need_no_way_to_log_in() {
    let school = School::new();
    school.site.write(
        "[env]\nfolder = \"envs\"\n[env.python.base]\nrequirements = \"base.txt\"\nbuild_as = \"nobody\"\n",
    );
    says(
        &school.good("env python list"),
        &["lyceum env python build base --switch"],
    );
    let (_, errors, code) = school.run("serve");
    assert_eq!(code, 78, "{errors}");
    says(&errors, &["there is no password to log in with"]);
}

#[test]
fn the_doctor_knows_what_is_not_built_and_who_cannot_build() {
    let school = School::new();
    let config = fs::read_to_string(school.site.file()).unwrap();
    let config = config.replace("\"nobody\"", "\"no-such-account\"");
    school.site.write(&config);
    let (said, ..) = school.run("doctor");
    says(
        &said,
        &[
            "`base` cannot be used yet: no generation",
            "there is no account `no-such-account`, so root can build nothing for env.python.base",
            "useradd --system",
        ],
    );
}
