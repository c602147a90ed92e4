//! A set of user names in the file, normalized as a login normalizes what is typed.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Deref;

use lyceum_core::UserName;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};

/// User names, lowercased and trimmed as JupyterHub does it with names in its configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Names(pub BTreeSet<UserName>);

impl Deref for Names {
    type Target = BTreeSet<UserName>;
    fn deref(&self) -> &BTreeSet<UserName> {
        &self.0
    }
}

/// One name, so that an error points at the entry and not at the list.
struct Name(UserName);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let typed = String::deserialize(deserializer)?;
        UserName::normalize(&typed)
            .map(Self)
            .map_err(|reason| de::Error::custom(format!("`{typed}` is not a user name: {reason}")))
    }
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = Vec::<Name>::deserialize(deserializer)?;
        Ok(Self(names.into_iter().map(|Name(name)| name).collect()))
    }
}

impl JsonSchema for Names {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Names".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array", "items": { "type": "string" }, "uniqueItems": true })
    }
}
