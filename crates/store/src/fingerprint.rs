//! Digests of random secrets that are looked up by their value.

use lyceum_core::random::to_hex;
use lyceum_core::secret::Secret;
use sha2::{Digest as _, Sha256};

/// Gives the SHA-256 of a secret, in hexadecimal.
///
/// Enough for session cookies and authorization codes: they carry more than 128 random bits, so neither salt
/// nor rounds would help, and an index can find them. A reader of the database cannot use what is stored.
pub(crate) fn fingerprint(secret: &Secret<String>) -> String {
    to_hex(&Sha256::digest(secret.expose().as_bytes()))
}
