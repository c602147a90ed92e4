//! Ids of rows: integers as JupyterHub's API shows them, each of its own type.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta] $name:ident),+ $(,)?) => {$(
        #[$doc]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )+};
}

id! {
    /// Id of a user.
    UserId,
    /// Id of a group.
    GroupId,
    /// Id of a role.
    RoleId,
    /// Id of a user's server, default or named.
    ServerId,
    /// Id of a service.
    ServiceId,
    /// Id of a browser session.
    SessionId,
    /// Id of an API token; the API writes it as `a<number>`.
    TokenId,
    /// Id of an OAuth client's row (its `identifier` is a text).
    ClientId,
    /// Id of a share.
    ShareId,
    /// Id of a share code; the API writes it as `sc_<number>`.
    ShareCodeId,
}
