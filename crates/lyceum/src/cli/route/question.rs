//! The request that is asked about.

use std::net::IpAddr;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use lyceum_config::settings::Config;
use lyceum_core::UserName;

use super::TestArgs;
use crate::cli::report::Report;

/// The request, read.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) method: String,
    pub(super) scheme: &'static str,
    /// With its port, if it has one.
    pub(super) host: String,
    /// Path and query.
    pub(super) target: String,
    pub(super) headers: HeaderMap,
    pub(super) user: Option<UserName>,
    pub(super) from: IpAddr,
}

impl Question {
    pub(super) fn read(args: &TestArgs, config: &Config) -> Result<Self, Report> {
        let (scheme, host, target) = address(&args.url, config)?;
        let user = match &args.user {
            Some(name) => Some(UserName::normalize(name).map_err(|error| {
                Report::text(format!("error: `--as {name}` is not a user: {error}")).code(2)
            })?),
            None => None,
        };
        let mut headers = HeaderMap::new();
        for line in &args.header {
            let read = line.split_once(':').and_then(|(name, value)| {
                let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
                Some((name, HeaderValue::from_str(value.trim()).ok()?))
            });
            let (name, value) = read.ok_or_else(|| {
                Report::text(format!("error: `--header {line}` is not a header"))
                    .hint("for example --header 'Accept: text/html'")
                    .code(2)
            })?;
            headers.append(name, value);
        }
        Ok(Self {
            method: args.method.to_ascii_uppercase(),
            scheme,
            host,
            target,
            headers,
            user,
            from: args.from,
        })
    }

    pub(super) fn url(&self) -> String {
        format!("{}://{}{}", self.scheme, self.host, self.target)
    }

    pub(super) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or(&self.target)
    }

    /// The host without its port.
    pub(super) fn host_name(&self) -> &str {
        match self.host.rsplit_once(':') {
            Some((name, port)) if !port.contains(']') => name,
            _ => &self.host,
        }
    }
}

/// Scheme, host and path of an address; for a path alone, those of the hub.
fn address(url: &str, config: &Config) -> Result<(&'static str, String, String), Report> {
    let wrong = || {
        Report::text(format!("error: `{url}` is not the address of a page"))
            .hint("write `https://jupyter.example.org/r/`, or a path such as `/r/`")
            .code(2)
    };
    let public = config.hub.public_url.as_deref().unwrap_or_default();
    let known = |url: &str| match url.split_once("://") {
        Some(("https", rest)) => Some(("https", rest.to_owned())),
        Some(("http", rest)) => Some(("http", rest.to_owned())),
        _ => None,
    };
    let (scheme, rest) = if url.starts_with('/') {
        let (scheme, host) = known(public)
            .or_else(|| {
                let listen = config.gateway.listen.first()?.to_string();
                Some(("http", listen)).filter(|(_, listen)| !listen.starts_with("unix:"))
            })
            .unwrap_or(("http", "localhost".to_owned()));
        (scheme, format!("{}{url}", host.trim_end_matches('/')))
    } else {
        known(url).ok_or_else(wrong)?
    };
    let rest = rest.split('#').next().unwrap_or_default();
    let (host, target) = match rest.find(['/', '?']) {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    let slash = if target.starts_with('/') { "" } else { "/" };
    let clean = rest.chars().all(|c| c.is_ascii_graphic());
    if host.is_empty() || host.contains('@') || !clean {
        return Err(wrong());
    }
    Ok((
        scheme,
        host.to_ascii_lowercase(),
        format!("{slash}{target}"),
    ))
}
