//! Fernet, the format in which JupyterHub encrypts auth state: AES-128-CBC with HMAC-SHA-256 over all of it.
//!
//! Written after its specification (github.com/fernet/spec); the age of a token is not looked at, as what is
//! stored does not expire.

use aes::Aes128;
use base64::Engine as _;
use base64::alphabet::URL_SAFE as ALPHABET;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt as _, BlockModeEncrypt as _, KeyIvInit as _};
use hmac::{Hmac, KeyInit as _, Mac as _};
use lyceum_core::Timestamp;
use lyceum_core::random::{Randomness as _, SystemRandomness};
use sha2::Sha256;
use zeroize::{Zeroize as _, Zeroizing};

/// Written with padding, read with or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

const VERSION: u8 = 0x80;
/// Version, time and initialization vector, which come before the ciphertext.
const HEAD: usize = 1 + 8 + IV;
const IV: usize = 16;
const MAC: usize = 32;

/// A key: half for signing, half for encryption.
#[derive(Clone)]
pub(super) struct Key {
    signing: [u8; 16],
    encryption: [u8; 16],
}

impl Drop for Key {
    fn drop(&mut self) {
        self.signing.zeroize();
        self.encryption.zeroize();
    }
}

impl Key {
    pub(super) fn new(bytes: &[u8; 32]) -> Self {
        let mut key = Self {
            signing: [0; 16],
            encryption: [0; 16],
        };
        let (signing, encryption) = bytes.split_at(16);
        key.signing.copy_from_slice(signing);
        key.encryption.copy_from_slice(encryption);
        key
    }

    /// Encrypts; the text that comes out is ASCII.
    pub(super) fn encrypt(&self, plain: &[u8], now: Timestamp) -> String {
        let mut iv = [0; IV];
        SystemRandomness.fill(&mut iv);
        self.encrypt_with(plain, now.as_second().unsigned_abs(), iv)
    }

    fn encrypt_with(&self, plain: &[u8], seconds: u64, iv: [u8; IV]) -> String {
        let cipher = cbc::Encryptor::<Aes128>::new(&self.encryption.into(), &iv.into());
        let mut token = Vec::with_capacity(HEAD + plain.len() + IV + MAC);
        token.push(VERSION);
        token.extend_from_slice(&seconds.to_be_bytes());
        token.extend_from_slice(&iv);
        token.extend_from_slice(&cipher.encrypt_padded_vec::<Pkcs7>(plain));
        let mac = self.mac(&token).finalize().into_bytes();
        token.extend_from_slice(&mac);
        BASE64.encode(token)
    }

    /// Decrypts what this key encrypted; `None` for everything else.
    pub(super) fn decrypt(&self, token: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let token = BASE64.decode(token).ok()?;
        let (signed, mac) = token.split_at_checked(token.len().checked_sub(MAC)?)?;
        let (head, ciphertext) = signed.split_at_checked(HEAD)?;
        let (before, iv) = head.split_at_checked(HEAD - IV)?;
        if before.first() != Some(&VERSION) {
            return None;
        }
        self.mac(signed).verify_slice(mac).ok()?;
        let iv: [u8; IV] = iv.try_into().ok()?;
        let cipher = cbc::Decryptor::<Aes128>::new(&self.encryption.into(), &iv.into());
        let plain = cipher.decrypt_padded_vec::<Pkcs7>(ciphertext).ok()?;
        Some(Zeroizing::new(plain))
    }

    fn mac(&self, signed: &[u8]) -> Hmac<Sha256> {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.signing).expect("16 bytes are a key");
        mac.update(signed);
        mac
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The key of the vectors in the specification.
    const SECRET: &str = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=";
    /// `generate.json` and `verify.json` of the specification.
    const HELLO: &str = "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA==";

    fn key() -> Key {
        Key::new(&BASE64.decode(SECRET).unwrap().try_into().unwrap())
    }

    #[test]
    fn the_vectors_of_the_specification_come_out() {
        let iv = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
        assert_eq!(key().encrypt_with(b"hello", 499_162_800, iv), HELLO);
        assert_eq!(
            key().decrypt(HELLO.as_bytes()).unwrap().as_slice(),
            b"hello"
        );
    }

    #[test]
    fn what_was_changed_on_the_way_is_not_decrypted() {
        // `invalid.json` of the specification: mac, too short, base64, payload size, payload padding, iv.
        for token in [
            "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykQUFBQUFBQUFBQQ==",
            "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPA==",
            "%%%%%%%%%%%%%AECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykRtfsH-p1YsUD2Q==",
            "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPOm73QeoCk9uGib28Xe5vz6oxq5nmxbx_v7mrfyudzUm",
            "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0ODz4LEpdELGQAad7aNEHbf-JkLPIpuiYRLQ3RtXatOYREu2FWke6CnJNYIbkuKNqOhw==",
            "gAAAAAAdwJ6xBQECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAnja1xKYyhd-Y6mSkTOyTGJmw2Xc2a6kBd-iX9b_qXQcw==",
            "",
            "gA",
        ] {
            assert!(key().decrypt(token.as_bytes()).is_none(), "{token}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_encrypted_comes_back(plain: Vec<u8>, second in 0..4_000_000_000_i64) {
            let now = Timestamp::from_second(second).unwrap();
            let token = key().encrypt(&plain, now);
            let back = key().decrypt(token.as_bytes()).unwrap();
            prop_assert_eq!(back.as_slice(), plain.as_slice());
            let other = Key::new(&[7; 32]);
            prop_assert!(other.decrypt(token.as_bytes()).is_none());
        }

        #[test]
        fn nothing_makes_it_panic(token: Vec<u8>) {
            prop_assert!(key().decrypt(&token).is_none());
        }
    }
}
