//! Waiting for the end of a process that the broker has opened for us.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Waits until the process has ended. Needs neither rights nor the broker.
#[expect(unsafe_code, reason = "tokio asks for a promise about the descriptor")]
pub(super) async fn ended(process: OwnedFd) -> io::Result<()> {
    // SAFETY: an owned descriptor is open, and stays the same one, until it is dropped by the `AsyncFd`.
    let process = unsafe { AsyncFd::register_with_interest(process, Interest::READABLE) };
    let process = process.map_err(io::Error::from)?;
    process.readable().await?.retain_ready();
    Ok(())
}
