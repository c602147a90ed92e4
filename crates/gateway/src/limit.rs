//! How many connections are open: in all, and from each address.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::GatewayConfig;
use lyceum_core::Network;

/// How many bits of an IPv6 address count: a single customer is given that many addresses.
const IPV6_HOST_BITS: u32 = 64;

/// Counts the connections of all threads.
#[derive(Debug)]
pub(crate) struct Limits {
    /// 0 is no limit, here and below.
    total: usize,
    per_address: u32,
    trusted: Vec<Network>,
    /// Who tells by the PROXY protocol which client it is.
    proxies: Vec<Network>,
    open: AtomicUsize,
    by_address: Mutex<HashMap<IpAddr, u32>>,
}

/// The place of one connection; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    limits: Arc<Limits>,
    counted: Option<IpAddr>,
}

/// Which limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    Total,
    Address,
}

impl Limits {
    pub(crate) fn new(config: &GatewayConfig) -> Arc<Self> {
        Arc::new(Self {
            total: config.max_connections as usize,
            per_address: config.max_connections_per_address,
            trusted: config.trusted_proxies.clone(),
            proxies: config.proxy_protocol_from.clone(),
            open: AtomicUsize::new(0),
            by_address: Mutex::default(),
        })
    }

    /// Takes a place for a new connection; `None` is a peer on a Unix socket. For one that has to name its
    /// client first, only the total counts; see [`Slot::count_client`].
    pub(crate) fn take(self: &Arc<Self>, peer: Option<IpAddr>) -> Result<Slot, Full> {
        // From here on, dropping the slot takes back what was counted.
        let mut slot = Slot {
            limits: Arc::clone(self),
            counted: None,
        };
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        if self.total > 0 && before >= self.total {
            return Err(Full::Total);
        }
        if !is_among(&self.proxies, peer) {
            slot.count(peer)?;
        }
        Ok(slot)
    }

    /// The address under which a peer counts. Behind a trusted proxy are many people, and on a Unix socket
    /// or the loopback interface nobody from outside.
    fn counted_as(&self, peer: Option<IpAddr>) -> Option<IpAddr> {
        let address = peer?;
        if self.per_address == 0
            || address.to_canonical().is_loopback()
            || is_among(&self.trusted, Some(address))
        {
            return None;
        }
        Some(match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(v6) => {
                let network = v6.to_bits() >> IPV6_HOST_BITS << IPV6_HOST_BITS;
                IpAddr::V6(Ipv6Addr::from_bits(network))
            }
        })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, u32>> {
        self.by_address
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_among(networks: &[Network], peer: Option<IpAddr>) -> bool {
    networks.iter().any(|network| network.contains(peer))
}

impl Slot {
    /// Counts the connection for the client that a header of the PROXY protocol names; `None` if it names none.
    /// To be called once; a connection that counts for an address already goes on doing so.
    pub(crate) fn count_client(&mut self, client: Option<IpAddr>) -> Result<(), Full> {
        self.count(client)
    }

    fn count(&mut self, peer: Option<IpAddr>) -> Result<(), Full> {
        if self.counted.is_none()
            && let Some(address) = self.limits.counted_as(peer)
        {
            let mut counts = self.limits.counts();
            let count = counts.entry(address).or_insert(0);
            if *count >= self.limits.per_address {
                return Err(Full::Address);
            }
            *count += 1;
            self.counted = Some(address);
        }
        Ok(())
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.limits.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(address) = self.counted
            && let Entry::Occupied(mut count) = self.limits.counts().entry(address)
        {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(total: u32, per_address: u32) -> Arc<Limits> {
        Limits::new(&GatewayConfig {
            max_connections: total,
            max_connections_per_address: per_address,
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
            ..GatewayConfig::default()
        })
    }

    fn take(limits: &Arc<Limits>, peer: &str) -> Result<Slot, Full> {
        limits.take(Some(peer.parse().unwrap()))
    }

    #[test]
    fn an_address_has_its_share_and_gets_it_back() {
        let limits = limits(0, 2);
        let first = take(&limits, "192.0.2.1").unwrap();
        let _second = take(&limits, "192.0.2.1").unwrap();
        assert_eq!(take(&limits, "192.0.2.1").unwrap_err(), Full::Address);
        assert!(take(&limits, "192.0.2.2").is_ok());
        drop(first);
        let _third = take(&limits, "192.0.2.1").unwrap();
        assert!(take(&limits, "192.0.2.1").is_err());
    }

    #[test]
    fn this_machine_is_not_limited_by_address() {
        let limits = limits(3, 1);
        let _first = take(&limits, "127.0.0.1").unwrap();
        let _second = take(&limits, "127.0.0.1").unwrap();
        let _third = take(&limits, "::1").unwrap();
        assert_eq!(take(&limits, "127.0.0.1").unwrap_err(), Full::Total);
    }

    #[test]
    fn nothing_is_kept_of_addresses_that_have_gone() {
        let limits = limits(5, 2);
        drop(take(&limits, "192.0.2.1").unwrap());
        assert!(limits.counts().is_empty());
        assert_eq!(limits.open.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn neighbours_in_one_ipv6_network_count_as_one() {
        let limits = limits(0, 1);
        let _slot = take(&limits, "2001:db8::1").unwrap();
        assert!(take(&limits, "2001:db8::ffff:2").is_err());
        assert!(take(&limits, "2001:db8:0:1::1").is_ok());
    }

    #[test]
    fn proxies_and_unix_sockets_are_held_to_the_total_only() {
        let limits = limits(4, 1);
        let _slots = [
            take(&limits, "10.0.0.1").unwrap(),
            take(&limits, "10.0.0.1").unwrap(),
            limits.take(None).unwrap(),
            limits.take(None).unwrap(),
        ];
        assert_eq!(take(&limits, "192.0.2.1").unwrap_err(), Full::Total);
        assert_eq!(limits.take(None).unwrap_err(), Full::Total);
    }
    #[test]
    fn behind_a_load_balancer_clients_are_counted_once_they_are_known() {
        let limits = Limits::new(&GatewayConfig {
            max_connections: 0,
            max_connections_per_address: 1,
            proxy_protocol_from: vec!["192.0.2.0/24".parse().unwrap()],
            ..GatewayConfig::default()
        });
        let client = |text: &str| Some(text.parse().unwrap());
        let mut first = take(&limits, "192.0.2.1").unwrap();
        let mut second = take(&limits, "192.0.2.1").unwrap();
        first.count_client(client("203.0.113.9")).unwrap();
        assert_eq!(
            second.count_client(client("203.0.113.9")),
            Err(Full::Address)
        );
        drop(first);
        second.count_client(client("203.0.113.9")).unwrap();
        let mut check_of_its_own = take(&limits, "192.0.2.1").unwrap();
        check_of_its_own.count_client(None).unwrap();
        drop(second);
        assert!(limits.counts().is_empty());
    }
}
