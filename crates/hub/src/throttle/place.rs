//! Where somebody is, as far as brakes are concerned: an IPv4 address, or an IPv6 network of one customer.

use std::net::IpAddr;
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use lyceum_core::random;
use lyceum_store::StoreError;
use sha2::Sha256;

use crate::Hub;

/// How long an address is known after a login from it.
pub(crate) const KNOWN_FOR: Duration = Duration::from_hours(180 * 24);
/// Under which name the key of the hashes is stored.
const KEY: &str = "login_place_key";

/// An IPv4 address, or the first 64 bits of an IPv6 address: whoever has one address of those has all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    V4(u32),
    V6(u64),
    /// The address is not known, as with a proxy on a Unix socket that tells none.
    Nowhere,
}

impl Place {
    pub(crate) fn of(addr: Option<IpAddr>) -> Self {
        match addr.map(|addr| addr.to_canonical()) {
            Some(IpAddr::V4(addr)) => Self::V4(addr.to_bits()),
            Some(IpAddr::V6(addr)) => {
                let [a, b, c, d, ..] = addr.segments();
                let network = [a, b, c, d].into_iter();
                Self::V6(network.fold(0, |bits, segment| bits << 16 | u64::from(segment)))
            }
            None => Self::Nowhere,
        }
    }

    pub(crate) fn is_somewhere(self) -> bool {
        self != Self::Nowhere
    }

    /// What is stored of it; nothing if it is not known.
    fn tag(self, key: &[u8]) -> Option<[u8; 16]> {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
        match self {
            Self::V4(bits) => mac.update(&bits.to_be_bytes()),
            Self::V6(bits) => mac.update(&bits.to_be_bytes()),
            Self::Nowhere => return None,
        }
        mac.finalize().into_bytes().first_chunk().copied()
    }
}

impl Hub {
    /// Makes what is stored of a place, with a key that is made the first time; `None` if the place is not known.
    ///
    /// Must not be called in a transaction: it may begin one.
    pub(crate) async fn place_tag(&self, place: Place) -> Result<Option<[u8; 16]>, StoreError> {
        if !place.is_somewhere() {
            return Ok(None);
        }
        let key = self.place_key().get_or_try_init(|| async {
            if let Some(key) = self.store().find_setting(KEY).await? {
                return Ok(key);
            }
            let mut tx = self.store().begin().await?;
            // Somebody may have made one meanwhile.
            if let Some(key) = tx.find_setting(KEY).await? {
                return Ok(key);
            }
            let key = random::hex(32);
            tx.set_setting(KEY, Some(&key)).await?;
            tx.commit().await?;
            Ok::<_, StoreError>(key)
        });
        Ok(place.tag(key.await?.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Place {
        Place::of(Some(text.parse().unwrap()))
    }

    #[test]
    fn addresses_of_one_customer_are_one_place() {
        assert_eq!(place("2001:db8:1:2::1"), place("2001:db8:1:2:ffff::7"));
        assert_ne!(place("2001:db8:1:2::1"), place("2001:db8:1:3::1"));
        assert_eq!(place("::ffff:192.0.2.7"), place("192.0.2.7"));
        assert_ne!(place("192.0.2.7"), place("192.0.2.8"));
        assert_ne!(place("::1"), place("0.0.0.1"));
    }

    #[test]
    fn what_is_stored_of_a_place_does_not_tell_it_without_the_key() {
        let tag = |text: &str, key: &str| place(text).tag(key.as_bytes());
        assert_eq!(tag("192.0.2.7", "key"), tag("192.0.2.7", "key"));
        assert_ne!(tag("192.0.2.7", "key"), tag("192.0.2.7", "other"));
        assert_ne!(tag("192.0.2.7", "key"), tag("192.0.2.8", "key"));
        assert_eq!(Place::Nowhere.tag(b"key"), None);
    }
}
