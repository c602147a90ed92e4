//! A private PostgreSQL for the tests: one cluster for the test binary, one database for each test.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use lyceum_store::{DatabaseUrl, StoreConfig, StoreSettings};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

/// Makes a cluster, tells its directory, and removes everything when its input ends: however the tests end.
const SCRIPT: &str = r#"
set -eu
directory=$(mktemp -d /tmp/lyceum-postgres.XXXXXX)
end() { "$1/pg_ctl" -D "$directory/data" -m immediate stop >/dev/null 2>&1 || true; rm -rf "$directory"; }
fail() { cat "$directory/log" >&2; end "$1"; exit 1; }
"$1/initdb" -D "$directory/data" -U lyceum -A trust -E UTF8 --locale=C.UTF-8 --no-sync >"$directory/log" 2>&1 || fail "$1"
printf 'local all locked scram-sha-256\nlocal all all trust\n' >"$directory/data/pg_hba.conf"
"$1/pg_ctl" -D "$directory/data" -w -t 60 -l "$directory/log" \
  -o "-k $directory -c listen_addresses='' -c fsync=off -c max_connections=300" start >/dev/null || fail "$1"
echo "$directory"
read -r _ || true
end "$1"
"#;

struct Cluster {
    directory: PathBuf,
    /// Its standard input ends with us.
    _supervisor: Child,
    _output: BufReader<ChildStdout>,
}

static CLUSTER: OnceLock<Cluster> = OnceLock::new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// The directory of the socket of a running server.
fn directory() -> &'static Path {
    &CLUSTER.get_or_init(start).directory
}

fn start() -> Cluster {
    let binaries = binaries();
    let mut command = if is_root() {
        // The server refuses to run as root; the Debian package makes a user for it.
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
        command.arg("sh");
        command
    } else {
        Command::new("sh")
    };
    let mut supervisor = command
        .args(["-c", SCRIPT, "sh"])
        .arg(binaries)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("`setpriv` is there: install the Debian package `util-linux`");
    let mut output = BufReader::new(supervisor.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert!(
        !line.is_empty(),
        "PostgreSQL did not start; its log is above"
    );
    Cluster {
        directory: PathBuf::from(line.trim_end()),
        _supervisor: supervisor,
        _output: output,
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The newest of the installed versions.
fn binaries() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    versions
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.join("bin/initdb").exists())
        .max_by_key(|path| {
            let version = path
                .file_name()
                .and_then(|name| name.to_str()?.parse().ok());
            version.unwrap_or(0_u32)
        })
        .expect("PostgreSQL is there: install the Debian package `postgresql`")
        .join("bin")
}

/// The address of a database of the cluster, which may not exist.
pub(crate) fn url(user: &str, database: &str) -> String {
    let socket = directory().display().to_string().replace('/', "%2F");
    format!("postgres://{user}@{socket}/{database}")
}

pub(crate) async fn connect(database: &str) -> PgConnection {
    PgConnection::connect(&url("lyceum", database))
        .await
        .unwrap()
}

/// Runs a statement of the test's own.
pub(crate) async fn execute(database: &str, sql: &str) {
    let mut connection = connect(database).await;
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}

/// Makes an empty database and gives its name.
pub(crate) async fn fresh_name() -> String {
    let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    execute("postgres", &format!("CREATE DATABASE {name}")).await;
    name
}

pub(crate) fn settings(user: &str, database: &str) -> StoreSettings {
    let config = StoreConfig {
        database: Some(DatabaseUrl::new(url(user, database))),
        password_file: None,
    };
    config.settings(Path::new("/nonexistent")).unwrap()
}

pub(crate) async fn fresh_database() -> StoreSettings {
    settings("lyceum", &fresh_name().await)
}
