//! Reads the likely cause of a failure from what pip, uv or venv printed.
//!
//! Only the cause: what a person should do about it is [`crate::EnvError::hint`].

use crate::error::Cause;

/// Texts that tell a cause, most telling first: a full disk also breaks the network's cache,
/// and a proxy's refusal also looks like a failed connection.
const SIGNS: &[(&str, Sign)] = &[
    ("no space left on device", Sign::DiskFull),
    ("disk quota exceeded", Sign::DiskFull),
    ("dpkg was interrupted", Sign::AptInterrupted),
    ("unable to acquire the dpkg frontend lock", Sign::AptBusy),
    ("ensurepip is not available", Sign::NoVenv),
    ("no module named ensurepip", Sign::NoVenv),
    ("no module named 'ensurepip'", Sign::NoVenv),
    ("proxyerror", Sign::Proxy),
    ("tunnel connection failed", Sign::Proxy),
    ("cannot connect to proxy", Sign::Proxy),
    ("proxy authentication required", Sign::Proxy),
    ("certificate_verify_failed", Sign::Certificate),
    ("invalid peer certificate", Sign::Certificate),
    ("sslerror", Sign::Certificate),
    ("temporary failure in name resolution", Sign::Network),
    ("could not resolve host", Sign::Network),
    ("name or service not known", Sign::Network),
    ("failed to lookup address", Sign::Network),
    ("dns error", Sign::Network),
    ("network is unreachable", Sign::Network),
    ("no route to host", Sign::Network),
    ("connection refused", Sign::Network),
    ("connection reset by peer", Sign::Network),
    ("newconnectionerror", Sign::Network),
    ("failed to establish a new connection", Sign::Network),
    ("failed to connect", Sign::Network),
    ("error sending request for url", Sign::Network),
    ("client error (connect)", Sign::Network),
    ("end of file before message length", Sign::Incomplete),
    ("connection closed before message", Sign::Incomplete),
    ("incompleteread", Sign::Incomplete),
    ("error decoding response body", Sign::Incomplete),
    ("invalid zip archive", Sign::Incomplete),
    (".whl is invalid", Sign::Incomplete),
    ("read timed out", Sign::SlowNetwork),
    ("readtimeouterror", Sign::SlowNetwork),
    ("operation timed out", Sign::SlowNetwork),
    ("hash mismatch", Sign::WrongHash),
    ("do not match the hashes", Sign::WrongHash),
    ("requires a different python:", Sign::NeedsPython),
    ("cannot find command 'git'", Sign::NoGit),
    ("git executable not found", Sign::NoGit),
    ("dubious ownership in repository", Sign::ForeignRepository),
    ("could not read from remote repository", Sign::Repository),
    ("git operation failed", Sign::Repository),
    ("× git clone", Sign::Repository),
    ("× git checkout", Sign::Repository),
    ("× git fetch", Sign::Repository),
    ("resolutionimpossible", Sign::Conflict),
    ("requirements are unsatisfiable", Sign::Unsatisfiable),
    ("failed building wheel", Sign::Build),
    ("failed to build", Sign::Build),
    ("subprocess-exited-with-error", Sign::Build),
    ("permission denied", Sign::Permission),
    ("read-only file system", Sign::Permission),
];

/// Texts that tell that it was git that failed.
const GIT: &[&str] = &[
    "× git clone",
    "× git fetch",
    "git operation failed",
    "fatal: unable to access",
];

#[derive(Clone, Copy)]
enum Sign {
    DiskFull,
    AptInterrupted,
    AptBusy,
    NoVenv,
    Proxy,
    Certificate,
    Network,
    SlowNetwork,
    Incomplete,
    WrongHash,
    NeedsPython,
    NoGit,
    ForeignRepository,
    Repository,
    Conflict,
    Unsatisfiable,
    Build,
    Permission,
}

/// Finds the likely cause in the last lines of a program's output.
pub(crate) fn from_output<'a>(lines: impl Iterator<Item = &'a str>) -> Option<Cause> {
    let lines: Vec<String> = lines.map(str::to_lowercase).collect();
    let seen = |text: &str| lines.iter().any(|line| line.contains(text));
    if let Some((_, sign)) = SIGNS.iter().find(|(text, _)| seen(text)) {
        return Some(match sign {
            Sign::DiskFull => Cause::DiskFull,
            Sign::AptInterrupted => Cause::AptInterrupted,
            Sign::AptBusy => Cause::AptBusy,
            Sign::NoVenv => Cause::NoVenv,
            Sign::Proxy => Cause::Proxy,
            Sign::Certificate => Cause::Certificate,
            Sign::Network if GIT.iter().any(|text| seen(text)) => Cause::NoWayToRepository,
            Sign::Network => Cause::Network,
            Sign::SlowNetwork => Cause::SlowNetwork,
            Sign::Incomplete => Cause::Incomplete,
            Sign::WrongHash => Cause::WrongHash,
            Sign::NeedsPython => Cause::NeedsPython,
            Sign::NoGit => Cause::NoGit,
            Sign::ForeignRepository => Cause::ForeignRepository,
            Sign::Repository => Cause::Repository,
            Sign::Conflict => Cause::Conflict,
            Sign::Unsatisfiable => unsatisfiable(&lines),
            Sign::Build => built(&lines).map_or(Cause::Build, Cause::BuildOf),
            Sign::Permission => Cause::Permission,
        });
    }
    lines
        .iter()
        .find_map(|line| missing_package(line))
        .map(Cause::NoSuchPackage)
}

/// Why uv finds nothing that satisfies: it says all in one sentence, over several lines.
fn unsatisfiable(lines: &[String]) -> Cause {
    let about_python = [
        "the requested python version",
        "the current python version",
        " requires python >",
        " requires python <",
    ];
    let about = |line: &String| about_python.iter().any(|text| line.contains(text));
    if lines.iter().any(about) {
        return Cause::NeedsPython;
    }
    // Where one package depends on another, there is more to it than a package that does not exist.
    let depends = lines.iter().any(|line| line.contains(" depends on "));
    match lines.iter().find_map(|line| missing_package(line)) {
        Some(name) if !depends => Cause::NoSuchPackage(name),
        _ => Cause::Conflict,
    }
}

/// The package that could not be built, from pip's or uv's sentence about it.
fn built(lines: &[String]) -> Option<String> {
    lines.iter().find_map(|line| {
        let after = |text: &str| line.split_once(text).map(|(_, rest)| rest);
        let rest = after("failed building wheel for ")
            .or_else(|| after("failed to build `"))
            .or_else(|| after("failed to build '"))?;
        let name = rest
            .split(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c)))
            .next()?;
        (!name.is_empty()).then(|| name.to_owned())
    })
}

/// The package that an index does not have, from pip's or uv's sentence about it.
fn missing_package(line: &str) -> Option<String> {
    let after = |text: &str| line.split_once(text).map(|(_, rest)| rest);
    let rest = after("no matching distribution found for ")
        .or_else(|| after("satisfies the requirement "))
        .or_else(|| after("because there are no versions of "))
        .or_else(|| after("because there is no version of "))
        .or_else(|| after("because only ").filter(|rest| rest.contains(" available")))
        .or_else(|| after("because ").filter(|rest| rest.contains(" was not found")))?;
    let name = rest
        .split([' ', ',', ';', '<', '>', '=', '!', '~', '['])
        .next()?;
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(output: &str, expected: impl Into<Option<Cause>>) {
        assert_eq!(from_output(output.lines()), expected.into(), "{output}");
    }

    #[test]
    fn causes_are_read_from_what_programs_print() {
        check(
            "WARNING: Retrying (Retry(total=4, …)) after connection broken by 'NewConnectionError(\
             '<…>: Failed to establish a new connection: [Errno -3] Temporary failure in name resolution')': /simple/jupyterhub/\n\
             ERROR: Could not find a version that satisfies the requirement jupyterhub<7,>=6 (from versions: none)\n\
             ERROR: No matching distribution found for jupyterhub<7,>=6",
            Cause::Network,
        );
        check(
            "ERROR: Could not find a version that satisfies the requirement jupyterhub<7,>=6 (from versions: 0.1)\n\
             ERROR: No matching distribution found for jupyterhub<7,>=6",
            Cause::NoSuchPackage("jupyterhub".to_owned()),
        );
        check(
            "  × No solution found when resolving dependencies:\n\
             ╰─▶ Because jupyterhub was not found in the package registry and you require jupyterhub>=6,<7, we can conclude",
            Cause::NoSuchPackage("jupyterhub".to_owned()),
        );
        check(
            "error: No solution found when resolving dependencies\n\
             cause: Because only jupyterhub==6.1.1 is available and you require jupyterhub>=9, we can conclude",
            Cause::NoSuchPackage("jupyterhub".to_owned()),
        );
        check(
            "error: Failed to fetch: `https://pypi.org/simple/jupyterlab/`\n  Caused by: client error (Connect)\n\
             Caused by: dns error: failed to lookup address information: Name or service not known",
            Cause::Network,
        );
        check(
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
            Cause::DiskFull,
        );
        check(
            "E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem.",
            Cause::AptInterrupted,
        );
        check(
            "… after connection broken by 'ProxyError('Cannot connect to proxy.', OSError('Tunnel connection failed: 407 …",
            Cause::Proxy,
        );
        check(
            "… SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed …",
            Cause::Certificate,
        );
        check(
            "The virtual environment was not created successfully because ensurepip is not\navailable.",
            None,
        );
        check(
            "pip._vendor.urllib3.exceptions.ReadTimeoutError: HTTPSConnectionPool(host='files'): Read timed out.",
            Cause::SlowNetwork,
        );
        check(
            "Error: Command '['…/python3', '-m', 'ensurepip']' returned non-zero exit status 1.",
            None,
        );
        let pycurl = || Cause::BuildOf("pycurl".to_owned());
        check("ERROR: Failed building wheel for pycurl", pycurl());
        check("  × Failed to build `pycurl==7.45.3`", pycurl());
        check("error: subprocess-exited-with-error", Cause::Build);
        check(
            "ERROR: Cannot install a and b==1 because these package versions have conflicting dependencies.\n\
             ERROR: ResolutionImpossible: for help visit https://pip.pypa.io/",
            Cause::Conflict,
        );
        check(
            "  × No solution found when resolving dependencies:\n\
             ╰─▶ Because only b==1 is available and b==1 depends on c<2, we can conclude that all versions of b\n\
             depend on c<2. And because you require b and c==2, we can conclude that your requirements are unsatisfiable.",
            Cause::Conflict,
        );
        check(
            "  × No solution found when resolving dependencies:\n\
             ╰─▶ Because jupyterhub was not found in the package registry and you require jupyterhub>=6,\n\
             we can conclude that your requirements are unsatisfiable.",
            Cause::NoSuchPackage("jupyterhub".to_owned()),
        );
        check(
            "error: No solution found when resolving dependencies\n\
             cause: Because newer==1.0 requires Python >=3.99 and only newer==1.0 is available, we can conclude that\n\
             all versions of newer cannot be used. And because you require newer, we can conclude that your\n\
             requirements are unsatisfiable.",
            Cause::NeedsPython,
        );
        check(
            "error: Failed to download `gamma==1.0`\n  cause: error decoding response body\n\
             cause: end of file before message length reached",
            Cause::Incomplete,
        );
        check(
            "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.",
            Cause::WrongHash,
        );
        check(
            "cause: Because there is no version of attrs==99 and you require attrs==99, we can conclude that your\n\
             requirements are unsatisfiable.",
            Cause::NoSuchPackage("attrs".to_owned()),
        );
        check(
            "error: Failed to download and build `tools @ git+file:///srv/tools@v9`\n  cause: Git operation failed\n\
             cause: failed to fetch branch or tag `v9`\n fatal: couldn't find remote ref refs/tags/v9",
            Cause::Repository,
        );
        check(
            "error: subprocess-exited-with-error\n× git checkout -q v9 did not run successfully.\n│ exit code: 1",
            Cause::Repository,
        );
        check(
            "cause: Git operation failed\nfatal: detected dubious ownership in repository at '/srv/tools/.git'\n\
             fatal: Could not read from remote repository.",
            Cause::ForeignRepository,
        );
        check(
            "× git clone --quiet https://example.org/x /t did not run successfully.\n\
             fatal: unable to access 'https://example.org/x/': Could not resolve host: example.org",
            Cause::NoWayToRepository,
        );
        check(
            "ERROR: Cannot find command 'git' - do you have 'git' installed and in your PATH?",
            Cause::NoGit,
        );
        check("all went well", None);
    }
}
