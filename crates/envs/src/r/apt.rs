//! Packages of the distribution, ready-made: `r-cran-…` and `r-bioc-…`. Only root can install them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use crate::command::{Log, Seen, Step, run, run_to_its_end};
use crate::error::{Cause, EnvError};

const ASK_LIMIT: Duration = Duration::from_mins(2);
const INSTALL_LIMIT: Duration = Duration::from_hours(2);
/// How long apt waits for another program that installs, in seconds: such as an apt that an earlier run of ours began.
const LOCK_LIMIT: &str = "DPkg::Lock::Timeout=1800";

/// What apt knows of a package.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) installed: Option<String>,
    pub(super) candidate: Option<String>,
    /// All that it could install.
    pub(super) versions: Vec<String>,
}

/// Asks apt about packages; those that it does not know are left out.
pub(super) async fn ask(names: &[String], log: &Log) -> Result<BTreeMap<String, State>, EnvError> {
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut arguments: Vec<&OsStr> = vec!["policy".as_ref()];
    arguments.extend(names.iter().map(OsStr::new));
    let step = Step {
        doing: "ask apt about packages",
        program: OsStr::new("apt-cache"),
        arguments,
        environment: environment(),
        limit: ASK_LIMIT,
    };
    // All lines, not only the last ones that are kept for an error.
    let mut text = String::new();
    run(step, log, &mut |seen| {
        if let Seen::Line(line) = seen {
            text.push_str(line);
            text.push('\n');
        }
    })
    .await?;
    Ok(parse(&text))
}

/// Installs packages, and nothing that removes others. `waits` hears of it when another program that installs has to end
/// first.
///
/// Once begun, apt comes to its end whatever becomes of us: broken off in the middle, it would leave the system's packages
/// half-installed. So whoever drops this only stops waiting for it, and the next call waits until it has ended.
pub(super) async fn install(
    names: &[String],
    log: &Log,
    waits: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), EnvError> {
    let mut arguments: Vec<&OsStr> = [
        "install",
        "--yes",
        "--quiet",
        "--no-install-recommends",
        "--no-remove",
        "-o",
        LOCK_LIMIT,
        // Nobody is there to be asked about files that were changed by hand: they stay as they are.
        "-o",
        "Dpkg::Options::=--force-confdef",
        "-o",
        "Dpkg::Options::=--force-confold",
        "--",
    ]
    .map(OsStr::new)
    .into();
    arguments.extend(names.iter().map(OsStr::new));
    let step = Step {
        doing: "install packages with apt",
        program: OsStr::new("apt-get"),
        arguments,
        environment: environment(),
        limit: INSTALL_LIMIT,
    };
    let mut told = false;
    let mut observer = |seen: Seen<'_>| {
        // Said again each second.
        if let Seen::Line(line) = seen
            && line.starts_with("Waiting for cache lock")
            && !std::mem::replace(&mut told, true)
        {
            waits(holder(line).unwrap_or("another program"));
        }
    };
    run_to_its_end(step, log, &mut observer).await.map(drop)
}

/// Who has the lock: `… It is held by process 4711 (apt-get)...`.
fn holder(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("It is held by ")?;
    rest.split_once(')')
        .map(|(before, _)| before)
        .and_then(|before| rest.get(..=before.len()))
}

/// Whether apt will fail with every package as it has failed with these.
pub(super) fn is_useless_now(error: &EnvError) -> bool {
    let causes = [Cause::AptBusy, Cause::AptInterrupted, Cause::DiskFull];
    error.cause().is_some_and(|cause| {
        causes.contains(cause) || matches!(cause, Cause::Timeout(_) | Cause::NotStarted(_))
    })
}

/// Whether this is a machine with apt.
pub(super) fn is_there() -> bool {
    Path::new("/usr/bin/apt-get").is_file()
}

fn environment() -> Vec<(&'static str, Option<String>)> {
    vec![
        ("LC_ALL", Some("C.UTF-8".to_owned())),
        ("LANGUAGE", Some("en".to_owned())),
        ("DEBIAN_FRONTEND", Some("noninteractive".to_owned())),
    ]
}

fn parse(text: &str) -> BTreeMap<String, State> {
    let mut found: BTreeMap<String, State> = BTreeMap::new();
    let mut name = None;
    for line in text.lines() {
        let value = |key: &str| {
            line.trim()
                .strip_prefix(key)
                .map(|value| Some(value.trim().to_owned()).filter(|value| value != "(none)"))
        };
        if !line.starts_with(' ')
            && let Some(one) = line.strip_suffix(':')
        {
            name = Some(one.to_owned());
            found.entry(one.to_owned()).or_default();
        } else if let Some(state) = name.as_ref().and_then(|name| found.get_mut(name)) {
            if let Some(version) = value("Installed:") {
                state.installed = version;
            } else if let Some(version) = value("Candidate:") {
                state.candidate = version;
            } else if let Some(version) = listed_version(line) {
                state.versions.push(version.to_owned());
            }
        }
    }
    found.retain(|_, state| state.installed.is_some() || state.candidate.is_some());
    found
}

/// The version in a line of the table: ` *** 1.3.3-1 500` or `     1.3.3-1 500`. Lines about where it comes from begin
/// further to the right, and have more words.
fn listed_version(line: &str) -> Option<&str> {
    let rest = line
        .strip_prefix(" *** ")
        .or_else(|| line.strip_prefix("     "))?;
    let (version, priority) = rest.split_once(' ')?;
    (!version.is_empty() && priority.parse::<i32>().is_ok()).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_installs_is_named() {
        assert_eq!(
            holder(
                "Waiting for cache lock: Could not get lock /x. It is held by process 4711 (apt-get)..."
            ),
            Some("process 4711 (apt-get)")
        );
        assert_eq!(holder("Waiting for cache lock: Could not get lock"), None);
    }

    #[test]
    fn apts_answer_is_understood() {
        let found = parse(
            "r-cran-xml2:\n  Installed: 1.3.3-1\n  Candidate: 1.3.3-1\n  Version table:\n     1.4-1 100\n        100 https://x stable/main amd64 Packages\n\
             \x20*** 1.3.3-1 500\n        500 https://x stable/main amd64 Packages\n        100 /var/lib/dpkg/status\n\
             r-cran-zoo:\n  Installed: (none)\n  Candidate: 1.8\nr-cran-virtual:\n  Installed: (none)\n  Candidate: (none)\n",
        );
        assert_eq!(found.len(), 2);
        assert_eq!(found["r-cran-xml2"].installed.as_deref(), Some("1.3.3-1"));
        assert_eq!(found["r-cran-xml2"].versions, ["1.4-1", "1.3.3-1"]);
        assert_eq!(found["r-cran-zoo"].installed, None);
    }
}
