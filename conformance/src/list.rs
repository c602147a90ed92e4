//! The list of cases.

use std::fmt;

use crate::case::Case;
use crate::failure::{Done, Failure};
use crate::request::Request;

/// With which settings the hub of a case has to be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Profile {
    /// Named servers, and otherwise the defaults.
    Main,
    /// Answers "still starting" and "still stopping" after half a second.
    Brisk,
    /// One running server for all, one named server for each.
    Limited,
    /// One server may be starting at a time.
    Narrow,
    /// Below `/jupyter/`, without named servers, home page after a login.
    Plain,
    /// PKCE for all, a form of options, a named server by default, open metrics, short pages, short tokens.
    Strict,
    /// A hub that a case may shut down.
    Last,
}

impl Profile {
    pub(crate) const ALL: [Self; 7] = [
        Self::Main,
        Self::Brisk,
        Self::Limited,
        Self::Narrow,
        Self::Plain,
        Self::Strict,
        Self::Last,
    ];

    /// Whether its cases would disturb each other.
    pub(crate) fn is_serial(self) -> bool {
        matches!(self, Self::Limited | Self::Narrow | Self::Last)
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Main => "main",
            Self::Brisk => "brisk",
            Self::Limited => "limited",
            Self::Narrow => "narrow",
            Self::Plain => "plain",
            Self::Strict => "strict",
            Self::Last => "last",
        })
    }
}

type Body = Box<dyn Fn(&Case<'_>) -> Done + Send + Sync>;

/// A case of the list.
pub(crate) struct Entry {
    pub(crate) area: &'static str,
    /// The behaviour, as a sentence.
    pub(crate) name: String,
    pub(crate) profile: Profile,
    pub(crate) body: Body,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.area, self.name)
    }
}

/// The cases, as the areas add them.
#[derive(Debug)]
pub(crate) struct List {
    pub(crate) entries: Vec<Entry>,
    area: &'static str,
    profile: Profile,
}

impl List {
    pub(crate) fn new() -> Self {
        Self {
            entries: Vec::new(),
            area: "",
            profile: Profile::Main,
        }
    }

    /// What follows belongs to an area, and to a hub with usual settings.
    pub(crate) fn area(&mut self, area: &'static str) {
        self.area = area;
        self.profile = Profile::Main;
    }

    /// What follows needs a hub started with other settings.
    pub(crate) fn needs(&mut self, profile: Profile) {
        self.profile = profile;
    }

    /// Adds a case.
    pub(crate) fn case(
        &mut self,
        name: impl Into<String>,
        body: impl Fn(&Case<'_>) -> Done + Send + Sync + 'static,
    ) {
        self.entries.push(Entry {
            area: self.area,
            name: name.into(),
            profile: self.profile,
            body: Box::new(body),
        });
    }

    /// Adds a case in which the API refuses one request with an error body.
    pub(crate) fn refused(
        &mut self,
        name: impl Into<String>,
        status: u16,
        request: impl for<'c> Fn(&'c Case<'c>) -> Result<Request<'c>, Failure> + Send + Sync + 'static,
    ) {
        self.case(name, move |case| {
            // A request borrows its case for as long as the case lives.
            request(case)?.refused(status).map(drop)
        });
    }

    /// Adds a case in which JupyterHub gives one status and Lyceum on purpose another: see docs/compatibility.md.
    pub(crate) fn differs(
        &mut self,
        name: impl Into<String>,
        [jupyterhub, ours]: [u16; 2],
        why: &'static str,
        request: impl for<'c> Fn(&'c Case<'c>) -> Result<Request<'c>, Failure> + Send + Sync + 'static,
    ) {
        self.case(name, move |case| {
            request(case)?
                .send()?
                .either(&[jupyterhub, ours], why)
                .map(drop)
        });
    }
}
