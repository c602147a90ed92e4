//! Starts Lyceum.

use std::io;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use super::declared::{custom_scopes, groups, roles, services};
use super::{Process, Room, Running, Start, StartError};
use crate::fixture;
use crate::list::Profile;

/// Lyceum's program.
#[derive(Debug)]
pub(crate) struct Lyceum {
    pub(crate) program: PathBuf,
    /// This program, which is the single-user server too.
    pub(crate) single: PathBuf,
    pub(crate) logs: Option<PathBuf>,
}

impl Start for Lyceum {
    fn name(&self) -> &'static str {
        "lyceum"
    }

    fn has(&self, _: Profile) -> bool {
        true
    }

    fn start(&self, profile: Profile) -> Result<Running, StartError> {
        let room = Room::new("lyceum", self.logs.as_deref(), profile)?;
        let failed = |error| StartError::Program("lyceum".to_owned(), error);
        let text = toml::to_string(&self.config(&room, profile))
            .map_err(|error| failed(io::Error::other(error)))?;
        let config = room.write("lyceum.toml", &text)?;
        room.write("options.html", fixture::OPTIONS_FORM)?;
        let mut command = Command::new(&self.program);
        command
            .arg("serve")
            .arg("--config")
            .arg(config)
            .current_dir(room.folder.path());
        let process = Process::start(&mut command, &room.log).map_err(failed)?;
        room.running(process)
    }
}

impl Lyceum {
    fn config(&self, room: &Room, profile: Profile) -> Value {
        let folder = room.folder.path().display();
        let mut config = json!({
            "root": room.folder.path(),
            "hub": {
                "base_url": format!("{}/", room.base),
                "api_listen": "127.0.0.1:0",
                "named_servers": true,
                "http_timeout": "10s",
            },
            "gateway": {"listen": [format!("127.0.0.1:{}", room.port)]},
            "auth": {"kind": "dummy"},
            "access": {"allow_all": true, "admin_users": [fixture::ADMIN_USER]},
            "spawner": {
                "kind": "process",
                "command": [self.single, "single-user"],
                "home": format!("{folder}/homes/{{username}}"),
                "stop_timeout": "2s",
            },
            "services": services(room),
            "roles": roles(),
            "groups": groups(),
            "custom_scopes": custom_scopes(),
        });
        adapt(&mut config, profile);
        config
    }
}

/// What a profile changes.
fn adapt(config: &mut Value, profile: Profile) {
    match profile {
        Profile::Main | Profile::Last => {}
        Profile::Brisk => {
            config["hub"]["slow_spawn_timeout"] = "500ms".into();
            config["hub"]["slow_stop_timeout"] = "500ms".into();
        }
        Profile::Limited => {
            config["hub"]["active_server_limit"] = 1.into();
            config["hub"]["named_servers"] = 1.into();
        }
        Profile::Narrow => {
            config["hub"]["concurrent_spawn_limit"] = 1.into();
            config["hub"]["slow_spawn_timeout"] = "500ms".into();
        }
        Profile::Plain => {
            config["hub"]["named_servers"] = false.into();
            config["hub"]["redirect_to_server"] = false.into();
        }
        Profile::Strict => {
            config["hub"]["oauth_require_pkce"] = true.into();
            config["hub"]["api_page_default_limit"] = 3.into();
            config["hub"]["api_page_max_limit"] = 5.into();
            config["hub"]["token_lifetime_limit"] = "1h".into();
            config["metrics"] = json!({"authenticate": false});
            config["servers"] = json!({"default_name": "lab", "options_form": "options.html"});
        }
    }
}
