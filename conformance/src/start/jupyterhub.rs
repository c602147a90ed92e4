//! Starts the real JupyterHub with its configurable-http-proxy.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use super::{ADMIN_TOKEN, Process, Room, Running, Start, StartError, free_port};
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
            "custom_scopes": fixture::CUSTOM_SCOPES.iter().map(|(name, description, subscopes)| {
                ((*name).to_owned(), json!({"description": description, "subscopes": subscopes}))
            }).collect::<serde_json::Map<_, _>>(),
            "hub": {"allow_named_servers": true},
            "tornado": {},
        });
        adapt(&mut settings, profile);
        room.write("conformance.json", &settings.to_string())?;
        let config = room.write("jupyterhub_config.py", CONFIG)?;
        let mut command = Command::new(&self.program);
        command.arg("-f").arg(config).current_dir(room.folder.path());
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
    }
}

fn services(room: &Room) -> Value {
    json!([
        {"name": fixture::ADMIN_SERVICE, "api_token": ADMIN_TOKEN},
        {"name": fixture::OUTSIDER, "api_token": fixture::OUTSIDER_TOKEN},
        {"name": fixture::WATCHER, "api_token": fixture::WATCHER_TOKEN},
        {"name": fixture::TUTOR, "api_token": fixture::TUTOR_TOKEN},
        {
            "name": fixture::APP,
            "api_token": fixture::APP_TOKEN,
            "oauth_client_id": fixture::APP_CLIENT,
            "oauth_redirect_uri": fixture::APP_REDIRECT,
            "oauth_client_allowed_scopes": fixture::APP_SCOPES,
            "info": {"about": "cases"},
        },
        {
            "name": "trusted",
            "api_token": fixture::TRUSTED_TOKEN,
            "oauth_client_id": fixture::TRUSTED_CLIENT,
            "oauth_redirect_uri": fixture::TRUSTED_REDIRECT,
            "oauth_no_confirm": true,
            "display": false,
        },
        {
            "name": fixture::WEB,
            "api_token": fixture::WEB_TOKEN,
            "url": format!("http://127.0.0.1:{}", room.web_port),
        },
    ])
}

fn groups() -> Value {
    let mut groups: serde_json::Map<String, Value> = fixture::GROUPS
        .iter()
        .map(|name| ((*name).to_owned(), json!({"users": [], "properties": {}})))
        .collect();
    if let Some(students) = groups.get_mut(fixture::STUDENTS) {
        students["properties"] = fixture::students_properties();
    }
    groups.into()
}

fn roles() -> Value {
    let mut roles = vec![json!({"name": "admin", "services": [fixture::ADMIN_SERVICE]})];
    roles.extend(fixture::ROLES.iter().map(|role| {
        json!({
            "name": role.name,
            "description": role.name,
            "scopes": role.scopes,
            "services": role.services,
            "groups": role.groups,
        })
    }));
    roles.into()
}
