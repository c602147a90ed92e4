//! What is said to systemd's manager, over its own socket.
//!
//! `/run/systemd/private` is what `systemctl` uses for root: it speaks D-Bus, but without the bus between, so that
//! neither a restart of the bus nor its absence is noticed. A connection lasts for one piece of work; there is none that
//! a restart of the manager itself (`systemctl daemon-reexec`) could have broken meanwhile.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::socket::ManagerSocket;
use futures_util::StreamExt as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout, timeout_at};
use zbus::connection::Builder;
use zbus::{Connection, DynamicType, Message, MessageStream, OwnedObjectPath, OwnedVariant, Type};

/// The manager's socket.
pub(super) const SOCKET: &str = "/run/systemd/private";
/// How long an answer of the manager may take. It is a busy single thread while many units start.
const ANSWER_LIMIT: Duration = Duration::from_secs(25);
/// How long a manager may take to begin anew (`systemctl daemon-reexec`, an update of systemd).
const RESTART_LIMIT: Duration = Duration::from_secs(20);
/// How long to wait before the next try to reach it.
const RESTART_LOOK: Duration = Duration::from_millis(50);
const DESTINATION: &str = "org.freedesktop.systemd1";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const SERVICE: &str = "org.freedesktop.systemd1.Service";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// A property of a unit, for setting.
pub(super) type Property = (String, zbus::Variant<'static>);

/// Why the manager did not do something.
#[derive(Debug, thiserror::Error)]
pub(super) enum ManagerError {
    /// There is no manager, or it does not let us in.
    #[error("systemd does not answer at {SOCKET}")]
    Absent(#[source] io::Error),
    /// The connection ended: the manager begins anew.
    #[error("the connection to systemd was lost")]
    Lost(#[source] zbus::Error),
    /// It takes too long.
    #[error("systemd did not answer in time")]
    Slow,
    /// It refused.
    #[error("systemd refused: {message}")]
    Refused {
        /// The name of the error, such as `org.freedesktop.systemd1.NoSuchUnit`.
        name: String,
        /// The manager's words.
        message: String,
    },
    /// A process that it named cannot be opened.
    #[error("could not open a process")]
    Process(#[source] io::Error),
    /// It answered something else than it should.
    #[error("systemd's answer cannot be understood")]
    Answer(#[source] zbus::Error),
}

impl ManagerError {
    /// Whether it says that there is no such unit.
    pub(super) fn is_no_such_unit(&self) -> bool {
        matches!(self, Self::Refused { name, .. } if name.ends_with(".NoSuchUnit") || name.ends_with(".UnknownObject"))
    }

    /// Whether it says that the unit has no such process.
    pub(super) fn is_no_such_process(&self) -> bool {
        matches!(self, Self::Refused { name, .. } if name.ends_with(".NoSuchProcess"))
    }

    /// Whether it says that there is such a unit already.
    pub(super) fn is_unit_exists(&self) -> bool {
        matches!(self, Self::Refused { name, .. } if name.ends_with(".UnitExists"))
    }

    /// Whether there was a manager a moment ago: its socket is there, and nobody listens.
    fn is_restart(&self) -> bool {
        match self {
            Self::Absent(error) => error.kind() == io::ErrorKind::ConnectionRefused,
            other => other.is_lost(),
        }
    }

    /// Whether asking again, by another connection, may help.
    pub(super) fn is_lost(&self) -> bool {
        matches!(self, Self::Lost(_))
    }
}

impl From<zbus::Error> for ManagerError {
    fn from(error: zbus::Error) -> Self {
        match error {
            zbus::Error::MethodError(name, message, _) => Self::Refused {
                name: name.to_string(),
                message: message.unwrap_or_default(),
            },
            zbus::Error::FDO(error) => Self::Refused {
                name: zbus::DBusError::name(&*error).to_string(),
                message: zbus::DBusError::description(&*error)
                    .unwrap_or_default()
                    .to_owned(),
            },
            zbus::Error::InputOutput(_) | zbus::Error::Handshake(_) => Self::Lost(error),
            other => Self::Answer(other),
        }
    }
}

/// A connection to the manager.
#[derive(Debug)]
pub(super) struct Manager {
    connection: Connection,
    stream: MessageStream,
    /// Jobs that are over, with their results, and not asked for yet.
    jobs: Vec<(OwnedObjectPath, String)>,
}

/// The properties of a unit and of its kind, by name.
#[derive(Debug, Default)]
pub(super) struct UnitState(HashMap<String, OwnedVariant>);

/// A unit in the manager's list.
#[derive(Debug)]
pub(super) struct ListedUnit {
    pub(super) name: String,
    pub(super) active: String,
}

impl Manager {
    /// Connects; waits a while for a manager that begins anew.
    pub(super) async fn connect() -> Result<Self, ManagerError> {
        let until = Instant::now() + RESTART_LIMIT;
        loop {
            match Self::try_connect().await {
                Err(error) if error.is_restart() && Instant::now() < until => {
                    tokio::time::sleep(RESTART_LOOK).await;
                }
                done => return done,
            }
        }
    }

    async fn try_connect() -> Result<Self, ManagerError> {
        let connect = async {
            let socket = UnixStream::connect(SOCKET)
                .await
                .map_err(ManagerError::Absent)?;
            let connection = Builder::socket(ManagerSocket(socket)).p2p().build().await?;
            let stream = MessageStream::from(&connection);
            Ok(Self {
                connection,
                stream,
                jobs: Vec::new(),
            })
        };
        timeout(ANSWER_LIMIT, connect)
            .await
            .map_err(|_| ManagerError::Slow)?
    }

    /// Asks something that may be asked twice, once more if the manager begins anew meanwhile.
    pub(super) async fn asked<T, A>(question: impl Fn(Self) -> A) -> Result<T, ManagerError>
    where
        A: Future<Output = Result<T, ManagerError>>,
    {
        let until = Instant::now() + RESTART_LIMIT;
        loop {
            match question(Self::connect().await?).await {
                Err(error) if error.is_lost() && Instant::now() < until => {
                    tokio::time::sleep(RESTART_LOOK).await;
                }
                done => return done,
            }
        }
    }

    /// Starts a unit that exists as long as it runs, and gives the job that does so.
    pub(super) async fn start_transient_unit(
        &mut self,
        name: &str,
        properties: &[&Property],
    ) -> Result<OwnedObjectPath, ManagerError> {
        let others: Vec<(String, Vec<Property>)> = Vec::new();
        self.ask("StartTransientUnit", &(name, "fail", properties, others))
            .await
    }

    /// Stops a unit, and gives the job that does so.
    pub(super) async fn stop_unit(&mut self, name: &str) -> Result<OwnedObjectPath, ManagerError> {
        self.ask("StopUnit", &(name, "replace")).await
    }

    /// Sends a signal to the processes of a unit: `who` is `main` or `all`.
    pub(super) async fn kill_unit(
        &mut self,
        name: &str,
        who: &str,
        signal: i32,
    ) -> Result<(), ManagerError> {
        self.ask("KillUnit", &(name, who, signal)).await
    }

    /// Forgets that a unit has failed, and with it the unit, if it has ended.
    pub(super) async fn reset_failed_unit(&mut self, name: &str) -> Result<(), ManagerError> {
        match self.ask("ResetFailedUnit", &(name,)).await {
            Err(error) if error.is_no_such_unit() => Ok(()),
            done => done,
        }
    }

    /// Changes properties of a unit until the next boot.
    pub(super) async fn set_unit_properties(
        &mut self,
        name: &str,
        properties: &[Property],
    ) -> Result<(), ManagerError> {
        self.ask("SetUnitProperties", &(name, true, properties))
            .await
    }

    /// Lists the units whose name fits a pattern.
    pub(super) async fn list_units(
        &mut self,
        pattern: &str,
    ) -> Result<Vec<ListedUnit>, ManagerError> {
        type Line = (
            String,
            String,
            String,
            String,
            String,
            String,
            OwnedObjectPath,
            u32,
            String,
            OwnedObjectPath,
        );
        let states: [&str; 0] = [];
        let lines: Vec<Line> = self
            .ask("ListUnitsByPatterns", &(&states[..], &[pattern][..]))
            .await?;
        let unit = |line: Line| ListedUnit {
            name: line.0,
            active: line.3,
        };
        Ok(lines.into_iter().map(unit).collect())
    }

    /// Gives all properties of a service, or `None` if the manager knows no such unit.
    pub(super) async fn service(&mut self, name: &str) -> Result<Option<UnitState>, ManagerError> {
        let path: OwnedObjectPath = match self.ask("GetUnit", &(name,)).await {
            Err(error) if error.is_no_such_unit() => return Ok(None),
            path => path?,
        };
        let mut all = HashMap::new();
        for interface in [UNIT, SERVICE] {
            let answer = self
                .call(path.as_str(), PROPERTIES, "GetAll", &(interface,))
                .await;
            match answer.and_then(|message| read::<HashMap<_, _>>(&message)) {
                Ok(part) => all.extend(part),
                Err(error) if error.is_no_such_unit() => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(Some(UnitState(all)))
    }

    /// Gives systemd's version, such as 252.
    pub(super) async fn version(&mut self) -> Result<u32, ManagerError> {
        let message = self
            .call(MANAGER_PATH, PROPERTIES, "Get", &(MANAGER, "Version"))
            .await?;
        let version: OwnedVariant = read(&message)?;
        let version = String::try_from(version).map_err(ManagerError::Answer)?;
        let digits: String = version
            .chars()
            .skip_while(|c| !c.is_ascii_digit())
            .take_while(char::is_ascii_digit)
            .collect();
        Ok(digits.parse().unwrap_or(0))
    }

    /// Waits until a job is over and gives its result, such as `done` or `failed`. Works for jobs that were given by
    /// this very connection: it has heard everything since.
    pub(super) async fn job_result(
        &mut self,
        job: &OwnedObjectPath,
        until: Instant,
    ) -> Result<String, ManagerError> {
        loop {
            if let Some(found) = self.jobs.iter().position(|(path, _)| path == job) {
                return Ok(self.jobs.swap_remove(found).1);
            }
            let message = timeout_at(until, self.stream.next())
                .await
                .map_err(|_| ManagerError::Slow)?;
            hear(&mut self.jobs, message)?;
        }
    }

    /// Waits until the manager has something to tell, at most this long.
    pub(super) async fn news(&mut self, limit: Duration) -> Result<(), ManagerError> {
        match timeout(limit, self.stream.next()).await {
            Ok(message) => hear(&mut self.jobs, message),
            Err(_) => Ok(()),
        }
    }

    async fn ask<B, A>(&mut self, method: &'static str, body: &B) -> Result<A, ManagerError>
    where
        B: Serialize + DynamicType + Sync,
        A: DeserializeOwned + Type,
    {
        read(&self.call(MANAGER_PATH, MANAGER, method, body).await?)
    }

    async fn call<B>(
        &mut self,
        path: &str,
        interface: &'static str,
        method: &'static str,
        body: &B,
    ) -> Result<Message, ManagerError>
    where
        B: Serialize + DynamicType + Sync,
    {
        let Self {
            connection,
            stream,
            jobs,
        } = self;
        let call = connection.call_method(Some(DESTINATION), path, Some(interface), method, body);
        let answer = async {
            tokio::pin!(call);
            loop {
                // The manager tells everything about every unit here. What is not taken from the stream would soon
                // stand in the way of the answer.
                tokio::select! {
                    biased;
                    answer = &mut call => return Ok(answer?),
                    message = stream.next() => hear(jobs, message)?,
                }
            }
        };
        timeout(ANSWER_LIMIT, answer)
            .await
            .map_err(|_| ManagerError::Slow)?
    }
}

impl UnitState {
    /// A text, empty if there is none.
    pub(super) fn text(&self, name: &str) -> String {
        self.get(name).unwrap_or_default()
    }

    /// A number, `None` if there is none or it stands for `infinity`.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.get(name).filter(|number| *number != u64::MAX)
    }

    /// A small number with a sign.
    pub(super) fn int(&self, name: &str) -> Option<i32> {
        self.get(name)
    }

    /// A number of a process; `None` if there is none.
    pub(super) fn pid(&self, name: &str) -> Option<i32> {
        let pid: u32 = self.get(name)?;
        i32::try_from(pid).ok().filter(|pid| *pid > 0)
    }

    /// Yes or no.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.get(name).unwrap_or(false)
    }

    /// The id of the present or last invocation, as hexadecimal digits; empty if it was never started.
    pub(super) fn invocation(&self) -> String {
        use std::fmt::Write as _;

        let bytes: Vec<u8> = self.get("InvocationID").unwrap_or_default();
        bytes.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// Whether it has processes, or is about to.
    pub(super) fn is_alive(&self) -> bool {
        matches!(
            self.text("ActiveState").as_str(),
            "active" | "activating" | "deactivating" | "reloading" | "refreshing"
        )
    }

    /// Its control group as a folder below the hierarchies' own; `None` if it has none.
    pub(super) fn control_group(&self) -> Option<PathBuf> {
        let group = self.text("ControlGroup");
        let group = group.trim_start_matches('/');
        (!group.is_empty()).then(|| PathBuf::from(group))
    }

    fn get<T: TryFrom<OwnedVariant>>(&self, name: &str) -> Option<T> {
        let value = self.0.get(name)?.try_clone().ok()?;
        T::try_from(value).ok()
    }
}

fn read<A: DeserializeOwned + Type>(message: &Message) -> Result<A, ManagerError> {
    message.body().deserialize().map_err(ManagerError::Answer)
}

/// Takes note of a message that is no answer, if it is the end of a job.
fn hear(
    jobs: &mut Vec<(OwnedObjectPath, String)>,
    message: Option<zbus::Result<Message>>,
) -> Result<(), ManagerError> {
    let message = message.ok_or_else(closed)??;
    let header = message.header();
    if header.member().map(zbus::names::MemberName::as_str) == Some("JobRemoved") {
        let body: (u32, OwnedObjectPath, String, String) = read(&message)?;
        jobs.push((body.1, body.3));
    }
    Ok(())
}

fn closed() -> ManagerError {
    ManagerError::Lost(zbus::Error::from(io::Error::from(
        io::ErrorKind::UnexpectedEof,
    )))
}
