//! Randomness for tokens, codes and ids, from the operating system's generator.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::Rng as _;

/// Fills buffers with unpredictable bytes; tests may give predictable ones.
pub trait Randomness: fmt::Debug + Send + Sync {
    /// Fills the whole buffer.
    fn fill(&self, bytes: &mut [u8]);
}

/// The cryptographic generator of the process, seeded by the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRandomness;

impl Randomness for SystemRandomness {
    fn fill(&self, bytes: &mut [u8]) {
        rand::rng().fill_bytes(bytes);
    }
}

/// Makes a lowercase hexadecimal text of `bytes` random bytes (twice as many characters).
pub fn hex(bytes: usize) -> String {
    let mut buffer = vec![0; bytes];
    SystemRandomness.fill(&mut buffer);
    to_hex(&buffer)
}

/// Writes bytes as lowercase hexadecimal.
pub fn to_hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// Makes a URL-safe text from `bytes` random bytes (base64 without padding).
pub fn url_safe(bytes: usize) -> String {
    let mut buffer = vec![0; bytes];
    SystemRandomness.fill(&mut buffer);
    URL_SAFE_NO_PAD.encode(buffer)
}

/// Makes a text of `length` random letters and digits, each equally likely.
pub fn alphanumeric(length: usize) -> String {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut text = String::with_capacity(length);
    let mut buffer = [0; 64];
    while text.len() < length {
        SystemRandomness.fill(&mut buffer);
        // 248 = 4 * 62: bytes beyond it would make the first letters likelier.
        for byte in buffer.iter().filter(|byte| **byte < 248) {
            if text.len() < length
                && let Some(letter) = ALPHABET.get(usize::from(*byte) % ALPHABET.len())
            {
                text.push(char::from(*letter));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_the_length_and_alphabet_asked_for() {
        assert_eq!(hex(16).len(), 32);
        assert!(hex(16).chars().all(|c| c.is_ascii_hexdigit()));
        assert_eq!(alphanumeric(30).len(), 30);
        assert!(alphanumeric(300).chars().all(|c| c.is_ascii_alphanumeric()));
        assert_ne!(hex(16), hex(16));
    }
}
