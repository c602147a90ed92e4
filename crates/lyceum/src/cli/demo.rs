//! `lyceum demo`: everything for one person on this machine, with one command.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use lyceum_auth::SharedPassword;
use lyceum_auth::shared_password::MIN_USER_CHARS;
use lyceum_config::settings::{Config, SpawnerConfig};
use lyceum_core::{Secret, UserName, random};
use lyceum_envs::{EnvError, PythonEnvironment, PythonSpec};
use lyceum_gateway::{BoundGateway, Gateway, GatewayConfig, ListenAddress};
use lyceum_spawn::process::ProcessConfig;
use nix::unistd::{User, geteuid};

use super::progress::Bar;
use super::report::Report;
use super::{DemoArgs, say};
use crate::lifecycle::{self, AtEnd, Signals};
use crate::logging;
use crate::places::{self, lock_folder, own_folder};
use crate::wire::{self, Extras};

pub(crate) fn run(args: &DemoArgs) -> ExitCode {
    match demo(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(report) => report.print(),
    }
}

fn demo(args: &DemoArgs) -> Result<(), Report> {
    let data_dir = data_dir(args)?;
    own_folder(&data_dir, "the demo's data, see --data-dir")?;
    let _lock = lock_folder(&data_dir)?;
    let log = data_dir.join("lyceum.log");
    logging::to_file(&log, args.verbose).map_err(|error| {
        Report::text(format!(
            "error: could not write the log {}\n  caused by: {error}",
            log.display()
        ))
    })?;
    let user = user_name();
    let password = password(args, &data_dir)?;
    // The port comes before the long work: whoever waits two minutes shall not then hear that it is taken.
    let gateway = bind(args.port)?;
    let runtime = lifecycle::runtime().map_err(|error| Report::of_chain(&error))?;
    let outcome = runtime.block_on(run_demo(gateway, &data_dir, &user, &password));
    lifecycle::end(runtime);
    if outcome? {
        say("Ended; the servers that it started have ended, too.");
    }
    Ok(())
}

async fn run_demo(
    gateway: BoundGateway,
    data_dir: &Path,
    user: &str,
    password: &Secret<String>,
) -> Result<bool, Report> {
    let mut signals = Signals::new().map_err(|error| Report::of_chain(&error))?;
    let environment = prepare(data_dir, &mut signals).await?;
    let config = config(data_dir, &environment)?;
    let authenticator = SharedPassword::new(password, None, [])
        .map_err(|error| Report::new(&error).hint("choose a longer password with --password"))?;
    let extras = Extras {
        gateway,
        authenticator: Some(Arc::new(authenticator)),
        programs: vec![environment.bin()],
    };
    let assembling = wire::assemble(config, extras);
    let running = lifecycle::run(assembling, signals, AtEnd::StopServers, |addresses| {
        greet(addresses, user, password.expose(), data_dir);
    });
    Box::pin(running)
        .await
        .map_err(|error| Report::of_chain(&error))
}

fn data_dir(args: &DemoArgs) -> Result<PathBuf, Report> {
    if let Some(dir) = &args.data_dir {
        return std::path::absolute(dir)
            .map_err(|error| Report::new(&error).hint("name the folder with its full path"));
    }
    let base = std::env::var_os("XDG_DATA_HOME")
        .map(PathBuf::from)
        .filter(|dir| dir.is_absolute());
    let home = || {
        std::env::var_os("HOME")
            .map(PathBuf::from)
            .filter(|dir| dir.is_absolute())
    };
    let base = base
        .or_else(|| home().map(|home| home.join(".local/share")))
        .ok_or_else(|| {
            Report::text(
                "error: this user has no home folder, so there is no place for the demo's data",
            )
            .hint("name a folder with --data-dir")
        })?;
    Ok(base.join("lyceum/demo"))
}

/// The user name for the login: that of the account that runs the demo.
fn user_name() -> String {
    let account = User::from_uid(geteuid())
        .ok()
        .flatten()
        .map(|user| user.name);
    account
        .and_then(|name| UserName::normalize(&name).ok())
        .map_or_else(|| "me".to_owned(), |name| name.to_string())
}

fn password(args: &DemoArgs, data_dir: &Path) -> Result<Secret<String>, Report> {
    if let Some(password) = &args.password {
        if password.chars().count() < MIN_USER_CHARS {
            return Err(Report::text(format!(
                "error: the password has fewer than {MIN_USER_CHARS} characters"
            ))
            .hint("choose a longer one, or leave --password out to get a generated one")
            .code(2));
        }
        return Ok(Secret::from(password.as_str()));
    }
    let path = data_dir.join("demo-password");
    let password = places::secret_file(&path, || random::alphanumeric(12)).map_err(|error| {
        Report::text(format!(
            "error: could not keep the password in {}\n  caused by: {error}",
            path.display()
        ))
    })?;
    Ok(Secret::new(password))
}

fn bind(port: u16) -> Result<BoundGateway, Report> {
    let address = ListenAddress::Tcp(([127, 0, 0, 1], port).into());
    let config = GatewayConfig {
        listen: vec![address],
        ..GatewayConfig::default()
    };
    Gateway::bind(config).map_err(|error| {
        let report = Report::new(&error);
        match &error {
            lyceum_gateway::GatewayError::InUse { .. } => report.hint(format!(
                "choose another port: lyceum demo --port {}",
                port.checked_add(1).unwrap_or(8000)
            )),
            _ => match error.hint() {
                Some(hint) => report.hint(hint),
                None => report,
            },
        }
    })
}

async fn prepare(data_dir: &Path, signals: &mut Signals) -> Result<PythonEnvironment, Report> {
    let root = data_dir.join("envs");
    let spec = PythonSpec::default();
    let bar = Bar::new();
    let first = !root.join("python/base/current").exists();
    if first {
        say("Preparing JupyterLab, once: this downloads about 100 MB and takes a minute or two.");
    }
    let result = tokio::select! {
        result = PythonEnvironment::ensure(&root, &spec, &bar) => result,
        _ = signals.next() => {
            bar.clear();
            return Err(Report::text("Interrupted. The next start goes on with what is there.").code(130));
        }
    };
    bar.clear();
    result.map_err(|error| environment_report(&error))
}

fn environment_report(error: &EnvError) -> Report {
    let mut report = Report::new(error);
    if let Some(details) = error.details() {
        report = report.detail(details);
    }
    match error.hint() {
        Some(hint) => report.hint(hint),
        None => report,
    }
}

/// The configuration of the demo: the ordinary one, with everything in one folder and on one address.
fn config(data_dir: &Path, environment: &PythonEnvironment) -> Result<Config, Report> {
    let mut config = Config::default();
    // One person at their own machine stops what they want to stop.
    config.cull.enabled = Some(false);
    data_dir.clone_into(&mut config.hub.data_dir);
    config.hub.runtime_dir = places::demo_runtime_dir(data_dir)?;
    config.hub.api_listen = ([127, 0, 0, 1], 0).into();
    // A machine that is busy with something else is slow to start JupyterLab for the first time.
    config.hub.http_timeout = lyceum_core::duration::HumanDuration::from_secs(120);
    config.access.allow_all = true;
    config.spawner = SpawnerConfig::Process(ProcessConfig {
        command: vec![
            environment
                .program("jupyterhub-singleuser")
                .display()
                .to_string(),
        ],
        static_files: true,
        ..ProcessConfig::default()
    });
    Ok(config)
}

fn greet(addresses: &[ListenAddress], user: &str, password: &str, data_dir: &Path) {
    let url = addresses
        .first()
        .map(|address| format!("http://{address}/"))
        .unwrap_or_default();
    say(&format!(
        "\n  Lyceum is ready:  {url}\n\n      User name     {user}\n      Password      {password}\n\n  \
         Files are in {}\n  The log is in {}\n  Ctrl-C ends it.\n",
        data_dir.join("homes").display(),
        data_dir.join("lyceum.log").display()
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_password_is_refused_before_anything_is_done() {
        let folder = tempfile::tempdir().unwrap();
        let args = DemoArgs {
            port: 0,
            data_dir: None,
            password: Some("short".to_owned()),
            verbose: false,
        };
        assert!(password(&args, folder.path()).is_err());
    }

    #[test]
    fn a_generated_password_stays_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let args = DemoArgs {
            port: 0,
            data_dir: None,
            password: None,
            verbose: false,
        };
        let first = password(&args, folder.path()).unwrap();
        assert!(first.matches(password(&args, folder.path()).unwrap().expose()));
        assert!(first.expose().len() >= MIN_USER_CHARS);
    }
}
