//! Whether the accounts are there that root has packages built by.

use std::collections::BTreeMap;

use lyceum_certs::Verdict;
use lyceum_config::settings::Config;
use nix::unistd::User;

use crate::cli::doctor::Finding;

/// Looks for the accounts of all environments and libraries.
pub(super) fn check(config: &Config) -> Vec<Finding> {
    let mut builders: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, one) in &config.env.python {
        let users = builders.entry(&one.build_as).or_default();
        users.push(format!("env.python.{name}"));
    }
    for (name, one) in &config.env.r {
        let users = builders.entry(&one.build_as).or_default();
        users.push(format!("env.r.{name}"));
    }
    builders
        .into_iter()
        .filter(|(account, _)| !matches!(User::from_name(account), Ok(Some(_))))
        .map(|(account, users)| {
            Finding::bad(
                Verdict::Warning,
                format!(
                    "there is no account `{account}`, so root can build nothing for {}",
                    users.join(", ")
                ),
                format!(
                    "`useradd --system --no-create-home --shell /usr/sbin/nologin {account}`, or name another in `build_as`"
                ),
            )
        })
        .collect()
}
