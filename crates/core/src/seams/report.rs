//! What parts that the hub does not know tell of themselves: to administrators, and to Prometheus.

use std::fmt;

/// A part of the program that has something to tell. Asked for each page of an administrator and each reading of the
/// metrics: must not wait.
pub trait Reporter: fmt::Debug + Send + Sync {
    /// What administrators should know of now, the worst first.
    fn notices(&self) -> Vec<Notice>;

    /// What it measures.
    fn gauges(&self) -> Vec<Gauge>;
}

/// Something that administrators should know of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Whether it harms visitors now.
    pub urgent: bool,
    /// What it is; a whole sentence.
    pub text: String,
    /// What to do, or where to look.
    pub hint: String,
}

/// One value that is measured, under a name; several with one name differ in their label.
#[derive(Debug, Clone, PartialEq)]
pub struct Gauge {
    /// The name, with its unit.
    pub name: &'static str,
    /// What it is.
    pub help: &'static str,
    /// The name of its label, and the label.
    pub label: (&'static str, String),
    /// The value.
    pub value: f64,
}
