//! The keys of auth state, as an administrator writes them down.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use lyceum_core::Timestamp;
use thiserror::Error;
use zeroize::{Zeroize as _, Zeroizing};

use super::fernet::Key;

/// The keys with which auth state is encrypted: the first one encrypts, and all decrypt, so that a new one can be
/// put in front of an old one.
#[derive(Clone)]
pub struct CryptKeys(Vec<Key>);

/// Why a text holds no keys. The text is not in the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CryptKeysError {
    /// There is none at all.
    #[error("there is no key")]
    None,
    /// One of them is no key.
    #[error(
        "key {number} is not 32 bytes: write 64 hexadecimal digits, or 44 characters of base64, such as `openssl rand -hex 32` gives"
    )]
    Malformed {
        /// Which one, from 1.
        number: usize,
    },
}

impl CryptKeys {
    /// Reads keys as JupyterHub does in `JUPYTERHUB_CRYPT_KEY`: divided by `;` or, as in a file, by line ends; each
    /// one 32 bytes in hexadecimal digits, in base64, or as they are.
    pub fn parse(text: &str) -> Result<Self, CryptKeysError> {
        let mut keys = Vec::new();
        let parts = text.split([';', '\n', '\r']).map(str::trim);
        for (index, part) in parts.filter(|part| !part.is_empty()).enumerate() {
            let mut bytes = bytes(part).ok_or(CryptKeysError::Malformed { number: index + 1 })?;
            keys.push(Key::new(&bytes));
            bytes.zeroize();
        }
        if keys.is_empty() {
            return Err(CryptKeysError::None);
        }
        Ok(Self(keys))
    }

    /// Encrypts with the first key.
    pub(super) fn encrypt(&self, plain: &[u8], now: Timestamp) -> Option<String> {
        self.0.first().map(|key| key.encrypt(plain, now))
    }

    /// Tells whether one of the keys decrypts this.
    pub fn fit(&self, token: &[u8]) -> bool {
        self.decrypt(token).is_some()
    }

    /// Decrypts with whichever key fits, and tells whether it is the first one.
    pub(super) fn decrypt(&self, token: &[u8]) -> Option<(Zeroizing<Vec<u8>>, bool)> {
        self.0.iter().enumerate().find_map(|(index, key)| {
            let plain = key.decrypt(token)?;
            Some((plain, index == 0))
        })
    }
}

impl fmt::Debug for CryptKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} secret keys]", self.0.len())
    }
}

fn bytes(text: &str) -> Option<[u8; 32]> {
    let decoded = match text.len() {
        64 => hexadecimal(text)?,
        44 => Zeroizing::new(
            URL_SAFE
                .decode(text)
                .or_else(|_| STANDARD.decode(text))
                .ok()?,
        ),
        _ => Zeroizing::new(text.as_bytes().to_vec()),
    };
    decoded.as_slice().try_into().ok()
}

fn hexadecimal(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let pairs = text.as_bytes().chunks_exact(2).map(|pair| match pair {
        [high, low] => u8::try_from(digit(high)? * 16 + digit(low)?).ok(),
        _ => None,
    });
    pairs.collect::<Option<Vec<u8>>>().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F";
    const BASE64: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    #[test]
    fn keys_are_read_in_all_forms_and_the_first_encrypts() {
        let now = Timestamp::UNIX_EPOCH;
        let old = CryptKeys::parse(HEX).unwrap();
        let token = old.encrypt(b"x", now).unwrap();
        for text in [
            BASE64.to_owned(),
            format!(" {HEX} ;"),
            format!("{HEX};0123456789abcdef0123456789abcdef"),
        ] {
            let keys = CryptKeys::parse(&text).unwrap();
            let (plain, first) = keys.decrypt(token.as_bytes()).unwrap();
            assert_eq!((plain.as_slice(), first), (b"x".as_slice(), true), "{text}");
        }
        let rotated = CryptKeys::parse(&format!("0123456789abcdef0123456789abcdef\n{HEX}\n"));
        let (_, first) = rotated.unwrap().decrypt(token.as_bytes()).unwrap();
        assert!(!first);
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_told() {
        for (text, error) in [
            ("", CryptKeysError::None),
            (" ; \n", CryptKeysError::None),
            ("hunter2", CryptKeysError::Malformed { number: 1 }),
            (
                &format!("{HEX};{}", HEX.replace('0', "g")),
                CryptKeysError::Malformed { number: 2 },
            ),
            (
                &BASE64.replace('=', "!"),
                CryptKeysError::Malformed { number: 1 },
            ),
        ] {
            let refused = CryptKeys::parse(text).unwrap_err();
            assert_eq!(refused, error);
            assert!(!refused.to_string().contains("hunter2"));
        }
        let keys = CryptKeys::parse(HEX).unwrap();
        assert_eq!(format!("{keys:?}"), "[1 secret keys]");
    }
}
