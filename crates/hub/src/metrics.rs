//! What is measured, under JupyterHub's names (`jupyterhub/metrics.py`), and written for Prometheus.
//!
//! Measuring is cheap; what takes a look at the database or the system is found out when somebody reads.

mod process;
mod reported;
mod text;

use std::sync::Arc;
use std::time::{Duration, Instant};

use lyceum_core::lifecycle::{Cause, Failure};
use lyceum_core::seams::Reporter;
use lyceum_store::StoreError;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::permit::ReadMetrics;
use crate::{Denied, Hub, Principal};

/// The bounds that Prometheus' own clients have, in seconds.
const USUAL: [f64; 14] = [
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];
/// The bounds for how late the hub's threads are (`event_loop_interval_seconds`).
const LATENESS: [f64; 15] = [
    0.05, 0.055, 0.06, 0.065, 0.07, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];
/// The pause whose length is measured, as in JupyterHub; one in a second tells enough, and lets the machine sleep.
const PROBE: Duration = Duration::from_millis(50);
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// How often the users who were active are counted.
const COUNT_EVERY: Duration = Duration::from_hours(1);
/// The times in which they were active.
const PERIODS: [(&str, Duration); 3] = [
    ("24h", Duration::from_hours(24)),
    ("7d", Duration::from_hours(7 * 24)),
    ("30d", Duration::from_hours(30 * 24)),
];

/// What is set about metrics.
#[derive(Debug, Clone)]
pub struct MetricSettings {
    /// Whether they are only for those who hold `read:metrics`.
    pub authenticate: bool,
    /// What their names begin with.
    pub prefix: String,
    /// The bounds for starts, in seconds.
    pub spawn_buckets: Vec<f64>,
    /// The bounds for stops, in seconds.
    pub stop_buckets: Vec<f64>,
}

impl Default for MetricSettings {
    fn default() -> Self {
        Self {
            authenticate: true,
            prefix: "jupyterhub".to_owned(),
            spawn_buckets: vec![
                0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 180.0, 300.0, 600.0,
            ],
            stop_buckets: USUAL.to_vec(),
        }
    }
}

/// The proof that the caller may read the metrics.
#[derive(Debug)]
pub struct MetricsPermit(());

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    handler: String,
    code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SpawnLabels {
    status: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabel {
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PeriodLabel {
    period: &'static str,
}

type ByStatus = Family<StatusLabel, Histogram, fn() -> Histogram>;

/// Why a server was not started, as the label `reason` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotStarted {
    /// Too many are starting.
    Throttled,
    /// Too many are active.
    TooMany,
    /// It starts or stops already.
    AlreadyPending,
}

/// Everything that is measured.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Histogram, fn() -> Histogram>,
    spawn: Family<SpawnLabels, Histogram, Bounds>,
    stop: Family<StatusLabel, Histogram, Bounds>,
    poll: ByStatus,
    proxy_add: ByStatus,
    proxy_delete: ByStatus,
    login: ByStatus,
    logout: Histogram,
    proxy_poll: Histogram,
    check_routes: Histogram,
    startup: Histogram,
    init_spawners: Histogram,
    lateness: Histogram,
    running_servers: Gauge,
    total_users: Gauge,
    active_users: Family<PeriodLabel, Gauge>,
    csp_reports: Counter,
    server_memory: Gauge,
    out_of_memory: Counter,
}

/// Makes histograms with configured bounds.
#[derive(Debug, Clone)]
struct Bounds(Arc<[f64]>);

impl prometheus_client::metrics::family::MetricConstructor<Histogram> for Bounds {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0.iter().copied())
    }
}

fn usual() -> Histogram {
    Histogram::new(USUAL)
}

fn by_status(all: &[&'static str]) -> ByStatus {
    let family = ByStatus::new_with_constructor(usual);
    for status in all.iter().copied() {
        drop(family.get_or_create(&StatusLabel { status }));
    }
    family
}

impl Metrics {
    pub(crate) fn new(settings: &MetricSettings, reporters: &[Arc<dyn Reporter>]) -> Self {
        let bounds = |bounds: &[f64]| Bounds(Arc::from(bounds));
        let spawn = Family::new_with_constructor(bounds(&settings.spawn_buckets));
        for (status, reason) in [
            ("success", ""),
            ("failure", ""),
            ("error", ""),
            ("failure", "throttled"),
            ("failure", "too-many-users"),
            ("failure", "already-pending"),
        ] {
            drop(spawn.get_or_create(&SpawnLabels { status, reason }));
        }
        let stop = Family::new_with_constructor(bounds(&settings.stop_buckets));
        for status in ["success", "failure"] {
            drop(stop.get_or_create(&StatusLabel { status }));
        }
        let active_users = Family::<PeriodLabel, Gauge>::default();
        for (period, _) in PERIODS {
            drop(active_users.get_or_create(&PeriodLabel { period }));
        }
        let worked = ["success", "failure"];
        let mut metrics = Self {
            registry: Registry::default(),
            requests: Family::new_with_constructor(usual),
            spawn,
            stop,
            poll: by_status(&["running", "stopped"]),
            proxy_add: by_status(&worked),
            proxy_delete: by_status(&worked),
            login: by_status(&worked),
            logout: usual(),
            proxy_poll: usual(),
            check_routes: usual(),
            startup: usual(),
            init_spawners: usual(),
            lateness: Histogram::new(LATENESS),
            running_servers: Gauge::default(),
            total_users: Gauge::default(),
            active_users,
            csp_reports: Counter::default(),
            server_memory: Gauge::default(),
            out_of_memory: Counter::default(),
        };
        metrics.register(&settings.prefix, reporters);
        metrics
    }

    fn register(&mut self, prefix: &str, reporters: &[Arc<dyn Reporter>]) {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(process::Process));
        registry.register_collector(Box::new(reported::Reported(reporters.to_vec())));
        // JupyterHub has nothing like these.
        registry.register(
            "lyceum_servers_memory_bytes",
            "How much memory all users' servers use",
            self.server_memory.clone(),
        );
        registry.register(
            "lyceum_servers_out_of_memory",
            "How many programs of users' servers were ended because a memory limit was reached",
            self.out_of_memory.clone(),
        );
        let ours = registry.sub_registry_with_prefix(prefix);
        let (name, help) = (
            "request_duration_seconds",
            "How long requests take, by route",
        );
        ours.register(name, help, self.requests.clone());
        let (name, help) = (
            "server_spawn_duration_seconds",
            "How long servers take to start",
        );
        ours.register(name, help, self.spawn.clone());
        ours.register(
            "server_stop_seconds",
            "How long servers take to stop",
            self.stop.clone(),
        );
        for (name, help, family) in [
            (
                "server_poll_duration_seconds",
                "How long it takes to see whether a server runs",
                &self.poll,
            ),
            (
                "proxy_add_duration_seconds",
                "How long it takes to put a route",
                &self.proxy_add,
            ),
            (
                "proxy_delete_duration_seconds",
                "How long it takes to remove a route",
                &self.proxy_delete,
            ),
            (
                "login_duration_seconds",
                "How long logins take",
                &self.login,
            ),
        ] {
            ours.register(name, help, family.clone());
        }
        for (name, help, histogram) in [
            (
                "logout_duration_seconds",
                "How long logouts take",
                &self.logout,
            ),
            (
                "proxy_poll_duration_seconds",
                "How long it takes to list all routes",
                &self.proxy_poll,
            ),
            (
                "check_routes_duration_seconds",
                "How long it takes to check all routes",
                &self.check_routes,
            ),
            (
                "hub_startup_duration_seconds",
                "How long the start of the hub took",
                &self.startup,
            ),
            (
                "init_spawners_duration_seconds",
                "How long it took to find the servers that run",
                &self.init_spawners,
            ),
            (
                "event_loop_interval_seconds",
                "How long a pause of 50 ms takes: how late the hub's threads are",
                &self.lateness,
            ),
        ] {
            ours.register(name, help, histogram.clone());
        }
        ours.register(
            "running_servers",
            "How many servers run",
            self.running_servers.clone(),
        );
        ours.register(
            "total_users",
            "How many users there are",
            self.total_users.clone(),
        );
        let (name, help) = ("active_users", "How many users were active in this time");
        ours.register(name, help, self.active_users.clone());
        let (name, help) = (
            "csp_reports",
            "How many breaches of the content security policy were reported",
        );
        ours.register(name, help, self.csp_reports.clone());
        self.registry = registry;
    }

    /// A request was answered. `handler` names its route, not its path: there must be few of them.
    pub fn request(&self, method: &'static str, handler: &str, code: u16, took: Duration) {
        let labels = RequestLabels {
            method,
            handler: handler.to_owned(),
            code,
        };
        self.requests
            .get_or_create(&labels)
            .observe(took.as_secs_f64());
    }

    /// All servers together use so many bytes of memory.
    pub(crate) fn memory_of_servers(&self, bytes: u64) {
        self.server_memory
            .set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// So many programs of servers were ended as a memory limit was reached.
    pub(crate) fn out_of_memory(&self, times: u64) {
        self.out_of_memory.inc_by(times);
    }

    /// A browser reported a breach of the content security policy.
    pub fn csp_report(&self) {
        self.csp_reports.inc();
    }

    /// Somebody tried to log in.
    pub fn login(&self, worked: bool, took: Duration) {
        observe(&self.login, worked_or_not(worked), took);
    }

    /// Somebody logged out.
    pub fn logout(&self, took: Duration) {
        self.logout.observe(took.as_secs_f64());
    }

    /// The hub has started.
    pub fn started(&self, took: Duration) {
        self.startup.observe(took.as_secs_f64());
    }

    pub(crate) fn servers_found(&self, took: Duration) {
        self.init_spawners.observe(took.as_secs_f64());
    }

    pub(crate) fn spawned(&self, took: Duration) {
        self.spawn_ended("success", "", took);
    }

    pub(crate) fn not_started(&self, why: NotStarted) {
        let reason = match why {
            NotStarted::Throttled => "throttled",
            NotStarted::TooMany => "too-many-users",
            NotStarted::AlreadyPending => "already-pending",
        };
        self.spawn_ended("failure", reason, Duration::ZERO);
    }

    pub(crate) fn spawn_failed(&self, failure: &Failure, took: Duration) {
        let (status, reason) = match failure.cause {
            Cause::NotAllowed => ("failure", ""),
            Cause::ExitedEarly => ("error", "exited"),
            _ => ("error", ""),
        };
        self.spawn_ended(status, reason, took);
    }

    fn spawn_ended(&self, status: &'static str, reason: &'static str, took: Duration) {
        let labels = SpawnLabels { status, reason };
        self.spawn
            .get_or_create(&labels)
            .observe(took.as_secs_f64());
    }

    pub(crate) fn stopped(&self, worked: bool, took: Duration) {
        let status = worked_or_not(worked);
        self.stop
            .get_or_create(&StatusLabel { status })
            .observe(took.as_secs_f64());
    }

    pub(crate) fn polled(&self, running: bool, took: Duration) {
        observe(
            &self.poll,
            if running { "running" } else { "stopped" },
            took,
        );
    }

    pub(crate) fn route_put(&self, worked: bool, took: Duration) {
        observe(&self.proxy_add, worked_or_not(worked), took);
    }

    pub(crate) fn route_removed(&self, worked: bool, took: Duration) {
        observe(&self.proxy_delete, worked_or_not(worked), took);
    }

    pub(crate) fn routes_listed(&self, took: Duration) {
        self.proxy_poll.observe(took.as_secs_f64());
    }

    pub(crate) fn routes_checked(&self, took: Duration) {
        self.check_routes.observe(took.as_secs_f64());
    }
}

fn worked_or_not(worked: bool) -> &'static str {
    if worked { "success" } else { "failure" }
}

fn observe(family: &ByStatus, status: &'static str, took: Duration) {
    family
        .get_or_create(&StatusLabel { status })
        .observe(took.as_secs_f64());
}

impl Hub {
    /// What is measured.
    pub fn metrics(&self) -> &Metrics {
        &self.shared().metrics
    }

    /// Checks whether the caller may read the metrics. Any filter of `read:metrics` will do, as in JupyterHub.
    pub fn permit_metrics(&self, caller: Option<&Principal>) -> Result<MetricsPermit, Denied> {
        if self.settings().metrics.authenticate {
            let caller = caller.ok_or(Denied::Forbidden)?;
            self.permit_list::<ReadMetrics>(caller)?;
        }
        Ok(MetricsPermit(()))
    }

    /// Writes all metrics in Prometheus' text format.
    pub async fn metrics_text(&self, _: &MetricsPermit) -> Result<String, StoreError> {
        let metrics = self.metrics();
        let counts = self.counts();
        let running = counts.active.saturating_sub(counts.starting);
        metrics.running_servers.set(i64::from(running));
        let users = self.store().count_users().await?;
        metrics
            .total_users
            .set(i64::try_from(users).unwrap_or(i64::MAX));
        Ok(text::of(&metrics.registry))
    }

    /// Counts the users who were active, again and again.
    pub(crate) async fn count_active_users(self) {
        let mut ticks = interval(COUNT_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            for (period, span) in PERIODS {
                let Ok(since) = self.now().checked_sub(span) else {
                    continue;
                };
                match self.store().count_users_active_since(since).await {
                    Ok(count) => {
                        let count = i64::try_from(count).unwrap_or(i64::MAX);
                        let gauge = PeriodLabel { period };
                        self.metrics().active_users.get_or_create(&gauge).set(count);
                    }
                    Err(error) => {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "could not count the active users"
                        );
                    }
                }
            }
        }
    }

    /// Measures how late the hub's threads are, again and again.
    pub(crate) async fn measure_lateness(self) {
        loop {
            let begun = Instant::now();
            sleep(PROBE).await;
            let took = begun.elapsed();
            // What is below the resolution is not known.
            let delay = if took < PROBE * 2 {
                PROBE
            } else {
                took.saturating_sub(PROBE)
            };
            self.metrics().lateness.observe(delay.as_secs_f64());
            sleep(PROBE_EVERY.saturating_sub(PROBE)).await;
        }
    }
}
