//! Messages on a Unix socket, with a descriptor beside an answer where one belongs to it.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::UnixStream;
use zeroize::Zeroizing;

use super::frame::{self, LENGTH_BYTES};

/// Reads one message without its length. Descriptors that come with it are dropped by the system.
pub(crate) async fn read(stream: &mut UnixStream) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut prefix = [0; LENGTH_BYTES];
    stream.read_exact(&mut prefix).await?;
    read_rest(stream, prefix).await
}

/// Reads one message without its length, and the descriptor beside it, if there is one.
pub(crate) async fn read_with_descriptor(
    stream: &mut UnixStream,
) -> io::Result<(Zeroizing<Vec<u8>>, Option<OwnedFd>)> {
    let mut prefix = [0; LENGTH_BYTES];
    let mut got = 0;
    let mut descriptor = None;
    while let Some(room) = prefix.get_mut(got..).filter(|room| !room.is_empty()) {
        stream.readable().await?;
        let received = stream.try_io(Interest::READABLE, || receive(stream.as_fd(), room));
        match received {
            Ok((0, _)) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok((bytes, with)) => {
                got += bytes;
                descriptor = with.or(descriptor);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    let message = read_rest(stream, prefix).await?;
    Ok((message, descriptor))
}

async fn read_rest(
    stream: &mut UnixStream,
    prefix: [u8; LENGTH_BYTES],
) -> io::Result<Zeroizing<Vec<u8>>> {
    let length =
        frame::length(prefix).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let mut message = Zeroizing::new(vec![0; length]);
    stream.read_exact(&mut message).await?;
    Ok(message)
}

/// Writes a message with its length, and a descriptor beside its first byte.
pub(crate) async fn write(
    stream: &mut UnixStream,
    message: &[u8],
    descriptor: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let mut rest = message;
    if let Some(descriptor) = descriptor {
        loop {
            stream.writable().await?;
            let sent = stream.try_io(Interest::WRITABLE, || {
                send(stream.as_fd(), message, descriptor)
            });
            match sent {
                Ok(bytes) => {
                    rest = message.get(bytes..).unwrap_or_default();
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
    stream.write_all(rest).await
}

fn send(socket: BorrowedFd<'_>, bytes: &[u8], descriptor: BorrowedFd<'_>) -> io::Result<usize> {
    let descriptors = [descriptor];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("no room for a descriptor"));
    }
    let sent = rustix::net::sendmsg(
        socket,
        &[IoSlice::new(bytes)],
        &mut control,
        SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
    )?;
    Ok(sent)
}

fn receive(socket: BorrowedFd<'_>, room: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::net::recvmsg(
        socket,
        &mut [IoSliceMut::new(room)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT,
    )?;
    let descriptor = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    Ok((received.bytes, descriptor))
}
