//! The command line: what can be asked of the program, and which function answers.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

mod audit;
mod broker;
mod cert;
mod config;
mod course;
mod cull;
mod data;
mod demo;
mod doctor;
mod env;
mod import;
mod maintenance;
mod progress;
pub(crate) mod proxy;
mod report;
mod route;
mod running;
mod serve;

pub(crate) use self::report::Report;

/// Prints a line for the person at the terminal. If nobody reads any more, that is their choice.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Done, but without success.
pub(crate) const FAILED: u8 = 1;
/// The configuration is wrong (`EX_CONFIG` of sysexits.h).
pub(crate) const BAD_CONFIGURATION: u8 = 78;

/// A Jupyter classroom on one server: logins, JupyterLab for everybody, and the proxy in front of it.
#[derive(Debug, Parser)]
#[command(
    name = "lyceum",
    version,
    about = "A Jupyter classroom on one server: logins, JupyterLab for everybody, and the proxy in front of it",
    propagate_version = true
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Everything for one person on this machine: prepares JupyterLab, serves it, prints where.
    ///
    /// Needs no root and no configuration. Listens on 127.0.0.1 only. Ctrl-C ends it and its servers.
    Demo(DemoArgs),
    /// Runs the hub and its gateway with a configuration file.
    ///
    /// Users' servers go on running when it ends, and are found again when it starts.
    Serve(ServeArgs),
    /// Runs the privileged helper: it asks PAM and starts users' servers under their accounts, for `lyceum serve`.
    ///
    /// Has to be root, with a configuration that root alone can change. systemd starts it when it is needed
    /// (`lyceum-broker.socket`). Servers go on running when it ends.
    Broker(broker::BrokerArgs),
    /// Does one piece of work for the broker, which starts it; of no use to anybody else.
    #[command(hide = true)]
    BrokerChild(broker::ChildArgs),
    /// Runs a proxy alone, below a JupyterHub, in the place of configurable-http-proxy.
    ///
    /// Takes its options and its REST API: set `c.ConfigurableHTTPProxy.command = ["lyceum", "proxy"]`. Routes are
    /// kept in memory, and the hub puts them again after a restart.
    // A hub adds its own options after those of its configuration; then the last one counts.
    #[command(args_override_self = true)]
    Proxy(Box<proxy::ProxyArgs>),
    /// Checks, shows and explains the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Closes a running Lyceum for maintenance, and opens it again.
    #[command(subcommand)]
    Maintenance(maintenance::MaintenanceCommand),
    /// Looks for what is wrong: with the configuration, files, certificates, names and ports; and says what to do.
    ///
    /// Ends with status 1 if something is wrong.
    Doctor(doctor::DoctorArgs),
    /// Shows who did what: logins and failed ones, starts and stops, what administrators did, changes of users.
    ///
    /// The latest come last. Reads the database of the configuration, also while Lyceum runs, and changes nothing.
    Audit(audit::AuditArgs),
    /// How the certificates for HTTPS are, and what can be done about them.
    #[command(subcommand)]
    Cert(cert::CertCommand),
    /// Which servers are stopped because nobody uses them, when and why; and to stop them now.
    Cull(cull::CullArgs),
    /// Shared data, such as NLTK's packages, and shared folders: who may use them, and whether all is there.
    #[command(subcommand)]
    Data(data::DataCommand),
    /// Courses with nbgrader: makes them, and says who teaches and who attends.
    #[command(subcommand)]
    Course(course::CourseCommand),
    /// Builds, switches and looks after the environments that users' servers and kernels run from.
    #[command(subcommand)]
    Env(env::EnvCommand),
    /// Says what becomes of a request.
    #[command(subcommand)]
    Route(route::RouteCommand),
    /// Takes over what another hub has stored.
    #[command(subcommand)]
    Import(ImportCommand),
}

/// What `lyceum demo` can be told.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// The port on 127.0.0.1; 0 lets the system choose
    #[arg(long, default_value_t = 8000)]
    pub(crate) port: u16,
    /// The folder for everything: environment, database, users' files
    /// [default: ~/.local/share/lyceum/demo]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// The password for the login page, 8 characters or more [default: a generated one, kept in the data folder]
    ///
    /// Other users of this machine can see it in the list of processes while the demo runs; set it in the
    /// environment to avoid that.
    #[arg(
        long,
        value_name = "PW",
        env = "LYCEUM_DEMO_PASSWORD",
        hide_env_values = true
    )]
    pub(crate) password: Option<String>,
    /// Say more on the terminal
    #[arg(short, long)]
    pub(crate) verbose: bool,
}

/// What `lyceum serve` can be told.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

/// Where the configuration comes from.
#[derive(Debug, Clone, Args)]
pub(crate) struct ConfigArgs {
    /// The configuration file [default: /etc/lyceum/lyceum.toml]
    #[arg(long, value_name = "FILE", env = "LYCEUM_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Sets one key, over file and environment, such as `gateway.listen=["127.0.0.1:8000"]`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Says everything that is wrong with the configuration, or that nothing is
    Check(ConfigArgs),
    /// Shows the settings in force, and where each comes from
    Show {
        #[command(flatten)]
        config: ConfigArgs,
        /// Show the settings that have their default value, too
        #[arg(long)]
        defaults: bool,
    },
    /// Explains one key, or a whole section
    Explain {
        /// The key, such as `hub.base_url`
        key: String,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Prints the JSON Schema of the configuration, for editors
    Schema,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ImportCommand {
    /// Takes users, groups, roles, services, servers, shares and API tokens from a JupyterHub.
    ///
    /// Tells what it would do, and does it with --apply. JupyterHub's file is only read. What is here already stays
    /// as it is; a second import adds only what is new. Set JUPYTERHUB_CRYPT_KEY to take auth_state, too.
    Jupyterhub(ImportArgs),
}

/// What `lyceum import jupyterhub` can be told.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// JupyterHub's database file, made by JupyterHub 5 or 6: `jupyterhub.sqlite`
    pub(crate) file: PathBuf,
    /// Do it, instead of only telling what would be done
    #[arg(long)]
    pub(crate) apply: bool,
    /// Print the report as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Write what belongs into lyceum.toml to a new file
    #[arg(long, value_name = "FILE")]
    pub(crate) write_config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

impl Cli {
    /// Does what was asked, and gives the exit code.
    pub(crate) fn run(self) -> ExitCode {
        match self.command {
            Command::Demo(args) => demo::run(&args),
            Command::Serve(args) => serve::run(&args),
            Command::Broker(args) => broker::run(&args),
            Command::BrokerChild(args) => broker::child(&args),
            Command::Proxy(args) => proxy::run(&args),
            Command::Config(command) => config::run(&command),
            Command::Maintenance(command) => maintenance::run(&command),
            Command::Doctor(args) => doctor::run(&args),
            Command::Audit(args) => audit::run(&args),
            Command::Cert(command) => cert::run(&command),
            Command::Cull(args) => cull::run(&args),
            Command::Data(command) => data::run(&command),
            Command::Course(command) => course::run(&command),
            Command::Env(command) => env::run(&command),
            Command::Route(command) => route::run(&command),
            Command::Import(command) => import::run(&command),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
