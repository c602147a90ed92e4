//! Conditional requests and ranges (RFC 9110 §13 and §14), for contents that are known by a tag.

use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, RANGE};

use crate::compress::Coding;

/// How a content is told from others: its tag without quotes, and when it was last changed.
#[derive(Debug, Clone)]
pub(super) struct Validators {
    pub(super) tag: String,
    /// In seconds since 1970.
    pub(super) modified: i64,
    /// Whether compressed forms are made anew for each answer, so that their tags are weak.
    pub(super) weak_forms: bool,
}

/// What a request wants of a content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wish {
    /// All of it.
    Whole,
    /// A part; never empty.
    Part(Range<u64>),
    /// A part that does not exist.
    Impossible,
    /// Nothing: the client has it, under this tag.
    Nothing(HeaderValue),
}

impl Validators {
    /// The value of `ETag` for the content in a coding. Each coding has its own, as their bytes differ.
    pub(super) fn etag(&self, coding: Option<Coding>) -> HeaderValue {
        let weak = if self.weak_forms && coding.is_some() {
            "W/"
        } else {
            ""
        };
        let text = match coding {
            Some(coding) => format!("{weak}\"{}-{}\"", self.tag, coding.name()),
            None => format!("\"{}\"", self.tag),
        };
        // A tag is hexadecimal digits and hyphens.
        HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("\"\""))
    }

    /// The value of `Last-Modified`.
    pub(super) fn last_modified(&self) -> Option<HeaderValue> {
        let seconds = u64::try_from(self.modified).ok()?;
        let time = UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?;
        // The format ends with the year 9999.
        (seconds < 253_402_300_800)
            .then(|| HeaderValue::from_str(&httpdate::fmt_http_date(time)).ok())
            .flatten()
    }

    /// Tells what a request wants of a content of this size.
    pub(super) fn wish(&self, headers: &HeaderMap, size: u64) -> Wish {
        if let Some(tag) = self.known_tag(headers) {
            return Wish::Nothing(tag);
        }
        match single(headers, &RANGE) {
            Some(range) if self.range_is_of_this(headers) => range_of(range, size),
            _ => Wish::Whole,
        }
    }

    /// The tag under which the client has the content, if it has it.
    fn known_tag(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        if headers.contains_key(IF_NONE_MATCH) {
            return headers
                .get_all(IF_NONE_MATCH)
                .iter()
                .filter_map(|value| value.to_str().ok())
                .find_map(|list| self.known_among(list));
        }
        let since = httpdate::parse_http_date(single(headers, &IF_MODIFIED_SINCE)?).ok()?;
        (self.modified <= seconds(since)?).then(|| self.etag(None))
    }

    /// Looks for one of this content's tags in a list, in any coding: what was in there was the same. Weak
    /// and strong ones are not told apart (RFC 9110 §13.1.2).
    fn known_among(&self, list: &str) -> Option<HeaderValue> {
        if list.trim() == "*" {
            return Some(self.etag(None));
        }
        let mut rest = list;
        loop {
            rest = rest.trim_start_matches([' ', '\t', ',']);
            let weak = rest.starts_with("W/");
            let quoted = rest.strip_prefix("W/").unwrap_or(rest).strip_prefix('"')?;
            let (opaque, after) = quoted.split_once('"')?;
            if self.is_ours(opaque) {
                let weak = if weak { "W/" } else { "" };
                return HeaderValue::from_str(&format!("{weak}\"{opaque}\"")).ok();
            }
            rest = after;
        }
    }

    fn is_ours(&self, opaque: &str) -> bool {
        opaque
            .strip_prefix(self.tag.as_str())
            .is_some_and(|suffix| {
                suffix.is_empty()
                    || suffix.strip_prefix('-').is_some_and(|name| {
                        Coding::BY_SIZE.iter().any(|coding| coding.name() == name)
                    })
            })
    }

    /// Whether a range is asked of this very content. A date does not tell: a file can change twice in a second.
    fn range_is_of_this(&self, headers: &HeaderMap) -> bool {
        match headers.get(IF_RANGE) {
            None => true,
            Some(tag) => *tag == self.etag(None),
        }
    }
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

fn seconds(time: SystemTime) -> Option<i64> {
    i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()
}

/// Reads one range; of several, or one that is none, the whole is sent, as a server may (RFC 9110 §14.2).
fn range_of(text: &str, size: u64) -> Wish {
    let Some((unit, range)) = text.split_once('=') else {
        return Wish::Whole;
    };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Wish::Whole;
    }
    let Some((first, last)) = range.trim().split_once('-') else {
        return Wish::Whole;
    };
    let part = match (first, last) {
        ("", "") => return Wish::Whole,
        ("", suffix) => match number(suffix) {
            Some(length) => size.saturating_sub(length)..size,
            None => return Wish::Whole,
        },
        (first, "") => match number(first) {
            Some(first) => first..size,
            None => return Wish::Whole,
        },
        (first, last) => match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(size),
            _ => return Wish::Whole,
        },
    };
    if part.is_empty() {
        Wish::Impossible
    } else {
        Wish::Part(part)
    }
}

/// Digits and nothing else; what is too large is as large as can be.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn validators() -> Validators {
        Validators {
            tag: "abc".to_owned(),
            modified: 784_111_777,
            weak_forms: false,
        }
    }

    fn wish(pairs: &[(HeaderName, &'static str)]) -> Wish {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name, HeaderValue::from_static(value));
        }
        validators().wish(&headers, 100)
    }

    #[test]
    fn each_coding_has_its_own_tag() {
        let mut validators = validators();
        assert_eq!(validators.etag(None), "\"abc\"");
        assert_eq!(validators.etag(Some(Coding::Zstd)), "\"abc-zstd\"");
        assert_eq!(validators.last_modified().unwrap(), DATE);
        validators.weak_forms = true;
        assert_eq!(validators.etag(Some(Coding::Gzip)), "W/\"abc-gzip\"");
        assert_eq!(validators.etag(None), "\"abc\"");
        validators.modified = -1;
        assert_eq!(validators.last_modified(), None);
        validators.modified = i64::MAX;
        assert_eq!(validators.last_modified(), None);
    }

    #[test]
    fn a_client_that_has_it_gets_nothing() {
        for (tags, expected) in [
            ("\"abc\"", "\"abc\""),
            ("W/\"abc\"", "W/\"abc\""),
            ("\"abc-br\"", "\"abc-br\""),
            ("\"x,y\", W/\"z\" ,\"abc-gzip\"", "\"abc-gzip\""),
            ("*", "\"abc\""),
        ] {
            let got = wish(&[(IF_NONE_MATCH, tags)]);
            assert_eq!(got, Wish::Nothing(HeaderValue::from_static(expected)));
        }
        for tags in [
            "\"ab\"",
            "\"abcd\"",
            "\"abc-deflate\"",
            "\"abc-\"",
            "abc",
            "\"abc",
            "",
            "\"*\"",
        ] {
            assert_eq!(wish(&[(IF_NONE_MATCH, tags)]), Wish::Whole, "{tags}");
        }
        let two = [(IF_NONE_MATCH, "\"x\""), (IF_NONE_MATCH, "\"abc\"")];
        assert!(matches!(wish(&two), Wish::Nothing(_)));
    }

    #[test]
    fn dates_count_only_without_tags() {
        assert!(matches!(
            wish(&[(IF_MODIFIED_SINCE, DATE)]),
            Wish::Nothing(_)
        ));
        let later = "Mon, 07 Nov 1994 08:49:37 GMT";
        assert!(matches!(
            wish(&[(IF_MODIFIED_SINCE, later)]),
            Wish::Nothing(_)
        ));
        let earlier = "Sun, 06 Nov 1994 08:49:36 GMT";
        assert_eq!(wish(&[(IF_MODIFIED_SINCE, earlier)]), Wish::Whole);
        assert_eq!(wish(&[(IF_MODIFIED_SINCE, "yesterday")]), Wish::Whole);
        let both = [(IF_MODIFIED_SINCE, DATE), (IF_NONE_MATCH, "\"x\"")];
        assert_eq!(wish(&both), Wish::Whole);
    }

    #[test]
    fn one_range_is_a_part_and_anything_else_the_whole() {
        for (range, expected) in [
            ("bytes=0-0", Wish::Part(0..1)),
            ("bytes=10-19", Wish::Part(10..20)),
            ("Bytes = 10-", Wish::Part(10..100)),
            ("bytes=-10", Wish::Part(90..100)),
            ("bytes=-1000", Wish::Part(0..100)),
            ("bytes=99-99999999999999999999999", Wish::Part(99..100)),
            ("bytes=100-", Wish::Impossible),
            ("bytes=-0", Wish::Impossible),
            ("bytes=200-300", Wish::Impossible),
            ("bytes=5-4", Wish::Whole),
            ("bytes=0-1,5-6", Wish::Whole),
            ("bytes=-", Wish::Whole),
            ("bytes=a-b", Wish::Whole),
            ("bytes=+1-2", Wish::Whole),
            ("lines=1-2", Wish::Whole),
            ("bytes", Wish::Whole),
        ] {
            assert_eq!(wish(&[(RANGE, range)]), expected, "{range}");
        }
        assert_eq!(
            wish(&[(RANGE, "bytes=0-1"), (RANGE, "bytes=2-3")]),
            Wish::Whole
        );
        let empty = validators().wish(
            &HeaderMap::from_iter([(RANGE, "bytes=0-".parse().unwrap())]),
            0,
        );
        assert_eq!(empty, Wish::Impossible);
    }

    #[test]
    fn a_range_of_another_content_is_the_whole() {
        let range = (RANGE, "bytes=0-1");
        let with = |tag| wish(&[range.clone(), (IF_RANGE, tag)]);
        assert_eq!(with("\"abc\""), Wish::Part(0..2));
        for other in ["\"abc-br\"", "W/\"abc\"", "\"x\"", DATE] {
            assert_eq!(with(other), Wish::Whole, "{other}");
        }
    }
}
