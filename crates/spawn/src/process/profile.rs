//! What the profile of a start changes: the program, its variables, its folders. Who may choose it, the hub decides.

use std::borrow::Cow;
use std::collections::BTreeMap;

use lyceum_broker::python;
use lyceum_core::lifecycle::{Cause, Failure};
use lyceum_core::seams::{PythonInUse, StartRequest};
use serde_json::Value;

use super::{ProcessConfig, Settings, failure};

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
    /// The Python environment, instead of the default one.
    pub python: Option<String>,
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
    /// The generation that it is started from, if the configuration has environments.
    pub(super) python: Option<PythonInUse>,
}

impl<'a> Own<'a> {
    /// Reads which profile was chosen, applies it, and finds the generation to start from. Blocks for moments.
    pub(super) fn of(settings: &'a Settings, request: &StartRequest) -> Result<Self, Failure> {
        let (own, named) = Self::chosen(settings, request)?;
        let (Some(folders), [program, ..]) = (&settings.python, own.config.command.as_slice())
        else {
            return Ok(own);
        };
        if !python::is_plain(&own.config.command) {
            return Ok(own);
        }
        let found = folders.find(named.unwrap_or(&folders.default), program);
        let found = found.map_err(|error| failure::no_python(&error))?;
        Ok(own.starting_in(found))
    }

    /// Has the server started from a generation: with its programs, and as one of them.
    fn starting_in(mut self, python: PythonInUse) -> Self {
        let config = self.config.to_mut();
        if let Some(program) = config.command.first_mut()
            && python::JUPYTER_PROGRAMS.contains(&program.as_str())
        {
            let place = python.prefix.join("bin").join(&*program);
            *program = place.display().to_string();
        }
        self.python = Some(python);
        self
    }

    /// The configuration with the chosen profile, and the environment that the profile names.
    fn chosen(
        settings: &'a Settings,
        request: &StartRequest,
    ) -> Result<(Self, Option<&'a str>), Failure> {
        let usual = Self {
            settings,
            config: Cow::Borrowed(&settings.config),
            first: &[],
            python: None,
        };
        // Without profiles, an option of this name is anything that an administrator's form asks for.
        if settings.profiles.is_empty() {
            return Ok((usual, None));
        }
        let name = match request.user_options.get(OPTION) {
            None | Some(Value::Null) => return Ok((usual, None)),
            Some(Value::String(name)) => name.as_str(),
            Some(_) => return Err(unknown("that was chosen")),
        };
        let profile = settings
            .profiles
            .get(name)
            .ok_or_else(|| unknown(&format!("`{name}`")))?;
        let own = Self {
            config: Cow::Owned(profile.over(&settings.config)),
            first: &profile.path,
            ..usual
        };
        Ok((own, profile.python.as_deref()))
    }

    /// The folders in which programs are found.
    pub(super) fn search_path(&self) -> String {
        let mut dirs = self.first.to_vec();
        let bin = self.python.as_ref().map(|python| python.prefix.join("bin"));
        dirs.extend(bin.map(|bin| bin.display().to_string()));
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
