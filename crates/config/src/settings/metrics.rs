//! `[metrics]`: what is measured for Prometheus.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is measured for Prometheus, at `/hub/metrics`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsConfig {
    /// Whether the metrics are only for those who have the scope `read:metrics` (`true`) or for everybody (`false`).
    #[schemars(example = false)]
    pub authenticate: bool,

    /// What the names of the metrics begin with: letters, digits and underscores.
    #[schemars(example = &"classroom")]
    pub prefix: String,

    /// The bounds of the histogram of how long servers take to start, in seconds, ascending.
    #[schemars(example = [1.0, 5.0, 30.0])]
    pub spawn_buckets: Vec<f64>,

    /// The bounds of the histogram of how long servers take to stop, in seconds, ascending.
    #[schemars(example = [1.0, 5.0, 30.0])]
    pub stop_buckets: Vec<f64>,
}

impl Default for MetricsConfig {
    /// JupyterHub's.
    fn default() -> Self {
        Self {
            authenticate: true,
            prefix: "jupyterhub".to_owned(),
            spawn_buckets: vec![
                0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 180.0, 300.0, 600.0,
            ],
            stop_buckets: vec![
                0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
            ],
        }
    }
}
