//! Where the program `tiny-notebook` is; it is built when a test first asks for it.

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use thiserror::Error;

/// The program's name.
const NAME: &str = "tiny-notebook";
/// The variable that names it, set by whoever has built it already: asking Cargo takes as long as many a test.
const VARIABLE: &str = "LYCEUM_TEST_NOTEBOOK";

/// Why there is no program.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProgramError {
    /// The test itself is not where Cargo puts tests.
    #[error("the test is not in a folder of Cargo's: {0}")]
    NotCargo(String),
    /// The variable names no file.
    #[error("{VARIABLE} names {0}, where no program is")]
    Missing(PathBuf),
    /// Cargo could not build it.
    #[error("could not build {NAME}: {0}; try `cargo build -p lyceum-testkit`")]
    Build(String),
}

/// Gives the path of the program `tiny-notebook`, of the same build profile as the test that asks.
///
/// The first call of a process runs Cargo, which does nothing if the program is up to date, unless `LYCEUM_TEST_NOTEBOOK`
/// names the program. Blocks for that long: call it before the clock of a test runs.
pub fn program() -> Result<PathBuf, ProgramError> {
    static PROGRAM: OnceLock<Result<PathBuf, ProgramError>> = OnceLock::new();
    PROGRAM.get_or_init(find).clone()
}

fn find() -> Result<PathBuf, ProgramError> {
    match env::var_os(VARIABLE).map(PathBuf::from) {
        Some(named) if named.is_file() => Ok(named),
        Some(named) => Err(ProgramError::Missing(named)),
        None => build(),
    }
}

fn build() -> Result<PathBuf, ProgramError> {
    let not_cargo = |error: io::Error| ProgramError::NotCargo(error.to_string());
    let test = env::current_exe().map_err(not_cargo)?;
    let folder = test
        .ancestors()
        .skip(1)
        .find(|folder| !folder.ends_with("deps") && !folder.ends_with("examples"))
        .ok_or_else(|| not_cargo(io::ErrorKind::NotFound.into()))?;
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") => "dev",
        Some(other) => other,
        None => return Err(not_cargo(io::ErrorKind::NotFound.into())),
    };
    // With `--target` there is one folder more between.
    let target = folder.parent().unwrap_or_else(|| Path::new("target"));
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args([
            "build",
            "--quiet",
            "--package",
            "lyceum-testkit",
            "--bin",
            NAME,
        ])
        .args(["--profile", profile, "--target-dir"])
        .arg(target)
        .output()
        .map_err(|error| ProgramError::Build(error.to_string()))?;
    let program = folder.join(NAME);
    if output.status.success() && program.exists() {
        Ok(program)
    } else {
        let messages = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(ProgramError::Build(messages))
    }
}
