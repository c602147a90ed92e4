//! Which account a user's servers run under, and which accounts are never used: root's by any road, the system's,
//! Lyceum's own, and those that can become one of these.

use std::path::Path;

use lyceum_core::names::UserName;

use crate::account::Account;
use crate::policy::{AccountPolicy, Policy};
use crate::protocol::Refusal;

/// The longest name of an account, in bytes (`LOGIN_NAME_MAX` of the tools that make them).
const MAX_NAME: usize = 32;
/// The number that stands for nobody, in two spellings.
const NOBODY: [u32; 2] = [65_534, u32::MAX];

/// The name of the account under which a user's servers run. Whether it exists is not known here.
pub(crate) fn account_name(policy: &AccountPolicy, user: &UserName) -> Result<String, Refusal> {
    let name = policy.name.replace("{username}", user.as_str());
    if is_possible(&name) && name != "root" {
        return Ok(name);
    }
    Err(Refusal::policy(
        format!("The user's name `{user}` is not possible for an account of this machine."),
        "Names of accounts have up to 32 letters, digits and the signs `_`, `.`, `-`, `@`, `+`, and are no numbers.",
    ))
}

/// Whether an account of this name may exist somewhere. Nothing that is taken for a number, an option, a path, or two
/// fields of a file is.
fn is_possible(name: &str) -> bool {
    let letters = name.strip_suffix('$').unwrap_or(name);
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-@+".contains(&byte);
    let first = letters.bytes().next();
    (1..=MAX_NAME).contains(&name.len())
        && letters.bytes().all(allowed)
        && first.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !is_number(name)
}

/// Programs disagree on what is a number: `0x10` and `1e3` are for some.
fn is_number(name: &str) -> bool {
    let hexadecimal = name
        .strip_prefix("0x")
        .or_else(|| name.strip_prefix("0X"))
        .is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()));
    hexadecimal || name.parse::<f64>().is_ok() && name.bytes().any(|byte| byte.is_ascii_digit())
}

/// Whether every program takes it for a name (POSIX.1 §3.437, and lower case): accounts of other names are used if
/// they exist, and never made.
pub(crate) fn is_portable(name: &str) -> bool {
    let first = name.bytes().next();
    is_possible(name)
        && first.is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'_')
        && name.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-'
        })
}

/// Refuses accounts that no user's server may run under.
pub(crate) fn check_account(
    policy: &Policy,
    user: &UserName,
    name: &str,
    account: &Account,
) -> Result<(), Refusal> {
    let rules = &policy.accounts;
    check_groups(rules, user, account.shared_groups())?;
    let refuse = |why: String, hint: &str| Err(Refusal::policy(why, hint));
    if account.name != name {
        return refuse(
            format!(
                "The machine knows the account {name} by another name, {}.",
                account.name
            ),
            "Log in with the account's own name.",
        );
    }
    let root = account.uid == 0 || account.gid == 0 || account.gids.contains(&0);
    if root || account.groups.iter().any(|group| group == "root") {
        return refuse(
            format!("The account {name} is root's, or in root's group, and is never used."),
            "Log in with an ordinary account.",
        );
    }
    if account.uid == policy.client_uid
        || account.gid == policy.client_gid
        || account.gids.contains(&policy.client_gid)
    {
        return refuse(
            format!("The account {name} is Lyceum's own, or in its group, and is never used."),
            "Take the account out of Lyceum's group: its members can reach every server.",
        );
    }
    if !rules.uids.contains(&account.uid) || NOBODY.contains(&account.uid) {
        return refuse(
            format!(
                "The account {name} has the number {}, and only {} to {} are used.",
                account.uid,
                rules.uids.start(),
                rules.uids.end()
            ),
            "Accounts of the system are refused; see `accounts.uid_range` in the configuration.",
        );
    }
    if let Some(group) = account
        .groups
        .iter()
        .find(|group| rules.refused_groups.contains(*group))
    {
        return refuse(
            format!("The account {name} is in the group {group}, whose members are refused."),
            "See `accounts.refused_groups` in the configuration.",
        );
    }
    if rules.closed_shells.contains(&account.shell) {
        return refuse(
            format!(
                "The account {name} is closed: its shell is {}.",
                account.shell.display()
            ),
            "An administrator opens it with `chsh -s /bin/bash NAME`.",
        );
    }
    if !is_home(&account.home) {
        return refuse(
            format!("The account {name} has no home folder of its own."),
            "See `getent passwd NAME`.",
        );
    }
    Ok(())
}

/// Refuses to make an account whose user would not be accepted with it.
pub(crate) fn check_new_account(
    policy: &Policy,
    user: &UserName,
    groups: &[String],
) -> Result<(), Refusal> {
    check_groups(&policy.accounts, user, groups.iter().map(String::as_str))
}

fn check_groups<'a>(
    rules: &AccountPolicy,
    user: &UserName,
    groups: impl Iterator<Item = &'a str>,
) -> Result<(), Refusal> {
    match &rules.only {
        Some(only) if !only.by_name(user) && !only.by_group(groups) => Err(not_admitted(user)),
        _ => Ok(()),
    }
}

pub(super) fn not_admitted(user: &UserName) -> Refusal {
    Refusal::policy(
        format!("The configuration does not let {user} in."),
        "See `access` in the configuration.",
    )
}

/// Where accounts without a home have it (Debian Policy 9.1.1): nothing may ever be made there.
const NO_HOME: &str = "/nonexistent";

/// Whether this can be somebody's home folder, and nobody's else.
fn is_home(home: &Path) -> bool {
    let plain = home
        .to_str()
        .is_some_and(|text| !text.contains(['\n', '\0', ':']));
    let climbs = home
        .components()
        .any(|part| matches!(part, std::path::Component::ParentDir));
    let none = home == Path::new("/") || home.starts_with(NO_HOME);
    home.is_absolute() && !none && plain && !climbs
}
