//! Finds the process that holds a port, so that "address in use" can name it.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

/// A process that listens where we want to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) pid: u32,
    pub(crate) command: String,
}

/// The state `LISTEN` in `/proc/net/tcp`.
const LISTENING: &str = "0A";

/// Looks through `/proc` for the listener of a TCP port; `None` if it belongs to somebody whose processes
/// we may not look into.
pub(crate) fn of_port(address: SocketAddr) -> Option<Holder> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .into_iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listeners(&table, address.port()))
        .collect();
    if inodes.is_empty() {
        return None;
    }
    let wanted: Vec<String> = inodes
        .iter()
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    fs::read_dir("/proc").ok()?.flatten().find_map(|process| {
        let pid: u32 = process.file_name().to_str()?.parse().ok()?;
        holds(&process.path(), &wanted).then(|| Holder {
            pid,
            command: fs::read_to_string(process.path().join("comm"))
                .map(|name| name.trim().to_owned())
                .unwrap_or_default(),
        })
    })
}

/// Reads the inodes of the sockets that listen on a port, from the text of a `/proc/net/tcp` table.
fn listeners(table: &str, port: u16) -> Vec<String> {
    let port = format!(":{port:04X}");
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            let local = fields.nth(1)?;
            let state = fields.nth(1)?;
            let inode = fields.nth(5)?;
            (state == LISTENING && local.ends_with(&port)).then(|| inode.to_owned())
        })
        .collect()
}

fn holds(process: &Path, wanted: &[String]) -> bool {
    fs::read_dir(process.join("fd")).is_ok_and(|files| {
        files.flatten().any(|file| {
            fs::read_link(file.path()).is_ok_and(|target| {
                wanted
                    .iter()
                    .any(|socket| target.as_os_str() == socket.as_str())
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_listening_process_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let holder = of_port(listener.local_addr().unwrap()).unwrap();
        assert_eq!(holder.pid, std::process::id());
        assert!(!holder.command.is_empty());
    }
}
