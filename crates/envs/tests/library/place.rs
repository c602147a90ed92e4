//! A folder of environments with small packages to install, and an account that builds if we are root.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use lyceum_envs::library::{Built, Library, Settings, Wish};
use lyceum_envs::{EnvError, Host, Silent};
use tempfile::TempDir;

const INSTALL_PYTHON: &str =
    "these tests need a Python that makes environments: apt install python3-venv";

/// Which installer the tests use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Installer {
    Uv,
    Pip,
}

pub(crate) struct Place {
    folder: TempDir,
    pub(crate) installer: Installer,
}

impl Place {
    /// With requirements that name these packages.
    pub(crate) fn new(installer: Installer, requirements: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The builder has to be let in.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let place = Self { folder, installer };
        fs::create_dir(place.path("etc")).unwrap();
        place.require(requirements);
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes the requirements; the packages of the tests can be found from there.
    pub(crate) fn require(&self, requirements: &str) {
        let text = format!(
            "--no-index\n--find-links {}\n{requirements}",
            packages().display()
        );
        fs::write(self.path("etc/base.txt"), text).unwrap();
    }

    pub(crate) fn requirements(&self) -> String {
        fs::read_to_string(self.path("etc/base.txt")).unwrap()
    }

    pub(crate) fn lock(&self) -> String {
        fs::read_to_string(self.path("etc/base.lock")).unwrap()
    }

    pub(crate) fn settings(&self) -> Settings {
        settings_in(self.folder.path(), self.installer)
    }

    pub(crate) fn library(&self) -> Library {
        Library::new(self.settings())
    }

    /// Builds, with the requirements as they are.
    pub(crate) async fn build(&self) -> Result<Built, EnvError> {
        self.library().build(&Wish::default(), &Silent).await
    }

    /// Builds and switches.
    pub(crate) async fn install(&self) -> Built {
        let built = self.build().await.unwrap();
        self.library().switch(None).unwrap();
        built
    }

    /// What the current generation says about `alpha`.
    pub(crate) fn alpha(&self) -> String {
        self.python("current", "import alpha; print(alpha.VERSION)")
    }

    /// Runs a line of Python in a generation.
    pub(crate) fn python(&self, generation: &str, code: &str) -> String {
        let python = self
            .path("envs/python/base")
            .join(generation)
            .join("bin/python");
        let output = Command::new(python)
            .args(["-I", "-B", "-c", code])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// What is in the environment's folder.
    pub(crate) fn entries(&self) -> Vec<String> {
        entries(&self.path("envs/python/base"))
    }
}

pub(crate) fn entries(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Settings for an environment below a folder; root builds as `nobody`.
pub(crate) fn settings_in(folder: &Path, installer: Installer) -> Settings {
    let requirements = folder.join("etc/base.txt");
    let mut settings = Settings::new("base", &folder.join("envs"), &requirements);
    settings.build_as = "nobody".to_owned();
    settings.needed_mib = 1;
    settings.host = Host {
        path: match installer {
            Installer::Uv => uv().into(),
            Installer::Pip => "".into(),
        },
        ..Host::this()
    };
    settings
}

/// The folder of the packages, made once.
pub(crate) fn packages() -> &'static Path {
    static MADE: OnceLock<TempDir> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let output = Command::new("python3")
            .args(["-I", "-c", include_str!("make_packages.py")])
            .arg(folder.path())
            .output()
            .expect(INSTALL_PYTHON);
        assert!(output.status.success(), "{output:?}");
        folder
    });
    made.path()
}

/// A folder with uv that every account can run: `cargo xtask test` puts it beside JupyterLab, perhaps in a home.
fn uv() -> &'static Path {
    static MADE: OnceLock<TempDir> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let beside =
            std::env::var_os("LYCEUM_TEST_PYENV").map(|prefix| Path::new(&prefix).join("bin"));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let uv = beside
            .into_iter()
            .chain(std::env::split_paths(&path))
            .map(|folder| folder.join("uv"))
            .find(|path| path.is_file())
            .expect("this test needs uv: pip install uv");
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        fs::copy(uv, folder.path().join("uv")).unwrap();
        folder
    });
    made.path()
}
