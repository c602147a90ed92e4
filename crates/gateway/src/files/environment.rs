//! Where an environment has its static files, by its folder (`sys.prefix`).

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::beneath::Root;
use super::rules::Mount;

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
    use super::*;

    #[test]
    fn the_folders_that_are_there_are_found_the_newest_python_first() {
        let base = tempfile::tempdir().unwrap();
        let prefix = base.path();
        assert!(mounts(prefix).is_empty());
        for folder in [
            "share/jupyter/lab/static",
            "lib/python3.11/site-packages/jupyter_server/static",
            "lib/python3.9/dist-packages/notebook/static",
            "lib/python3.9/site-packages/other",
        ] {
            fs::create_dir_all(prefix.join(folder)).unwrap();
        }
        let found: Vec<Mount> = mounts(prefix).iter().map(|(mount, _)| *mount).collect();
        assert_eq!(found, [Mount::Lab, Mount::Server, Mount::Notebook]);
    }
}
