//! Runs the program and talks to it.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use lyceum_testkit::http::send;
use tempfile::TempDir;

/// How long anything may take before a test gives up.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// Long and odd enough to be found wherever it should not be.
pub(crate) const PASSWORD: &str = "wqzXk7-not-to-be-seen-4TfB";

/// The program, with nothing of the tests' own environment.
pub(crate) fn lyceum(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lyceum"));
    command
        .args(args)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .stdin(Stdio::null());
    command
}

/// Runs the program to its end.
pub(crate) fn output(args: &[&str]) -> Output {
    lyceum(args).output().unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A folder with a configuration of its own.
pub(crate) struct Site {
    pub(crate) dir: TempDir,
    pub(crate) port: u16,
}

impl Site {
    /// A hub on loopback, with the dummy login and tiny notebook servers.
    pub(crate) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let site = Self {
            port: free_port(),
            dir,
        };
        site.write(&format!(
            "[hub]\ndata_dir = \"data\"\nruntime_dir = \"run\"\napi_listen = \"127.0.0.1:0\"\nhttp_timeout = \"10s\"\n\
             [gateway]\nlisten = [\"127.0.0.1:{}\"]\ndrain_timeout = \"1s\"\n\
             [auth]\nkind = \"dummy\"\n[access]\nallow_all = true\n\
             [spawner]\nkind = \"process\"\ncommand = [\"{}\"]\nstop_timeout = \"2s\"\n",
            site.port,
            lyceum_testkit::notebook::program().unwrap().display()
        ));
        site
    }

    pub(crate) fn write(&self, config: &str) {
        fs::write(self.file(), config).unwrap();
    }

    pub(crate) fn add(&self, config: &str) {
        let text = fs::read_to_string(self.file()).unwrap();
        self.write(&format!("{text}\n{config}"));
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.dir.path().join("lyceum.toml")
    }

    pub(crate) fn file_text(&self) -> String {
        self.file().display().to_string()
    }

    /// Starts `lyceum serve` and waits until it answers.
    pub(crate) async fn serve(&self) -> Running {
        let mut child = lyceum(&["serve", "--config", &self.file_text()])
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let stderr = child.stderr.take().unwrap();
        let log = std::thread::spawn(move || {
            BufReader::new(stderr)
                .lines()
                .map_while(Result::ok)
                .collect()
        });
        let mut running = Running::new(child, self.port, log);
        let deadline = Instant::now() + LIMIT;
        while running.try_get("/hub/health").await.is_none() {
            if let Some(status) = running.child.try_wait().unwrap() {
                panic!("serve has ended with {status}:\n{}", running.log());
            }
            assert!(Instant::now() < deadline, "serve does not answer");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        running
    }
}

pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// A running program, killed at the end of the test.
pub(crate) struct Running {
    pub(crate) child: Child,
    port: u16,
    log: Option<std::thread::JoinHandle<Vec<String>>>,
}

impl Running {
    /// A program that answers on a port, with the thread that reads its log.
    pub(crate) fn new(child: Child, port: u16, log: std::thread::JoinHandle<Vec<String>>) -> Self {
        Self {
            child,
            port,
            log: Some(log),
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) async fn try_get(&self, path: &str) -> Option<Response<Bytes>> {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        send(Request::get(url).body(Bytes::new()).unwrap())
            .await
            .ok()
    }

    pub(crate) async fn get(&self, path: &str, cookie: &str) -> Response<Bytes> {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let request = Request::get(url)
            .header("cookie", cookie)
            .body(Bytes::new())
            .unwrap();
        send(request).await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str, cookie: &str, form: &str) -> Response<Bytes> {
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let request = Request::post(url)
            .header("cookie", cookie)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Bytes::from(form.to_owned()))
            .unwrap();
        send(request).await.unwrap()
    }

    /// Calls the API with a token; with a body, as a `POST`.
    pub(crate) async fn call(
        &self,
        path: &str,
        token: &str,
        body: Option<&str>,
    ) -> Response<Bytes> {
        let url = format!("http://127.0.0.1:{}/hub/api{path}", self.port);
        let method = if body.is_some() { "POST" } else { "GET" };
        let request = Request::builder()
            .method(method)
            .uri(url)
            .header("authorization", format!("token {token}"))
            .body(Bytes::from(body.unwrap_or_default().to_owned()))
            .unwrap();
        send(request).await.unwrap()
    }

    /// Logs in and gives the cookies, as a browser would send them.
    pub(crate) async fn log_in(&self, user: &str) -> String {
        let page = self.get("/hub/login", "").await;
        let cookies = cookies(&page, "");
        let xsrf = value(&cookies, "_xsrf");
        let answer = self
            .post(
                "/hub/login",
                &cookies,
                &format!("_xsrf={xsrf}&username={user}&password={PASSWORD}"),
            )
            .await;
        assert_eq!(answer.status(), 302, "{}", text(answer.body()));
        self::cookies(&answer, &cookies)
    }

    /// Waits until the server of a user answers; gives its process id.
    pub(crate) async fn await_server(&self, user: &str) -> u64 {
        let deadline = Instant::now() + LIMIT;
        loop {
            // The tiny server answers this without a login.
            let answer = self.get(&format!("/user/{user}/api"), "").await;
            if answer.status() == 200 {
                let processes = self.get(&format!("/user/{user}/process"), "").await;
                let json: serde_json::Value = serde_json::from_slice(processes.body()).unwrap();
                return json["pid"].as_u64().unwrap();
            }
            assert!(
                Instant::now() < deadline,
                "the server of {user} does not answer"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([name, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the program does not end");
            pause();
        }
    }

    /// What it has logged; waits for its end.
    pub(crate) fn log(&mut self) -> String {
        self.log
            .take()
            .map(|log| log.join().unwrap().join("\n"))
            .unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Adds the cookies of an answer to those that a browser has.
pub(crate) fn cookies(answer: &Response<Bytes>, before: &str) -> String {
    let mut jar: Vec<(String, String)> = before
        .split("; ")
        .filter_map(|pair| pair.split_once('='))
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect();
    for set in answer.headers().get_all("set-cookie") {
        let pair = set.to_str().unwrap().split(';').next().unwrap();
        let (name, value) = pair.split_once('=').unwrap();
        jar.retain(|(known, _)| known != name);
        jar.push((name.to_owned(), value.to_owned()));
    }
    jar.iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect::<Vec<_>>()
        .join("; ")
}

pub(crate) fn value<'a>(cookies: &'a str, name: &str) -> &'a str {
    cookies
        .split("; ")
        .filter_map(|pair| pair.split_once('='))
        .find(|(known, _)| *known == name)
        .unwrap()
        .1
}

/// Whether a process is alive.
pub(crate) fn alive(pid: u64) -> bool {
    let mut stat = String::new();
    let read = fs::File::open(format!("/proc/{pid}/stat"))
        .and_then(|mut file| file.read_to_string(&mut stat));
    read.is_ok()
        && !stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .trim_start()
            .starts_with('Z')
}

#[expect(
    clippy::disallowed_methods,
    reason = "these tests wait for other processes, outside of any runtime"
)]
pub(crate) fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

pub(crate) fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}
