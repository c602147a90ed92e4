//! Compression of answers on their way to a client: which ones, how, and with what.
//!
//! [`Compression::plan`] decides from the heads of a request and its answer alone; [`Plan::begin`] rewrites the
//! answer's head and gives the [`Encoder`] for its body. Files that are compressed beforehand are the matter of
//! [`files`](crate::files), which shares the negotiation ([`Accepted`]).
//!
//! What must not be compressed for the sake of secrets (BREACH) is in `docs/static-files.md`.

mod accept;
mod coding;
mod decide;
mod encoder;
mod media;
#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use accept::Accepted;
pub use coding::Coding;
pub use decide::{Compression, Plan};
pub use encoder::Encoder;
pub(crate) use media::{Kind, kind};

/// Which answers are compressed on their way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CompressMode {
    /// None.
    Off,
    /// JSON, scripts, styles, plain text and other data, but no HTML: pages have secrets of their reader in
    /// them beside words that a stranger can choose, and the length of a compressed page tells of both.
    #[default]
    Data,
    /// HTML, too.
    All,
}
