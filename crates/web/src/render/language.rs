//! The languages of the pages, and which of them a visitor gets.

/// A language that the pages speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Language {
    /// English, which is also what messages from the inside are written in.
    #[default]
    English,
    /// Czech.
    Czech,
    /// German.
    German,
}

impl Language {
    /// All languages, in the order in which pages offer them.
    pub const ALL: [Self; 3] = [Self::English, Self::Czech, Self::German];

    /// The code in `<html lang>`, in the `lang` cookie and in URLs.
    pub fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Czech => "cs",
            Self::German => "de",
        }
    }

    /// The language's name in itself.
    pub fn native_name(self) -> &'static str {
        match self {
            Self::English => "English",
            Self::Czech => "Čeština",
            Self::German => "Deutsch",
        }
    }

    /// Finds the language of a code; `de-AT` is German too.
    pub fn find(code: &str) -> Option<Self> {
        let primary = code.trim().split(['-', '_']).next().unwrap_or_default();
        Self::ALL
            .into_iter()
            .find(|language| primary.eq_ignore_ascii_case(language.code()))
    }

    /// Chooses the language of a visitor: the `lang` cookie, else the best of `Accept-Language`, else the
    /// default. What cannot be understood counts as absent.
    pub fn choose(cookie: Option<&str>, accept_language: Option<&str>, default: Self) -> Self {
        if let Some(chosen) = cookie.and_then(Self::find) {
            return chosen;
        }
        let mut best = None;
        for range in accept_language.unwrap_or_default().split(',') {
            let mut parts = range.split(';');
            let tag = parts.next().unwrap_or_default().trim();
            let Some(weight) = quality(parts) else {
                continue;
            };
            let language = if tag == "*" {
                Some(default)
            } else {
                Self::find(tag)
            };
            let Some(language) = language else { continue };
            if weight > 0 && best.is_none_or(|(_, known)| weight > known) {
                best = Some((language, weight));
            }
        }
        best.map_or(default, |(language, _)| language)
    }
}

/// Reads `q=0.8` among the parameters, in thousandths; 1000 if there is none, `None` if it is malformed.
fn quality<'a>(mut parameters: impl Iterator<Item = &'a str>) -> Option<u16> {
    let Some(value) = parameters.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
    }) else {
        return Some(1000);
    };
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let fraction: u16 = format!("{fraction:0<3}").parse().ok()?;
    match whole {
        "0" => Some(fraction),
        "1" if fraction == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::Language::{self, Czech, English, German};

    #[test]
    fn the_cookie_wins_then_the_browser_then_the_default() {
        let cases = [
            (None, None, English),
            (Some("cs"), Some("de"), Czech),
            (Some("xx"), Some("de"), German),
            (Some(""), None, English),
            (None, Some("cs-CZ,cs;q=0.9,en;q=0.8"), Czech),
            (None, Some("fr, de-AT;q=0.7, en;q=0.3"), German),
            (None, Some("en;q=0.3, de;q=0.7"), German),
            (None, Some("de;q=0, cs;q=0.001"), Czech),
            (None, Some("fr, ja"), English),
            (None, Some("*"), English),
            (None, Some("de;q=2, de;q=x, de;q=0.1234, ;;,=,"), English),
            (None, Some("DE"), German),
        ];
        for (cookie, header, expected) in cases {
            assert_eq!(
                Language::choose(cookie, header, English),
                expected,
                "cookie {cookie:?}, Accept-Language {header:?}"
            );
        }
        assert_eq!(Language::choose(None, Some("fr"), German), German);
        assert_eq!(Language::choose(None, Some("fr,*;q=0.1"), Czech), Czech);
    }

    #[test]
    fn every_code_finds_its_language() {
        for language in Language::ALL {
            assert_eq!(Language::find(language.code()), Some(language));
        }
        assert_eq!(Language::find("csx"), None);
    }
}
