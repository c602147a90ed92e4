//! Who may not ask, and what is no question.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lyceum_broker::protocol::{Answer, Question, Refusal, RefusalKind, Request, VERSION, frame};
use nix::libc;

use super::room::{Room, in_room, key, make_account, refusal, start};

/// Sends bytes under another account, and gives what comes back until the other side closes.
async fn send_as(room: &Room, uid: u32, bytes: Vec<u8>) -> Vec<u8> {
    let path = room.broker.path().to_owned();
    tokio::task::spawn_blocking(move || {
        std::thread::spawn(move || {
            become_account(uid);
            send(&path, &bytes)
        })
        .join()
        .unwrap()
    })
    .await
    .unwrap()
}

fn send(path: &PathBuf, bytes: &[u8]) -> Vec<u8> {
    let mut stream = UnixStream::connect(path).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

/// Makes this thread, and no other, act under another account.
#[expect(unsafe_code, reason = "the C library would change all threads")]
fn become_account(uid: u32) {
    // SAFETY: plain system calls with numbers; they change the credentials of this thread alone.
    unsafe {
        assert_eq!(libc::syscall(libc::SYS_setresgid, uid, uid, uid), 0);
        assert_eq!(libc::syscall(libc::SYS_setresuid, uid, uid, uid), 0);
    }
}

fn question(request: Request) -> Vec<u8> {
    let question = Question {
        version: VERSION,
        request,
    };
    frame::encode(&question).unwrap().to_vec()
}

fn framed(text: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(text.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend(text);
    bytes
}

fn refused(answer: &[u8]) -> Refusal {
    match frame::decode_answer(&answer[4..]).unwrap() {
        Answer::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn wrong_peer_an_account_that_is_not_lyceums_cannot_even_open_the_socket() {
    in_room(async |room| {
        let socket = fs::metadata(room.broker.path()).unwrap();
        assert_eq!(socket.mode() & 0o777, 0o600);
        assert_eq!(socket.uid(), super::room::CLIENT);
    });
}

#[test]
fn wrong_peer_an_account_that_gets_to_the_socket_is_refused_whatever_it_asks() {
    in_room(async |room| {
        make_account("ada", &[]);
        let everybody = fs::Permissions::from_mode(0o666);
        fs::set_permissions(room.broker.path(), everybody).unwrap();
        for uid in [1, 1000, 12_345, 65_534] {
            for request in [
                Request::Status {},
                Request::Start(start("ada", "1111111111")),
            ] {
                let answer = send_as(&room, uid, question(request)).await;
                assert_eq!(refused(&answer).kind, RefusalKind::Peer);
            }
        }
        assert_eq!(room.engine.count(), 0);
        for uid in [0, super::room::CLIENT] {
            let answer = send_as(&room, uid, question(Request::Status {})).await;
            let answer = String::from_utf8_lossy(&answer[4..]).into_owned();
            assert!(answer.contains("\"status\""), "{answer}");
        }
    });
}

#[test]
fn truncated_oversized_empty_and_foreign_questions_are_refused() {
    in_room(async |room| {
        let whole = question(Request::List {});
        let mut longer = whole.clone();
        longer[3] += 1;
        let half = whole[..whole.len() / 2].to_vec();
        for bytes in [
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
            vec![0; 4],
            vec![0xff; 4],
            vec![0, 4, 0, 1],
            framed(b"{}"),
            framed(b"\xff\xfe"),
            framed("[".repeat(20_000).as_bytes()),
            framed(br#"{"version":2,"request":{"shell":{"command":"id"}}}"#),
            framed(br#"{"version":2,"request":{"list":{"and":"more"}}}"#),
            framed(br#"{"version":2,"request":{"ensure-account":{"user":"../../etc"}}}"#),
            framed(br#"{"version":2,"request":{"ensure-account":{"user":"ada\u0000"}}}"#),
            framed(br#"{"version":2,"request":{"ensure-account":{"user":"ada","uid":0}}}"#),
        ] {
            let answer = send_as(&room, 0, bytes.clone()).await;
            assert_eq!(refused(&answer).kind, RefusalKind::Protocol, "{bytes:?}");
        }
        for bytes in [longer, half] {
            let begun = Instant::now();
            let answer = send_as(&room, 0, bytes).await;
            assert_eq!(refused(&answer).kind, RefusalKind::Protocol);
            assert!(begun.elapsed() < Duration::from_secs(15));
        }
        let other = framed(br#"{"version":1,"request":{"list":{}}}"#);
        let refusal = refused(&send_as(&room, 0, other).await);
        assert_eq!(refusal.kind, RefusalKind::Version);
        assert!(refusal.message.contains("2 and 1"), "{refusal:?}");
        assert!(refusal.hint.contains("restart"), "{refusal:?}");
        room.broker.status().await.unwrap();
    });
}

#[test]
fn slow_clients_are_cut_off_and_hold_up_nobody() {
    in_room(async |room| {
        let silent: Vec<_> = (0..50)
            .map(|_| UnixStream::connect(room.broker.path()).unwrap())
            .collect();
        let begun = Instant::now();
        room.broker.status().await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(3));
        let mut first = silent.into_iter().next().unwrap();
        first
            .set_read_timeout(Some(Duration::from_secs(15)))
            .unwrap();
        let answer = tokio::task::spawn_blocking(move || {
            let mut answer = Vec::new();
            first.read_to_end(&mut answer).unwrap();
            answer
        });
        assert_eq!(refused(&answer.await.unwrap()).kind, RefusalKind::Protocol);
    });
}

#[test]
fn replay_of_a_start_starts_nothing_and_of_a_stop_stops_nothing() {
    in_room(async |room| {
        make_account("ada", &[]);
        let first = question(Request::Start(start("ada", "1111111111")));
        room.broker.start(start("ada", "1111111111")).await.unwrap();
        let again = send_as(&room, 0, first.clone()).await;
        assert_eq!(refused(&again).kind, RefusalKind::Exists);
        let stop = question(Request::Stop {
            key: key("ada", "1111111111"),
            grace: None,
        });
        send_as(&room, 0, stop.clone()).await;
        assert_eq!(room.engine.count(), 0);
        // The start is over, and so is its mark.
        assert_eq!(
            refused(&send_as(&room, 0, first).await).kind,
            RefusalKind::Exists
        );
        room.broker.start(start("ada", "2222222222")).await.unwrap();
        send_as(&room, 0, stop).await;
        assert_eq!(room.engine.count(), 1, "a stop of an earlier start");
    });
}

#[test]
fn more_than_one_question_on_a_connection_calls_the_first_off() {
    in_room(async |room| {
        make_account("ada", &[]);
        let mut bytes = question(Request::Start(start("ada", "1111111111")));
        bytes.extend(question(Request::List {}));
        assert!(send_as(&room, 0, bytes).await.is_empty());
        assert_eq!(room.engine.count(), 0);
        assert!(room.folders().is_empty());
    });
}

#[test]
fn signals_beyond_the_short_list_and_of_other_starts_are_not_sent() {
    in_room(async |room| {
        make_account("ada", &[]);
        room.broker.start(start("ada", "1111111111")).await.unwrap();
        let key = key("ada", "1111111111");
        for signal in [-1, 0, 19, 64, i32::MAX] {
            let error = room.broker.signal(&key, signal).await.unwrap_err();
            assert_eq!(refusal(error), RefusalKind::Policy);
        }
        room.broker
            .signal(&super::room::key("ada", "2222222222"), 9)
            .await
            .unwrap();
        let pid = room.engine.pid("lyceum-ada");
        assert!(Path::new(&format!("/proc/{pid}/exe")).exists());
    });
}
