//! Builds real libraries with the machine's R, from repositories that are made here.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::*;
use crate::progress::{Progress, Report, Silent};

const INSTALL_R: &str = "these tests need R: apt install r-base-core r-base-dev git";
/// Names the folder in which the helper process of [`a_killed_build_leaves_the_current_library_alone`] works.
const CHILD_ROOT: &str = "LYCEUM_R_TEST_ROOT";

/// A repository, and a place for libraries.
struct Place {
    folder: TempDir,
    account: Option<Account>,
}

/// A package to be made: its fields and its files.
struct Made<'a> {
    name: &'a str,
    version: &'a str,
    fields: &'a str,
    code: &'a str,
    c: Option<&'a str>,
}

impl<'a> Made<'a> {
    fn new(name: &'a str, version: &'a str) -> Self {
        Self {
            name,
            version,
            fields: "",
            code: "answer <- function() 42\n",
            c: None,
        }
    }

    fn needs(mut self, fields: &'a str) -> Self {
        self.fields = fields;
        self
    }

    fn code(mut self, code: &'a str) -> Self {
        self.code = code;
        self
    }

    fn with_c(mut self, c: &'a str) -> Self {
        self.c = Some(c);
        self
    }

    /// Writes the sources below a folder, and gives theirs.
    fn write(&self, parent: &Path) -> PathBuf {
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
    fn new() -> Self {
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

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn repository(&self) -> String {
        format!("file://{}", self.path("cran").display())
    }

    /// Puts packages into the repository, in the place of other versions of them.
    fn publish(&self, packages: &[Made<'_>]) {
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

    fn library(&self) -> RLibrary {
        RLibrary::new(&self.path("envs"), "base").unwrap()
    }

    fn spec(&self, list: &str) -> RSpec {
        RSpec {
            interpreter: find("").expect(INSTALL_R),
            list: PackageList::parse(list, Path::new("base.toml")).unwrap(),
            repositories: vec![self.repository()],
            bioconductor: format!("file://{}", self.path("bioconductor").display()),
            prefer_apt: true,
            account: self.account.clone(),
            jobs: 2,
        }
    }

    async fn build(&self, list: &str) -> BuildReport {
        self.upgrade(list, &Upgrade::Nothing).await
    }

    async fn upgrade(&self, list: &str, upgrade: &Upgrade) -> BuildReport {
        self.library()
            .build(&self.spec(list), upgrade, &Silent)
            .await
            .expect(INSTALL_R)
    }

    /// Runs code in an R that has the start files of this place, as a user's R has those of a server.
    fn r(&self, code: &str) -> Output {
        self.r_command(code).output().unwrap()
    }

    fn r_command(&self, code: &str) -> Command {
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

    fn home(&self) -> PathBuf {
        let home = self.path("home");
        fs::create_dir_all(&home).unwrap();
        home
    }

    fn says(&self, code: &str) -> String {
        let output = self.r(code);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

fn series() -> String {
    find("").expect(INSTALL_R).version.series()
}

fn tar(sources: &Path, archive: &Path) {
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

fn state<'a>(report: &'a BuildReport, name: &str) -> &'a State {
    let found = report.packages.iter().find(|one| one.name == name);
    &found
        .unwrap_or_else(|| panic!("{name} is not in {report:#?}"))
        .state
}

fn cause(report: &BuildReport, name: &str) -> String {
    match state(report, name) {
        State::Failed(failure) => {
            format!("{}\n{}\n{}", failure.cause, failure.advice, failure.excerpt)
        }
        other => panic!("{name}: {other:?}"),
    }
}

/// Names, sizes, times and numbers of all files below a folder.
fn snapshot(folder: &Path) -> Vec<(PathBuf, u64, i64, u64)> {
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

const NATIVE: &str = "int lycanswer(void) { return 42; }\n";

#[tokio::test]
async fn a_library_is_built_switched_upgraded_and_rolled_back() {
    let place = Place::new();
    place.publish(&[
        Made::new("lyca", "1.0").with_c(NATIVE),
        Made::new("lycb", "1.0")
            .needs("Imports: lyca (>= 1.0), stats")
            .code("version <- function() 'b1'\n"),
        Made::new("lycc", "0.1"),
    ]);
    let list = "cran = [\"lycb\"]";
    // A user has something of their own, which nobody else touches.
    let own = place
        .home()
        .join(format!("R/x86_64-pc-linux-gnu-library/{}/mine", series()));
    fs::create_dir_all(&own).unwrap();
    fs::write(own.join("DESCRIPTION"), "Package: mine\n").unwrap();
    let before = snapshot(&place.home());
    let distribution = find("").unwrap().home.join("library");
    let distributions = snapshot(&distribution);

    let planned = place
        .library()
        .plan(&place.spec(list), &Upgrade::Nothing, &Silent)
        .await
        .unwrap();
    assert_eq!(*state(&planned, "lycb"), State::Planned);
    assert_eq!(*state(&planned, "lyca"), State::Planned);
    assert!(!place.path("envs").exists(), "asking changes nothing");

    let report = place.build(list).await;
    assert_eq!(report.generation, Some(1), "{report:#?}");
    assert!(report.complete);
    assert_eq!(*state(&report, "lyca"), State::Installed, "{report:#?}");
    let library = place.library();
    assert_eq!(
        library.find_current(&series()),
        None,
        "a build does not switch"
    );
    assert_eq!(library.switch(&series(), None).await.unwrap(), (1, None));
    assert_eq!(
        place.says("cat(lycb::version(), as.character(packageVersion('lycb')))"),
        "b1 1.0"
    );
    // A kernel has the library without any start file of the machine.
    let kernel = RKernel::new(&library, &find("").unwrap(), None);
    let (program, arguments) = kernel.argv.split_first().unwrap();
    let instead = arguments[2].replace("IRkernel::main()", "cat(lycb::version(),.libPaths()[1])");
    let output = Command::new(program)
        .args(["--slave", "--vanilla", "-e", &instead])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.starts_with("b1 /") && said.ends_with("/1/library"),
        "{said}"
    );
    assert_eq!(kernel.display_name, format!("R {}", series()));
    let built = library
        .folder()
        .join(series())
        .join("1/library/lyca/libs/lyca.so");
    let data = fs::metadata(&built).unwrap();
    assert_eq!(
        data.uid(),
        rustix::process::geteuid().as_raw(),
        "what is finished is not the builder's"
    );
    assert_eq!(data.mode() & 0o022, 0);

    assert_eq!(
        place.build(list).await.generation,
        None,
        "nothing would change"
    );

    place.publish(&[Made::new("lycb", "1.1")
        .needs("Imports: lyca")
        .code("version <- function() 'b2'\n")]);
    assert_eq!(
        place.build(list).await.generation,
        None,
        "an upgrade is made when it is asked for"
    );
    let report = place.upgrade(list, &Upgrade::All).await;
    assert_eq!(report.generation, Some(2), "{report:#?}");
    let report = place.build("cran = [\"lycb\", \"lycc\"]").await;
    assert_eq!(report.generation, Some(3), "{report:#?}");
    assert_eq!(*state(&report, "lyca"), State::Kept);
    assert_eq!(*state(&report, "lycc"), State::Installed);
    let shared = library
        .folder()
        .join(series())
        .join("3/library/lyca/libs/lyca.so");
    let newest = library
        .folder()
        .join(series())
        .join("2/library/lyca/libs/lyca.so");
    assert_eq!(
        fs::metadata(&shared).unwrap().ino(),
        fs::metadata(&newest).unwrap().ino(),
        "the same files"
    );

    library.switch(&series(), Some(2)).await.unwrap();
    assert_eq!(place.says("cat(lycb::version())"), "b2");
    let changes = library.diff(&series(), 1, 3).unwrap();
    let shown: Vec<_> = changes
        .iter()
        .map(|one| {
            (
                one.name.as_str(),
                one.before.as_deref(),
                one.after.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("lycb", Some("1.0"), Some("1.1")),
            ("lycc", None, Some("0.1"))
        ]
    );
    assert_eq!(library.roll_back(&series()).await.unwrap(), (1, Some(2)));
    assert_eq!(place.says("cat(lycb::version())"), "b1");
    assert!(matches!(
        library.roll_back(&series()).await,
        Err(RError::NothingBefore { .. })
    ));
    assert!(matches!(
        library.switch(&series(), Some(9)).await,
        Err(RError::NoGeneration { .. })
    ));

    let listed = library.list(&find_all()).unwrap();
    let shown: Vec<_> = listed
        .iter()
        .map(|one| (one.number, one.current, one.packages))
        .collect();
    assert_eq!(shown, [(1, true, 2), (2, false, 2), (3, false, 3)]);
    assert!(listed[0].own_bytes > 0 && listed[2].own_bytes < listed[2].bytes);

    assert_eq!(
        snapshot(&place.home()),
        before,
        "a user's library is as it was"
    );
    assert_eq!(
        snapshot(&distribution),
        distributions,
        "and the distribution's, too"
    );
}

#[tokio::test]
async fn one_that_fails_stops_nobody_and_is_explained() {
    let place = Place::new();
    place.publish(&[
        Made::new("lyca", "1.0"),
        Made::new("lycbroken", "1.0")
            .with_c("#include <curl/nothing-like-it.h>\n#include <curl/curl.h>\nint x = ;\n"),
        Made::new("lycneeds", "1.0").needs("Imports: lycbroken"),
        Made::new("lycgone", "1.0").needs("Imports: lycnowhere (>= 2.0)"),
        Made::new("lycload", "1.0")
            .code(".onLoad <- function(...) if (nzchar(Sys.getenv('LYC_LOAD'))) stop('no')\n"),
    ]);
    let list = "cran = [\"lyca\", \"lycneeds\", \"lycgone\", \"lycnothere\"]\n\
                [[package]]\nname = \"lycbroken\"\nrequired = false\n";
    let report = place.build(list).await;
    assert_eq!(report.generation, Some(1), "{report:#?}");
    assert!(!report.complete);
    assert_eq!(*state(&report, "lyca"), State::Installed);
    let broken = cause(&report, "lycbroken");
    assert!(
        broken.contains("libcurl4-openssl-dev") || broken.contains("do not compile"),
        "{broken}"
    );
    assert!(
        broken.contains("fatal error") || broken.contains("ERROR: compilation failed"),
        "{broken}"
    );
    assert_eq!(
        *state(&report, "lycneeds"),
        State::Skipped {
            because: "it needs lycbroken".to_owned()
        }
    );
    assert_eq!(
        *state(&report, "lycgone"),
        State::Skipped {
            because: "it needs lycnowhere".to_owned()
        }
    );
    assert!(cause(&report, "lycnowhere").contains("no repository has it"));
    assert!(cause(&report, "lycnothere").contains("no repository has it"));
    let refused = place
        .library()
        .switch(&series(), Some(1))
        .await
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "generation 1 lacks packages that are required: lycneeds, lycgone, lycnothere"
    );
    assert!(place.library().switch(&series(), None).await.is_err());
    assert_eq!(
        place.build(list).await.generation,
        None,
        "the same again is nothing new"
    );

    // What was built is not built again, and a package that nobody requires is in nobody's way.
    let report = place
        .build("cran = [\"lyca\"]\n[[package]]\nname = \"lycbroken\"\nrequired = false\n")
        .await;
    assert_eq!(*state(&report, "lyca"), State::Kept);
    assert!(report.complete, "{report:#?}");
    assert_eq!(
        place.library().switch(&series(), None).await.unwrap().0,
        report.generation.unwrap()
    );
}

#[tokio::test]
async fn packages_come_from_git_addresses_and_files() {
    let place = Place::new();
    place.publish(&[Made::new("lyca", "1.0"), Made::new("lyca", "1.2")]);
    let repository = Made::new("lycgit", "0.1")
        .needs("Imports: lyca")
        .write(&place.path("git"));
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .arg("-C")
            .arg(&repository)
            .args(["-c", "user.name=A", "-c", "user.email=a@example.org"])
            .args(arguments)
            .output()
            .expect(INSTALL_R);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    git(&["init", "--quiet"]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "-m", "first"]);
    git(&["tag", "v1"]);
    let first = git(&["rev-parse", "HEAD"]);
    Made::new("lycgit", "0.2")
        .needs("Imports: lyca")
        .write(&place.path("git2"));
    fs::copy(
        place.path("git2/lycgit/DESCRIPTION"),
        repository.join("DESCRIPTION"),
    )
    .unwrap();
    git(&["commit", "--quiet", "-am", "second"]);

    let local = place.path("lyclocal_1.0.tar.gz");
    tar(
        &Made::new("lyclocal", "1.0").write(&place.path("sources")),
        &local,
    );
    let sum = room::sha256(&local).unwrap();
    let server = Server::start(place.path("served"));
    fs::copy(&local, server.folder.join("lyclocal_1.0.tar.gz")).unwrap();
    let other = Made::new("lycurl", "2.0").write(&place.path("sources"));
    tar(&other, &server.folder.join("lycurl.tgz"));
    let url_sum = room::sha256(&server.folder.join("lycurl.tgz")).unwrap();

    let git_entry = |reference: &str| {
        format!(
            "[[package]]\nname = \"lycgit\"\nmethod = \"git\"\nlocator = \"file://{}{reference}\"\n",
            repository.display()
        )
    };
    let list = |sum: &str| {
        format!(
            "cran = [\"lyca@1.0\"]\n{}[[package]]\nname = \"lyclocal\"\nmethod = \"local\"\nlocator = \"{}\"\n\
             [[package]]\nname = \"lycurl\"\nmethod = \"url\"\nlocator = \"{}lycurl.tgz\"\n{sum}",
            git_entry("@v1"),
            local.display(),
            server.address
        )
    };
    let report = place.build(&list("")).await;
    assert!(cause(&report, "lycurl").contains(&format!(
        "add this line to its entry: sha256 = \"{url_sum}\""
    )));
    assert_eq!(*state(&report, "lycgit"), State::Installed, "{report:#?}");
    assert_eq!(*state(&report, "lyclocal"), State::Installed);
    let wrong = place.build(&list(&format!("sha256 = \"{sum}\"\n"))).await;
    assert!(
        cause(&wrong, "lycurl").contains(&format!("sha256 is {url_sum}, and the list says {sum}"))
    );
    let report = place
        .build(&list(&format!("sha256 = \"{url_sum}\"\n")))
        .await;
    assert!(report.complete, "{report:#?}");
    assert_eq!(*state(&report, "lycgit"), State::Kept);
    let library = place.library();
    library.switch(&series(), None).await.unwrap();
    let versions = "cat(sapply(c('lyca', 'lycgit', 'lyclocal', 'lycurl'), function(p) as.character(packageVersion(p))))";
    assert_eq!(place.says(versions), "1.0 0.1 1.0 2.0");

    // Another reference is another source; a commit and a branch are as good as a tag.
    let report = place
        .build(&format!("cran = [\"lyca@1.0\"]\n{}", git_entry("")))
        .await;
    assert_eq!(*state(&report, "lycgit"), State::Installed);
    let report = place
        .build(&format!(
            "cran = [\"lyca@1.0\"]\n{}",
            git_entry(&format!("@{first}"))
        ))
        .await;
    assert_eq!(*state(&report, "lycgit"), State::Installed);
    let report = place
        .build(&format!("cran = [\"lyca@1.0\"]\n{}", git_entry("@nothing")))
        .await;
    let why = cause(&report, "lycgit");
    assert!(
        why.contains("no branch, tag or commit `nothing`")
            || why.contains("couldn't find remote ref"),
        "{why}"
    );
    let report = place.build("[[package]]\nname = \"lycother\"\nmethod = \"local\"\nlocator = \"/nonexistent.tar.gz\"\n").await;
    assert!(!report.complete);
}

#[tokio::test]
async fn what_repositories_do_not_say_is_told_in_plain_words() {
    let place = Place::new();
    let spec = RSpec {
        repositories: vec!["http://127.0.0.1:9/cran".to_owned()],
        ..place.spec("cran = [\"lyca\"]")
    };
    let report = place
        .library()
        .build(&spec, &Upgrade::Nothing, &Silent)
        .await
        .unwrap();
    assert_eq!(report.generation, None);
    assert!(!report.complete);
    assert!(
        cause(&report, "lyca").contains("the repository http://127.0.0.1:9/cran cannot be reached")
    );
    assert_eq!(report.offline.len(), 1);
}

#[tokio::test]
async fn the_distributions_packages_are_taken_where_they_are() {
    let place = Place::new();
    place.publish(&[Made::new("lyca", "1.0").needs("Imports: R6, MASS")]);
    let installed = place.says("cat(nzchar(system.file(package = 'R6')))");
    assert_eq!(
        installed, "TRUE",
        "this test needs R6 of the distribution: apt install r-cran-r6"
    );
    let report = place
        .build("cran = [\"lyca\", \"MASS\"]\napt = [\"R6\"]")
        .await;
    assert!(report.complete, "{report:#?}");
    assert_eq!(*state(&report, "R6"), State::Here);
    assert_eq!(*state(&report, "MASS"), State::Here);
    assert!(report.apt.is_empty(), "nothing is to be installed");
    let missing = place
        .library()
        .plan(
            &place.spec("apt = [\"lycnothing\"]"),
            &Upgrade::Nothing,
            &Silent,
        )
        .await
        .unwrap();
    assert!(cause(&missing, "lycnothing").contains("apt knows no package r-cran-lycnothing"));
}

#[tokio::test]
async fn an_r_that_runs_keeps_its_generation_and_gives_it_to_its_children() {
    let place = Place::new();
    place.publish(&[Made::new("lyca", "1.0").with_c(NATIVE)]);
    place.build("cran = [\"lyca\"]").await;
    let library = place.library();
    library.switch(&series(), None).await.unwrap();
    let code = "cat(.libPaths()[1], '\\n'); flush(stdout()); invisible(readLines(file('stdin'), 1)); \
                cat(as.character(packageVersion('lyca')), '\\n'); \
                system2(file.path(R.home('bin'), 'Rscript'), c('-e', shQuote(\"cat(as.character(packageVersion('lyca')))\")))";
    let mut running = place
        .r_command(code)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(running.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    assert!(
        first.trim().ends_with("/1/library"),
        "the generation itself, not the link: {first}"
    );

    place.publish(&[Made::new("lyca", "2.0")]);
    place
        .upgrade(
            "cran = [\"lyca\"]",
            &Upgrade::Named(vec!["lyca".to_owned()]),
        )
        .await;
    library.switch(&series(), None).await.unwrap();
    assert_eq!(
        place.says("cat(as.character(packageVersion('lyca')))"),
        "2.0"
    );
    let kept = library.collect(0, &find_all(), false).await.unwrap();
    assert!(kept.removed.is_empty(), "{kept:?}");
    assert!(
        kept.in_use[0].2.iter().any(|user| user.pid == running.id()),
        "{kept:?}"
    );
    drop(running.stdin.take());
    let rest: Vec<String> = lines.map(|line| line.unwrap().trim().to_owned()).collect();
    assert_eq!(rest, ["1.0", "1.0"], "itself, and an R that it starts");
    running.wait().unwrap();
    // Other tests have an R that is as old; it ends soon.
    let begun = Instant::now();
    loop {
        let gone = library.collect(0, &find_all(), false).await.unwrap();
        if gone.removed == [(series(), 1)] {
            break;
        }
        assert!(begun.elapsed() < Duration::from_mins(5), "{gone:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(!library.folder().join(series()).join("1").exists());
}

/// Tells the parent how far it is.
#[derive(Debug)]
struct Loud(Mutex<()>);

impl Progress for Loud {
    fn report(&self, report: &Report) {
        let _guard = self.0.lock().unwrap();
        println!("phase {}", report.phase.as_str());
    }
}

#[tokio::test]
async fn helper_that_builds_until_it_is_killed() {
    let Ok(root) = std::env::var(CHILD_ROOT) else {
        return;
    };
    let root = Path::new(&root);
    let list = fs::read_to_string(root.join("list")).unwrap();
    let mut place = Place::new();
    let spec = RSpec {
        repositories: vec![format!("file://{}", root.join("cran").display())],
        ..place.spec(&list)
    };
    place.account = None;
    let library = RLibrary::new(&root.join("envs"), "base").unwrap();
    let _ = library
        .build(&spec, &Upgrade::Nothing, &Loud(Mutex::new(())))
        .await;
}

#[tokio::test]
async fn a_killed_build_leaves_the_current_library_alone() {
    let place = Place::new();
    place.publish(&[
        Made::new("lyca", "1.0"),
        // Its installation waits for long, so that there is a middle.
        Made::new("lycslow", "1.0")
            .needs("Imports: lyca")
            .code("if (!file.exists('/nonexistent')) Sys.sleep(300)\n"),
    ]);
    place.build("cran = [\"lyca\"]").await;
    let library = place.library();
    library.switch(&series(), None).await.unwrap();
    let before = snapshot(&library.folder().join(series()).join("1"));
    fs::write(place.path("list"), "cran = [\"lyca\", \"lycslow\"]").unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "r::tests::helper_that_builds_until_it_is_killed",
            "--nocapture",
        ])
        .env(CHILD_ROOT, place.folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let log = library.folder().join(series()).join("2.logs/lycslow.log");
    let begun = Instant::now();
    while !fs::read_to_string(&log).is_ok_and(|text| text.contains("** R")) {
        assert!(
            begun.elapsed() < Duration::from_mins(2),
            "the installation never began"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(place.says("cat(lyca::answer())"), "42");
    assert!(
        library.folder().join(series()).join("2/library").exists(),
        "something was left"
    );
    let report = place.build("cran = [\"lyca\"]").await;
    assert_eq!(report.generation, None, "{report:#?}");
    assert!(
        !library.folder().join(series()).join("2").exists(),
        "what was left is removed"
    );
    assert_eq!(snapshot(&library.folder().join(series()).join("1")), before);
    let left = Command::new("pgrep")
        .args(["-f", place.folder.path().to_str().unwrap()])
        .output()
        .unwrap();
    assert!(left.stdout.is_empty(), "and so is what still ran: {left:?}");
}

#[tokio::test]
async fn own_packages_are_installed_again_beside_the_old_ones() {
    let place = Place::new();
    place.publish(&[Made::new("lyca", "1.5"), Made::new("lycb", "1.0")]);
    // As a library of an older R looks; the sources stand for what was installed.
    let libraries = place.home().join("R/x86_64-pc-linux-gnu-library");
    let old = libraries.join("3.6");
    for package in [
        Made::new("lyca", "1.0"),
        Made::new("lycb", "1.0"),
        Made::new("lyclost", "1.0"),
    ] {
        package.write(&old);
    }
    let lost = old.join("lyclost/DESCRIPTION");
    let text = fs::read_to_string(&lost)
        .unwrap()
        .replace("Repository: CRAN\n", "");
    fs::write(&lost, text).unwrap();
    let before = snapshot(&old);
    // The function asks R as the user's R is; here, as one with another home.
    let program = place.path("R-of-ada/bin");
    fs::create_dir_all(&program).unwrap();
    let real = find("").unwrap();
    let script = format!(
        "#!/bin/sh\nexport HOME='{}' R_LIBS_USER='{}'\nexec {} \"$@\"\n",
        place.home().display(),
        libraries.join(series()).display(),
        real.home.join("bin/Rscript").display()
    );
    fs::write(program.join("Rscript"), script).unwrap();
    fs::set_permissions(program.join("Rscript"), fs::Permissions::from_mode(0o755)).unwrap();
    let asking = Interpreter {
        program: program.join("R"),
        home: place.path("R-of-ada/nothing"),
        version: real.version,
    };
    let found = find_own(&asking).await.unwrap();
    assert_eq!(found.before.as_deref(), Some("3.6"));
    let shown: Vec<_> = found
        .packages
        .iter()
        .map(|one| (one.name.as_str(), one.source.as_deref()))
        .collect();
    assert_eq!(
        shown,
        [
            ("lyca", Some("lyca")),
            ("lycb", Some("lycb")),
            ("lyclost", None)
        ]
    );
    let report = reinstall_own(&real, found, Some(vec![place.repository()]), &Silent)
        .await
        .unwrap();
    assert!(
        report.results.iter().all(|one| one.state.is_good()),
        "{report:#?}"
    );
    assert!(libraries.join(series()).join("lyca/R/lyca.rdb").is_file());
    assert_eq!(snapshot(&old), before, "the old ones are as they were");
    let again = find_own(&asking).await.unwrap();
    let left: Vec<_> = again.packages.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(left, ["lyclost"]);
}

/// Serves a folder by http.
struct Server {
    folder: PathBuf,
    address: String,
    child: std::process::Child,
}

impl Server {
    fn start(folder: PathBuf) -> Self {
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

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
