//! Which files of an environment may be answered in its servers' name, and for how long they may be kept.
//!
//! A file whose name has a hash of its content can be nothing else in any other version, nor in a user's own
//! folder. Of the others only Jupyter Server's own icons and styles are answered; everything that a server puts
//! something into, or that a user can replace, is not.

/// A folder of an environment, and where its files appear below the prefix of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mount {
    /// `share/jupyter/lab/static`.
    Lab,
    /// `share/jupyter/labextensions`. Users' own come first there, under whatever name.
    LabExtensions,
    /// `notebook/static` among the packages.
    Notebook,
    /// `jupyter_server/static` among the packages.
    Server,
}

/// How long browsers may keep a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lifetime {
    /// For ever: another content has another name.
    Immutable,
    /// For some minutes, then they ask again: an upgrade may change it.
    Short,
}

impl Lifetime {
    /// The value of `Cache-Control`.
    pub(super) fn cache_control(self) -> &'static str {
        match self {
            Self::Immutable => "public, max-age=31536000, immutable",
            Self::Short => "public, max-age=600",
        }
    }
}

/// Extensions of files that are the same for everybody. Not among them: pages, which are templates.
const EXTENSIONS: &[&str] = &[
    "css", "eot", "gif", "ico", "jpeg", "jpg", "js", "json", "map", "mjs", "otf", "png", "svg",
    "ttf", "txt", "wasm", "webp", "woff", "woff2",
];

/// The shortest hash in a file's name; JupyterLab's have 16 digits, extensions' 20.
const MIN_HASH: usize = 16;

impl Mount {
    /// What comes before the file's path in the URL.
    pub(super) fn url(self) -> &'static str {
        match self {
            Self::Lab => "static/lab/",
            Self::LabExtensions => "lab/extensions/",
            Self::Notebook => "static/notebook/",
            Self::Server => "static/",
        }
    }

    /// Tells for how long a file may be kept, by its path in the folder; `None` if it is not to be answered.
    pub(super) fn lifetime(self, relative: &str) -> Option<Lifetime> {
        let segments: Vec<&str> = relative.split('/').collect();
        let (name, folders) = segments.split_last()?;
        if segments.iter().any(|one| !is_plain(one)) || !has_known_extension(name) {
            return None;
        }
        match self {
            Self::Lab | Self::Notebook => has_hash(name).then_some(Lifetime::Immutable),
            Self::LabExtensions => {
                (is_below_static(folders) && has_hash(name)).then_some(Lifetime::Immutable)
            }
            // `custom` is the user's, `lab` and `notebook` are other folders.
            Self::Server => (!folders
                .first()
                .is_some_and(|first| ["custom", "lab", "notebook"].contains(first)))
            .then_some(Lifetime::Short),
        }
    }
}

/// Whether a path below a server's prefix can be one of ours at all; cheap, as every request is asked.
pub(super) fn may_be_static(path: &str) -> bool {
    path.starts_with("static/") || path.starts_with("lab/extensions/")
}

/// `NAME/static/…` or `@SCOPE/NAME/static/…`, where federated extensions have what they load.
fn is_below_static(folders: &[&str]) -> bool {
    match folders {
        [scope, _, "static", ..] if scope.starts_with('@') => true,
        [name, "static", ..] => !name.starts_with('@'),
        _ => false,
    }
}

/// Whether one of the parts of a name between its dots, except the last, is a hash in hexadecimal digits.
fn has_hash(name: &str) -> bool {
    let mut parts = name.split('.');
    parts.next_back();
    parts.any(|part| {
        part.len() >= MIN_HASH
            && part
                .bytes()
                .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    })
}

fn has_known_extension(name: &str) -> bool {
    name.rsplit_once('.')
        .is_some_and(|(stem, extension)| !stem.is_empty() && EXTENSIONS.contains(&extension))
}

/// Neither hidden, nor `.` or `..`, nor anything that a URL or a log could not show.
fn is_plain(segment: &str) -> bool {
    !segment.is_empty() && !segment.starts_with('.') && !segment.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mount: Mount, relative: &str, expected: Option<Lifetime>) {
        assert_eq!(mount.lifetime(relative), expected, "{mount:?} {relative}");
    }

    #[test]
    fn names_with_a_hash_are_for_ever() {
        let for_ever = Some(Lifetime::Immutable);
        check(Mount::Lab, "jlab_core.8811dd2733d03721.js", for_ever);
        check(Mount::Lab, "0031b1860ea4ad75.woff", for_ever);
        check(Mount::Lab, "1014.073326ef5d98db5e.js.map", for_ever);
        check(Mount::Notebook, "1053.ae46e18526c3caef.js", for_ever);
        let extension = "jupyterlab_pygments/static/568.1e2faa2ba0bbe59c4780.js";
        check(Mount::LabExtensions, extension, for_ever);
        let scoped = "@jupyter-notebook/lab-extension/static/remoteEntry.83856cd0a08d728a.js";
        check(Mount::LabExtensions, scoped, for_ever);
    }

    #[test]
    fn names_without_a_hash_are_the_servers() {
        for name in [
            "index.html",
            "package.json",
            "build_log.json",
            "third-party-licenses.json",
            "style.js",
            "bootstrap.js",
            "index.out.js",
            "x.0123456789abcde.js",
            "x.0123456789ABCDEF.js",
            "x.0123456789abcdeg.js",
            "0123456789abcdef",
            "x.0123456789abcdef",
            "0123456789abcdef.html",
            "x.0123456789abcdef.py",
            ".0123456789abcdef.js",
            "a/../0123456789abcdef.js",
            "a//0123456789abcdef.js",
            "",
        ] {
            check(Mount::Lab, name, None);
            check(Mount::Notebook, name, None);
            check(Mount::LabExtensions, &format!("name/static/{name}"), None);
        }
    }

    #[test]
    fn of_extensions_only_what_is_below_static() {
        for path in [
            "0123456789abcdef.js",
            "static/0123456789abcdef.js",
            "name/0123456789abcdef.js",
            "name/schemas/0123456789abcdef.json",
            "@scope/static/0123456789abcdef.js",
            "@scope/name/0123456789abcdef.js",
        ] {
            check(Mount::LabExtensions, path, None);
        }
    }

    #[test]
    fn icons_and_styles_of_the_server_live_shortly_and_custom_ones_are_the_users() {
        check(Mount::Server, "favicon.ico", Some(Lifetime::Short));
        check(Mount::Server, "style/index.css", Some(Lifetime::Short));
        check(Mount::Server, "logo/logo.png", Some(Lifetime::Short));
        check(Mount::Server, "custom/custom.css", None);
        check(Mount::Server, "lab/x.js", None);
        check(Mount::Server, "notebook/0123456789abcdef.js", None);
        check(Mount::Server, "page.html", None);
    }
}
