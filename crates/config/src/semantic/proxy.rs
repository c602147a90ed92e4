//! Rules about the proxy that runs elsewhere.

use lyceum_proxy::ProxyConfig;

use super::Rules;

impl Rules<'_> {
    pub(super) fn proxy(&mut self) {
        let ProxyConfig::ConfigurableHttpProxy(proxy) = &self.config.proxy else {
            return;
        };
        let label = "expected a URL with a host and port, or of a socket";
        if let Err(error) = proxy.api() {
            let help = format!(
                "{}; for example `api_url = \"http://127.0.0.1:8001\"`",
                reason(&error)
            );
            self.refuse("proxy.api_url", "cannot be used", label, &help);
        }
        if let Err(error) = proxy.hub() {
            let help = format!(
                "{}; for example `hub_target = \"http://10.0.0.5:8000\"`",
                reason(&error)
            );
            self.refuse("proxy.hub_target", "cannot be used", label, &help);
        }
    }
}

fn reason(error: &dyn std::error::Error) -> String {
    error
        .source()
        .map_or_else(|| error.to_string(), ToString::to_string)
}
