//! Who listens at a port of this machine, as the kernel says; see `lyceum_core::listener`. The gateway, which the hub does
//! not know, asks the same.

use std::io;

use lyceum_core::listener::{ANSWER_ROOM, owner as read_owner, question};
use rustix::net::netlink::{SOCK_DIAG, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with,
};

/// Tells the account that listens at a port of 127.0.0.1; `None` if nobody does. Does not block: the kernel has answered
/// when the question is sent.
pub(crate) fn owner(port: u16) -> io::Result<Option<u32>> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        flags,
        Some(SOCK_DIAG),
    )?;
    let kernel = SocketAddrNetlink::new(0, 0);
    sendto(&socket, &question(port), SendFlags::empty(), &kernel)?;
    let mut answer = [0; ANSWER_ROOM];
    let (length, _) = recv(&socket, &mut answer[..], RecvFlags::empty())?;
    read_owner(answer.get(..length).unwrap_or_default(), port).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn the_account_that_listens_is_told_and_that_nobody_does() {
        let own = std::fs::metadata("/proc/self").unwrap().uid();
        for address in ["127.0.0.1:0", "0.0.0.0:0", "[::]:0"] {
            let listener = std::net::TcpListener::bind(address).unwrap();
            let port = listener.local_addr().unwrap().port();
            assert_eq!(owner(port).unwrap(), Some(own), "{address}");
            let connected = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
            assert_eq!(owner(port).unwrap(), Some(own), "{address}");
            drop(listener);
            assert_eq!(owner(port).unwrap(), None, "{address}");
            drop(connected);
        }
    }
}
