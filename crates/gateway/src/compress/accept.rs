//! What a client accepts: `Accept-Encoding` with its weights (RFC 9110 §12.5.3).

use http::HeaderMap;
use http::header::ACCEPT_ENCODING;

use super::Coding;

/// The weights of the codings that a client accepts, in thousandths; 0 is "never".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    brotli: u16,
    zstd: u16,
    gzip: u16,
    identity: u16,
}

impl Accepted {
    /// A client that said nothing. It may accept anything by the letter of the standard; in practice such a
    /// client knows no coding.
    const NOTHING_SAID: Self = Self {
        brotli: 0,
        zstd: 0,
        gzip: 0,
        identity: 1000,
    };

    /// Reads all `Accept-Encoding` headers of a request. What is malformed counts as not said.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut named: [Option<u16>; 4] = [None; 4];
        let mut others = None;
        let values = headers.get_all(ACCEPT_ENCODING).iter();
        for item in values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
        {
            let Some((name, weight)) = item_of(item) else {
                continue;
            };
            let [brotli, zstd, gzip, identity] = &mut named;
            let slot = match name {
                name if name.eq_ignore_ascii_case("br") => brotli,
                name if name.eq_ignore_ascii_case("zstd") => zstd,
                name if name.eq_ignore_ascii_case("gzip")
                    || name.eq_ignore_ascii_case("x-gzip") =>
                {
                    gzip
                }
                name if name.eq_ignore_ascii_case("identity") => identity,
                "*" => &mut others,
                _ => continue,
            };
            slot.get_or_insert(weight);
        }
        let [brotli, zstd, gzip, identity] = named;
        let other = others.unwrap_or(0);
        Self {
            brotli: brotli.unwrap_or(other),
            zstd: zstd.unwrap_or(other),
            gzip: gzip.unwrap_or(other),
            // Acceptable unless it is ruled out, but as little as possible if it is not named.
            identity: identity.unwrap_or(match others {
                Some(0) => 0,
                _ if [brotli, zstd, gzip, others].iter().any(Option::is_some) => 1,
                _ => Self::NOTHING_SAID.identity,
            }),
        }
    }

    /// The weight of a coding, or of none.
    fn weight(self, coding: Option<Coding>) -> u16 {
        match coding {
            Some(Coding::Brotli) => self.brotli,
            Some(Coding::Zstd) => self.zstd,
            Some(Coding::Gzip) => self.gzip,
            None => self.identity,
        }
    }

    /// Chooses among what there is, most preferred first; `None` is the plain content, which is also what a
    /// client gets that accepts nothing at all: better than no answer.
    pub fn choose(self, available: impl IntoIterator<Item = Coding>) -> Option<Coding> {
        let mut best = None;
        let mut most = self.weight(None);
        for coding in available {
            let weight = self.weight(Some(coding));
            // At the same weight the plain content loses, and the earlier of two codings wins.
            if weight > 0 && (weight > most || (weight == most && best.is_none())) {
                best = Some(coding);
                most = weight;
            }
        }
        best
    }
}

/// Takes one item apart: `gzip`, `br;q=0.5`. `None` if it is empty or its weight is none.
fn item_of(item: &str) -> Option<(&str, u16)> {
    let mut parts = item.split(';');
    let name = parts.next()?.trim();
    if name.is_empty() {
        return None;
    }
    let mut weight = 1000;
    for parameter in parts {
        let (key, value) = parameter.split_once('=')?;
        if key.trim().eq_ignore_ascii_case("q") {
            weight = thousandths(value.trim())?;
        }
    }
    Some((name, weight))
}

/// Reads a weight: `1`, `0.75`, `0.001`; at most three digits (RFC 9110 §12.4.2).
fn thousandths(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = fraction.len() <= 3 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    if !digits {
        return None;
    }
    let parts: u16 = format!("{fraction:0<3}").parse().ok()?;
    match whole {
        "0" => Some(parts),
        "1" if parts == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn check(header: &str, expected: Option<&str>) {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_str(header).unwrap());
        let chosen = Accepted::of(&headers).choose(Coding::BY_SIZE);
        assert_eq!(chosen.map(Coding::name), expected, "{header}");
    }

    #[test]
    fn the_heaviest_coding_is_chosen_and_among_equals_the_smallest() {
        check("gzip, deflate, br, zstd", Some("br"));
        check("gzip, deflate, zstd", Some("zstd"));
        check("gzip, deflate", Some("gzip"));
        check("GZIP", Some("gzip"));
        check("x-gzip", Some("gzip"));
        check("br;q=0.5, gzip;q=0.8", Some("gzip"));
        check("br;q=0.5, gzip;q=0.5", Some("br"));
        check("br;q=0.501, gzip;q=0.5", Some("br"));
        check("*", Some("br"));
        check("*;q=0.5, br;q=0", Some("zstd"));
        check("gzip;q=1.0, *;q=0", Some("gzip"));
        check("gzip;q=1.000", Some("gzip"));
    }

    #[test]
    fn the_plain_content_is_chosen_where_it_is_wanted_or_all_that_is_left() {
        check("", None);
        check("identity", None);
        check("deflate", None);
        check("compress, deflate;q=0.5", None);
        check("br;q=0, gzip;q=0, zstd;q=0", None);
        check("gzip;q=0.5, identity", None);
        check("gzip;q=0.5, identity;q=0.6", None);
        check("gzip;q=0.5, identity;q=0.5", Some("gzip"));
        check("identity;q=0", None);
        check("*;q=0", None);
        check("identity;q=0, gzip;q=0.1", Some("gzip"));
        check("gzip;q=0.001", Some("gzip"));
    }

    #[test]
    fn malformed_items_count_as_not_said() {
        check("gzip;q=2", None);
        check("gzip;q=0.1234", None);
        check("gzip;q=", None);
        check("gzip;q=-1", None);
        check("gzip;q=1.5, br;q=0.1", Some("br"));
        check(",, ,;q=1, gzip", Some("gzip"));
        check("gzip;level=9", Some("gzip"));
        check("gzip;q", None);
    }

    #[test]
    fn several_headers_are_one_list_and_the_first_word_counts() {
        let mut headers = HeaderMap::new();
        assert_eq!(Accepted::of(&headers), Accepted::NOTHING_SAID);
        headers.append(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        headers.append(ACCEPT_ENCODING, HeaderValue::from_static("br, gzip;q=0"));
        let accepted = Accepted::of(&headers);
        assert_eq!(accepted.choose([Coding::Gzip]), Some(Coding::Gzip));
        assert_eq!(accepted.choose(Coding::BY_SIZE), Some(Coding::Brotli));
        assert_eq!(accepted.choose([]), None);
    }
}
