//! Rules about servers under their users' own accounts: accounts, the broker, and what is closed to servers.

use std::path::Path;

use lyceum_auth::AuthConfig;

use super::Rules;
use crate::problem::Problem;
use crate::settings::SpawnerConfig;

/// The longest path of the broker's socket: the system takes 107 bytes.
const SOCKET_LENGTH: usize = 107;
/// The longest path of the folder for servers' sockets: a folder and a name come behind it.
const SERVERS_LENGTH: usize = 30;

impl Rules<'_> {
    pub(super) fn brokered(&mut self) {
        self.accounts();
        self.broker();
        self.sandbox();
        if self.config.spawner.is_brokered() {
            self.anybodys_account();
        }
    }

    fn accounts(&mut self) {
        let accounts = &self.config.accounts;
        let around = accounts.name.split_once("{username}");
        let fits = |part: &str| {
            part.chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-.".contains(c))
        };
        let usable = around.is_some_and(|(before, after)| {
            fits(before) && fits(after) && !before.starts_with(['-', '.'])
        });
        if !usable {
            self.refuse(
                "accounts.name",
                "cannot name accounts",
                "expected `{username}`, with lower-case letters, digits, `_`, `-` and `.` around it",
                "for example `name = \"jupyter-{username}\"`",
            );
        }
        let [lowest, highest] = accounts.uid_range;
        if lowest == 0 || lowest > highest {
            self.refuse(
                "accounts.uid_range",
                "cannot be used",
                "expected the lowest number, which is not 0 (that is root's), then the highest",
                "for example `uid_range = [1000, 59999]`",
            );
        }
        for (key, path) in [
            ("accounts.shell", &accounts.shell),
            ("accounts.home_root", &accounts.home_root),
            ("accounts.skeleton", &accounts.skeleton),
        ] {
            self.absolute(key, path);
        }
    }

    fn broker(&mut self) {
        let broker = &self.config.broker;
        for (key, path) in [
            ("broker.socket", &broker.socket),
            ("broker.state_dir", &broker.state_dir),
            ("broker.servers_dir", &broker.servers_dir),
        ] {
            self.absolute(key, path);
        }
        for (key, path, most) in [
            ("broker.socket", &broker.socket, SOCKET_LENGTH),
            ("broker.servers_dir", &broker.servers_dir, SERVERS_LENGTH),
        ] {
            let length = path.as_os_str().len();
            if length > most {
                self.refuse(
                    key,
                    "is too long",
                    &format!("it has {length} bytes, {most} are possible"),
                    "paths of sockets are short by a rule of the system: choose another folder",
                );
            }
        }
    }

    fn sandbox(&mut self) {
        let sandbox = &self.config.sandbox;
        for (key, paths) in [
            ("sandbox.read_only", &sandbox.read_only),
            ("sandbox.hidden", &sandbox.hidden),
        ] {
            if let Some(path) = paths.iter().find(|path| !path.is_absolute()) {
                self.absolute(key, path);
            }
        }
        if let Some(device) = sandbox
            .devices
            .iter()
            .find(|device| !device.starts_with("/dev/") || device.contains(".."))
        {
            self.refuse(
                "sandbox.devices",
                "has something that is no device",
                &format!("`{device}` is not below /dev"),
                "for example `devices = [\"/dev/nvidia*\"]`",
            );
        }
        if !sandbox.properties.is_empty()
            && matches!(self.config.spawner, SpawnerConfig::Process(_))
            && self.usable(&["sandbox.properties", "spawner.kind"])
        {
            let problem = Problem::warning(
                "`sandbox.properties` are for units of systemd, and do nothing here",
            )
            .help("remove them, or choose `spawner.kind = \"systemd\"`");
            self.add(
                problem,
                &[
                    ("sandbox.properties", "without effect"),
                    ("spawner.kind", "starts no units"),
                ],
            );
        }
    }

    /// A login that asks nobody for a password of their own lets everybody into everybody's account.
    fn anybodys_account(&mut self) {
        let word = match &self.config.auth {
            AuthConfig::SharedPassword(_) => "whoever knows the shared password",
            AuthConfig::Dummy(_) => "whoever reaches the login page",
            AuthConfig::Pam(_) => return,
        };
        let accounts = &self.config.accounts;
        // Accounts with a prefix of their own were made for this, and are nobody else's.
        if accounts.name == "{username}" && self.usable(&["auth.kind", "accounts.name"]) {
            let problem = Problem::warning(format!(
                "{word} gets into the account of anybody on this machine whose name is typed"
            ))
            .help("let people log in with their own passwords: `auth.kind = \"pam\"`")
            .help("or give these people accounts of their own: `accounts.name = \"jupyter-{username}\"` with `accounts.create = true`");
            self.add(problem, &[("auth.kind", "one password for all")]);
        }
    }

    fn absolute(&mut self, key: &str, path: &Path) {
        if !path.is_absolute() {
            self.refuse(
                key,
                "must be a path",
                "expected a path from the root on",
                "write the whole path, beginning with a slash",
            );
        }
    }
}
