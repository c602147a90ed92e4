//! Which packages an environment has, read from their metadata; no Python is started.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;

use super::requirements::normalized;
use crate::python::meter::find_site_packages;

/// How much of a package's metadata is read: name and version stand at the beginning.
const MAX_HEAD: u64 = 64 * 1024;

/// The versions of the packages, by their normalized names. What cannot be read is left out.
pub(crate) fn installed(prefix: &Path) -> BTreeMap<String, String> {
    let Some(folder) = find_site_packages(prefix) else {
        return BTreeMap::new();
    };
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "dist-info"))
        .filter_map(|path| name_and_version(&path.join("METADATA")))
        .collect()
}

fn name_and_version(metadata: &Path) -> Option<(String, String)> {
    // A builder may have put anything there.
    let file = super::open_file(metadata).ok()?;
    let (mut name, mut version) = (None, None);
    for line in BufReader::new(file.take(MAX_HEAD)).split(b'\n') {
        let line = line.ok()?;
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some(text) = line.strip_prefix("Name:") {
            name = Some(normalized(text));
        } else if let Some(text) = line.strip_prefix("Version:") {
            version = Some(text.trim().to_owned());
        }
    }
    Some((name?, version?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_known_by_their_metadata() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("lib/python3.11/site-packages");
        for (name, text) in [
            (
                "My_X-1.0",
                "Metadata-Version: 2.1\nName: My_X\nVersion: 1.0\n\nVersion: 2\n",
            ),
            ("broken-1", "Name: broken\n"),
        ] {
            let info = folder.join(format!("{name}.dist-info"));
            fs::create_dir_all(&info).unwrap();
            fs::write(info.join("METADATA"), text).unwrap();
        }
        fs::create_dir(folder.join("empty.dist-info")).unwrap();
        let found = installed(dir.path());
        assert_eq!(
            found,
            BTreeMap::from([("my-x".to_owned(), "1.0".to_owned())])
        );
        assert!(installed(&dir.path().join("none")).is_empty());
    }
}
