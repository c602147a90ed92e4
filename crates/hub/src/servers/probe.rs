//! Asks a starting server whether it answers, until it does.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::Empty;
use lyceum_core::Upstream;
use lyceum_core::lifecycle::{Cause, Failure};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::reach::{Stream, Unreached, connect};
use crate::internal_tls::InternalTls;

/// How long one question may take; a server that loads extensions may be slow to answer.
const ONE_TRY: Duration = Duration::from_secs(5);
/// The pause between two questions. To find an address closed costs some ten microseconds, and somebody is
/// waiting: so the pause stays short for as long as most starts take.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const SHORT_PAUSE: Duration = Duration::from_millis(25);
const LONG_PAUSE: Duration = Duration::from_millis(250);
/// How long the pause stays short.
const USUAL_START: Duration = Duration::from_secs(15);
/// How long an answer may take to appear once its connection has ended.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// How many answers that are not HTTP, or not the server's own, it takes to give up: a Jupyter server never sends one.
const GARBAGE_LIMIT: u32 = 3;

/// What a server said for the first time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstAnswer {
    /// The version of JupyterHub that its `X-JupyterHub-Version` header names.
    pub version: Option<String>,
}

/// Waits for the first answer of a server to `GET {prefix}api`; any status below 500 counts
/// (JupyterHub `Server.wait_up`).
pub async fn wait_until_up(
    upstream: &Upstream,
    internal: Option<&Arc<dyn InternalTls>>,
    prefix: &str,
    limit: Duration,
) -> Result<FirstAnswer, Failure> {
    let begun = Instant::now();
    let deadline = begun + limit;
    let mut pause = FIRST_PAUSE;
    let mut garbage = 0;
    let mut told = None;
    loop {
        let whole = Instant::now() + ONE_TRY;
        let until = deadline.min(whole);
        let last = match timeout_at(until, ask(upstream, internal, prefix)).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(problem)) => problem,
            // A try that the limit cuts short says less than the one before.
            Err(_) if until < whole => told.unwrap_or(Problem::NoAnswer),
            Err(_) => Problem::NoAnswer,
        };
        told = Some(last);
        if matches!(
            last,
            Problem::NotHttp | Problem::NoTrust | Problem::Foreign | Problem::Untold
        ) {
            garbage += 1;
        }
        if garbage >= GARBAGE_LIMIT || Instant::now() + pause >= deadline {
            return Err(last.into_failure(limit));
        }
        sleep(pause).await;
        let longest = if begun.elapsed() < USUAL_START {
            SHORT_PAUSE
        } else {
            LONG_PAUSE
        };
        pause = (pause * 3 / 2).min(longest);
    }
}

/// Asks once, with a short limit; for a server that is known to have been up.
pub async fn is_up(
    upstream: &Upstream,
    internal: Option<&Arc<dyn InternalTls>>,
    prefix: &str,
) -> bool {
    let asked = timeout(ONE_TRY, ask(upstream, internal, prefix)).await;
    matches!(asked, Ok(Ok(_)))
}

#[derive(Debug, Clone, Copy)]
enum Problem {
    NoConnection,
    NoAnswer,
    /// What answers cannot prove that it is this server, or speaks no TLS.
    NoTrust,
    /// What listens at the server's socket or port runs under another account.
    Foreign,
    /// The machine does not tell who listens there.
    Untold,
    NotHttp,
    Status(u16),
}

impl Problem {
    fn into_failure(self, limit: Duration) -> Failure {
        let seconds = limit.as_secs();
        match self {
            Self::NoConnection => Failure::new(
                Cause::NeverAnswered,
                format!(
                    "The server was started, but did not open its address within {seconds} seconds."
                ),
                "Try again; if this repeats, the last lines of its log say what it was doing.",
            ),
            Self::NoAnswer => Failure::new(
                Cause::NeverAnswered,
                format!("The server was started, but did not answer within {seconds} seconds."),
                "Try again; if this repeats, the last lines of its log say what it was doing.",
            ),
            Self::NoTrust => Failure::new(
                Cause::BadAnswer,
                "What answers at the server's address does not show the certificate that this server was given.",
                "Try again; if this repeats, an administrator should see whether the server's program takes the \
                 variables `JUPYTERHUB_SSL_…` (`hub.internal_tls`).",
            ),
            Self::Foreign => Failure::new(
                Cause::BadAnswer,
                "What listens at the server's address runs under another account than the server: somebody else's program has taken its place.",
                "Start the server again; if this repeats, an administrator should see who listens there (`ss -ltnp`), and may let servers listen on Unix sockets (`spawner.socket`).",
            ),
            Self::Untold => Failure::new(
                Cause::BadAnswer,
                "The machine does not tell whose program listens at the server's port, so that it cannot be trusted.",
                "An administrator can let servers listen on Unix sockets (`spawner.socket`), or load the kernel's module `tcp_diag`.",
            ),
            Self::NotHttp => Failure::new(
                Cause::BadAnswer,
                "What was started does not speak HTTP: it is not a Jupyter server.",
                "An administrator should look at the configured command of the spawner.",
            ),
            Self::Status(status) => Failure::new(
                Cause::BadAnswer,
                format!("The server answers every question with an error (status {status})."),
                "Try again; if this repeats, the last lines of its log say what is wrong.",
            ),
        }
    }
}

async fn ask(
    upstream: &Upstream,
    internal: Option<&Arc<dyn InternalTls>>,
    prefix: &str,
) -> Result<FirstAnswer, Problem> {
    let stream = connect(upstream, internal)
        .await
        .map_err(|unreached| match unreached {
            Unreached::Closed => Problem::NoConnection,
            Unreached::NoTrust => Problem::NoTrust,
            Unreached::Foreign => Problem::Foreign,
            Unreached::Untold => Problem::Untold,
        })?;
    converse(stream, prefix).await
}

async fn converse(stream: Box<dyn Stream>, prefix: &str) -> Result<FirstAnswer, Problem> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(stream)
        .await
        .map_err(|_| Problem::NoConnection)?;
    let uri: Uri = format!("{prefix}api")
        .parse()
        .map_err(|_| Problem::NotHttp)?;
    let request = Request::get(uri)
        .header(header::HOST, "127.0.0.1")
        .header(header::ACCEPT, "application/json")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|_| Problem::NotHttp)?;
    // The connection is driven here, beside the request, so that no task outlives the question.
    let answer = async {
        let response = sender.send_request(request).await.map_err(|error| {
            if error.is_parse() {
                Problem::NotHttp
            } else {
                Problem::NoAnswer
            }
        })?;
        let status = response.status().as_u16();
        if status >= 500 {
            return Err(Problem::Status(status));
        }
        let version = response.headers().get("x-jupyterhub-version");
        Ok(FirstAnswer {
            version: version
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned),
        })
    };
    tokio::pin!(answer);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        biased;
        result = &mut answer => result,
        ended = &mut connection => match ended {
            Err(error) if error.is_parse() => Err(Problem::NotHttp),
            // The answer may have come with the end of the connection.
            Ok(()) | Err(_) => timeout(LAST_WORDS, answer).await.unwrap_or(Err(Problem::NoAnswer)),
        },
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers every connection with these bytes.
    async fn server(answer: &'static [u8]) -> (Upstream, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut set = tokio::task::JoinSet::new();
        let handle = set.spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut buffer = [0; 1024];
                let _ = stream.read(&mut buffer).await;
                let _ = stream.write_all(answer).await;
            }
        });
        drop(handle);
        let keep = tokio::runtime::Handle::current().spawn(async move {
            set.join_all().await;
        });
        (
            Upstream::Tcp {
                host: "127.0.0.1".to_owned(),
                port,
            },
            keep,
        )
    }

    #[tokio::test]
    async fn the_first_answer_below_500_counts_and_names_the_version() {
        let (upstream, _keep) = server(
            b"HTTP/1.1 404 Not Found\r\nX-JupyterHub-Version: 6.1.1\r\nContent-Length: 0\r\n\r\n",
        )
        .await;
        let answer = wait_until_up(&upstream, None, "/user/ada/", Duration::from_secs(5))
            .await
            .unwrap();
        assert_eq!(answer.version.as_deref(), Some("6.1.1"));
    }

    #[tokio::test]
    async fn an_answer_that_is_not_http_fails_at_once_with_its_cause() {
        let (upstream, _keep) = server(b"hello, I am not a web server\r\n\r\n").await;
        let failure = wait_until_up(&upstream, None, "/user/ada/", Duration::from_secs(20))
            .await
            .unwrap_err();
        assert_eq!(failure.cause, Cause::BadAnswer);
    }

    #[tokio::test]
    async fn a_server_that_only_knows_errors_fails_at_the_limit() {
        let (upstream, _keep) = server(b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n").await;
        // Long enough for one answer on a busy machine.
        let failure = wait_until_up(&upstream, None, "/user/ada/", Duration::from_secs(2))
            .await
            .unwrap_err();
        assert_eq!(failure.cause, Cause::BadAnswer);
    }

    #[tokio::test]
    async fn a_server_with_tls_is_not_asked_without_it() {
        let (Upstream::Tcp { host, port }, _keep) =
            server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await
        else {
            panic!("a TCP server has another address");
        };
        let name = "a.server.lyceum.internal".to_owned();
        let upstream = Upstream::Internal { host, port, name };
        let limit = Duration::from_secs(20);
        let failure = wait_until_up(&upstream, None, "/user/ada/", limit)
            .await
            .unwrap_err();
        assert_eq!(failure.cause, Cause::BadAnswer);
        assert!(failure.message.contains("certificate"), "{failure}");
    }

    #[tokio::test]
    async fn a_port_at_which_another_account_listens_is_not_asked() {
        use std::os::unix::fs::MetadataExt as _;
        let (Upstream::Tcp { port, .. }, _keep) =
            server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await
        else {
            panic!("a TCP server has another address");
        };
        let own = std::fs::metadata("/proc/self").unwrap().uid();
        let limit = Duration::from_secs(20);
        let of = |uid| Upstream::OwnedTcp { port, uid };
        wait_until_up(&of(own), None, "/user/ada/", limit)
            .await
            .unwrap();
        let failure = wait_until_up(&of(own + 1), None, "/user/ada/", limit)
            .await
            .unwrap_err();
        assert_eq!(failure.cause, Cause::BadAnswer);
        assert!(failure.message.contains("another account"), "{failure}");
        assert!(!is_up(&of(own + 1), None, "/user/ada/").await);
    }

    #[tokio::test]
    async fn whoever_takes_a_servers_port_first_is_not_taken_for_it() {
        use std::os::unix::fs::MetadataExt as _;
        use std::os::unix::process::CommandExt as _;
        assert_eq!(
            std::fs::metadata("/proc/self").unwrap().uid(),
            0,
            "this test starts a program under another account: run it as root"
        );
        let port = {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.local_addr().unwrap().port()
        };
        let (ada, mallory) = (64_901, 64_902);
        let mut thief = std::process::Command::new("/usr/bin/python3")
            .args(["-m", "http.server", "--bind", "127.0.0.1"])
            .arg(port.to_string())
            .current_dir("/usr/share")
            .stderr(std::process::Stdio::null())
            .uid(mallory)
            .gid(mallory)
            .spawn()
            .expect("this test needs /usr/bin/python3: apt-get install python3-minimal");
        let limit = Duration::from_secs(30);
        let of = |uid| Upstream::OwnedTcp { port, uid };
        // To see that it listens, and is let in where it belongs.
        let own = wait_until_up(&of(mallory), None, "/", limit).await;
        let begun = Instant::now();
        let taken = wait_until_up(&of(ada), None, "/user/ada/", limit).await;
        thief.kill().unwrap();
        thief.wait().unwrap();
        own.unwrap();
        let failure = taken.unwrap_err();
        assert!(failure.message.contains("another account"), "{failure}");
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "it is told at once"
        );
    }

    #[tokio::test]
    async fn a_closed_port_fails_at_the_limit() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let upstream = Upstream::Tcp {
            host: "127.0.0.1".to_owned(),
            port,
        };
        let failure = wait_until_up(&upstream, None, "/user/ada/", Duration::from_millis(100))
            .await
            .unwrap_err();
        assert_eq!(failure.cause, Cause::NeverAnswered);
    }
}
