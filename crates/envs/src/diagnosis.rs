//! Reads the likely cause of a failure from what pip, uv or venv printed.
//!
//! Only the cause: what a person should do about it is [`crate::EnvError::hint`].

use crate::error::Cause;

/// Texts that tell a cause, most telling first: a full disk also breaks the network's cache,
/// and a proxy's refusal also looks like a failed connection.
const SIGNS: &[(&str, Sign)] = &[
    ("no space left on device", Sign::DiskFull),
    ("disk quota exceeded", Sign::DiskFull),
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
    ("read timed out", Sign::SlowNetwork),
    ("readtimeouterror", Sign::SlowNetwork),
    ("operation timed out", Sign::SlowNetwork),
    ("failed building wheel", Sign::Build),
    ("failed to build", Sign::Build),
    ("subprocess-exited-with-error", Sign::Build),
    ("permission denied", Sign::Permission),
    ("read-only file system", Sign::Permission),
];

#[derive(Clone, Copy)]
enum Sign {
    DiskFull,
    NoVenv,
    Proxy,
    Certificate,
    Network,
    SlowNetwork,
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
            Sign::NoVenv => Cause::NoVenv,
            Sign::Proxy => Cause::Proxy,
            Sign::Certificate => Cause::Certificate,
            Sign::Network => Cause::Network,
            Sign::SlowNetwork => Cause::SlowNetwork,
            Sign::Build => Cause::Build,
            Sign::Permission => Cause::Permission,
        });
    }
    lines
        .iter()
        .find_map(|line| missing_package(line))
        .map(Cause::NoSuchPackage)
}

/// The package that an index does not have, from pip's or uv's sentence about it.
fn missing_package(line: &str) -> Option<String> {
    let after = |text: &str| line.split_once(text).map(|(_, rest)| rest);
    let rest = after("no matching distribution found for ")
        .or_else(|| after("satisfies the requirement "))
        .or_else(|| after("because there are no versions of "))
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
        check("ERROR: Failed building wheel for pycurl", Cause::Build);
        check("all went well", None);
    }
}
