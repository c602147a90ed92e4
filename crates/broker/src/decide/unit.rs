//! The names of units and folders: safe, and no two servers' alike.

use lyceum_core::names::{ServerName, UserName};
use lyceum_core::random;
use sha2::{Digest as _, Sha256};

/// What all names begin with.
pub(crate) const START: &str = "lyceum-";
/// The longest name of a unit, in bytes, without its ending; systemd takes 255 with it.
const MAX_UNIT: usize = 200;
/// How much of a longer name is written out.
const KEPT: usize = 120;
/// The longest name of a folder; it is in the path of a socket, which is short.
const MAX_FOLDER: usize = 48;
/// Lyceum's own units, present and possible, without their start: no user's unit may have such a name.
const RESERVED: [&str; 22] = [
    "api",
    "backup",
    "broker",
    "cert",
    "cleanup",
    "cull",
    "culler",
    "data",
    "doctor",
    "env",
    "envs",
    "gateway",
    "hub",
    "maintenance",
    "proxy",
    "renew",
    "restore",
    "serve",
    "servers",
    "setup",
    "update",
    "upgrade",
];

/// The name of a server's unit without its ending: `lyceum-ada`, or `lyceum-ada-lab`.
///
/// Names are escaped as `systemd-escape` does it, hyphens too: the server `lab` of `ada` and the first server of
/// `ada-lab` are different ones. Where the name would be one of Lyceum's own units, its first letter is escaped.
pub(crate) fn unit_name(user: &UserName, server: &ServerName) -> String {
    let mut unit = START.to_owned();
    let reserved = server.is_default() && RESERVED.contains(&user.as_str());
    push_escaped(&mut unit, user.as_str(), reserved);
    if !server.is_default() {
        unit.push('-');
        push_escaped(&mut unit, server.as_str(), false);
    }
    if unit.len() > MAX_UNIT {
        let hash = hash(&unit);
        let kept = unit.get(..KEPT).unwrap_or_default();
        // Not in the middle of an escape. Two hyphens are in no other name.
        let kept = match kept.rfind('\\') {
            Some(at) if at + 4 > KEPT => kept.get(..at).unwrap_or_default(),
            _ => kept,
        };
        unit = format!("{}--{hash}", kept.trim_end_matches('-'));
    }
    unit
}

fn push_escaped(unit: &mut String, name: &str, first_too: bool) {
    for (index, byte) in name.bytes().enumerate() {
        let plain = byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':';
        let dot = byte == b'.' && index > 0;
        if (plain || dot) && !(first_too && index == 0) {
            unit.push(char::from(byte));
        } else {
            unit.push_str("\\x");
            unit.push_str(&random::to_hex(&[byte]));
        }
    }
}

/// The name of a unit's folder: the same where that is short and plain, else its hash.
pub(crate) fn folder_name(unit: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if unit.len() <= MAX_FOLDER && unit.bytes().all(plain) {
        unit.to_owned()
    } else {
        // A tilde is in no unit's name.
        format!("{START}~{}", hash(unit))
    }
}

fn hash(text: &str) -> String {
    let digest = random::to_hex(&Sha256::digest(text.as_bytes()));
    digest.chars().take(32).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unit(user: &str, server: &str) -> String {
        unit_name(
            &UserName::parse(user).unwrap(),
            &ServerName::parse(server).unwrap(),
        )
    }

    #[test]
    fn units_are_written_as_systemd_escape_writes_them() {
        let check = |user: &str, server: &str, expected: &str| {
            assert_eq!(unit(user, server), expected);
            let folder = folder_name(expected);
            assert!(
                folder.len() <= MAX_FOLDER && !folder.contains('\\'),
                "{folder}"
            );
        };
        check("ada", "", "lyceum-ada");
        check("ada", "lab", "lyceum-ada-lab");
        check("ada-lab", "", "lyceum-ada\\x2dlab");
        check("a.b@c", "", "lyceum-a.b\\x40c");
        check(".a", "", "lyceum-\\x2ea");
        check("ü", "", "lyceum-\\xc3\\xbc");
    }

    #[test]
    fn a_user_named_like_a_unit_of_lyceum_does_not_get_that_units_name() {
        assert_eq!(unit("broker", ""), "lyceum-\\x62roker");
        for name in RESERVED {
            assert_ne!(unit(name, ""), format!("lyceum-{name}"));
        }
        assert_eq!(unit("broker", "lab"), "lyceum-broker-lab");
    }

    proptest! {
        #[test]
        fn no_two_servers_have_the_same_unit_or_folder(
            names in prop::collection::vec("[a-z\\-.:_\\\\@é]{1,70}", 4),
            empty in any::<[bool; 2]>(),
        ) {
            let parse = |index: usize| {
                let user = UserName::parse(&names[index * 2]);
                let server = if empty[index] { "" } else { names[index * 2 + 1].as_str() };
                Some((user.ok()?, ServerName::parse(server).ok()?))
            };
            if let (Some(one), Some(other)) = (parse(0), parse(1)) {
                let units = [unit_name(&one.0, &one.1), unit_name(&other.0, &other.1)];
                prop_assert!(units.iter().all(|unit| unit.len() <= MAX_UNIT));
                prop_assert_eq!(one == other, units[0] == units[1]);
                prop_assert_eq!(one == other, folder_name(&units[0]) == folder_name(&units[1]));
            }
        }
    }
}
