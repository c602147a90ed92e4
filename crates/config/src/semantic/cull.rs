//! Rules for `[cull]`.

use lyceum_core::HumanDuration;

use super::Rules;
use crate::problem::Problem;
use crate::settings::{ClassHoursError, OffOrDuration, ServiceConfig};

/// How often `jupyterhub-singleuser` reports that it was used.
const REPORTS: HumanDuration = HumanDuration::from_secs(300);

impl Rules<'_> {
    pub(super) fn cull(&mut self) {
        let cull = &self.config.cull;
        match cull.hours() {
            Ok(_) => {}
            Err(ClassHoursError::Hours(message)) => self.refuse(
                "cull.class_hours",
                "cannot be used",
                &message,
                "for example `class_hours = [\"mon-fri 08:00-16:00\"]`",
            ),
            Err(error @ ClassHoursError::Zone(_)) => self.refuse(
                "cull.timezone",
                "cannot be used",
                &error.to_string(),
                "for example `timezone = \"Europe/Prague\"`; the system's list is in the package `tzdata`",
            ),
        }
        let mut limits = vec![
            ("cull.idle".to_owned(), Some(cull.idle)),
            ("cull.max_age".to_owned(), Some(cull.max_age)),
        ];
        let named = ("cull.named".to_owned(), &cull.named);
        let groups = cull
            .groups
            .iter()
            .map(|(name, one)| (format!("cull.groups.{name}"), one));
        let profiles = cull
            .profiles
            .iter()
            .map(|(name, one)| (format!("cull.profiles.{name}"), one));
        for (key, one) in std::iter::once(named).chain(groups).chain(profiles) {
            limits.push((format!("{key}.idle"), one.idle));
            limits.push((format!("{key}.max_age"), one.max_age));
        }
        for (key, limit) in limits {
            let Some(OffOrDuration(Some(limit))) = limit else {
                continue;
            };
            self.limit(&key, limit);
        }
        self.limit("cull.pressure.idle", self.config.cull.pressure.idle);
        if self.config.cull.busy_limit.is_zero() {
            self.refuse(
                "cull.busy_limit",
                "cannot be zero",
                "expected a time",
                "for example `\"2 days\"`",
            );
        }
        self.two_cullers();
    }

    fn limit(&mut self, key: &str, limit: HumanDuration) {
        if !self.usable(&[key]) {
            return;
        }
        let warn = self.config.cull.warn;
        if limit.is_zero() {
            self.refuse(
                key,
                "cannot be zero",
                "expected a time",
                "`\"off\"` is for no limit",
            );
        } else if limit < REPORTS {
            let problem = Problem::warning(format!("`{key}` is shorter than 5 minutes"))
                .help("people think, read and have lunch: an hour is a good least")
                .help("servers that Lyceum cannot ask what they compute report their use every 5 minutes only");
            self.add(problem, &[(key, "too short for people")]);
        } else if !key.starts_with("cull.pressure") && warn >= limit {
            let problem = Problem::warning(format!(
                "people are warned {warn} before their server is stopped, which is all of the time that it may be unused"
            ))
            .help("let `cull.warn` be shorter, such as `\"5 min\"`");
            self.add(problem, &[(key, "the limit"), ("cull.warn", "the warning")]);
        }
    }

    /// Two that do the same are no harm, but surprise: the shorter limit counts.
    fn two_cullers(&mut self) {
        if self.config.cull.enabled != Some(true) {
            return;
        }
        if let Some(service) = self.config.services.iter().find(|one| is_culler(one)) {
            let problem = Problem::warning(format!(
                "servers are stopped by `[cull]` and by the service `{}`",
                service.name
            ))
            .help("keep one of the two; `[cull]` warns people first");
            self.add(problem, &[("cull.enabled", "switched on here")]);
        }
    }
}

/// Whether a service is `jupyterhub-idle-culler`.
pub(crate) fn is_culler(service: &ServiceConfig) -> bool {
    service.command.iter().any(|word| {
        let name = word.rsplit('/').next().unwrap_or_default();
        name.replace('-', "_").trim_end_matches(".py") == "jupyterhub_idle_culler"
    })
}
