//! Look-ups, proofs and the preflight against real name servers. Asks nobody outside this machine.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "the helpers of a test fail as the test itself does"
)]

mod bind;
mod challtestsrv;
mod command;
mod lookups;
mod preflight;
mod propagation;
mod update;

use std::sync::Arc;

use lyceum_certs::{Proof, Rfc2136Config, Shown, Solver, Trouble};
use lyceum_core::{Clock, SystemClock, Timestamp};

/// A proof with a value of its own.
pub(crate) fn proof<'a>(name: &'a str, value: &'a str) -> Proof<'a> {
    Proof {
        name,
        token: "token",
        key_authorization: "token.thumbprint",
        digest: &[7; 32],
        dns_value: value,
    }
}

pub(crate) fn system_clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

/// A clock that is wrong by some seconds.
#[derive(Debug)]
pub(crate) struct WrongClock(pub(crate) i64);

impl Clock for WrongClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(SystemClock.now().as_second() + self.0).unwrap()
    }
}

/// Shows a proof that must not succeed, and gives what is said.
pub(crate) async fn refused(solver: &dyn Solver, name: &str) -> Trouble {
    match solver.show(proof(name, "refused-value")).await {
        Ok(_) => panic!("the proof of {name} must not be shown"),
        Err(trouble) => {
            assert!(!trouble.hint.is_empty(), "{trouble}");
            trouble
        }
    }
}

pub(crate) async fn shown(solver: &dyn Solver, name: &str, value: &str) -> Box<dyn Shown> {
    solver
        .show(proof(name, value))
        .await
        .unwrap_or_else(|trouble| panic!("{name}: {trouble} (hint: {})", trouble.hint))
}

/// The configuration for a test's name server and its key.
pub(crate) fn update_config(bind: &bind::Bind) -> Rfc2136Config {
    Rfc2136Config {
        server: bind.address.to_string().parse().unwrap(),
        tsig_name: Some("lyceum".to_owned()),
        tsig_secret_file: Some(bind.key_file()),
        propagation_timeout: "20s".parse().unwrap(),
        ..Rfc2136Config::default()
    }
}
