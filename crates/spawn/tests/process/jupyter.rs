//! The real `jupyterhub-singleuser`, on a socket, with a kernel: it starts, answers, and ends without a trace.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lyceum_core::route::Upstream;
use lyceum_core::seams::{Exit, Spawner as _, StopMode};
use lyceum_core::token::new_token;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixStream};

use crate::harness::{Room, family, request, server, try_start, within};

/// The first start of an environment may have to compile all of its Python files.
const START_LIMIT: Duration = Duration::from_mins(2);

#[tokio::test]
async fn the_real_single_user_server_runs_on_a_socket_and_takes_its_kernels_along() {
    let environment = std::env::var_os("LYCEUM_TEST_PYENV")
        .map(PathBuf::from)
        .expect(
            "LYCEUM_TEST_PYENV has to name a Python environment with jupyterhub and jupyterlab; \
         `cargo xtask test` prepares one and sets it",
        );
    let hub = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api = format!("http://{}/hub/api", hub.local_addr().unwrap());
    let token = new_token();

    let room = Room::new();
    let spawner = room.spawner(|config| config.path.insert(0, bin(&environment)));
    let mut request = request("ada");
    let scopes = r#"["access:servers!server=ada/","access:servers!user=ada"]"#;
    request.environment.extend(
        [
            ("JUPYTERHUB_API_TOKEN", token.expose().as_str()),
            ("JUPYTERHUB_CLIENT_ID", "jupyterhub-user-ada"),
            ("JUPYTERHUB_API_URL", &api),
            (
                "JUPYTERHUB_ACTIVITY_URL",
                &format!("{api}/users/ada/activity"),
            ),
            ("JUPYTERHUB_BASE_URL", "/"),
            ("JUPYTERHUB_SERVICE_PREFIX", "/user/ada/"),
            ("JUPYTERHUB_HOST", ""),
            ("JUPYTERHUB_SERVER_NAME", ""),
            ("JUPYTERHUB_OAUTH_CALLBACK_URL", "/user/ada/oauth_callback"),
            ("JUPYTERHUB_OAUTH_ACCESS_SCOPES", scopes),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    let started = try_start(&spawner, request).await.unwrap();
    let Upstream::Unix(socket) = &started.upstream else {
        panic!("{:?}", started.upstream);
    };

    let visit = async {
        until_it_answers(socket).await;
        let kernel = ask(socket, "POST", "/user/ada/api/kernels", token.expose()).await;
        assert!(kernel.starts_with("HTTP/1.1 201"), "{kernel}");
    };
    let ended = spawner.wait(&started.handle);
    tokio::select! {
        () = serve_hub(&hub) => panic!("the hub has ended"),
        exit = ended => {
            let log = spawner.log_tail(&server("ada"), 30).await;
            panic!("the server has ended with {exit:?}:\n{}", log.join("\n"));
        }
        () = visit => {}
        () = tokio::time::sleep(START_LIMIT) => {
            panic!("{:#?}", spawner.log_tail(&server("ada"), 30).await);
        }
    }
    assert!(family(&started.handle).len() > 1, "there is a kernel");

    let polite = StopMode::Graceful(Duration::from_secs(15));
    within(spawner.stop(&started.handle, polite)).await.unwrap();
    assert_eq!(
        within(spawner.wait(&started.handle)).await.unwrap(),
        Exit::Code(0)
    );
    assert!(family(&started.handle).is_empty());
    assert!(!socket.exists());
    let log = spawner.log_tail(&server("ada"), 1_000).await.join("\n");
    assert!(
        log.contains("Shutting down 1 kernel"),
        "it shut its kernel down itself:\n{log}"
    );
    assert!(!log.contains(token.expose()));
}

fn bin(environment: &Path) -> String {
    environment.join("bin").to_str().unwrap().to_owned()
}

/// Plays the hub: whoever asks is ada, and the version is one that the server takes.
async fn serve_hub(listener: &TcpListener) {
    let body = r#"{"version":"6.1.1","kind":"user","name":"ada","admin":false,"groups":[],"scopes":["access:servers!user=ada"]}"#;
    let answer = format!(
        "HTTP/1.1 200 OK\r\nX-JupyterHub-Version: 6.1.1\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    while let Ok((mut connection, _)) = listener.accept().await {
        let mut request = Vec::new();
        while !request.windows(4).any(|end| end == b"\r\n\r\n") {
            if connection.read_buf(&mut request).await.unwrap_or(0) == 0 {
                break;
            }
        }
        // A caller that has gone away is its own business.
        let _ = connection.write_all(answer.as_bytes()).await;
        let _ = connection.shutdown().await;
    }
}

async fn until_it_answers(socket: &Path) {
    loop {
        if UnixStream::connect(socket).await.is_ok() {
            let answer = ask(socket, "GET", "/user/ada/api", "").await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn ask(socket: &Path, method: &str, path: &str, token: &str) -> String {
    let mut connection = UnixStream::connect(socket).await.unwrap();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\
         Authorization: token {token}\r\n\r\n"
    );
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}
