//! The authenticator `dummy`: any name logs in, without a password or with one for all names.
//!
//! For trying things out and for tests. It is not made for an address that others can reach, unless the
//! configuration says that this is wanted. It cannot know of a proxy in front that others can reach.

mod config;

use std::net::{IpAddr, SocketAddr};

use async_trait::async_trait;
use lyceum_core::seams::{Attempt, AuthError, Authenticator, Identity, Step};
use lyceum_core::{Secret, UserName};
use thiserror::Error;

use crate::password::{self, Mark, Marker, PasswordError};

pub use self::config::DummyConfig;

/// The authenticator's name in configuration and logs.
pub const KIND: &str = "dummy";

/// Why the authenticator cannot be made.
#[derive(Debug, Error)]
pub enum DummyError {
    /// Others could reach it.
    #[error(
        "the login method `dummy` lets anybody in, and others can reach {0}: listen on 127.0.0.1, choose another `auth.kind`, or set `auth.allow_public`"
    )]
    Public(SocketAddr),
    /// The password cannot be read.
    #[error("the password of the login method `dummy` cannot be used")]
    Password(#[from] PasswordError),
}

/// Lets in whoever gives a name. See the module's own description.
#[derive(Debug)]
pub struct Dummy {
    marker: Marker,
    password: Option<Mark>,
}

impl Dummy {
    /// Makes the authenticator of a configuration, whose file is read now (blocks, briefly).
    ///
    /// `listen` are all addresses on which people can reach the hub. One that is not of this machine alone is
    /// refused, unless the configuration allows it.
    pub fn from_config(config: &DummyConfig, listen: &[SocketAddr]) -> Result<Self, DummyError> {
        check_listen(config, listen)?;
        let password = config
            .password_file
            .as_deref()
            .map(password::read)
            .transpose()?;
        Ok(Self::new(password.as_ref()))
    }

    /// Makes the authenticator where nobody else can reach it: for tests.
    pub fn new(password: Option<&Secret<String>>) -> Self {
        let marker = Marker::new();
        Self {
            password: password.map(|password| marker.mark(password.expose())),
            marker,
        }
    }
}

/// Refuses addresses that others can reach, unless the configuration allows them.
pub fn check_listen(config: &DummyConfig, listen: &[SocketAddr]) -> Result<(), DummyError> {
    match listen.iter().find(|address| !is_local(address.ip())) {
        Some(public) if !config.allow_public => Err(DummyError::Public(*public)),
        _ => Ok(()),
    }
}

/// Whether only programs of this machine can reach an address; `0.0.0.0` and `::` are all addresses.
fn is_local(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

#[async_trait]
impl Authenticator for Dummy {
    fn kind(&self) -> &'static str {
        KIND
    }

    async fn begin(&self, attempt: Attempt) -> Result<Step, AuthError> {
        let typed = self.marker.mark(attempt.password.expose());
        let knows_password = self
            .password
            .is_none_or(|password| typed.is(&password).into());
        Ok(match UserName::normalize(&attempt.username) {
            Err(_) => Step::Refused("the text is not a possible user name"),
            Ok(_) if !knows_password => Step::Refused("the password is wrong"),
            Ok(name) => Step::Identity(Identity {
                name: name.into(),
                ..Identity::default()
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_others_can_reach_is_refused_unless_allowed() {
        let check = |listen: &[&str], expected: bool| {
            let listen: Vec<SocketAddr> = listen.iter().map(|one| one.parse().unwrap()).collect();
            let made = Dummy::from_config(&DummyConfig::default(), &listen);
            assert_eq!(made.is_ok(), expected, "{listen:?}");
            let allowed = DummyConfig {
                allow_public: true,
                ..DummyConfig::default()
            };
            assert!(Dummy::from_config(&allowed, &listen).is_ok());
        };
        check(&[], true);
        check(&["127.0.0.1:8000"], true);
        check(&["[::1]:8000", "127.8.9.1:80"], true);
        check(&["[::ffff:127.0.0.1]:8000"], true);
        check(&["0.0.0.0:8000"], false);
        check(&["[::]:8000"], false);
        check(&["127.0.0.1:8000", "192.168.1.5:8000"], false);
        check(&["[::ffff:10.0.0.1]:8000"], false);
        let listen = ["0.0.0.0:80".parse().unwrap()];
        let error = Dummy::from_config(&DummyConfig::default(), &listen).unwrap_err();
        assert!(error.to_string().contains("0.0.0.0:80"), "{error}");
    }
}
