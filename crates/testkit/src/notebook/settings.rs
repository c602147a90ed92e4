//! What the hub tells a server at its start: environment variables, and two options of Jupyter Server.

use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use lyceum_core::Secret;
use thiserror::Error;

use super::mode::{Mode, UnknownMode};

/// How often activity is reported, unless the environment says otherwise.
const ACTIVITY_INTERVAL: u64 = 300;

/// Everything that the server knows.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How it behaves.
    pub mode: Mode,
    /// Whose server it is.
    pub user: String,
    /// Its name; empty for the default server.
    pub server_name: String,
    /// The server's token, its OAuth client's secret too.
    pub api_token: Secret<String>,
    /// Its OAuth client's id, and its cookie's name.
    pub client_id: String,
    /// The hub's API, without a slash at the end.
    pub api_url: String,
    /// Where activity is reported; empty for nowhere.
    pub activity_url: String,
    /// How often activity is reported.
    pub activity_interval: Duration,
    /// Scheme and host before links to the hub; empty for the host in the browser.
    pub hub_host: String,
    /// The hub's base path, with slashes at both ends.
    pub base_url: String,
    /// The path below which the server answers, with slashes at both ends.
    pub prefix: String,
    /// Where the browser comes back to after a login.
    pub callback_url: String,
    /// The scopes of which a visitor needs one.
    pub access_scopes: Vec<String>,
    /// Where to listen, unless there is a socket: host and port.
    pub address: String,
    /// The Unix socket to listen on.
    pub socket: Option<PathBuf>,
    /// The permissions of the socket.
    pub socket_mode: u32,
}

/// What is wrong with what the hub told.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SettingsError {
    /// A variable is missing.
    #[error("{0} is not set: this server is started by a hub only")]
    Missing(&'static str),
    /// A variable has a value that makes no sense.
    #[error("{name} cannot be `{value}`")]
    Value {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
    },
    /// An option has a value that makes no sense.
    #[error("the option `{0}` is malformed")]
    Option(String),
    /// There is no such mode.
    #[error(transparent)]
    Mode(#[from] UnknownMode),
}

impl Settings {
    /// Reads variables and options; options that are not known are ignored, as those of Jupyter Server would be.
    pub fn read(
        variable: impl Fn(&str) -> Option<String>,
        options: impl IntoIterator<Item = String>,
    ) -> Result<Self, SettingsError> {
        let get = |name: &'static str| variable(name).ok_or(SettingsError::Missing(name));
        let or_empty = |name: &str| variable(name).unwrap_or_default();
        let wrong = |name, value: &str| SettingsError::Value {
            name,
            value: value.to_owned(),
        };
        let interval = or_empty("JUPYTERHUB_ACTIVITY_INTERVAL");
        let interval = match interval.as_str() {
            "" => ACTIVITY_INTERVAL,
            text => text
                .parse()
                .map_err(|_| wrong("JUPYTERHUB_ACTIVITY_INTERVAL", text))?,
        };
        let scopes = get("JUPYTERHUB_OAUTH_ACCESS_SCOPES")?;
        let mut settings = Self {
            mode: or_empty("TINY_MODE").parse()?,
            user: get("JUPYTERHUB_USER")?,
            server_name: get("JUPYTERHUB_SERVER_NAME")?,
            api_token: get("JUPYTERHUB_API_TOKEN")?.into(),
            client_id: get("JUPYTERHUB_CLIENT_ID")?,
            api_url: get("JUPYTERHUB_API_URL")?.trim_end_matches('/').to_owned(),
            activity_url: or_empty("JUPYTERHUB_ACTIVITY_URL"),
            activity_interval: Duration::from_secs(interval),
            hub_host: or_empty("JUPYTERHUB_HOST"),
            base_url: get("JUPYTERHUB_BASE_URL")?,
            prefix: get("JUPYTERHUB_SERVICE_PREFIX")?,
            callback_url: get("JUPYTERHUB_OAUTH_CALLBACK_URL")?,
            access_scopes: serde_json::from_str(&scopes)
                .map_err(|_| wrong("JUPYTERHUB_OAUTH_ACCESS_SCOPES", &scopes))?,
            address: address_of(&get("JUPYTERHUB_SERVICE_URL")?)?,
            socket: None,
            socket_mode: 0o600,
        };
        if !(settings.prefix.starts_with('/') && settings.prefix.ends_with('/')) {
            return Err(wrong("JUPYTERHUB_SERVICE_PREFIX", &settings.prefix));
        }
        settings.take_options(options)?;
        Ok(settings)
    }

    fn take_options(
        &mut self,
        options: impl IntoIterator<Item = String>,
    ) -> Result<(), SettingsError> {
        let mut options = options.into_iter();
        while let Some(option) = options.next() {
            let (name, value) = match option.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (option.as_str(), None),
            };
            let malformed = || SettingsError::Option(option.clone());
            match name {
                "--ServerApp.sock" | "--sock" => {
                    let path = value
                        .or_else(|| options.next())
                        .filter(|path| !path.is_empty());
                    self.socket = Some(path.ok_or_else(malformed)?.into());
                }
                "--ServerApp.sock_mode" => {
                    let mode = value
                        .as_deref()
                        .and_then(|mode| u32::from_str_radix(mode, 8).ok());
                    self.socket_mode = mode.ok_or_else(malformed)?;
                }
                "--mode" => self.mode = value.ok_or_else(malformed)?.parse()?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Where the server listens, in words.
    pub fn place(&self) -> String {
        match &self.socket {
            Some(socket) => socket.display().to_string(),
            None => self.address.clone(),
        }
    }
}

/// Takes host and port out of `http://host:port/path`; no host means all interfaces.
fn address_of(url: &str) -> Result<String, SettingsError> {
    let wrong = || SettingsError::Value {
        name: "JUPYTERHUB_SERVICE_URL",
        value: url.to_owned(),
    };
    // Not a valid URI without a host, but that is how the hub writes "everywhere".
    if let Some(port) = url.strip_prefix("http://:") {
        let port: u16 = port
            .split('/')
            .next()
            .unwrap_or(port)
            .parse()
            .map_err(|_| wrong())?;
        return Ok(format!("0.0.0.0:{port}"));
    }
    let uri: Uri = url.parse().map_err(|_| wrong())?;
    match (uri.scheme_str(), uri.host(), uri.port_u16()) {
        (Some("http"), Some(host), Some(port)) => Ok(format!("{host}:{port}")),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(name: &str) -> Option<String> {
        let value = match name {
            "JUPYTERHUB_USER" => "ada",
            "JUPYTERHUB_SERVER_NAME" => "",
            "JUPYTERHUB_API_TOKEN" => "t0ken",
            "JUPYTERHUB_CLIENT_ID" => "jupyterhub-user-ada",
            "JUPYTERHUB_API_URL" => "http://127.0.0.1:8081/hub/api",
            "JUPYTERHUB_BASE_URL" => "/",
            "JUPYTERHUB_SERVICE_PREFIX" => "/user/ada/",
            "JUPYTERHUB_OAUTH_CALLBACK_URL" => "/user/ada/oauth_callback",
            "JUPYTERHUB_OAUTH_ACCESS_SCOPES" => r#"["access:servers!server=ada/"]"#,
            "JUPYTERHUB_SERVICE_URL" => "http://127.0.0.1:4321/user/ada/",
            _ => return None,
        };
        Some(value.to_owned())
    }

    fn options(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn the_hubs_variables_are_understood() {
        let settings = Settings::read(variable, []).unwrap();
        assert_eq!(settings.address, "127.0.0.1:4321");
        assert_eq!(settings.activity_interval, Duration::from_mins(5));
        assert_eq!(settings.place(), "127.0.0.1:4321");
        assert!(!format!("{settings:?}").contains("t0ken"));
    }

    #[test]
    fn a_socket_is_taken_in_both_spellings() {
        let sock = |texts: &[&str]| Settings::read(variable, options(texts)).unwrap();
        assert_eq!(sock(&["--sock", "/run/x"]).place(), "/run/x");
        assert_eq!(
            sock(&["--other", "--ServerApp.sock=/run/y"]).place(),
            "/run/y"
        );
        assert_eq!(sock(&["--ServerApp.sock_mode=0660"]).socket_mode, 0o660);
        assert_eq!(sock(&["--mode=slow=3"]).mode, Mode::Slow(3));
        for bad in [
            "--sock",
            "--ServerApp.sock=",
            "--ServerApp.sock_mode=9",
            "--mode=x",
        ] {
            assert!(Settings::read(variable, options(&[bad])).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let without = |name: &str| {
            if name == "JUPYTERHUB_USER" {
                None
            } else {
                variable(name)
            }
        };
        assert_eq!(
            Settings::read(without, []).unwrap_err(),
            SettingsError::Missing("JUPYTERHUB_USER")
        );
        assert_eq!(address_of("http://:80/x").unwrap(), "0.0.0.0:80");
        assert_eq!(address_of("http://[::1]:80/x").unwrap(), "[::1]:80");
        for url in ["", "https://a:1/", "http://a/", "a:1", "http://:x/"] {
            assert!(address_of(url).is_err(), "{url}");
        }
    }
}
