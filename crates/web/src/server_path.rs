//! The part of a URL that names a server: `USER`, or `USER/SERVER`.

use serde::Deserialize;

/// Whose server, and which; without a name, the default one. As it stands in the path, not yet checked.
#[derive(Debug, Deserialize)]
pub(crate) struct ServerPath {
    pub(crate) user: String,
    #[serde(default)]
    pub(crate) server: String,
}
