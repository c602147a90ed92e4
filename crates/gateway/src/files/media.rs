//! The `Content-Type` of files, by the extension of their names.

use http::HeaderValue;

use crate::compress::{Kind, kind};

/// What a file's name says about its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Media {
    name: &'static str,
    /// Text whose encoding has to be told; Jupyter Server does not do so.
    is_text: bool,
}

/// Extensions, and what Jupyter Server says of them, for those that it serves.
const KNOWN: &[(&str, &str)] = &[
    ("avif", "image/avif"),
    ("bmp", "image/bmp"),
    ("css", "text/css"),
    ("csv", "text/csv"),
    ("eot", "application/vnd.ms-fontobject"),
    ("gif", "image/gif"),
    ("htm", "text/html"),
    ("html", "text/html"),
    ("ico", "image/vnd.microsoft.icon"),
    ("ipynb", "application/x-ipynb+json"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("js", "application/javascript"),
    ("json", "application/json"),
    ("map", "application/json"),
    ("md", "text/markdown"),
    ("mjs", "application/javascript"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("ogg", "audio/ogg"),
    ("otf", "font/otf"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("svg", "image/svg+xml"),
    ("ttf", "font/ttf"),
    ("txt", "text/plain"),
    ("wasm", "application/wasm"),
    ("wav", "audio/wav"),
    ("webm", "video/webm"),
    ("webmanifest", "application/manifest+json"),
    ("webp", "image/webp"),
    ("woff", "font/woff"),
    ("woff2", "font/woff2"),
    ("xhtml", "application/xhtml+xml"),
    ("xml", "application/xml"),
    ("zip", "application/zip"),
];

impl Media {
    /// Tells the media type of a file; what is not known is just bytes, which no browser runs.
    pub(super) fn of(name: &str) -> Self {
        let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
        let found = KNOWN
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(extension));
        let name = found.map_or("application/octet-stream", |(_, media)| *media);
        Self {
            name,
            is_text: name.starts_with("text/") || name == "application/javascript",
        }
    }

    /// The value of `Content-Type`, as Jupyter Server has it.
    pub(super) fn plain(self) -> HeaderValue {
        HeaderValue::from_static(self.name)
    }

    /// The same with the encoding of text, as nobody else tells it.
    pub(super) fn with_charset(self) -> HeaderValue {
        if !self.is_text {
            return self.plain();
        }
        HeaderValue::from_str(&format!("{}; charset=utf-8", self.name))
            .unwrap_or_else(|_| self.plain())
    }

    /// Whether the content gets smaller by compression.
    pub(super) fn gains(self) -> bool {
        kind(self.name) != Kind::Leave
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, expected: &str, gains: bool) {
        let media = Media::of(name);
        assert_eq!(media.with_charset(), expected, "{name}");
        assert_eq!(media.gains(), gains, "{name}");
    }

    #[test]
    fn files_have_the_types_that_browsers_want() {
        check("a.js", "application/javascript; charset=utf-8", true);
        check("a.CSS", "text/css; charset=utf-8", true);
        check("a.html", "text/html; charset=utf-8", true);
        check("a.js.map", "application/json", true);
        check("a.svg", "image/svg+xml", true);
        check("a.woff2", "font/woff2", false);
        check("a.woff", "font/woff", false);
        check("a.ttf", "font/ttf", true);
        check("a.ico", "image/vnd.microsoft.icon", true);
        check("a.png", "image/png", false);
        check("a.exe", "application/octet-stream", false);
        check("README", "application/octet-stream", false);
        assert_eq!(Media::of("a.js").plain(), "application/javascript");
    }
}
