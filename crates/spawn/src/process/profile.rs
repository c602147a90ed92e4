//! What the profile of a start changes: the program, its variables, its folders. Who may choose it, the hub decides.

use std::borrow::Cow;
use std::collections::BTreeMap;

use lyceum_core::lifecycle::{Cause, Failure};
use lyceum_core::seams::StartRequest;
use serde_json::Value;

use super::{ProcessConfig, Settings};

/// The option that names the profile.
const OPTION: &str = "profile";

/// A kind of server that users may choose. What is not set is as the spawner's configuration says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    /// Another program, and its first arguments.
    pub command: Option<Vec<String>>,
    /// Variables over those of the configuration.
    pub environment: BTreeMap<String, String>,
    /// Folders of programs that come before all others.
    pub path: Vec<String>,
    /// The page that the server opens first.
    pub default_url: Option<String>,
}

impl Profile {
    /// Lays it over a configuration.
    pub(super) fn over(&self, config: &ProcessConfig) -> ProcessConfig {
        let mut config = config.clone();
        if let Some(command) = &self.command {
            config.command.clone_from(command);
        }
        config.environment.extend(self.environment.clone());
        if let Some(url) = &self.default_url {
            config.default_url.clone_from(url);
        }
        config
    }
}

/// The configuration of one start.
#[derive(Debug)]
pub(super) struct Own<'a> {
    pub(super) settings: &'a Settings,
    pub(super) config: Cow<'a, ProcessConfig>,
    /// Folders of programs that come before all others.
    first: &'a [String],
}

impl<'a> Own<'a> {
    /// Reads which profile was chosen, and applies it.
    pub(super) fn of(settings: &'a Settings, request: &StartRequest) -> Result<Self, Failure> {
        let usual = Self {
            settings,
            config: Cow::Borrowed(&settings.config),
            first: &[],
        };
        // Without profiles, an option of this name is anything that an administrator's form asks for.
        if settings.profiles.is_empty() {
            return Ok(usual);
        }
        let name = match request.user_options.get(OPTION) {
            None | Some(Value::Null) => return Ok(usual),
            Some(Value::String(name)) => name.as_str(),
            Some(_) => return Err(unknown("that was chosen")),
        };
        let profile = settings
            .profiles
            .get(name)
            .ok_or_else(|| unknown(&format!("`{name}`")))?;
        Ok(Self {
            config: Cow::Owned(profile.over(&settings.config)),
            first: &profile.path,
            ..usual
        })
    }

    /// The folders in which programs are found.
    pub(super) fn search_path(&self) -> String {
        let mut dirs = self.first.to_vec();
        dirs.push(self.settings.search_path());
        dirs.join(":")
    }
}

fn unknown(which: &str) -> Failure {
    Failure::new(
        Cause::NotAllowed,
        format!("There is no profile {which}."),
        "Start the server again, and choose another one.",
    )
}
