//! Databases of the real JupyterHub, in two versions: made by its own program and its REST API.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot be set up fails"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;
use tokio::sync::OnceCell;

/// The key with which auth state is encrypted in these databases.
pub const CRYPT_KEY: &str = "abababababababababababababababababababababababababababababababab";

/// Making one takes seconds, or longer on a machine that is busy.
const LIMIT: Duration = Duration::from_mins(2);

/// Which JupyterHub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// 5.4
    V5,
    /// 6
    V6,
}

impl Version {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::V5, Self::V6];

    fn variable(self) -> &'static str {
        match self {
            Self::V5 => "LYCEUM_TEST_PYENV_54",
            Self::V6 => "LYCEUM_TEST_PYENV",
        }
    }

    /// The Python of the environment with this JupyterHub.
    pub fn python(self) -> PathBuf {
        let variable = self.variable();
        let prefix = std::env::var_os(variable).unwrap_or_else(|| {
            panic!("{variable} has to name a Python environment with this JupyterHub; `cargo xtask envs` makes it")
        });
        PathBuf::from(prefix).join("bin/python")
    }
}

/// A database, and what only clients know.
#[derive(Debug, Clone)]
pub struct Made {
    bytes: Vec<u8>,
    secrets: Value,
}

impl Made {
    /// Gives the database of a version, with users, groups, roles, services, servers, shares and tokens; made once in
    /// each test program.
    pub async fn by(version: Version) -> &'static Self {
        static V5: OnceCell<Made> = OnceCell::const_new();
        static V6: OnceCell<Made> = OnceCell::const_new();
        let cell = match version {
            Version::V5 => &V5,
            Version::V6 => &V6,
        };
        cell.get_or_init(|| make(version)).await
    }

    /// Writes the database to a file, as if JupyterHub had been stopped there.
    pub fn write(&self, path: &Path) {
        fs::write(path, &self.bytes).unwrap();
    }

    /// A token, or the code for a share, as its owner knows it.
    pub fn secret(&self, name: &str) -> &str {
        self.secrets[name].as_str().expect("a known secret")
    }
}

async fn make(version: Version) -> Made {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("make_database.py");
    fs::write(&script, include_str!("jupyterhub/make_database.py")).unwrap();
    let mut command = Command::new(version.python());
    command
        .arg("-I")
        .arg(&script)
        .arg(folder.path())
        .current_dir(folder.path())
        .env_clear()
        .env("HOME", folder.path())
        .env("LANG", "C.UTF-8")
        .env("JUPYTERHUB_CRYPT_KEY", CRYPT_KEY)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    // JupyterHub finds Alembic's program on the path.
    let bin = version.python().parent().unwrap().to_owned();
    command.env("PATH", format!("{}:/usr/bin:/bin", bin.display()));
    let output = tokio::time::timeout(LIMIT, command.output()).await;
    let output = output.expect("JupyterHub took too long").unwrap();
    assert!(
        output.status.success(),
        "JupyterHub made no database:\n{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Made {
        bytes: fs::read(folder.path().join("copy.sqlite")).unwrap(),
        secrets: serde_json::from_slice(&output.stdout).unwrap(),
    }
}

/// Runs a Python program with SQLite at hand, to its end.
pub async fn python(program: &str, arguments: &[&str]) {
    let mut command = Command::new(Version::V6.python());
    command
        .args(["-I", "-c", program])
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(LIMIT, command.output()).await;
    let output = output.expect("Python took too long").unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
