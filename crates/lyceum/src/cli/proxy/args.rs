//! The options of `lyceum proxy`, under the names that configurable-http-proxy 5.3 has; what each does here is told in
//! `docs/proxy.md`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use http::header::{HeaderName, HeaderValue};

/// What `lyceum proxy` can be told.
#[derive(Debug, Args)]
pub(crate) struct ProxyArgs {
    #[command(flatten)]
    pub(crate) public: PublicArgs,
    #[command(flatten)]
    pub(crate) api: ApiArgs,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
    #[command(flatten)]
    pub(crate) forward: ForwardArgs,
    #[command(flatten)]
    pub(crate) metrics: MetricsArgs,
    /// Where requests go that no route covers, such as `http://127.0.0.1:8081`
    #[arg(long, value_name = "URL")]
    pub(crate) default_target: Option<String>,
    /// A server that is asked for error pages: GET URL/CODE?url=…
    #[arg(long, value_name = "URL", conflicts_with = "error_path")]
    pub(crate) error_target: Option<String>,
    /// A folder with error pages: CODE.html, and error.html for all others
    #[arg(long, value_name = "DIR")]
    pub(crate) error_path: Option<PathBuf>,
    /// Write the number of this process to a file, which is removed at the end
    #[arg(long, value_name = "FILE")]
    pub(crate) pid_file: Option<PathBuf>,
    /// How much is logged
    #[arg(long, value_name = "LEVEL", default_value = "info", ignore_case = true)]
    pub(crate) log_level: ProxyLogLevel,
    /// Refused: routes are kept in memory
    #[arg(long, value_name = "CLASS")]
    pub(crate) storage_backend: Option<String>,
}

/// The listener for everybody.
#[derive(Debug, Args)]
#[command(next_help_heading = "The listener for everybody")]
pub(crate) struct PublicArgs {
    /// The address to listen on [default: all]
    #[arg(long, value_name = "ADDRESS", allow_hyphen_values = true)]
    pub(crate) ip: Option<String>,
    /// The port to listen on; 0 lets the system choose
    #[arg(long, value_name = "PORT", default_value_t = 8000)]
    pub(crate) port: u16,
    /// A Unix socket to listen on, instead of address and port
    #[arg(long, value_name = "PATH", conflicts_with_all = ["ip", "port"])]
    pub(crate) socket: Option<PathBuf>,
    /// The private key (PEM, not encrypted)
    #[arg(long, value_name = "FILE", requires = "ssl_cert")]
    pub(crate) ssl_key: Option<PathBuf>,
    /// The certificate with its chain (PEM)
    #[arg(long, value_name = "FILE", requires = "ssl_key")]
    pub(crate) ssl_cert: Option<PathBuf>,
    /// The authorities whose certificates clients have to show, with --ssl-request-cert
    #[arg(long, value_name = "FILE")]
    pub(crate) ssl_ca: Option<PathBuf>,
    /// Turn away clients without a certificate of --ssl-ca
    #[arg(long)]
    pub(crate) ssl_request_cert: bool,
    /// Turn away clients whose certificate is not of --ssl-ca, which --ssl-request-cert does anyway
    #[arg(long)]
    pub(crate) ssl_reject_unauthorized: bool,
    /// The TLS protocol; TLS 1.2 and 1.3 are spoken, older ones are refused
    #[arg(long, value_name = "NAME")]
    pub(crate) ssl_protocol: Option<String>,
    /// Has no effect: only ciphers that are safe today are spoken
    #[arg(long, value_name = "LIST")]
    pub(crate) ssl_ciphers: Option<String>,
    /// Has no effect: RC4 is broken, and not spoken
    #[arg(long)]
    pub(crate) ssl_allow_rc4: bool,
    /// Has no effect: keys are exchanged on elliptic curves only
    #[arg(long, value_name = "FILE")]
    pub(crate) ssl_dhparam: Option<PathBuf>,
    /// A port without TLS, on which everybody is redirected to https
    #[arg(long, value_name = "PORT")]
    pub(crate) redirect_port: Option<u16>,
    /// The port to redirect to [default: --port]
    #[arg(long, value_name = "PORT")]
    pub(crate) redirect_to: Option<u16>,
    /// How long, in milliseconds, a client may neither send nor take anything while it is served
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) timeout: Option<u64>,
    /// How long, in milliseconds, a connection stays open while its client asks for nothing [default: 75000]
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) keep_alive_timeout: Option<u64>,
}

/// The listener of the REST API.
#[derive(Debug, Args)]
#[command(next_help_heading = "The REST API (its token is in CONFIGPROXY_AUTH_TOKEN)")]
#[expect(
    clippy::struct_field_names,
    reason = "they are named as the options are"
)]
pub(crate) struct ApiArgs {
    /// The address of the REST API
    #[arg(long, value_name = "ADDRESS", default_value = "localhost")]
    pub(crate) api_ip: String,
    /// The port of the REST API [default: --port plus one]
    #[arg(long, value_name = "PORT")]
    pub(crate) api_port: Option<u16>,
    /// A Unix socket for the REST API, instead of address and port
    #[arg(long, value_name = "PATH", conflicts_with_all = ["api_ip", "api_port"])]
    pub(crate) api_socket: Option<PathBuf>,
    /// The private key of the REST API (PEM, not encrypted)
    #[arg(long, value_name = "FILE", requires = "api_ssl_cert")]
    pub(crate) api_ssl_key: Option<PathBuf>,
    /// The certificate of the REST API with its chain (PEM)
    #[arg(long, value_name = "FILE", requires = "api_ssl_key")]
    pub(crate) api_ssl_cert: Option<PathBuf>,
    /// The authorities whose certificates clients of the REST API have to show, with --api-ssl-request-cert
    #[arg(long, value_name = "FILE")]
    pub(crate) api_ssl_ca: Option<PathBuf>,
    /// Turn away clients of the REST API without a certificate of --api-ssl-ca
    #[arg(long)]
    pub(crate) api_ssl_request_cert: bool,
    /// Turn away clients whose certificate is not of --api-ssl-ca, which --api-ssl-request-cert does anyway
    #[arg(long)]
    pub(crate) api_ssl_reject_unauthorized: bool,
}

/// How targets are spoken to by TLS.
#[derive(Debug, Args)]
#[command(next_help_heading = "Targets with https")]
pub(crate) struct ClientArgs {
    /// The private key that is shown to targets (PEM, not encrypted)
    #[arg(long, value_name = "FILE", requires = "client_ssl_cert")]
    pub(crate) client_ssl_key: Option<PathBuf>,
    /// The certificate that is shown to targets (PEM)
    #[arg(long, value_name = "FILE", requires = "client_ssl_key")]
    pub(crate) client_ssl_cert: Option<PathBuf>,
    /// The authorities whose certificates targets have to show [default: those of this machine]
    #[arg(long, value_name = "FILE")]
    pub(crate) client_ssl_ca: Option<PathBuf>,
    /// Has no effect: targets always have to show a certificate
    #[arg(long)]
    pub(crate) client_ssl_request_cert: bool,
    /// Has no effect: certificates of targets are checked unless --insecure is given
    #[arg(long)]
    pub(crate) client_ssl_reject_unauthorized: bool,
    /// Believe any certificate of targets
    #[arg(long, conflicts_with_all = ["client_ssl_key", "client_ssl_ca"])]
    pub(crate) insecure: bool,
}

/// How requests are forwarded.
#[derive(Debug, Args)]
#[command(next_help_heading = "Forwarding")]
pub(crate) struct ForwardArgs {
    /// Do not add X-Forwarded-… headers
    #[arg(long)]
    pub(crate) no_x_forward: bool,
    /// Do not put the path of the target before that of the request
    #[arg(long)]
    pub(crate) no_prepend_path: bool,
    /// Take the prefix of the route away from the path of the request
    #[arg(long)]
    pub(crate) no_include_prefix: bool,
    /// Put the host that was asked for into the Location of redirects
    #[arg(long)]
    pub(crate) auto_rewrite: bool,
    /// Put the host of the target into Host
    #[arg(long)]
    pub(crate) change_origin: bool,
    /// Put this scheme into the Location of redirects
    #[arg(long, value_name = "SCHEME", value_parser = ["http", "https"])]
    pub(crate) protocol_rewrite: Option<String>,
    /// A header for each request, such as `X-Site: north`; may be given several times
    #[arg(long, value_name = "NAME:VALUE", value_parser = header)]
    pub(crate) custom_header: Vec<(HeaderName, HeaderValue)>,
    /// The first segment of a route is a host
    #[arg(long)]
    pub(crate) host_routing: bool,
    /// How long, in milliseconds, a target may send nothing of its answer
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) proxy_timeout: Option<u64>,
}

/// The listener for Prometheus.
#[derive(Debug, Args)]
#[command(next_help_heading = "Metrics for Prometheus, at /metrics")]
#[expect(
    clippy::struct_field_names,
    reason = "they are named as the options are"
)]
pub(crate) struct MetricsArgs {
    /// The address of the metrics [default: all]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) metrics_ip: Option<String>,
    /// The port of the metrics [default: none]
    #[arg(long, value_name = "PORT")]
    pub(crate) metrics_port: Option<u16>,
    /// A Unix socket for the metrics, instead of address and port
    #[arg(long, value_name = "PATH", conflicts_with_all = ["metrics_ip", "metrics_port"])]
    pub(crate) metrics_socket: Option<PathBuf>,
}

/// How much `lyceum proxy` logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProxyLogLevel {
    /// Each request, too
    #[value(aliases = ["verbose", "silly"])]
    Debug,
    /// Changes of routes, too
    #[value(alias = "http")]
    Info,
    /// What was coped with, too
    #[value(alias = "warning")]
    Warn,
    /// What somebody must act upon
    Error,
}

/// Reads `name: value`.
fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text
        .split_once(':')
        .ok_or("there is no colon between name and value")?;
    let name = HeaderName::try_from(name.trim())
        .map_err(|_| format!("`{}` cannot be the name of a header", name.trim()))?;
    let value = HeaderValue::try_from(value.trim())
        .map_err(|_| "the value has characters that a header cannot have".to_owned())?;
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    #[command(args_override_self = true)]
    struct Alone {
        #[command(flatten)]
        proxy: ProxyArgs,
    }

    fn read(line: &str) -> Result<ProxyArgs, clap::Error> {
        let words = std::iter::once("proxy").chain(line.split_whitespace());
        Alone::try_parse_from(words).map(|alone| alone.proxy)
    }

    #[test]
    fn jupyterhubs_own_command_line_is_read() {
        let words = [
            "proxy",
            "--ip",
            "",
            "--port",
            "8000",
            "--api-ip",
            "127.0.0.1",
            "--api-port",
            "8001",
        ];
        let more = [
            "--error-target",
            "http://127.0.0.1:8081/hub/error",
            "--log-level",
            "INFO",
            "--host-routing",
        ];
        let read = Alone::try_parse_from(words.into_iter().chain(more))
            .unwrap()
            .proxy;
        assert_eq!(read.public.ip.as_deref(), Some(""));
        assert_eq!(read.log_level, ProxyLogLevel::Info);
        assert!(read.forward.host_routing);
    }

    #[test]
    fn every_option_of_configurable_http_proxy_is_known() {
        read(
            "--ssl-key k --ssl-cert c --ssl-ca a --ssl-request-cert --ssl-reject-unauthorized --ssl-protocol TLSv1_2 \
             --ssl-ciphers HIGH --ssl-allow-rc4 --ssl-dhparam d --api-ssl-key k --api-ssl-cert c --api-ssl-ca a \
             --api-ssl-request-cert --api-ssl-reject-unauthorized --client-ssl-key k --client-ssl-cert c \
             --client-ssl-ca a --client-ssl-request-cert --client-ssl-reject-unauthorized --default-target http://h \
             --error-target http://h --redirect-port 80 --redirect-to 443 --pid-file p --no-x-forward \
             --no-prepend-path --no-include-prefix --auto-rewrite --change-origin --protocol-rewrite https \
             --custom-header a:b --custom-header c:d --host-routing --metrics-ip 127.0.0.1 --metrics-port 9 \
             --log-level debug --timeout 1 --proxy-timeout 1 --storage-backend x --keep-alive-timeout 1",
        )
        .unwrap();
        read("--insecure --error-path p --socket s --api-socket a --metrics-socket m").unwrap();
    }

    #[test]
    fn of_an_option_that_comes_twice_the_last_counts_and_all_headers_do() {
        let read = read(
            "--port 1 --port 2 --log-level debug --log-level warn --host-routing --host-routing --custom-header a:b --custom-header c:d",
        )
        .unwrap();
        assert_eq!(read.public.port, 2);
        assert_eq!(read.log_level, ProxyLogLevel::Warn);
        assert_eq!(read.forward.custom_header.len(), 2);
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for line in [
            "--socket s --port 8000",
            "--api-socket s --api-port 8001",
            "--error-target http://h --error-path p",
            "--ssl-key k",
            "--custom-header nothing",
            "--custom-header :x",
            "--protocol-rewrite gopher",
            "--timeout 0",
            "--port 70000",
        ] {
            assert!(read(line).is_err(), "{line}");
        }
    }

    #[test]
    fn headers_are_read_around_their_first_colon() {
        let (name, value) = header(" X-A : b:c ").unwrap();
        assert_eq!((name.as_str(), value.to_str().unwrap()), ("x-a", "b:c"));
    }
}
