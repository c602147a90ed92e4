//! A tiny server: what both hubs start for their users, and what stands behind the service `web`.
//!
//! It answers every path with what it was asked. How it behaves follows from the server's name, or from the user's
//! for a default server, as that is what cases can choose for both hubs: `slow…` begins to answer after two seconds,
//! `dies…` ends at once, `stubborn…` does not hear polite signals.

use std::fmt::Write as _;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};
use std::sync::mpsc::{self, Sender};
use std::time::Duration;
use std::{env, thread};

use serde_json::{Map, Value, json};
use url::Url;

use crate::case::pause;

/// Set once the signal is ignored.
const STUBBORN: &str = "CONFORMANCE_STUBBORN";
/// A server that was forgotten ends by itself.
const LIFE: Duration = Duration::from_mins(20);

/// Runs the single-user server that the environment describes.
pub(crate) fn run() -> ExitCode {
    let mut name = env::var("JUPYTERHUB_SERVER_NAME").unwrap_or_default();
    if name.is_empty() {
        name = env::var("JUPYTERHUB_USER").unwrap_or_default();
    }
    if name.starts_with("dies") {
        return ExitCode::FAILURE;
    }
    if name.starts_with("stubborn") && env::var_os(STUBBORN).is_none() {
        let Ok(own) = env::current_exe() else {
            return ExitCode::FAILURE;
        };
        // A signal that is ignored stays ignored in the program that takes the shell's place.
        let _ = Command::new("sh")
            .args(["-c", r#"trap "" INT TERM; exec "$0" single-user"#])
            .arg(own)
            .env(STUBBORN, "1")
            .exec();
        return ExitCode::FAILURE;
    }
    if name.starts_with("slow") {
        pause(Duration::from_secs(2));
    }
    let address = env::var("JUPYTERHUB_SERVICE_URL")
        .ok()
        .and_then(|url| Url::parse(&url).ok())
        .and_then(|url| Some((url.host_str()?.to_owned(), url.port()?)));
    let Some(listener) = address.and_then(|address| TcpListener::bind(address).ok()) else {
        return ExitCode::FAILURE;
    };
    let (leave, left) = mpsc::channel();
    thread::spawn(move || serve(&listener, Some(&leave)));
    let _ = left.recv_timeout(LIFE);
    ExitCode::SUCCESS
}

/// Starts a server within this process, and gives its port.
pub(crate) fn echo_port() -> io::Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || serve(&listener, None));
    Ok(port)
}

/// Serves connections; `leave` is told when the process is asked to end.
fn serve(listener: &TcpListener, leave: Option<&Sender<()>>) {
    for stream in listener.incoming().filter_map(Result::ok) {
        let leave = leave.cloned();
        thread::spawn(move || {
            // Whoever goes away in the middle gets no answer.
            let _ = answer(&stream, leave.as_ref());
        });
    }
}

/// Answers the requests of one connection with what they asked, and with the environment for `…/environment`;
/// `…/leave` ends the process.
fn answer(stream: &TcpStream, leave: Option<&Sender<()>>) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut words = line.split_whitespace();
        let (method, path) = (
            words.next().unwrap_or_default().to_owned(),
            words.next().unwrap_or_default().to_owned(),
        );
        let mut headers = Map::new();
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':') {
                let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
                if name == "content-length" {
                    length = value.parse().unwrap_or(0);
                }
                headers.insert(name, value.into());
            }
        }
        let mut body = Vec::new();
        reader.by_ref().take(length).read_to_end(&mut body)?;
        let mut told = json!({
            "method": method,
            "path": path,
            "headers": headers,
            "length": body.len(),
        });
        if path.ends_with("/environment") {
            let variables: Map<String, Value> = env::vars()
                .map(|(name, value)| (name, value.into()))
                .collect();
            told["environment"] = variables.into();
        }
        if let Some(leave) = leave.filter(|_| path.ends_with("/leave")) {
            let _ = leave.send(());
        }
        let told = told.to_string();
        let mut head = String::from("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n");
        let _ = write!(
            head,
            "X-JupyterHub-Version: 6.1.1\r\nContent-Length: {}\r\n\r\n",
            told.len()
        );
        let mut writer = stream;
        writer.write_all(head.as_bytes())?;
        if method != "HEAD" {
            writer.write_all(told.as_bytes())?;
        }
    }
}
