//! Kernels that servers offer besides the one of their own environment, and the parts of JupyterLab that these need.
//!
//! ```text
//! kernels/
//!   bin/start-python       finds the current generation of an environment when a kernel starts
//!   servers/base/          what servers from the environment `base` have on JUPYTER_PATH
//!     kernels/stats/       a kernel.json and its pictures
//!     labextensions/…      links to halves of extensions that only a kernel's environment has
//! ```
//!
//! It stands beside the generations, so that a change of a kernel needs no new generation of a server's environment,
//! and so that a kernel follows a switch of its own. Nothing here starts a program.

mod lab;
mod spec;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::error::EnvError;

pub use lab::{Half, LabExtension};

/// Where kernels of the machine are that every server lists.
const OF_THE_MACHINE: &[&str] = &[
    "/usr/local/share/jupyter/kernels",
    "/usr/share/jupyter/kernels",
];
/// The script that finds the generation of a kernel, below the folder of kernels.
const START: &str = "bin/start-python";

/// The Python environments of a folder, by name, with what people see of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environments {
    /// The folder that holds `python/NAME/current`.
    pub folder: PathBuf,
    /// The title of each environment.
    pub titles: BTreeMap<String, String>,
}

impl Environments {
    fn current(&self, name: &str) -> PathBuf {
        self.folder.join("python").join(name).join("current")
    }

    fn kernels(&self) -> PathBuf {
        self.folder.join("kernels")
    }
}

/// A kernel that servers shall offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// The name by which notebooks know it.
    pub name: String,
    /// What people see; `None` for a title of its own making.
    pub title: Option<String>,
    /// What it runs.
    pub source: KernelSource,
    /// Variables that it gets in addition.
    pub environment: BTreeMap<String, String>,
}

/// What a kernel runs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum KernelSource {
    /// The Python of an environment: the generation that is current when the kernel starts.
    Python {
        /// The name of the environment.
        environment: String,
    },
    /// What a folder with a `kernel.json` says.
    Folder(PathBuf),
    /// A command.
    Command {
        /// The program by whole path, and its arguments, with `{connection_file}` among them.
        argv: Vec<String>,
        /// The language, as notebooks name it.
        language: String,
        /// What people see unless the kernel has a title.
        title: String,
    },
    /// A kernel that cannot be had, and why: so that it is told with the others.
    Missing(String),
}

/// What the servers of one environment offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The environment that the servers run from.
    pub environment: String,
    /// The kernels, the environment's own ones first.
    pub kernels: Vec<Offered>,
    /// Extensions of JupyterLab that an offered kernel's environment has and the server's lacks.
    pub extensions: Vec<LabExtension>,
}

/// A kernel as people find it in JupyterLab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// The name by which notebooks know it.
    pub name: String,
    /// What people see.
    pub title: String,
    /// Where it comes from, in words.
    pub origin: String,
    /// Why it is not offered after all, and what to do.
    pub problem: Option<String>,
}

/// What shall be on the disk, and what people then see.
#[derive(Debug, Clone)]
pub struct Plan {
    /// One for each environment that servers can run from.
    pub offers: Vec<Offer>,
    folder: PathBuf,
    tree: tree::Tree,
}

impl Plan {
    /// Works out what every environment offers; reads the generations that are current. Blocks.
    ///
    /// A kernel that cannot start is left out and says why: people shall not choose what does not work.
    pub fn new(environments: &Environments, kernels: &[Kernel]) -> Result<Self, EnvError> {
        let mut tree = tree::Tree::default();
        tree.program(START, include_str!("kernels/start-python.sh"));
        let mut offers = Vec::new();
        for name in environments.titles.keys() {
            let current = environments.current(name);
            if current.join("bin/jupyterhub-singleuser").is_file() {
                offers.push(offer(environments, name, kernels, &mut tree)?);
            }
        }
        Ok(Self {
            offers,
            folder: environments.kernels(),
            tree,
        })
    }

    /// Whether everything is on the disk already. Blocks.
    pub fn is_written(&self) -> Result<bool, EnvError> {
        self.tree.is_at(&self.folder)
    }

    /// Writes what differs, and removes what is not wanted any more; returns whether anything did. Blocks.
    ///
    /// Each file appears whole or not at all, so that a server may look at any moment. May be interrupted and done again.
    pub fn write(&self) -> Result<bool, EnvError> {
        self.tree.write(&self.folder)
    }

    /// Whether all kernels can be offered.
    pub fn is_complete(&self) -> bool {
        self.offers
            .iter()
            .all(|offer| offer.kernels.iter().all(|one| one.problem.is_none()))
    }
}

/// What a server of this environment has on its `JUPYTER_PATH`.
pub fn jupyter_path(folder: &Path, environment: &str) -> PathBuf {
    folder.join("kernels/servers").join(environment)
}

fn offer(
    environments: &Environments,
    name: &str,
    kernels: &[Kernel],
    tree: &mut tree::Tree,
) -> Result<Offer, EnvError> {
    let current = environments.current(name);
    let mut offered = Vec::new();
    let mut places = vec![current.join("share/jupyter/kernels")];
    places.extend(OF_THE_MACHINE.iter().map(PathBuf::from));
    let configured: BTreeSet<&str> = kernels.iter().map(|kernel| kernel.name.as_str()).collect();
    let mut names = BTreeSet::new();
    for (index, place) in places.iter().enumerate() {
        for (kernel, description) in spec::list(place)? {
            // Ours comes before the one of the same name, as the environment's before the machine's.
            if configured.contains(kernel.as_str()) || !names.insert(kernel.clone()) {
                continue;
            }
            let origin = if index == 0 {
                "this environment"
            } else {
                "this machine"
            };
            offered.push(Offered {
                name: kernel,
                title: description.display_name,
                origin: origin.to_owned(),
                problem: None,
            });
        }
    }
    let mut from = BTreeSet::new();
    for kernel in kernels {
        if let KernelSource::Python { environment } = &kernel.source {
            if environment == name {
                // Here it is `python3`.
                continue;
            }
            from.insert(environment.as_str());
        }
        offered.push(place(environments, name, kernel, &offered, tree)?);
    }
    let mut extensions: Vec<LabExtension> = Vec::new();
    for environment in from {
        for extension in lab::compare(&current, environment, &environments.current(environment))? {
            // Of two environments that have it, the first one gives it.
            if !extensions.iter().any(|known| known.name == extension.name) {
                extensions.push(extension);
            }
        }
    }
    for extension in &extensions {
        if extension.half == Half::Linked {
            let link = format!("servers/{name}/labextensions/{}", extension.name);
            let target = environments
                .current(&extension.environment)
                .join("share/jupyter/labextensions")
                .join(&extension.name);
            tree.link(&link, target);
        }
    }
    Ok(Offer {
        environment: name.to_owned(),
        kernels: offered,
        extensions,
    })
}

/// Puts one kernel into the tree, if it can be had.
fn place(
    environments: &Environments,
    server: &str,
    kernel: &Kernel,
    others: &[Offered],
    tree: &mut tree::Tree,
) -> Result<Offered, EnvError> {
    let made = match &kernel.source {
        KernelSource::Python { environment } => python(environments, environment)?,
        KernelSource::Folder(folder) => spec::from_folder(folder)?,
        KernelSource::Command {
            argv,
            language,
            title,
        } => spec::from_command(argv, language, title),
        KernelSource::Missing(why) => Err(why.clone()),
    };
    let origin = match &kernel.source {
        KernelSource::Python { environment } => format!("the environment {environment}"),
        KernelSource::Folder(folder) => folder.display().to_string(),
        KernelSource::Command { argv, .. } => argv.first().cloned().unwrap_or_default(),
        KernelSource::Missing(_) => String::new(),
    };
    let (title, problem) = match made {
        Err(why) => (kernel.title.clone().unwrap_or_default(), Some(why)),
        Ok(mut made) => {
            let wanted = kernel.title.as_ref().unwrap_or(&made.spec.display_name);
            let title = distinct(wanted, &kernel.name, others);
            made.spec.display_name.clone_from(&title);
            made.spec.env.extend(
                kernel
                    .environment
                    .iter()
                    .map(|(k, v)| (k.clone(), v.clone())),
            );
            let folder = format!("servers/{server}/kernels/{}", kernel.name);
            tree.file(&format!("{folder}/kernel.json"), made.spec.to_json());
            for (name, bytes) in made.pictures {
                tree.file(&format!("{folder}/{name}"), bytes);
            }
            (title, None)
        }
    };
    Ok(Offered {
        name: kernel.name.clone(),
        title,
        origin,
        problem,
    })
}

/// The kernel of an environment, started by the script that finds its current generation.
fn python(environments: &Environments, name: &str) -> Result<Result<spec::Made, String>, EnvError> {
    let current = environments.current(name);
    if !current.join("bin/python").exists() {
        return Ok(Err(format!(
            "the environment {name} has no generation that is switched to: lyceum env python build {name} --switch"
        )));
    }
    let folder = current.join("share/jupyter/kernels/python3");
    // Whoever built it may have had a link there.
    let leads_out = match (folder.canonicalize(), current.canonicalize()) {
        (Ok(folder), Ok(prefix)) => !folder.starts_with(prefix),
        _ => false,
    };
    let made = if leads_out {
        Err(format!("{} leads out", folder.display()))
    } else {
        spec::from_folder(&folder)?
    };
    let Ok(mut made) = made else {
        return Ok(Err(format!(
            "the environment {name} has no kernel: lyceum env python add --env {name} --switch ipykernel"
        )));
    };
    // Behind the interpreter, whichever it was, stands what it is to run.
    let rest = made.spec.argv.iter().skip(1).cloned();
    let start = [
        environments.kernels().join(START),
        environments.folder.join("python").join(name),
    ];
    made.spec.argv = start
        .iter()
        .map(|path| path.display().to_string())
        .chain(rest)
        .collect();
    let title = environments.titles.get(name).map_or(name, String::as_str);
    made.spec.display_name = match python_version(&current) {
        Some(version) => format!("Python {version} ({title})"),
        None => format!("Python ({title})"),
    };
    Ok(Ok(made))
}

/// The version in the name of the library's folder, such as `3.13`.
fn python_version(prefix: &Path) -> Option<String> {
    let entries = std::fs::read_dir(prefix.join("lib")).ok()?;
    entries.filter_map(Result::ok).find_map(|entry| {
        let name = entry.file_name();
        Some(name.to_str()?.strip_prefix("python")?.to_owned())
    })
}

/// A title that nothing else has in the same list.
fn distinct(title: &str, name: &str, others: &[Offered]) -> String {
    let taken = |title: &str| others.iter().any(|other| other.title == title);
    if !taken(title) {
        return title.to_owned();
    }
    let with_name = format!("{title} ({name})");
    let numbered = (2_u32..).map(|number| format!("{title} ({name} {number})"));
    std::iter::once(with_name)
        .chain(numbered)
        .find(|title| !taken(title))
        .unwrap_or_default()
}
