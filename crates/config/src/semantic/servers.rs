//! Rules for `[servers]` and `[metrics]`.

use lyceum_core::ServerName;

use super::Rules;

impl Rules<'_> {
    pub(super) fn servers(&mut self) {
        let servers = &self.config.servers;
        // Without named servers it has no effect, as in JupyterHub.
        let default_name = servers.default_name.as_deref().map(ServerName::parse_new);
        if let Some(Err(error)) = default_name {
            self.refuse(
                "servers.default_name",
                "cannot be the name of a server",
                &error.to_string(),
                "for example `default_name = \"lab\"`",
            );
        }
        let [shortest, longest] = servers.retry_range;
        if shortest > longest {
            self.refuse(
                "servers.retry_range",
                "cannot be used",
                "the shortest pause is longer than the longest",
                "for example `retry_range = [30, 60]`",
            );
        }
        for (key, file) in [
            ("servers.options_form", &servers.options_form),
            ("servers.event_log", &servers.event_log),
        ] {
            if file.as_ref().is_some_and(|file| !file.is_absolute()) {
                self.refuse(
                    key,
                    "must be a file",
                    "expected a path",
                    "write the whole path, beginning with a slash",
                );
            }
        }
    }

    pub(super) fn metrics(&mut self) {
        let metrics = &self.config.metrics;
        let named = metrics
            .prefix
            .starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && metrics
                .prefix
                .bytes()
                .all(|c| c.is_ascii_alphanumeric() || c == b'_');
        if !named {
            self.refuse(
                "metrics.prefix",
                "cannot begin the name of a metric",
                "expected letters, digits and underscores",
                "for example `prefix = \"jupyterhub\"`",
            );
        }
        for (key, buckets) in [
            ("metrics.spawn_buckets", &metrics.spawn_buckets),
            ("metrics.stop_buckets", &metrics.stop_buckets),
        ] {
            let ascending = buckets.is_sorted_by(|a, b| a < b);
            if buckets.is_empty() || !ascending || !buckets.iter().all(|bound| bound.is_finite()) {
                self.refuse(
                    key,
                    "cannot be used",
                    "expected numbers, each larger than the one before",
                    "for example `[1.0, 5.0, 30.0]`",
                );
            }
        }
    }
}
