//! The account that downloads and builds packages, and what its programs may know of our environment.
//!
//! Building runs programs of the packages' authors. As root we hand that to an account that owns nothing else; as anybody
//! else we do it ourselves.

use std::env;
use std::ffi::OsStr;
use std::process::{Command, Stdio};

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

/// The account that builds unless another is configured. Lyceum's packages bring it along, the bare program does not.
const USUAL: &str = "lyceum-build";
const USERADD: &str = "/usr/sbin/useradd";

/// How the shells of accounts end under which nobody logs in.
const NO_SHELLS: &[&str] = &["nologin", "false"];

/// Finds the account that builds; `None` is ourselves.
///
/// One under which somebody logs in is refused. What is left of it after each step of a build is ended, and what it owns is
/// open to the programs of packages' authors.
pub fn builder(name: &str) -> Result<Option<Account>, EnvError> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let found = User::from_name(name)
        .ok()
        .flatten()
        .ok_or_else(|| EnvError::NoAccount {
            name: name.to_owned(),
        })?;
    if found.uid.is_root() {
        return Ok(None);
    }
    let shell = found.shell.file_name().and_then(OsStr::to_str);
    if !shell.is_some_and(|shell| NO_SHELLS.contains(&shell)) {
        return Err(EnvError::BadBuilder {
            name: name.to_owned(),
            why: format!(
                "somebody can log in under it, with {}",
                found.shell.display()
            ),
        });
    }
    Ok(Some(Account {
        uid: found.uid.as_raw(),
        gid: found.gid.as_raw(),
    }))
}

/// Makes the usual account for building if that is the one that is named, it is not there, and we are root. Tells whether
/// it was made. Blocks.
pub fn make_builder(name: &str) -> Result<bool, EnvError> {
    if name != USUAL || !geteuid().is_root() || User::from_name(name).ok().flatten().is_some() {
        return Ok(false);
    }
    let arguments = [
        "--system",
        "--user-group",
        "--no-create-home",
        "--home-dir=/nonexistent",
        "--shell=/usr/sbin/nologin",
        "--comment=Lyceum, builder of environments",
        name,
    ];
    let made = Command::new(USERADD)
        .args(arguments)
        .stdin(Stdio::null())
        .output();
    match made {
        Ok(output) if output.status.success() => Ok(true),
        _ => Err(EnvError::NoAccount {
            name: name.to_owned(),
        }),
    }
}

/// Refuses an account with one of the numbers that people have, when we are root; one that is not there is for [`builder`]
/// to tell of.
pub fn check_builder(name: &str, people: [u32; 2]) -> Result<(), EnvError> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let [lowest, highest] = people;
    match User::from_name(name).ok().flatten() {
        Some(found) if (lowest..=highest).contains(&found.uid.as_raw()) => {
            Err(EnvError::BadBuilder {
                name: name.to_owned(),
                why: format!(
                    "its number {} is one of a person's (`accounts.uid_range`)",
                    found.uid
                ),
            })
        }
        _ => Ok(()),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The answer for an account that nobody should let build.
    fn refusal<T>(result: Result<T, EnvError>) -> String {
        match result {
            Err(error @ EnvError::BadBuilder { .. }) => {
                format!("{error}; {}", error.hint().unwrap())
            }
            Err(other) => panic!("another error: {other}"),
            Ok(_) => panic!("not refused"),
        }
    }

    #[test]
    fn an_account_of_somebodys_builds_nothing() {
        assert!(geteuid().is_root(), "this test has to be run as root");
        // Every Debian has it, with a shell that runs one command.
        let text = refusal(builder("sync"));
        assert!(text.contains("somebody can log in under it"), "{text}");
        assert!(text.contains("useradd --system"), "{text}");
        let nobody = builder("nobody").unwrap().unwrap();
        assert_eq!(nobody.uid, NOBODY);
        assert_eq!(builder("root").unwrap(), None);
        let text = refusal(check_builder("nobody", [60_000, 65_534]));
        assert!(text.contains("accounts.uid_range"), "{text}");
        check_builder("nobody", [1000, 59_999]).unwrap();
        check_builder("no-such-account", [0, u32::MAX]).unwrap();
    }
}
