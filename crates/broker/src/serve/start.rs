//! The start of a server: decided, prepared, started, written down; or nothing of it.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use lyceum_core::seams::PythonInUse;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::Server;
use super::servers::exists;
use crate::beside::Seats;
use crate::decide::{self, Decision, Findings};
use crate::engine::Running;
use crate::folders::{Record, find_program};
use crate::policy::Policy;
use crate::protocol::{Made, Refusal, RefusalKind, StartServer, StartedServer};
use crate::python::PythonError;
use crate::static_files;

/// How long the engine may take until the program runs.
const ENGINE_LIMIT: Duration = Duration::from_mins(1);

impl Server {
    /// Starts a server. If the client goes away meanwhile, or anything fails, nothing is left over.
    pub(super) async fn start(
        &self,
        policy: &Policy,
        start: StartServer,
        gone: &CancellationToken,
    ) -> Result<(StartedServer, OwnedFd), Refusal> {
        let key = start.key.clone();
        decide::check_key(&key)?;
        decide::check_user(policy, &key.user)?;
        let unit = decide::unit_name(&key.user, &key.server);
        let _lock = or_gone(gone, self.units.take(&unit)).await?;
        let account = or_gone(gone, self.account(policy, &key.user)).await?.0;
        if let Some(record) = self.record(&unit).await?.record()
            && (record.key == key && !was_broken_off(&record) || self.runs(&unit).await?)
        {
            return Err(exists());
        }
        or_gone(gone, self.may_start(policy, &account.name)).await?;
        let port = if decide::needs_port(policy, &start) {
            let found = self.ports.find();
            Some(found.map_err(|error| Refusal::system("find a free port", &error))?)
        } else {
            None
        };
        let (python, no_python) = match self.find_python(policy, &start).await {
            Ok(python) => (python, None),
            Err(refusal) => (None, Some(refusal)),
        };
        let Seats { config_path, links } = self.seats(policy, &account).await;
        let findings = Findings {
            port,
            python,
            config_path,
        };
        let decided = decide::decide(policy, &start, account, &findings);
        // Who may not start it at all is told that, and not what the environment lacks.
        let mut decision = match (decided, no_python) {
            (Ok(_), Some(refusal)) => return Err(refusal),
            (decided, _) => decided?,
        };
        let environment = self.find_program(&mut decision).await?;
        or_gone(gone, self.try_sandbox(policy)).await?;
        self.put_links(policy, &decision.plan.account, links).await;
        self.limit_all(policy).await;
        // What a broker that was killed in the middle of a start has left.
        self.end_left_over(&unit).await?;
        let record = Record {
            key,
            unit: unit.clone(),
            uid: decision.plan.account.uid,
            upstream: decision.upstream.clone(),
            environment,
            python: findings.python,
            engine: Some(self.engine()?.kind().to_owned()),
            identity: None,
            exit: None,
        };
        let user = record.key.user.clone();
        let started = self.prepare_and_start(&decision, start, record, gone).await;
        match started {
            Ok((mut started, process)) => {
                started.made = self.made.take(&user);
                Ok((started, process))
            }
            Err(refusal) => {
                self.clear(&unit).await;
                Err(refusal)
            }
        }
    }

    async fn prepare_and_start(
        &self,
        decision: &Decision,
        start: StartServer,
        record: Record,
        gone: &CancellationToken,
    ) -> Result<(StartedServer, OwnedFd), Refusal> {
        let plan = &decision.plan;
        let (account, written) = (plan.account.clone(), record.clone());
        self.files("make the folder of the server", move |folders| {
            folders.make(&written.unit, &account, start.tls.as_ref())?;
            // Before the start: whatever happens next, it is known that there may be something.
            folders.write_record(&written)
        })
        .await?;
        let starting = timeout(ENGINE_LIMIT, self.engine()?.start(plan));
        let starting = async {
            starting.await.map_err(|_| {
                Refusal::new(
                    RefusalKind::Slow,
                    "The server's program was not started in time.",
                    "The machine or the user's home folder may be slow. Try again in a minute.",
                )
            })?
        };
        let Running { identity, pidfd } = or_gone(gone, starting).await?;
        let written = Record {
            identity: Some(identity),
            ..record
        };
        let started = StartedServer {
            upstream: written.upstream.clone(),
            uid: written.uid,
            unit: written.unit.clone(),
            environment: written.environment.clone(),
            python: written.python.clone(),
            made: Made::default(),
        };
        self.files("write down that the server runs", move |folders| {
            folders.write_record(&written)
        })
        .await?;
        Ok((started, pidfd))
    }

    /// Finds the generation that a start is from, if the configuration has environments.
    async fn find_python(
        &self,
        policy: &Policy,
        start: &StartServer,
    ) -> Result<Option<PythonInUse>, Refusal> {
        let (Some(folders), Some((name, program))) =
            (&policy.python, decide::wanted_python(policy, start))
        else {
            return Ok(None);
        };
        let (folders, name, program) = (folders.clone(), name.to_owned(), program.to_owned());
        let found = self
            .files("look for the Python environment", move |_| {
                Ok(folders.find(&name, &program))
            })
            .await?;
        found.map(Some).map_err(|error| no_python(&error))
    }

    /// Puts the program's place into a plan, and finds the environment that it belongs to.
    async fn find_program(&self, decision: &mut Decision) -> Result<Option<PathBuf>, Refusal> {
        let mut argv = std::mem::take(&mut decision.plan.argv);
        let search = decision.search.clone();
        let variables = decision.plan.environment.0.clone();
        let wanted = decision.static_files;
        let (name, found) = self
            .files("look for the server's program", move |_| {
                let name = argv.first().cloned().unwrap_or_default();
                let Some(program) = find_program(&name, &search) else {
                    return Ok((name, None));
                };
                let arguments = argv.split_off(1.min(argv.len()));
                let environment = wanted
                    .then(|| static_files::environment_of(&program, &arguments, &variables))
                    .flatten();
                Ok((name, Some((program, arguments, environment))))
            })
            .await?;
        let program = found.and_then(|(program, arguments, environment)| {
            Some((program.to_str()?.to_owned(), arguments, environment))
        });
        let Some((program, arguments, environment)) = program else {
            return Err(command_missing(&name, &decision.search));
        };
        decision.plan.argv.push(program);
        decision.plan.argv.extend(arguments);
        Ok(environment)
    }
}

/// Whether this is all that a broker has left that was killed in the middle of a start: whoever fails in order removes
/// it, and whoever is at it holds the unit's lock. Such a start may be asked for again under its own mark.
fn was_broken_off(record: &Record) -> bool {
    record.identity.is_none() && record.exit.is_none()
}

/// Waits for something, but not for a client that has gone away.
async fn or_gone<T>(
    gone: &CancellationToken,
    work: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    tokio::select! {
        done = work => done,
        () = gone.cancelled() => Err(Refusal::new(
            RefusalKind::Internal,
            "The start was called off.",
            "",
        )),
    }
}

fn no_python(error: &PythonError) -> Refusal {
    tracing::error!("a server was not started: {error} {}", error.hint());
    Refusal::new(RefusalKind::CommandMissing, error.to_string(), error.hint())
}

fn command_missing(name: &str, search: &[String]) -> Refusal {
    let message = if name.contains('/') {
        format!("The server's program {name} does not exist, or is not executable.")
    } else {
        format!(
            "The server's program `{name}` was not found in any of these folders: {}.",
            search.join(", ")
        )
    };
    let jupyter = ["jupyterhub-singleuser", "jupyter-labhub"]
        .iter()
        .any(|program| name.ends_with(program));
    let hint = if jupyter {
        "Install it with `pip install jupyterhub jupyterlab`, or name its folder in the spawner's `path`."
    } else {
        "Install it, or correct the spawner's `command` or `path`."
    };
    Refusal::new(RefusalKind::CommandMissing, message, hint)
}
