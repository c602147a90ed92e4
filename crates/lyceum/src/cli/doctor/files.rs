//! Owners and modes of the files that are Lyceum's own.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use lyceum_certs::Verdict;
use lyceum_config::settings::Config;
use nix::unistd::{Gid, Uid, chown, geteuid};

use super::Finding;
use crate::wire::tls;

/// Beyond this nobody has so many files of certificates: something else lies there.
const MOST: usize = 10_000;

/// What is done about what is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repair {
    /// It is told.
    No,
    /// It is told what would be done.
    Tell,
    /// It is mended.
    Do,
}

/// A file or folder that only its owner may use.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Own {
    path: PathBuf,
    why: &'static str,
}

/// Looks at all of them.
pub(super) fn check(config: &Config, repair: Repair) -> Vec<Finding> {
    let data_dir = &config.hub.data_dir;
    let owner = match fs::metadata(data_dir) {
        Ok(data) => (data.uid(), data.gid()),
        Err(error) => {
            return vec![Finding::bad(
                Verdict::Warning,
                format!("{} cannot be looked at: {error}", data_dir.display()),
                "`lyceum serve` makes it at its first start",
            )];
        }
    };
    let mut own = vec![
        Own {
            path: data_dir.clone(),
            why: "holds the database and all keys",
        },
        Own {
            path: config.hub.runtime_dir.clone(),
            why: "holds the sockets of servers",
        },
    ];
    if let Ok(entries) = fs::read_dir(data_dir) {
        let files = entries.filter_map(Result::ok);
        own.extend(
            files
                .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
                .map(|entry| Own {
                    path: entry.path(),
                    why: "may hold what is secret",
                }),
        );
    }
    below(&data_dir.join(tls::FOLDER), &mut own);
    let mut findings = Vec::new();
    let mut looked_at = 0;
    for one in own {
        match look(&one, owner, repair) {
            Ok(None) => looked_at += 1,
            Ok(Some(finding)) => findings.push(finding),
            // What is not there harms nobody.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => findings.push(Finding::bad(
                Verdict::Warning,
                format!("{} cannot be looked at: {error}", one.path.display()),
                "run this as Lyceum's user, or as root",
            )),
        }
    }
    if findings.is_empty() {
        findings.push(Finding::fine(format!(
            "{looked_at} files and folders are their owner's alone"
        )));
    }
    findings
}

/// Lists the files with keys, and the folders that they are in.
fn below(folder: &Path, own: &mut Vec<Own>) {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        if own.len() > MOST {
            return;
        }
        own.push(Own {
            path: folder.clone(),
            why: "holds keys of certificates",
        });
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.filter_map(Result::ok) {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(kind) if kind.is_file() => own.push(Own {
                    path: entry.path(),
                    why: "may hold a key",
                }),
                _ => {}
            }
        }
    }
}

/// Looks at one, and mends it if that is wanted; nothing if it is as it should be.
fn look(one: &Own, owner: (u32, u32), repair: Repair) -> std::io::Result<Option<Finding>> {
    // Not behind links: what they lead to is not ours.
    let data = fs::symlink_metadata(&one.path)?;
    if data.file_type().is_symlink() {
        return Ok(None);
    }
    let path = one.path.display();
    let mode = data.permissions().mode() & 0o7777;
    let right = mode & !0o077;
    let mut wrong = Vec::new();
    let mut orders = Vec::new();
    if mode != right {
        wrong.push(format!("others can use it (mode {mode:04o})"));
        orders.push(format!("chmod {right:04o} {path}"));
    }
    if data.uid() != owner.0 {
        wrong.push(format!(
            "it belongs to user {} and not {}",
            data.uid(),
            owner.0
        ));
        orders.push(format!("chown {}:{} {path}", owner.0, owner.1));
    }
    if wrong.is_empty() {
        return Ok(None);
    }
    let what = format!("{path}: {}; it {}", wrong.join("; "), one.why);
    let orders = orders.join(" && ");
    Ok(Some(match repair {
        Repair::No => Finding::bad(
            Verdict::Problem,
            what,
            format!("`{orders}`, or `lyceum doctor --fix`"),
        ),
        Repair::Tell => Finding::bad(Verdict::Problem, what, format!("--fix would do: {orders}")),
        Repair::Do => match mend(&one.path, right, owner, data.uid()) {
            Ok(()) => Finding::fine(format!("{what}; mended: {orders}")),
            Err(error) => Finding::bad(
                Verdict::Problem,
                format!("{what}; it could not be mended: {error}"),
                format!("as root: `{orders}`"),
            ),
        },
    }))
}

fn mend(path: &Path, mode: u32, owner: (u32, u32), uid: u32) -> std::io::Result<()> {
    if uid != owner.0 {
        if !geteuid().is_root() {
            return Err(std::io::ErrorKind::PermissionDenied.into());
        }
        chown(
            path,
            Some(Uid::from_raw(owner.0)),
            Some(Gid::from_raw(owner.1)),
        )?;
    }
    fs::set_permissions(path, Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn keys_that_others_can_read_are_found_and_mended() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.hub.data_dir = folder.path().join("data");
        config.hub.runtime_dir = folder.path().join("run");
        let certificates = config.hub.data_dir.join(tls::FOLDER);
        fs::create_dir_all(&certificates).unwrap();
        fs::create_dir_all(&config.hub.runtime_dir).unwrap();
        for path in [&config.hub.data_dir, &config.hub.runtime_dir, &certificates] {
            fs::set_permissions(path, Permissions::from_mode(0o700)).unwrap();
        }
        let key = certificates.join("a.org.pem");
        fs::write(&key, "key").unwrap();
        fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();

        let found = check(&config, Repair::No);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].verdict, Verdict::Problem);
        assert!(found[0].what.contains("a.org.pem"), "{found:?}");
        assert!(found[0].hint.as_ref().unwrap().contains("chmod 0600"));

        check(&config, Repair::Tell);
        assert_eq!(mode(&key), 0o644, "a trial changes nothing");
        let mended = check(&config, Repair::Do);
        assert_eq!(mended[0].verdict, Verdict::Fine);
        assert_eq!(mode(&key), 0o600);
        assert_eq!(check(&config, Repair::No)[0].verdict, Verdict::Fine);
    }

    #[test]
    fn what_links_lead_to_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let outside = folder.path().join("outside");
        fs::write(&outside, "x").unwrap();
        fs::set_permissions(&outside, Permissions::from_mode(0o644)).unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&outside, &link).unwrap();
        let own = Own {
            path: link,
            why: "is a link",
        };
        assert_eq!(look(&own, (0, 0), Repair::Do).unwrap(), None);
        assert_eq!(mode(&outside), 0o644);
    }
}
