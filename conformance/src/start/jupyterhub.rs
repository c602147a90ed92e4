//! Starts the real JupyterHub with its configurable-http-proxy.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use super::declared::{custom_scopes, groups, roles, services};
use super::{Process, Room, Running, Start, StartError, free_port};
use crate::fixture;
use crate::list::Profile;

/// Reads `conformance.json` beside it.
const CONFIG: &str = include_str!("../../jupyterhub_config.py");

/// JupyterHub in a Python environment.
#[derive(Debug)]
pub(crate) struct JupyterHub {
    /// The program `jupyterhub`.
    pub(crate) program: PathBuf,
    /// The program `configurable-http-proxy`.
    pub(crate) proxy: PathBuf,
    /// This program, which is the single-user server too.
    pub(crate) single: PathBuf,
    pub(crate) logs: Option<PathBuf>,
}

impl Start for JupyterHub {
    fn name(&self) -> &'static str {
        "jupyterhub"
    }

    fn has(&self, _: Profile) -> bool {
        true
    }

    fn start(&self, profile: Profile) -> Result<Running, StartError> {
        let room = Room::new("jupyterhub", self.logs.as_deref(), profile)?;
        let failed = |error| StartError::Program("jupyterhub".to_owned(), error);
        let mut settings = json!({
            "port": room.port,
            "hub_port": free_port().map_err(failed)?,
            "proxy_port": free_port().map_err(failed)?,
            "proxy": self.proxy,
            "base": format!("{}/", room.base),
            "folder": room.folder.path(),
            "single": [self.single, "single-user"],
            "admin_user": fixture::ADMIN_USER,
            "services": services(&room),
            "roles": roles(),
            "groups": groups(),
            "custom_scopes": custom_scopes(),
            "hub": {"allow_named_servers": true},
            "tornado": {},
            "options_form": "",
        });
        adapt(&mut settings, profile);
        room.write("conformance.json", &settings.to_string())?;
        let config = room.write("jupyterhub_config.py", CONFIG)?;
        let mut command = Command::new(&self.program);
        command
            .arg("-f")
            .arg(config)
            .current_dir(room.folder.path());
        let process = Process::start(&mut command, &room.log).map_err(failed)?;
        room.running(process)
    }
}

/// What a profile changes.
fn adapt(settings: &mut Value, profile: Profile) {
    match profile {
        Profile::Main | Profile::Last => {}
        Profile::Brisk => {
            settings["tornado"] = json!({"slow_spawn_timeout": 0.5, "slow_stop_timeout": 0.5});
        }
        Profile::Limited => {
            settings["hub"]["active_server_limit"] = 1.into();
            settings["hub"]["named_server_limit_per_user"] = 1.into();
        }
        Profile::Narrow => {
            settings["hub"]["concurrent_spawn_limit"] = 1.into();
            settings["tornado"] = json!({"slow_spawn_timeout": 0.5});
        }
        Profile::Plain => {
            settings["hub"]["allow_named_servers"] = false.into();
            settings["hub"]["redirect_to_server"] = false.into();
        }
        Profile::Strict => {
            settings["hub"]["oauth_require_pkce"] = true.into();
            settings["hub"]["default_server_name"] = "lab".into();
            settings["hub"]["authenticate_prometheus"] = false.into();
            settings["hub"]["api_page_default_limit"] = 3.into();
            settings["hub"]["api_page_max_limit"] = 5.into();
            settings["hub"]["token_expires_in_max_seconds"] = 3600.into();
            settings["options_form"] = fixture::OPTIONS_FORM.into();
        }
    }
}
