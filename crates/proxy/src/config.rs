//! The section of the configuration that says which proxy carries the traffic.

use std::path::PathBuf;

use lyceum_core::Secret;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::target::{Target, TargetError};

/// Which proxy carries people's traffic to their servers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ProxyConfig {
    /// Lyceum's own gateway. There is nothing to set here; its section is `[gateway]`.
    #[default]
    BuiltIn,
    /// A configurable-http-proxy, or a `lyceum proxy`, that runs by itself, perhaps on another machine. People go to
    /// its address; it sends what belongs to the hub to an address of `gateway.listen`, which has to list the proxy in
    /// `gateway.trusted_proxies`. Start it with `--default-target` or not: Lyceum puts all routes.
    ConfigurableHttpProxy(ExternalConfig),
}

/// The proxy that runs elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExternalConfig {
    /// Where its REST API is: `http://host:port`, or `http+unix://%2Frun%2Fproxy.sock` with the escaped path of a
    /// socket.
    pub api_url: String,

    /// The file with the token of its REST API, which the proxy gets as `CONFIGPROXY_AUTH_TOKEN`. Without one, the
    /// variable of this name is looked at in Lyceum's own environment.
    #[schemars(extend("format" = "path"))]
    pub auth_token_file: Option<PathBuf>,

    /// Where the proxy reaches this hub, such as `http://10.0.0.5:8000`: a program at one of the addresses in
    /// `gateway.listen`. Left out, it is the first of them, which is right if the proxy runs on this machine.
    #[schemars(example = "http://10.0.0.5:8000")]
    pub hub_target: Option<String>,
}

impl Default for ExternalConfig {
    fn default() -> Self {
        Self {
            api_url: "http://127.0.0.1:8001".to_owned(),
            auth_token_file: None,
            hub_target: None,
        }
    }
}

/// Why the proxy of the configuration cannot be used.
#[derive(Debug, Error)]
pub enum ProxyConfigError {
    /// The token cannot be read.
    #[error("could not read the token of the proxy in {}", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file of the token is empty, or more than one line.
    #[error("there is no token in {}: it has to be one line without spaces", .0.display())]
    NoToken(PathBuf),
    /// A URL cannot be used.
    #[error("`proxy.{key}` cannot be used")]
    Url {
        /// The key.
        key: &'static str,
        /// What is wrong.
        #[source]
        source: TargetError,
    },
}

impl ExternalConfig {
    /// The proxy's API.
    pub fn api(&self) -> Result<Target, ProxyConfigError> {
        let read = self.api_url.parse();
        read.map_err(|source| ProxyConfigError::Url {
            key: "api_url",
            source,
        })
    }

    /// Where the proxy reaches this hub, if that is set.
    pub fn hub(&self) -> Result<Option<Target>, ProxyConfigError> {
        let read = self.hub_target.as_deref().map(str::parse);
        read.transpose().map_err(|source| ProxyConfigError::Url {
            key: "hub_target",
            source,
        })
    }

    /// Reads the token (blocks, briefly); `None` if there is no file.
    pub fn token(&self) -> Result<Option<Secret<String>>, ProxyConfigError> {
        let Some(path) = &self.auth_token_file else {
            return Ok(None);
        };
        let text = std::fs::read_to_string(path).map_err(|source| ProxyConfigError::Token {
            path: path.clone(),
            source,
        })?;
        let text = Secret::new(text);
        let token = text.expose().trim();
        if token.is_empty() || token.contains(char::is_whitespace) {
            return Err(ProxyConfigError::NoToken(path.clone()));
        }
        Ok(Some(Secret::from(token)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ProxyConfig, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn the_proxy_is_built_in_or_named() {
        assert_eq!(
            read(r#"{"kind": "built-in"}"#).unwrap(),
            ProxyConfig::BuiltIn
        );
        let external =
            read(r#"{"kind": "configurable-http-proxy", "api_url": "http://h:1"}"#).unwrap();
        let ProxyConfig::ConfigurableHttpProxy(external) = external else {
            panic!("{external:?}");
        };
        assert_eq!(external.api().unwrap().upstream.to_string(), "http://h:1");
        assert!(external.token().unwrap().is_none());
        assert!(read(r#"{"kind": "configurable-http-proxy", "url": "http://h:1"}"#).is_err());
    }

    #[test]
    fn a_token_is_one_word_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let config = ExternalConfig {
            auth_token_file: Some(path.clone()),
            ..ExternalConfig::default()
        };
        assert!(matches!(
            config.token(),
            Err(ProxyConfigError::Token { .. })
        ));
        std::fs::write(&path, "sesame\n").unwrap();
        assert!(config.token().unwrap().unwrap().matches("sesame"));
        for text in ["", "\n", "two words"] {
            std::fs::write(&path, text).unwrap();
            assert!(
                matches!(config.token(), Err(ProxyConfigError::NoToken(_))),
                "{text:?}"
            );
        }
    }
}
