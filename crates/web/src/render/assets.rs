//! Static files: embedded, with the hash of their content in their URL, so that browsers may keep them for ever.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bytes::Bytes;
use rust_embed::RustEmbed;
use sha2::{Digest, Sha256};

/// A static file.
#[derive(Debug, Clone)]
pub struct Asset {
    /// The content.
    pub bytes: Bytes,
    /// The value of `Content-Type`.
    pub content_type: &'static str,
    /// The start of the content's SHA-256, in hexadecimal digits; the `v` of the file's URL.
    pub hash: String,
}

/// Finds a static file by its path below `/hub/static/`, without the query.
pub fn asset(path: &str) -> Option<&'static Asset> {
    ASSETS.get(path)
}

/// Gives the URL of a static file, below the hub's base URL (such as `/hub/`), or `None` if there is no such file.
pub fn asset_url(base_url: &str, path: &str) -> Option<String> {
    let asset = asset(path)?;
    Some(format!("{base_url}static/{path}?v={}", asset.hash))
}

/// All paths.
#[cfg(test)]
pub(super) fn paths() -> impl Iterator<Item = &'static str> {
    ASSETS.keys().map(String::as_str)
}

#[derive(RustEmbed)]
#[folder = "assets/"]
struct Files;

static ASSETS: LazyLock<BTreeMap<String, Asset>> = LazyLock::new(|| {
    let mut assets: BTreeMap<String, Asset> = Files::iter()
        .filter_map(|path| {
            let bytes = Bytes::from(Files::get(&path)?.data.into_owned());
            Some((path.clone().into_owned(), Asset::new(&path, bytes)))
        })
        .collect();
    version_imports(&mut assets);
    assets
});

impl Asset {
    fn new(path: &str, bytes: Bytes) -> Self {
        let digest = Sha256::digest(&bytes);
        let hash = digest.iter().take(8).fold(String::new(), |hash, byte| {
            use std::fmt::Write as _;
            let mut hash = hash;
            // Writing to a string cannot fail.
            let _ = write!(hash, "{byte:02x}");
            hash
        });
        Self {
            bytes,
            content_type: content_type(path),
            hash,
        }
    }
}

/// Writes the version of each imported module into the modules that import it: a browser that keeps files
/// for ever must not meet a new module with an old one inside. Imported modules import nothing themselves.
fn version_imports(assets: &mut BTreeMap<String, Asset>) {
    let modules: Vec<(String, String)> = assets
        .iter()
        .filter(|(path, _)| is_module(path))
        .map(|(path, asset)| {
            (
                format!("from \"./{path}\""),
                format!("from \"./{path}?v={}\"", asset.hash),
            )
        })
        .collect();
    for (path, asset) in assets.iter_mut().filter(|(path, _)| is_module(path)) {
        let Ok(source) = std::str::from_utf8(&asset.bytes) else {
            continue;
        };
        let versioned = modules.iter().fold(source.to_owned(), |text, (from, to)| {
            text.replace(from.as_str(), to)
        });
        if versioned != source {
            *asset = Asset::new(path, Bytes::from(versioned));
        }
    }
}

fn is_module(path: &str) -> bool {
    extension(path) == "js"
}

fn extension(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(_, extension)| extension)
}

fn content_type(path: &str) -> &'static str {
    match extension(path) {
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_has_a_known_type_and_a_hash() {
        assert!(asset("style.css").is_some() && asset("logo.svg").is_some());
        for (path, asset) in ASSETS.iter() {
            assert_ne!(
                asset.content_type, "application/octet-stream",
                "{path}: its type is not known"
            );
            assert_eq!(asset.hash.len(), 16, "{path}");
            assert!(!asset.bytes.is_empty(), "{path} is empty");
        }
        assert!(asset("../Cargo.toml").is_none() && asset("").is_none());
    }

    #[test]
    fn a_url_names_the_content() {
        let url = asset_url("/base/hub/", "style.css").unwrap();
        let hash = &asset("style.css").unwrap().hash;
        assert_eq!(url, format!("/base/hub/static/style.css?v={hash}"));
        assert_eq!(asset_url("/hub/", "nothing.css"), None);
    }

    #[test]
    fn imports_name_the_version_of_files_that_exist_and_go_one_level_deep() {
        for (path, file) in ASSETS.iter().filter(|(path, _)| is_module(path)) {
            let source = std::str::from_utf8(&file.bytes).unwrap();
            for import in source.split("from \"").skip(1) {
                let (specifier, _) = import.split_once('"').unwrap();
                let (name, version) = specifier
                    .strip_prefix("./")
                    .and_then(|rest| rest.split_once("?v="))
                    .unwrap_or_else(|| panic!("{path} imports {specifier} without a version"));
                let imported = asset(name).unwrap_or_else(|| panic!("{path} imports {name}"));
                assert_eq!(version, imported.hash, "{path} imports {name}");
                assert!(
                    !String::from_utf8_lossy(&imported.bytes).contains("from \""),
                    "{name} is imported and imports"
                );
            }
        }
    }
}
