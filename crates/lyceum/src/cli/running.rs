//! Asking a running Lyceum, by the socket in its runtime folder.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use lyceum_core::Upstream;
use lyceum_gateway::HttpClient;
use nix::unistd::geteuid;

use super::report::Report;
use crate::admin;

/// The longest answer.
const LONGEST: usize = 1024 * 1024;
const HINT: &str = "is `lyceum serve` running with this configuration, and under your account?";

/// A running Lyceum that can be asked.
#[derive(Debug)]
pub(super) struct Running {
    target: Upstream,
}

/// What it has answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

impl Running {
    /// Finds the one that uses this runtime folder.
    pub(super) fn find(runtime_dir: &Path) -> Result<Self, Report> {
        let socket = admin::socket(runtime_dir);
        check_owner(&socket)?;
        Ok(Self {
            target: Upstream::Unix(socket),
        })
    }

    /// Finds it, or that none runs. That nobody may know is an error.
    pub(super) fn find_any(runtime_dir: &Path) -> Result<Option<Self>, Report> {
        let socket = admin::socket(runtime_dir);
        match std::fs::metadata(&socket) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            // A socket that its program has left behind refuses.
            Ok(_)
                if std::os::unix::net::UnixStream::connect(&socket)
                    .is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused) =>
            {
                Ok(None)
            }
            _ => Self::find(runtime_dir).map(Some),
        }
    }

    /// Asks it, and waits for the answer.
    pub(super) fn ask(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        limit: Duration,
    ) -> Result<Answer, Report> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .body(Bytes::from(body))
            .map_err(|error| Report::new(&error))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Report::new(&error))?;
        let client = HttpClient::new(None);
        let call = client.call(&self.target, request, limit, LONGEST);
        let answer = runtime
            .block_on(call)
            .map_err(|error| Report::new(&error).hint(HINT))?;
        Ok(Answer {
            status: answer.status(),
            body: answer.into_body(),
        })
    }
}

/// Whoever could put a socket there could also lie about what is asked.
fn check_owner(socket: &Path) -> Result<(), Report> {
    let metadata = std::fs::metadata(socket).map_err(|error| {
        Report::text(format!(
            "error: no running Lyceum can be told, as {} cannot be used\n  caused by: {error}",
            socket.display()
        ))
        .hint(HINT)
    })?;
    let me = geteuid();
    if metadata.uid() == me.as_raw() || me.is_root() {
        return Ok(());
    }
    Err(Report::text(format!(
        "error: {} belongs to somebody else",
        socket.display()
    ))
    .hint("run this under the account of Lyceum, or as root"))
}
