//! The manager's socket, as zbus wants it.
//!
//! On its own socket systemd writes its well-known name as the sender of every message (`sd_bus_set_sender`). D-Bus has
//! only unique names there, which begin with a colon, and zbus refuses such messages. So the first letter of the sender
//! is made a colon on the way in. Nothing looks at it: there is only one who can have sent it.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use async_trait::async_trait;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use zbus::connection::socket::{ReadHalf, Socket, Split, WriteHalf};

/// What comes before the sender's first letter in a message: the field's number (7), its type (a text), and the length
/// of `org.freedesktop.systemd1`.
const BEFORE_SENDER: [u8; 8] = [7, 1, b's', 0, 24, 0, 0, 0];

/// A connection to the manager.
#[derive(Debug)]
pub(super) struct ManagerSocket(pub(super) UnixStream);

impl Socket for ManagerSocket {
    type ReadHalf = Reader;
    type WriteHalf = Writer;

    fn split(self) -> Split<Reader, Writer> {
        let (read, write) = self.0.into_split();
        let reader = Reader {
            socket: read,
            senders: Senders::default(),
        };
        Split::new(reader, Writer(write))
    }
}

/// The half that messages come in by.
#[derive(Debug)]
pub(super) struct Reader {
    socket: OwnedReadHalf,
    senders: Senders,
}

#[async_trait]
impl ReadHalf for Reader {
    async fn recvmsg(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        let length = self.socket.read(buffer).await?;
        if let Some(bytes) = buffer.get_mut(..length) {
            self.senders.mend(bytes);
        }
        // The manager has no descriptors for us, and we do not say that we take any.
        Ok((length, Vec::new()))
    }
}

/// The half that messages go out by.
#[derive(Debug)]
pub(super) struct Writer(OwnedWriteHalf);

#[async_trait]
impl WriteHalf for Writer {
    async fn sendmsg(&mut self, buffer: &[u8], _fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        self.0.write(buffer).await
    }

    async fn close(&mut self) -> io::Result<()> {
        self.0.shutdown().await
    }
}

/// Finds the senders in a stream of messages, wherever it is cut in pieces.
#[derive(Debug, Default)]
struct Senders {
    /// The last bytes that came by.
    seen: [u8; BEFORE_SENDER.len()],
}

impl Senders {
    fn mend(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            if *byte == b'o' && self.seen == BEFORE_SENDER {
                *byte = b':';
            }
            self.seen.rotate_left(1);
            if let Some(last) = self.seen.last_mut() {
                *last = *byte;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sender_is_found_wherever_the_stream_is_cut() {
        let mut message = b"o or\x07\x01s\0\x18\0\0\0org.freedesktop.systemd1\0 org.".to_vec();
        let wanted = b"o or\x07\x01s\0\x18\0\0\0:rg.freedesktop.systemd1\0 org.".to_vec();
        for cut in 0..message.len() {
            let mut copy = message.clone();
            let (one, two) = copy.split_at_mut(cut);
            let mut senders = Senders::default();
            senders.mend(one);
            senders.mend(two);
            assert_eq!(copy, wanted, "cut at {cut}");
        }
        message[4] = 6;
        let mut other = message.clone();
        Senders::default().mend(&mut other);
        assert_eq!(other, message);
    }
}
