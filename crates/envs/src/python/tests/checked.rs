//! Tunes and checks copies of a real environment with JupyterHub and JupyterLab.
//!
//! The files of a copy are those of the original (hard links), so these tests also show that none is written into.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::Stdio;

use super::*;
use crate::command::Log;
use crate::kernels::{Environments, Kernel, KernelSource, Plan};
use crate::python::check::{CheckOptions, check};
use crate::python::tune::{Finding, TuneOptions, tune};

/// A copy of the environment that `cargo xtask test` prepares, in a folder that everybody may enter.
struct Copy {
    folder: TempDir,
}

impl Copy {
    fn new() -> Self {
        let original = env::var_os("LYCEUM_TEST_PYENV").map(PathBuf::from).expect(
            "LYCEUM_TEST_PYENV has to name an environment with jupyterlab: run cargo xtask test",
        );
        // On the same file system as the original, in any usual setting.
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/test-copies");
        fs::create_dir_all(&target).unwrap();
        let folder = tempfile::tempdir_in(target.canonicalize().unwrap()).unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let copy = Self { folder };
        copy.add("base", &original);
        copy
    }

    /// Adds an environment of this name.
    fn add(&self, name: &str, original: &Path) {
        let place = self.folder.path().join("python").join(name);
        fs::create_dir_all(&place).unwrap();
        let copied = Command::new("cp")
            .arg("-al")
            .arg(original)
            .arg(place.join("1"))
            .status()
            .unwrap();
        assert!(copied.success());
        symlink("1", place.join("current")).unwrap();
        for entry in fs::read_dir(place.join("1/bin")).unwrap() {
            move_script(&entry.unwrap().path(), original, &place.join("1"));
        }
    }

    /// Makes the copy one that was never tuned, as pip leaves it: the original was built by the code under test.
    fn untuned(self) -> Self {
        let script = self.prefix().join("bin/jupyterhub-singleuser");
        let text = fs::read_to_string(&script).unwrap();
        let text = text.replace(
            "from lyceum_singleuser import",
            "from jupyterhub.singleuser import",
        );
        fs::write(&script, text).unwrap();
        self.forget("lyceum_singleuser");
        let _ = fs::remove_file(self.packages().join("lyceum_singleuser.py"));
        self
    }

    /// Removes the byte-code of a module, which no change of its source does.
    fn forget(&self, module: &str) {
        let (folder, stem) = module.rsplit_once('/').unwrap_or((".", module));
        let cache = self.packages().join(folder).join("__pycache__");
        for entry in fs::read_dir(cache).into_iter().flatten().flatten() {
            if entry
                .file_name()
                .to_string_lossy()
                .starts_with(&format!("{stem}."))
            {
                fs::remove_file(entry.path()).unwrap();
            }
        }
    }

    fn prefix(&self) -> PathBuf {
        self.folder.path().join("python/base/1")
    }

    fn packages(&self) -> PathBuf {
        meter::find_site_packages(&self.prefix()).unwrap()
    }

    fn log(&self) -> Log {
        Log::create(
            self.folder.path().join("log"),
            self.folder.path().to_owned(),
        )
        .unwrap()
    }

    fn python(&self, code: &str) -> String {
        let output = Command::new(self.prefix().join("bin/python"))
            .args(["-I", "-c", code])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    async fn check(&self, options: &CheckOptions) -> Result<CheckReport, EnvError> {
        let mut last = 0.0;
        check(&self.prefix(), options, &self.log(), &mut |at, _| {
            assert!(at >= last, "the bar goes back");
            last = at;
        })
        .await
    }
}

/// Lets a script run with the Python beside it.
fn move_script(path: &Path, original: &Path, prefix: &Path) {
    let Ok(text) = fs::read_to_string(path) else {
        return;
    };
    let Some((first, rest)) = text.split_once('\n').filter(|_| text.starts_with("#!")) else {
        return;
    };
    let first = first.replace(original.to_str().unwrap(), prefix.to_str().unwrap());
    fs::remove_file(path).unwrap();
    fs::write(path, format!("{first}\n{rest}")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn is_mended(findings: &[Finding], name: &str) -> bool {
    findings
        .iter()
        .any(|finding| finding.name == name && finding.mended)
}

/// Chooses ports for kernels as a server of a tuned environment does, prints them, and keeps them until its input ends.
const CHOOSE_PORTS: &str = "import sys, lyceum_singleuser
lyceum_singleuser.keep_ports_apart()
from jupyter_client.connect import LocalPortCache
ports = LocalPortCache.instance()
chosen = [ports.find_available_port('127.0.0.1') for _ in range(400)]
# One that is given back can be chosen by others, one that is kept cannot.
ports.return_port(chosen[0])
assert lyceum_singleuser.claim_port(chosen[0]) and lyceum_singleuser.claim_port(chosen[1]) is None
print(*chosen[1:], flush=True)
sys.stdin.read()";

#[tokio::test]
async fn servers_that_start_kernels_at_once_choose_different_ports() {
    let copy = Copy::new();
    tune(&copy.prefix(), &TuneOptions::default(), &copy.log())
        .await
        .unwrap();
    let mut servers: Vec<_> = (0..2)
        .map(|_| {
            Command::new(copy.prefix().join("bin/python"))
                .args(["-I", "-c", CHOOSE_PORTS])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let mut seen = HashSet::new();
    for server in &mut servers {
        let mut line = String::new();
        let output = server.stdout.as_mut().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        // By chance alone, two servers would share about ten of them.
        for port in line.split_whitespace() {
            assert!(seen.insert(port.to_owned()), "{port} was chosen twice");
        }
    }
    assert_eq!(seen.len(), 2 * 399);
    for mut server in servers {
        drop(server.stdin.take());
        assert!(server.wait().unwrap().success());
    }
}

#[tokio::test]
async fn a_tuned_environment_starts_without_the_hubs_parts_and_works() {
    let copy = Copy::new().untuned();
    let jupyterlab = copy.packages().join("jupyterlab/labapp.py");
    let before = fs::metadata(&jupyterlab).unwrap();
    let original =
        PathBuf::from(env::var_os("LYCEUM_TEST_PYENV").unwrap()).join("bin/jupyterhub-singleuser");
    let script = fs::read_to_string(&original).unwrap();

    let options = TuneOptions {
        title: "base".to_owned(),
        ..TuneOptions::default()
    };
    let report = tune(&copy.prefix(), &options, &copy.log()).await.unwrap();
    assert!(is_mended(&report.findings, "hub-parts"), "{report:?}");
    assert!(
        report.imports_after_ms < report.imports_before_ms,
        "{report:?}"
    );
    assert_eq!(
        fs::read_to_string(&original).unwrap(),
        script,
        "the original is not written into"
    );
    assert_eq!(fs::metadata(&jupyterlab).unwrap().ino(), before.ino());

    // No source is looked at: byte-code is valid whatever its time, and each module has some.
    let uncompiled = copy.python(
        "import glob, importlib.util, sysconfig\n\
         head = importlib.util.MAGIC_NUMBER + bytes([1, 0, 0, 0])\n\
         for path in glob.glob(sysconfig.get_path('purelib') + '/jupyter*/**/*.py', recursive=True):\n\
         \x20   with open(importlib.util.cache_from_source(path), 'rb') as file:\n\
         \x20       if file.read(8) != head: print(path)",
    );
    assert_eq!(uncompiled, "");

    // What was left out at the start is there for whoever wants it.
    let wanted = copy.python(
        "import lyceum_singleuser, sys, os\n\
         path = os.environ['PATH']\n\
         lyceum_singleuser.prepare()\n\
         assert os.environ['PATH'] == path and 'sqlalchemy' not in sys.modules\n\
         import jupyterhub.scopes\n\
         assert jupyterhub.scopes.orm.User.__name__ == 'User'\n\
         import sqlalchemy.orm, jupyterhub.orm, jupyterhub.handlers.pages\n\
         assert issubclass(jupyterhub.handlers.pages.HealthCheckHandler, object)\n\
         print(jupyterhub.orm.User is jupyterhub.scopes.orm.User)",
    );
    assert_eq!(wanted, "True");

    // Once more changes nothing.
    let script = copy.prefix().join("bin/jupyterhub-singleuser");
    let first = fs::read_to_string(&script).unwrap();
    let again = tune(&copy.prefix(), &options, &copy.log()).await.unwrap();
    assert_eq!(again.compiled, report.compiled + 1, "our own module");
    assert_eq!(fs::read_to_string(&script).unwrap(), first);

    // A second environment gives a kernel.
    let original = PathBuf::from(env::var_os("LYCEUM_TEST_PYENV").unwrap());
    copy.add("stats", &original);
    let environments = Environments {
        folder: copy.folder.path().to_owned(),
        titles: [("base", "base"), ("stats", "Statistics")]
            .map(|(name, title)| (name.to_owned(), title.to_owned()))
            .into(),
    };
    let kernel = Kernel {
        name: "stats".to_owned(),
        title: None,
        source: KernelSource::Python {
            environment: "stats".to_owned(),
        },
        environment: BTreeMap::new(),
    };
    let plan = Plan::new(&environments, &[kernel]).unwrap();
    assert!(plan.write().unwrap() && plan.is_written().unwrap());

    let options = CheckOptions {
        modules: vec!["json.tool".to_owned()],
        requirements: vec!["JupyterLab".to_owned(), "ipykernel".to_owned()],
        ..CheckOptions::default()
    };
    let checked = copy.check(&options).await.unwrap();
    assert!(checked.server_started_ms.is_some());
    assert!(
        checked
            .extensions
            .contains(&"jupyterlab_pygments".to_owned()),
        "{checked:?}"
    );
    let mut works: Vec<_> = checked
        .kernels
        .iter()
        .filter(|kernel| kernel.works && kernel.name != "ir")
        .map(|kernel| (kernel.name.as_str(), kernel.title.as_str()))
        .collect();
    works.sort_unstable();
    let python = checked.versions["python"].rsplit_once('.').unwrap().0;
    let own = format!("Python {python} (base)");
    let other = format!("Python {python} (Statistics)");
    assert_eq!(works, [("python3", own.as_str()), ("stats", &other)]);
}

#[test]
fn a_jupyterhub_that_cannot_do_without_its_parts_gets_them() {
    let copy = Copy::new().untuned();
    // A version that looks at its database when it is imported.
    let path = copy.packages().join("jupyterhub/singleuser/__init__.py");
    let text = fs::read_to_string(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let text = format!("{text}\nfrom ..orm import User\nclass Mine(User):\n    extra = 1\n");
    fs::write(&path, text).unwrap();
    copy.forget("jupyterhub/singleuser/__init__");
    fs::write(
        copy.packages().join("lyceum_singleuser.py"),
        include_str!("../tune/singleuser.py"),
    )
    .unwrap();
    let prepared = copy.python(
        "import lyceum_singleuser, sys\n\
         lyceum_singleuser.prepare()\n\
         import jupyterhub.orm\n\
         print(issubclass(sys.modules['jupyterhub.singleuser'].Mine, jupyterhub.orm.User))",
    );
    assert_eq!(prepared, "True");
}

#[tokio::test]
async fn each_part_that_does_not_work_is_named() {
    let copy = Copy::new();
    let kernels = copy.prefix().join("share/jupyter/kernels");
    fs::create_dir(kernels.join("broken")).unwrap();
    fs::write(
        kernels.join("broken/kernel.json"),
        r#"{"argv": ["/nonexistent/kernel", "{connection_file}"], "display_name": "Broken", "language": "x"}"#,
    )
    .unwrap();
    fs::write(
        copy.prefix()
            .join("etc/jupyter/jupyter_server_config.d/bad.json"),
        r#"{"ServerApp": {"jpserver_extensions": {"fails_to_load": true}}}"#,
    )
    .unwrap();
    fs::write(
        copy.packages().join("fails_to_load.py"),
        "def _jupyter_server_extension_points():\n    return [{'module': 'fails_to_load'}]\n\
         def _load_jupyter_server_extension(app):\n    raise RuntimeError('no such course')\n",
    )
    .unwrap();
    let options = CheckOptions {
        modules: vec!["absent_module".to_owned()],
        ..CheckOptions::default()
    };
    let error = copy.check(&options).await.unwrap_err();
    let EnvError::Unfit { problems, .. } = &error else {
        panic!("{error:?}");
    };
    let parts: Vec<_> = problems
        .iter()
        .map(|problem| problem.part.as_str())
        .collect();
    assert_eq!(
        parts,
        [
            "import absent_module",
            "extension fails_to_load",
            "kernel broken"
        ]
    );
    let text = error.to_string();
    assert!(
        text.starts_with(
            "the environment does not work: import absent_module: ModuleNotFoundError"
        ),
        "{text}"
    );
    assert!(text.contains("no such course"), "{text}");
    assert!(error.hint().is_some() && error.details().is_some());
    assert_eq!(
        processes_in(&copy.prefix()),
        Vec::<String>::new(),
        "nothing is left running"
    );
}

#[tokio::test]
async fn a_server_that_ends_at_once_shows_its_last_lines() {
    let copy = Copy::new();
    let path = copy.packages().join("jupyterhub/singleuser/__init__.py");
    fs::remove_file(&path).unwrap();
    fs::write(&path, "raise SystemExit('the hub is on holiday')\n").unwrap();
    fs::remove_dir_all(path.with_file_name("__pycache__")).unwrap();
    let error = copy.check(&CheckOptions::default()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the environment does not work: server: jupyterhub-singleuser ended with status 1"
    );
    assert!(error.details().unwrap().contains("the hub is on holiday"));
}
