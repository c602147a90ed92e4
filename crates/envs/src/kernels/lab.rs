//! Extensions of JupyterLab that come with packages for kernels, such as ipywidgets.
//!
//! They have up to three parts: code for kernels, a prebuilt half in the browser, and sometimes code in the server. The
//! first belongs into the kernel's environment, the others into the server's.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::EnvError;

const EXTENSIONS: &str = "share/jupyter/labextensions";
/// Where packages put what switches on their code in the server.
const SERVER_PART: &str = "etc/jupyter/jupyter_server_config.d/";

/// An extension that a kernel's environment has and a server's lacks, or has in another version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabExtension {
    /// Its name, such as `@jupyter-widgets/jupyterlab-manager`.
    pub name: String,
    /// The environment of the kernel.
    pub environment: String,
    /// The package that brings it, if known.
    pub package: Option<String>,
    /// What becomes of it.
    pub half: Half,
}

/// What becomes of an extension's half in JupyterLab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Half {
    /// It is only files for the browser, and servers get them by a link.
    Linked,
    /// It has code in the server too: the package has to be in the server's environment.
    NeedsPackage,
    /// The server's environment has another major version, which may not understand the kernel's.
    OtherVersion {
        /// What the server's environment has.
        server: String,
        /// What the kernel's environment has.
        kernel: String,
    },
}

#[derive(Deserialize)]
struct Package {
    #[serde(default)]
    version: String,
}

/// Compares the extensions of a kernel's environment with those of a server's.
pub(super) fn compare(
    server: &Path,
    environment: &str,
    kernel: &Path,
) -> Result<Vec<LabExtension>, EnvError> {
    let mut found = Vec::new();
    for name in list(&kernel.join(EXTENSIONS))? {
        let version = |prefix: &Path| version(&prefix.join(EXTENSIONS).join(&name));
        let Some(kernels) = version(kernel) else {
            continue;
        };
        let owner = find_owner(kernel, &name)?;
        let half = match version(server) {
            Some(servers) if major(&servers) == major(&kernels) => continue,
            Some(servers) => Half::OtherVersion {
                server: servers,
                kernel: kernels,
            },
            None if owner.as_ref().is_some_and(|owner| owner.has_server_part) => Half::NeedsPackage,
            None => Half::Linked,
        };
        found.push(LabExtension {
            name,
            environment: environment.to_owned(),
            package: owner.map(|owner| owner.name),
            half,
        });
    }
    Ok(found)
}

/// The names of extensions: `name`, or `@scope/name`.
fn list(folder: &Path) -> Result<Vec<String>, EnvError> {
    let mut names = Vec::new();
    for name in entries(folder)? {
        if name.starts_with('@') {
            let inside = entries(&folder.join(&name))?;
            names.extend(inside.iter().map(|inner| format!("{name}/{inner}")));
        } else {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn version(folder: &Path) -> Option<String> {
    let text = fs::read(folder.join("package.json")).ok()?;
    let package: Package = serde_json::from_slice(&text).ok()?;
    Some(package.version)
}

fn major(version: &str) -> &str {
    version.split('.').next().unwrap_or(version)
}

struct Owner {
    name: String,
    has_server_part: bool,
}

/// Finds the package that put an extension where it is, in the lists of files that packages have.
fn find_owner(prefix: &Path, extension: &str) -> Result<Option<Owner>, EnvError> {
    let file = format!("{EXTENSIONS}/{extension}/package.json");
    for packages in site_packages(prefix)? {
        for entry in entries(&packages)? {
            let Some(name) = entry.strip_suffix(".dist-info") else {
                continue;
            };
            let Ok(record) = fs::read_to_string(packages.join(&entry).join("RECORD")) else {
                continue;
            };
            if record.lines().any(|line| {
                line.split(',')
                    .next()
                    .is_some_and(|path| path.ends_with(&file))
            }) {
                return Ok(Some(Owner {
                    name: name.split('-').next().unwrap_or(name).to_owned(),
                    has_server_part: record.contains(SERVER_PART),
                }));
            }
        }
    }
    Ok(None)
}

fn site_packages(prefix: &Path) -> Result<Vec<PathBuf>, EnvError> {
    let library = prefix.join("lib");
    let names = entries(&library)?;
    Ok(names
        .iter()
        .filter(|name| name.starts_with("python"))
        .map(|name| library.join(name).join("site-packages"))
        .collect())
}

/// The names in a folder; none if it is not there.
fn entries(folder: &Path) -> Result<Vec<String>, EnvError> {
    let fail = |source| EnvError::Io {
        doing: "read",
        path: folder.to_owned(),
        source,
    };
    let found = match fs::read_dir(folder) {
        Ok(found) => found,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(Vec::new());
        }
        Err(source) => return Err(fail(source)),
    };
    let mut names = Vec::new();
    for entry in found {
        if let Ok(name) = entry.map_err(fail)?.file_name().into_string() {
            names.push(name);
        }
    }
    Ok(names)
}
