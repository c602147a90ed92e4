//! Devices that servers may use.

use std::fs;
use std::path::{Path, PathBuf};

/// Finds the devices that are there: each as it is named, or all that begin so if a `*` is at the end.
pub(super) fn find(patterns: &[String]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for pattern in patterns {
        let Some(start) = pattern.strip_suffix('*') else {
            found.extend(Some(PathBuf::from(pattern)).filter(|path| path.exists()));
            continue;
        };
        let start = Path::new(start);
        let (Some(dir), Some(name)) = (start.parent(), start.file_name()) else {
            continue;
        };
        let Ok(entries) = fs::read_dir(dir) else {
            continue;
        };
        let name = name.as_encoded_bytes();
        found.extend(
            entries
                .flatten()
                .filter(|entry| entry.file_name().as_encoded_bytes().starts_with(name))
                .map(|entry| entry.path()),
        );
    }
    found.sort();
    found.dedup();
    found
}
