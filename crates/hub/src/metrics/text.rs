//! Prometheus' text format 0.0.4, made from the newer one that the library writes (OpenMetrics).
//!
//! They differ in the names of counters in comments, and in the marks for units and for the end.

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

/// Writes all metrics.
pub(super) fn of(registry: &Registry) -> String {
    let mut new = String::new();
    if encode(&mut new, registry).is_err() {
        // Only a metric that cannot be written as text could be why, and there is none.
        tracing::error!("could not write the metrics");
    }
    older(&new)
}

fn older(new: &str) -> String {
    let mut old = String::with_capacity(new.len());
    let mut lines = new.lines().peekable();
    while let Some(line) = lines.next() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("UNIT" | "EOF"), ..) => continue,
            // The help comes first, and the type on the next line says what it is about.
            (Some("#"), Some("HELP"), Some(name), Some(help)) => {
                let counter = format!("# TYPE {name} counter");
                let total = if lines.peek() == Some(&counter.as_str()) {
                    "_total"
                } else {
                    ""
                };
                old.extend(["# HELP ", name, total, " ", help]);
            }
            (Some("#"), Some("TYPE"), Some(name), Some("counter")) => {
                old.extend(["# TYPE ", name, "_total counter"]);
            }
            _ => old.push_str(line),
        }
        old.push('\n');
    }
    old
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_named_as_older_readers_know_them() {
        let new = "# HELP a Help.\n# TYPE a gauge\na 1\n# HELP hits Many of them.\n\
                   # TYPE hits counter\nhits_total 2\n# EOF\n";
        let old = "# HELP a Help.\n# TYPE a gauge\na 1\n# HELP hits_total Many of them.\n\
                   # TYPE hits_total counter\nhits_total 2\n";
        assert_eq!(older(new), old);
    }
}
