//! Kinds of content: what gains by compression, and what may be.

/// What a `Content-Type` means for compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It gains nothing, or must not be held up.
    Leave,
    /// Data and code: it gains.
    Data,
    /// Pages: they gain, but may hold secrets beside what strangers can choose.
    Page,
}

/// Tells the kind of a `Content-Type`, with or without parameters.
pub(crate) fn kind(content_type: &str) -> Kind {
    const APPLICATIONS: &[&str] = &[
        "ecmascript",
        "geo+json",
        "javascript",
        "json",
        "jsonl",
        "ld+json",
        "rtf",
        "toml",
        "vnd.ms-fontobject",
        "wasm",
        "x-javascript",
        "x-ndjson",
        "x-sh",
        "x-yaml",
        "xml",
        "yaml",
    ];
    const IMAGES: &[&str] = &["bmp", "svg+xml", "vnd.microsoft.icon", "x-icon"];
    const FONTS: &[&str] = &["collection", "otf", "sfnt", "ttf"];
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    let Some((group, name)) = essence.split_once('/') else {
        return Kind::Leave;
    };
    match (group, name) {
        // Events come one by one, and each must be seen at once.
        ("text", "event-stream") => Kind::Leave,
        ("text", "html") | ("application", "xhtml+xml") => Kind::Page,
        ("text", _) => Kind::Data,
        ("application", name)
            if APPLICATIONS.contains(&name)
                || name.ends_with("+json")
                || name.ends_with("+xml") =>
        {
            Kind::Data
        }
        ("image", name) if IMAGES.contains(&name) => Kind::Data,
        ("font", name) if FONTS.contains(&name) => Kind::Data,
        _ => Kind::Leave,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(content_type: &str, expected: Kind) {
        assert_eq!(kind(content_type), expected, "{content_type}");
    }

    #[test]
    fn text_and_data_gain_and_what_is_packed_already_does_not() {
        check("application/json", Kind::Data);
        check("Application/JSON; charset=UTF-8", Kind::Data);
        check("application/x-ipynb+json", Kind::Data);
        check("text/javascript", Kind::Data);
        check("text/csv", Kind::Data);
        check("image/svg+xml", Kind::Data);
        check("application/wasm", Kind::Data);
        check("font/ttf", Kind::Data);
        check("text/html; charset=utf-8", Kind::Page);
        check("application/xhtml+xml", Kind::Page);
        for left in [
            "text/event-stream",
            "image/png",
            "font/woff2",
            "application/zip",
            "application/octet-stream",
            "video/mp4",
            "",
            "json",
        ] {
            check(left, Kind::Leave);
        }
    }
}
