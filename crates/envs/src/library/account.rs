//! The account that downloads and builds packages, and what its programs may know of our environment.
//!
//! Building runs programs of the packages' authors. As root we hand that to an account that owns nothing else; as anybody
//! else we do it ourselves.

use std::env;

use nix::unistd::{User, geteuid};

use crate::command::Account;
use crate::error::EnvError;

/// The number of the account that owns nothing, and of its group.
const NOBODY: u32 = 65_534;

/// What says how to reach package indexes and how to compile, in the installers' own words.
const HANDED_ON: &[&str] = &[
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_NO_INDEX",
    "PIP_FIND_LINKS",
    "PIP_TRUSTED_HOST",
    "PIP_CERT",
    "PIP_PROXY",
    "PIP_DEFAULT_TIMEOUT",
    "PIP_RETRIES",
    "UV_DEFAULT_INDEX",
    "UV_INDEX",
    "UV_INDEX_URL",
    "UV_EXTRA_INDEX_URL",
    "UV_NO_INDEX",
    "UV_FIND_LINKS",
    "UV_INDEX_STRATEGY",
    "UV_INSECURE_HOST",
    "UV_HTTP_TIMEOUT",
    "UV_HTTP_RETRIES",
    "UV_NATIVE_TLS",
    "UV_SYSTEM_CERTS",
    "REQUESTS_CA_BUNDLE",
    "CC",
    "CXX",
    "CFLAGS",
    "CXXFLAGS",
    "CPPFLAGS",
    "LDFLAGS",
];

/// Finds the account that builds; `None` is ourselves.
pub(crate) fn builder(name: &str) -> Result<Option<Account>, EnvError> {
    let missing = || EnvError::NoAccount {
        name: name.to_owned(),
    };
    if !geteuid().is_root() {
        return Ok(None);
    }
    let found = User::from_name(name).ok().flatten().ok_or_else(missing)?;
    Ok((!found.uid.is_root()).then(|| Account {
        uid: found.uid.as_raw(),
        gid: found.gid.as_raw(),
    }))
}

/// The account that owns nothing, when we are root.
pub(crate) fn nobody() -> Option<Account> {
    geteuid().is_root().then_some(Account {
        uid: NOBODY,
        gid: NOBODY,
    })
}

/// What of our environment goes to another account's programs, besides the few that every program gets.
pub(crate) fn handed_on() -> Vec<(&'static str, Option<String>)> {
    let set = HANDED_ON
        .iter()
        .filter_map(|name| Some((*name, Some(env::var(name).ok()?))));
    set.collect()
}
