//! Servers that are to speak TLS: what they are given, and that it goes with them.

use std::fs;
use std::path::{Path, PathBuf};

use lyceum_core::Secret;
use lyceum_core::route::Upstream;
use lyceum_core::seams::{ServerCredentials, Spawner as _, StartRequest, StopMode};
use lyceum_spawn::process::SocketKind;
use rustix::process::Signal;

use crate::harness::{Room, environment, eventually, kill, pid, request, try_start, within, words};

fn secure(user: &str) -> StartRequest {
    StartRequest {
        tls: Some(ServerCredentials {
            key: Secret::from("the key"),
            certificate: "the certificate".to_owned(),
            client_ca: "the authorities".to_owned(),
            server_name: "0123.server.lyceum.internal".to_owned(),
        }),
        ..request(user)
    }
}

fn variable(environment: &[String], name: &str) -> String {
    let start = format!("{name}=");
    environment
        .iter()
        .find_map(|one| one.strip_prefix(&start))
        .unwrap()
        .to_owned()
}

fn folders(room: &Room) -> Vec<PathBuf> {
    let entries = fs::read_dir(room.path("run")).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.is_dir());
    paths
}

#[tokio::test]
async fn a_server_gets_its_certificate_in_files_and_an_address_with_tls() {
    let room = Room::new();
    // A socket cannot be reached from elsewhere, so TLS is on a port.
    let spawner = room.spawner(|config| {
        config.command = words(&["/bin/sh", "-c", "exec sleep 600"]);
        config.socket = SocketKind::Unix;
    });
    let started = try_start(&spawner, secure("ada")).await.unwrap();
    let Upstream::Internal { host, port, name } = &started.upstream else {
        panic!("{:?}", started.upstream);
    };
    assert_eq!(
        (host.as_str(), name.as_str()),
        ("127.0.0.1", "0123.server.lyceum.internal")
    );
    let pid = pid(&started.handle);
    let environment = environment(pid).await;
    assert_eq!(
        variable(&environment, "JUPYTERHUB_SERVICE_URL"),
        format!("https://127.0.0.1:{port}/user/ada/")
    );
    let mut folder = PathBuf::new();
    for (name, text) in [
        ("JUPYTERHUB_SSL_KEYFILE", "the key"),
        ("JUPYTERHUB_SSL_CERTFILE", "the certificate"),
        ("JUPYTERHUB_SSL_CLIENT_CA", "the authorities"),
    ] {
        let path = variable(&environment, name);
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        folder = Path::new(&path).parent().unwrap().to_owned();
    }
    assert!(!started.handle.0.to_string().contains("the key"));
    assert!(
        !fs::read_to_string(format!("/proc/{pid}/cmdline"))
            .unwrap()
            .contains("the key")
    );

    // The next Lyceum knows them, and takes them away when it stops the server.
    let next = room.shell("exit 1");
    within(next.sweep(std::slice::from_ref(&started.handle)))
        .await
        .unwrap();
    assert!(folder.exists());
    within(next.stop(&started.handle, StopMode::Now))
        .await
        .unwrap();
    assert!(!folder.exists());
}

#[tokio::test]
async fn certificates_go_with_servers_that_end_by_themselves_or_never_start() {
    let room = Room::new();
    let spawner = room.shell("exec sleep 600");
    let started = try_start(&spawner, secure("ada")).await.unwrap();
    assert_eq!(folders(&room).len(), 1);
    kill(pid(&started.handle), Signal::KILL);
    within(spawner.wait(&started.handle)).await.unwrap();
    eventually("the folder goes", || folders(&room).is_empty()).await;

    let missing = room.spawner(|config| config.command = words(&["/no/such/program"]));
    try_start(&missing, secure("ada")).await.unwrap_err();
    assert_eq!(folders(&room), Vec::<PathBuf>::new());

    // Of a Lyceum that was killed, and with it what its server is known by.
    let started = try_start(&spawner, secure("bob")).await.unwrap();
    kill(pid(&started.handle), Signal::KILL);
    let next = room.shell("exit 1");
    within(next.sweep(&[])).await.unwrap();
    assert_eq!(folders(&room), Vec::<PathBuf>::new());
}
