//! Where an environment has its static files, by its folder (`sys.prefix`).

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::beneath::Root;
use super::rules::Mount;

/// The key in a route's data that names the environment which the server of the route runs from.
pub const ENVIRONMENT_KEY: &str = "environment";

/// Finds the environment that a program belongs to: for `/opt/jupyter/bin/jupyterhub-singleuser`, be it reached
/// over links, `/opt/jupyter`. `None` if there is no JupyterLab beside it. Blocks for moments.
pub fn find_prefix(program: &Path) -> Option<PathBuf> {
    let program = program.canonicalize().ok()?;
    let bin = program.parent()?;
    let prefix = bin.parent()?;
    (bin.ends_with("bin") && lab_static(prefix).is_dir()).then(|| prefix.to_owned())
}

fn lab_static(prefix: &Path) -> PathBuf {
    prefix.join("share/jupyter/lab/static")
}

/// Opens the folders of an environment that are there, the more specific ones first.
pub(super) fn mounts(prefix: &Path) -> Vec<(Mount, Arc<Root>)> {
    let mut found = vec![
        (Mount::Lab, lab_static(prefix)),
        (
            Mount::LabExtensions,
            prefix.join("share/jupyter/labextensions"),
        ),
    ];
    for packages in package_folders(prefix) {
        found.push((Mount::Notebook, packages.join("notebook/static")));
        found.push((Mount::Server, packages.join("jupyter_server/static")));
    }
    found
        .into_iter()
        .filter_map(|(mount, path)| Some((mount, Arc::new(Root::open(&path).ok()?))))
        .collect()
}

/// `lib/python3.13/site-packages`, or Debian's `dist-packages`; usually one. Of several, the newest comes first.
fn package_folders(prefix: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(prefix.join("lib")) else {
        return Vec::new();
    };
    let mut versions: Vec<(u32, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let minor = name.to_str()?.strip_prefix("python3.")?.parse().ok()?;
            Some((minor, entry.path()))
        })
        .collect();
    versions.sort_by(|a, b| b.cmp(a));
    versions
        .into_iter()
        .flat_map(|(_, folder)| ["site-packages", "dist-packages"].map(|name| folder.join(name)))
        .filter(|folder| folder.is_dir())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_programs_environment_is_found_over_links() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path().canonicalize().unwrap();
        let prefix = base.join("env");
        fs::create_dir_all(prefix.join("bin")).unwrap();
        fs::write(prefix.join("bin/jupyterhub-singleuser"), "").unwrap();
        symlink(prefix.join("bin/jupyterhub-singleuser"), base.join("link")).unwrap();
        assert_eq!(find_prefix(&base.join("link")), None);
        fs::create_dir_all(prefix.join("share/jupyter/lab/static")).unwrap();
        assert_eq!(find_prefix(&base.join("link")), Some(prefix.clone()));
        assert_eq!(find_prefix(&base.join("missing")), None);

        let packages = prefix.join("lib/python3.11/site-packages");
        fs::create_dir_all(packages.join("jupyter_server/static")).unwrap();
        fs::create_dir_all(prefix.join("lib/python3.9/site-packages/notebook/static")).unwrap();
        let found: Vec<Mount> = mounts(&prefix).iter().map(|(mount, _)| *mount).collect();
        assert_eq!(found, [Mount::Lab, Mount::Server, Mount::Notebook]);
    }
}
