//! API tokens: how they are made, hashed and found again, in JupyterHub's stored format.

use std::fmt;

use sha2::{Digest as _, Sha512};
use subtle::ConstantTimeEq as _;
use thiserror::Error;

use crate::random;
use crate::secret::Secret;

/// The shortest token that may be looked up, in characters.
pub const MIN_TOKEN_CHARS: usize = 8;
/// The longest token that may match, in characters (JupyterHub 6.1).
pub const MAX_TOKEN_CHARS: usize = 64;
/// The rounds for secrets that a person has chosen (JupyterHub `orm.Hashed`).
const CHOSEN_ROUNDS: u32 = 16384;
/// How many characters of a token are stored in the clear, to find its row.
pub const PREFIX_CHARS: usize = 4;

/// How many rounds a hash may have; more would keep a processor busy for whoever shows a token.
const MAX_ROUNDS: u32 = 1_000_000;
/// The longest salt that is taken from others, in hexadecimal digits; JupyterHub's has 16.
const MAX_SALT_CHARS: usize = 128;
/// The hexadecimal digits of a SHA-512 digest.
const DIGEST_CHARS: usize = 128;

/// Why a text cannot be the hash of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TokenHashError {
    /// It has not the form `sha512:rounds:salt:hex`, with a digest of full length.
    #[error("its hash is damaged")]
    Form,
    /// It is made by another algorithm.
    #[error("its hash is not SHA-512")]
    Algorithm,
}

/// Makes a fresh API token: 32 hexadecimal digits, as JupyterHub's.
pub fn new_token() -> Secret<String> {
    Secret::new(random::hex(16))
}

/// A token as it is stored: `algorithm:rounds:salt:hex` (JupyterHub `utils.hash_token`).
///
/// The digest is SHA-512 over the salt's text followed by the token repeated `rounds` times. Tokens made
/// by the hub have 128 bits or more, so one round is enough; it keeps look-ups cheap.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenHash(String);

impl TokenHash {
    /// Hashes a token with a fresh salt and one round.
    pub fn of(token: &str) -> Self {
        Self::with(token, 1, &random::hex(8))
    }

    /// Hashes a secret that a person has chosen, with a fresh salt and so many rounds that guessing is dear.
    pub fn of_chosen(secret: &str) -> Self {
        Self::with(secret, CHOSEN_ROUNDS, &random::hex(8))
    }

    fn with(token: &str, rounds: u32, salt: &str) -> Self {
        Self(format!(
            "sha512:{rounds}:{salt}:{}",
            digest(token, rounds, salt)
        ))
    }

    /// Takes a hash from the database as it is.
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// Takes a hash that another program has made, if a token could match it: SHA-512, 1 to 1,000,000 rounds, a salt,
    /// and a digest of full length.
    pub fn parse(text: &str) -> Result<Self, TokenHashError> {
        let parts: Vec<&str> = text.split(':').collect();
        let &[algorithm, rounds, salt, digest] = parts.as_slice() else {
            return Err(TokenHashError::Form);
        };
        if algorithm != "sha512" {
            return Err(TokenHashError::Algorithm);
        }
        let digits = |text: &str| {
            text.bytes()
                .all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c))
        };
        let rounds = rounds.parse().is_ok_and(|n| (1..=MAX_ROUNDS).contains(&n));
        let salt = (1..=MAX_SALT_CHARS).contains(&salt.len()) && digits(salt);
        let digest = digest.len() == DIGEST_CHARS && digits(digest);
        if rounds && salt && digest {
            Ok(Self(text.to_owned()))
        } else {
            Err(TokenHashError::Form)
        }
    }

    /// Gives the stored form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Tells, in constant time, whether this is the hash of `token`; a malformed hash matches nothing.
    pub fn matches(&self, token: &str) -> bool {
        let mut parts = self.0.splitn(4, ':');
        let (Some("sha512"), Some(rounds), Some(salt), Some(expected)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return false;
        };
        let Ok(rounds) = rounds.parse::<u32>() else {
            return false;
        };
        if rounds > MAX_ROUNDS || token.len() > MAX_TOKEN_CHARS {
            return false;
        }
        digest(token, rounds, salt)
            .as_bytes()
            .ct_eq(expected.as_bytes())
            .into()
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[token hash]")
    }
}

fn digest(token: &str, rounds: u32, salt: &str) -> String {
    let mut hasher = Sha512::new();
    hasher.update(salt.as_bytes());
    for _ in 0..rounds {
        hasher.update(token.as_bytes());
    }
    random::to_hex(&hasher.finalize())
}

/// Gives the part of a token that is stored in the clear, or `None` if it cannot be a token at all.
pub fn prefix(token: &str) -> Option<&str> {
    let chars = token.chars().count();
    if !(MIN_TOKEN_CHARS..=MAX_TOKEN_CHARS).contains(&chars) {
        return None;
    }
    let end = token
        .char_indices()
        .nth(PREFIX_CHARS)
        .map_or(token.len(), |(at, _)| at);
    token.get(..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hashes_that_a_token_could_match_are_taken_from_others() {
        let check = |text: &str, expected: Result<(), TokenHashError>| {
            assert_eq!(TokenHash::parse(text).map(drop), expected, "{text}");
        };
        let digest = "0a".repeat(64);
        check(&format!("sha512:1:00ff:{digest}"), Ok(()));
        check(&format!("sha512:16384:00ff00ff00ff00ff:{digest}"), Ok(()));
        check(TokenHash::of("a token of ours").as_str(), Ok(()));
        let form = Err(TokenHashError::Form);
        for text in [
            "",
            "sha512:1:00ff",
            &format!("sha512:1:00ff:{digest}:more"),
            &format!("sha512:0:00ff:{digest}"),
            &format!("sha512:-1:00ff:{digest}"),
            &format!("sha512:1000001:00ff:{digest}"),
            &format!("sha512:1::{digest}"),
            &format!("sha512:1:salt:{digest}"),
            &format!("sha512:1:00ff:{}", &digest[1..]),
            &format!("sha512:1:00ff:{digest}0"),
            &format!("sha512:1:00ff:{}", digest.to_uppercase()),
        ] {
            check(text, form);
        }
        check(
            &format!("sha256:1:00ff:{digest}"),
            Err(TokenHashError::Algorithm),
        );
    }

    #[test]
    fn a_hash_matches_its_token_and_no_other() {
        let hash = TokenHash::of("0123456789abcdef");
        assert!(hash.matches("0123456789abcdef"));
        assert!(!hash.matches("0123456789abcdee"));
        assert!(!hash.matches(""));
    }

    #[test]
    fn more_rounds_and_broken_hashes_are_understood() {
        assert!(TokenHash::with("my-secret-token", 16384, "00aa").matches("my-secret-token"));
        for broken in [
            "",
            "sha512",
            "md5:1:a:b",
            "sha512:x:a:b",
            "sha512:4294967295:a:b",
        ] {
            assert!(
                !TokenHash::from_stored(broken.to_owned()).matches("token"),
                "{broken}"
            );
        }
    }

    #[test]
    fn only_texts_of_a_tokens_length_have_a_prefix() {
        assert_eq!(prefix("0123456789"), Some("0123"));
        assert_eq!(prefix("0123456"), None);
        assert_eq!(prefix(&"x".repeat(65)), None);
        assert_eq!(prefix("ěščřžýáíé"), Some("ěščř"));
    }
}
