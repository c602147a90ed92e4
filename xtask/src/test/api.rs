//! The API against its own document: schemathesis (PyPI) makes up requests from `docs/openapi.json`, and finds no
//! answer that is a server's error, undocumented, or of another shape than documented.
#![expect(
    clippy::disallowed_methods,
    reason = "there is no runtime here that sleeping could block"
)]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};

use super::needs::{self, Installing};
use crate::shell::command;

/// The tool, in the version whose options are used here.
const PACKAGE: &str = "schemathesis>=4.32,<5";
/// What an answer must not be.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";
/// How long requests are made up, in seconds; the systematic ones come first and take half of it.
const SECONDS: &str = "30";
/// How long the program may take until it answers.
const PATIENCE: Duration = Duration::from_secs(20);
/// The token of the service that asks; it is known to nobody but the trial.
const TOKEN: &str = "the-token-of-the-tool-that-asks";

/// Installs the tool, or finds it; gives its Python environment.
pub(super) fn prepare(root: &Path, installing: Installing) -> Result<PathBuf> {
    needs::python_packages(root, "test-env-schemathesis", &[PACKAGE], installing)
}

/// Runs the tool twice at the same time: with made-up names, and with the names of what exists.
pub(super) fn run(root: &Path, installing: Installing) -> Result<()> {
    let program = std::env::var_os("LYCEUM_TEST_PROGRAM")
        .map_or_else(|| root.join(super::PROGRAM), PathBuf::from);
    if !program.is_file() {
        bail!("{} is missing: run the part build first", program.display());
    }
    let environment = prepare(root, installing)?;
    let tool = environment.join("bin/schemathesis");
    let run = |name: &str, pinned: bool| -> Result<Output> {
        let folder = root.join("target/api").join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder)?;
        let trial = Trial::start(root, &folder, &program)?;
        trial.ask(root, &folder, &tool, pinned)
    };
    let outputs = thread::scope(|scope| {
        let made_up = scope.spawn(|| run("made-up", false));
        let existing = scope.spawn(|| run("existing", true));
        [made_up.join(), existing.join()]
    });
    let mut result = Ok(());
    for output in outputs {
        let output = output.unwrap_or_else(|_| Err(anyhow!("the trial has panicked")));
        result = result.and(output.and_then(|output| told(&output)));
    }
    result
}

/// Prints what the tool has said; fails if it has failed.
fn told(output: &Output) -> Result<()> {
    print!("{}", String::from_utf8_lossy(&output.stdout));
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        bail!("schemathesis failed ({})", output.status);
    }
    Ok(())
}

/// A Lyceum with users, groups and a server, which ends with this value.
struct Trial {
    child: Child,
    port: u16,
    runtime: PathBuf,
}

impl Trial {
    fn start(root: &Path, folder: &Path, program: &Path) -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        // The paths of sockets must be short.
        let runtime = std::env::temp_dir().join(format!("lyceum-api-{port}"));
        let token = folder.join("token");
        fs::write(&token, TOKEN)?;
        let mut owner_only = fs::metadata(&token)?.permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut owner_only, 0o600);
        fs::set_permissions(&token, owner_only)?;
        let config = folder.join("lyceum.toml");
        let text = format!(
            r#"
[hub]
data_dir = "{folder}/data"
runtime_dir = "{runtime}"
api_listen = "127.0.0.1:0"
named_servers = true
[gateway]
listen = ["127.0.0.1:{port}"]
[auth]
kind = "dummy"
[access]
allow_all = true
[spawner]
kind = "process"
command = ["{notebook}"]
[[services]]
name = "asker"
admin = true
api_token_file = "{token}"
[groups.class]
users = ["ada", "bob"]
"#,
            folder = folder.display(),
            runtime = runtime.display(),
            notebook = root.join("target/debug/tiny-notebook").display(),
            token = token.display(),
        );
        fs::write(&config, text)?;
        let log = fs::File::create(folder.join("lyceum.log"))?;
        let child = Command::new(program)
            .args(["serve", "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("could not start lyceum serve")?;
        let trial = Self {
            child,
            port,
            runtime,
        };
        trial.wait()?;
        Ok(trial)
    }

    fn wait(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if self.answers().unwrap_or(false) {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(50));
        }
        bail!("lyceum serve does not answer; see lyceum.log below target/api")
    }

    fn answers(&self) -> Result<bool> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(b"GET /hub/health HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut start = [0; 12];
        stream.read_exact(&mut start)?;
        Ok(start.ends_with(b"200"))
    }

    /// Has the tool ask; with `pinned`, of what exists.
    fn ask(&self, root: &Path, folder: &Path, tool: &Path, pinned: bool) -> Result<Output> {
        let mut settings = String::new();
        if pinned {
            settings.push_str(
                "[parameters]\n\"path.user\" = \"ada\"\n\"path.owner\" = \"bob\"\n\"path.server\" = \"lab\"\n\
                 \"path.group\" = \"class\"\n\"path.service\" = \"web\"\n",
            );
        }
        // Whoever asked it would have nobody left to ask.
        settings.push_str("[[operations]]\ninclude-path = \"/shutdown\"\nenabled = false\n");
        let file = folder.join("schemathesis.toml");
        fs::write(&file, settings)?;
        let url = format!("http://127.0.0.1:{}/hub/api", self.port);
        let header = format!("Authorization: token {TOKEN}");
        let document = root.join("docs/openapi.json");
        let mut run = command(folder, tool, &["--config-file"]);
        run.arg(&file)
            .arg("run")
            .arg(&document)
            .args(["--url", &url, "--header", &header, "--checks", CHECKS])
            .args([
                "--phases",
                "examples,coverage,fuzzing",
                "--max-time",
                SECONDS,
            ])
            .args([
                "--max-examples",
                "20",
                "--no-shrink",
                "--continue-on-failure",
                "--warnings",
                "off",
            ]);
        run.output().context("could not start schemathesis")
    }
}

impl Trial {
    /// Ends it with all servers that were started, by its own API.
    fn end(&mut self) -> Result<()> {
        const BODY: &str = r#"{"servers": true}"#;
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        write!(
            stream,
            "POST /hub/api/shutdown HTTP/1.0\r\nHost: localhost\r\nAuthorization: token {TOKEN}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{BODY}",
            BODY.len()
        )?;
        let deadline = Instant::now() + PATIENCE * 3;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                bail!("lyceum serve does not end by POST /shutdown");
            }
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            println!("    {error:#}");
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        let _ = fs::remove_dir_all(&self.runtime);
    }
}
