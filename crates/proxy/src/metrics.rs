//! Metrics for Prometheus, under the names that configurable-http-proxy has.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use lyceum_gateway::{Body, Counts, HubService};

/// What is counted of the REST API.
#[derive(Debug, Default)]
pub struct ApiCounts {
    listed: AtomicU64,
    added: AtomicU64,
    deleted: AtomicU64,
    answers: Mutex<BTreeMap<u16, u64>>,
}

impl ApiCounts {
    pub(crate) fn listed(&self) {
        self.listed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn added(&self) {
        self.added.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn deleted(&self) {
        self.deleted.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn answered(&self, status: StatusCode) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        *answers.entry(status.as_u16()).or_default() += 1;
    }
}

/// Answers `/metrics`, and nothing else.
#[derive(Debug)]
pub struct Metrics {
    api: Arc<ApiCounts>,
    traffic: Arc<Counts>,
}

impl Metrics {
    /// Metrics of a REST API and of the gateway with its routes.
    pub fn new(api: Arc<ApiCounts>, traffic: Arc<Counts>) -> Self {
        Self { api, traffic }
    }

    fn text(&self) -> String {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let upgrades = get(&self.traffic.upgrades);
        let web = get(&self.traffic.requests).saturating_sub(upgrades);
        let mut page = Page::default();
        page.process();
        page.counter(
            "api_route_get",
            "Requests for the list of routes",
            get(&self.api.listed),
        );
        page.counter(
            "api_route_add",
            "Routes that were added",
            get(&self.api.added),
        );
        page.counter(
            "api_route_delete",
            "Requests to delete a route",
            get(&self.api.deleted),
        );
        page.summary(
            "find_target_for_req",
            "Searches for the target of a request",
            get(&self.traffic.lookups),
        );
        page.summary(
            "last_activity_updating",
            "Updates of the last activity of a route",
            0,
        );
        page.counter("requests_ws", "Requests for WebSockets", upgrades);
        page.counter(
            "requests_web",
            "Requests other than those for WebSockets",
            web,
        );
        page.by_status(
            "requests_proxy",
            "Answers to requests, by status",
            self.traffic.statuses(),
        );
        let answers = self
            .api
            .answers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        page.by_status(
            "requests_api",
            "Answers of the REST API, by status",
            answers,
        );
        page.gauge(
            "connections_open",
            "Connections of clients",
            get(&self.traffic.connections_open),
        );
        page.gauge(
            "websockets_open",
            "WebSockets",
            get(&self.traffic.tunnels_open),
        );
        page.0
    }
}

#[async_trait]
impl HubService for Metrics {
    async fn call(&self, request: Request<Body>) -> Response<Body> {
        let asked = request
            .uri()
            .path_and_query()
            .map(http::uri::PathAndQuery::as_str);
        if asked != Some("/metrics") {
            let mut response = Response::new(Body::from("Not Found"));
            *response.status_mut() = StatusCode::NOT_FOUND;
            return response;
        }
        let mut response = Response::new(Body::from(self.text()));
        let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response
    }
}

/// A page in Prometheus' text format.
#[derive(Default)]
struct Page(String);

impl Page {
    fn head(&mut self, name: &str, help: &str, kind: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, help, "counter");
        let _ = writeln!(self.0, "{name} {value}\n");
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, help, "gauge");
        let _ = writeln!(self.0, "{name} {value}\n");
    }

    /// The time is not measured: asking for it would take longer than what is measured.
    fn summary(&mut self, name: &str, help: &str, count: u64) {
        self.head(name, help, "summary");
        let _ = writeln!(self.0, "{name}_sum 0\n{name}_count {count}\n");
    }

    fn by_status(&mut self, name: &str, help: &str, counts: impl IntoIterator<Item = (u16, u64)>) {
        self.head(name, help, "counter");
        for (status, count) in counts {
            let _ = writeln!(self.0, "{name}{{status=\"{status}\"}} {count}");
        }
        self.0.push('\n');
    }

    /// What every Prometheus client tells of its process, as far as the system tells it.
    fn process(&mut self) {
        if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
            let kibibytes = |key: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(key))?;
                line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
            };
            if let Some(size) = kibibytes("VmRSS:") {
                self.gauge(
                    "process_resident_memory_bytes",
                    "Resident memory size in bytes.",
                    size * 1024,
                );
            }
        }
        if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
            self.gauge(
                "process_open_fds",
                "Number of open file descriptors.",
                files.count() as u64,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    async fn ask(path: &str) -> (u16, String) {
        let api = Arc::new(ApiCounts::default());
        api.added();
        api.answered(StatusCode::CREATED);
        api.answered(StatusCode::CREATED);
        let traffic = Arc::new(Counts::default());
        traffic.requests.fetch_add(5, Ordering::Relaxed);
        traffic.upgrades.fetch_add(2, Ordering::Relaxed);
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = Metrics::new(api, traffic).call(request).await;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn metrics_have_the_names_and_kinds_that_dashboards_know() {
        let (status, text) = ask("/metrics").await;
        assert_eq!(status, 200);
        for line in [
            "# TYPE api_route_get counter",
            "api_route_get 0",
            "api_route_add 1",
            "api_route_delete 0",
            "# TYPE find_target_for_req summary",
            "find_target_for_req_count 0",
            "last_activity_updating_count 0",
            "requests_ws 2",
            "requests_web 3",
            "# TYPE requests_proxy counter",
            "requests_api{status=\"201\"} 2",
        ] {
            assert!(
                text.lines().any(|own| own == line),
                "{line} is not in\n{text}"
            );
        }
        assert!(text.contains("process_resident_memory_bytes"), "{text}");
    }

    #[tokio::test]
    async fn nothing_else_is_there() {
        assert_eq!(ask("/").await, (404, "Not Found".to_owned()));
        assert_eq!(ask("/metrics?x").await.0, 404);
    }
}
