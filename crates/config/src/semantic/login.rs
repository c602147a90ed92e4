//! Rules about how people log in: there is a way, it is not open to everybody by accident, and passwords differ.

use std::path::PathBuf;

use lyceum_auth::dummy::{DummyError, check_listen};
use lyceum_auth::shared_password::SharedPasswordError;
use lyceum_auth::{
    AuthConfig, DummyConfig, PamConfig, PasswordError, SharedPassword, SharedPasswordConfig,
};
use lyceum_gateway::ListenAddress;

use super::Rules;
use crate::problem::Problem;
use crate::settings::SpawnerConfig;

const USER: &str = "auth.user_password_file";
const ADMIN: &str = "auth.admin_password_file";

impl Rules<'_> {
    pub(super) fn login(&mut self) {
        if !self.usable(&["auth", "auth.kind"]) {
            return;
        }
        match &self.config.auth {
            AuthConfig::SharedPassword(config) => self.shared_password(config),
            AuthConfig::Dummy(config) => self.dummy(config),
            AuthConfig::Pam(config) => self.pam(config),
        }
    }

    /// The passwords are read here, as whether they can be used is in them.
    fn shared_password(&mut self, config: &SharedPasswordConfig) {
        let Err(error) = SharedPassword::from_config(config, []) else {
            return;
        };
        let message = error.to_string();
        match error {
            SharedPasswordError::NoPassword => {
                // An unknown key in the section was most likely meant to be this one.
                if !self.unusable.iter().any(|key| key.starts_with("auth.")) {
                    let problem = Problem::error("there is no password to log in with")
                        .only_serving()
                        .help(
                            "write one into a file, and name the file in `auth.user_password_file`",
                        )
                        .help("or choose another way to log in: `lyceum config explain auth.kind`");
                    let place = self.node("auth").map(|node| node.at.clone());
                    let problem = match place {
                        Some(at) => problem.mark(&at, "needs `user_password_file`"),
                        None => problem,
                    };
                    self.report.add(problem);
                }
            }
            SharedPasswordError::ShortUserPassword => {
                self.refuse(
                    USER,
                    "cannot be used",
                    &message,
                    "write a longer password into the file",
                );
            }
            SharedPasswordError::ShortAdminPassword => {
                self.refuse(
                    ADMIN,
                    "cannot be used",
                    &message,
                    "write a longer password into the file",
                );
            }
            SharedPasswordError::SamePassword => {
                if self.usable(&[USER, ADMIN]) {
                    let problem = Problem::error(message)
                        .help("else everybody could log in as an administrator");
                    self.add(
                        problem,
                        &[(ADMIN, "the password in here"), (USER, "is also in here")],
                    );
                }
            }
            SharedPasswordError::Password(error) => {
                let files = [
                    (USER, config.user_password_file.as_ref()),
                    (ADMIN, config.admin_password_file.as_ref()),
                ];
                self.password_file(&error, &files);
            }
        }
    }

    fn pam(&mut self, config: &PamConfig) {
        if !config.has_possible_service() {
            self.refuse(
                "auth.service",
                "cannot be a service of PAM",
                "expected the name of a file in `/etc/pam.d`",
                "for example `service = \"lyceum\"`",
            );
        }
        let sessions = matches!(self.config.spawner, SpawnerConfig::Systemd(_));
        if config.session && !sessions && self.usable(&["auth.session", "spawner.kind"]) {
            let problem = Problem::warning(
                "no session of PAM is opened: only systemd can do that for servers",
            )
            .help("choose `spawner.kind = \"systemd\"`, or leave `auth.session` out");
            self.add(
                problem,
                &[
                    ("auth.session", "without effect"),
                    ("spawner.kind", "opens none"),
                ],
            );
        }
    }

    fn dummy(&mut self, config: &DummyConfig) {
        let listen: Vec<_> = self
            .config
            .gateway
            .addresses()
            .filter_map(|address| match address {
                ListenAddress::Tcp(address) => Some(*address),
                // What systemd passes is known at the start only, and is looked at then.
                ListenAddress::Unix(_) | ListenAddress::Systemd(_) => None,
            })
            .collect();
        if let Err(DummyError::Public(address)) = check_listen(config, &listen)
            && self.usable(&["gateway.listen", "auth.allow_public"])
        {
            let problem = Problem::error(format!(
                "anybody could log in as anybody: others can reach {address}"
            ))
            .help("listen on `127.0.0.1`, or choose another `auth.kind`")
            .help("if this is really wanted, set `auth.allow_public = true`");
            self.add(
                problem,
                &[
                    ("gateway.listen", "reachable from outside"),
                    ("auth.kind", "takes any name"),
                ],
            );
        }
    }

    /// What is wrong inside of a password file; whether it is there and who can read it, is looked at elsewhere.
    fn password_file(&mut self, error: &PasswordError, files: &[(&str, Option<&PathBuf>)]) {
        let (path, message) = match error {
            PasswordError::Unreadable { path, source }
                if source.kind() == std::io::ErrorKind::InvalidData =>
            {
                (path, "the file is not text".to_owned())
            }
            PasswordError::Unreadable { .. } => return,
            PasswordError::TooLong(path) | PasswordError::Empty(path) => (path, error.to_string()),
        };
        for (key, file) in files {
            if *file == Some(path) {
                self.refuse(
                    key,
                    "cannot be used",
                    &message,
                    "write the password into its first line",
                );
                return;
            }
        }
    }
}
