//! The keys of auth state: from a file or a variable, and no start without them where they are needed.

use std::env;
use std::fs::File;
use std::io::Read as _;

use anyhow::Context as _;
use lyceum_config::settings::AuthStateConfig;
use lyceum_core::Secret;
use lyceum_hub::CryptKeys;

use super::Hint;

/// The variable with the keys, as JupyterHub names it.
const VARIABLE: &str = "JUPYTERHUB_CRYPT_KEY";
/// No file with keys is longer.
const MAX_BYTES: usize = 64 * 1024;

/// Reads the keys if there are any, also while auth state is not switched on: to read what another hub has kept.
pub(crate) fn keys_if_given(config: &AuthStateConfig) -> anyhow::Result<Option<CryptKeys>> {
    let is_set = env::var_os(VARIABLE).is_some_and(|text| !text.is_empty());
    let enabled = config.enabled || config.crypt_key_file.is_some() || is_set;
    keys(&AuthStateConfig {
        enabled,
        ..config.clone()
    })
}

/// Reads the keys; `None` if auth state is not switched on.
pub(super) fn keys(config: &AuthStateConfig) -> anyhow::Result<Option<CryptKeys>> {
    if !config.enabled {
        return Ok(None);
    }
    let (text, place) = match &config.crypt_key_file {
        Some(path) => {
            let mut content = String::with_capacity(MAX_BYTES + 1);
            let read = File::open(path)
                .and_then(|file| file.take(MAX_BYTES as u64).read_to_string(&mut content));
            let content = Secret::new(content);
            read.with_context(|| format!("could not read the keys in {}", path.display()))?;
            (content, path.display().to_string())
        }
        None => (
            Secret::new(env::var(VARIABLE).unwrap_or_default()),
            VARIABLE.to_owned(),
        ),
    };
    CryptKeys::parse(text.expose())
        .with_context(|| format!("could not use the keys of `auth_state` in {place}"))
        .context(Hint(format!(
            "write a key, such as `openssl rand -hex 32` makes one, into a file and name it in `auth_state.crypt_key_file`, or set {VARIABLE}; or set `auth_state.enabled = false`"
        )))
        .map(Some)
}
