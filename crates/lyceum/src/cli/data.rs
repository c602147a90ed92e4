//! `lyceum data`: shared data and shared folders.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use lyceum_config::settings::{Config, SharedWith, SharedWord};
use lyceum_core::size::about;
use lyceum_envs::data::{self, Audience, DataError, Found, Rights};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::report::Report;
use super::{ConfigArgs, FAILED, say};
use crate::cli;

mod add;
mod apply;
mod check;

use check::Depth;
pub(super) use check::Fault;

/// How long a folder may take to be looked at: it may be on a network that is down.
const LOOK_LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug, Subcommand)]
pub(crate) enum DataCommand {
    /// Puts data into its place for all, complete or not at all: packages of NLTK, or any folder or archive.
    ///
    /// `lyceum data add nltk punkt stopwords` takes packages from NLTK's index, `lyceum data add NAME --from …` a folder
    /// or an archive, here or on the web. Done again, it brings what is new.
    Add(add::AddArgs),
    /// Lists shared data and shared folders: where they are, who may use them, and how large they are
    List(ConfigArgs),
    /// Removes data that `lyceum data add` has put somewhere; shared folders with anything else in them are left alone
    Remove {
        /// Its name
        name: String,
        /// Tell what would be removed
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Looks whether everything is there as it was put there, with the rights of the configuration.
    ///
    /// Ends with status 1 if something is wrong.
    Check(ConfigArgs),
    /// Gives shared folders the rights that the configuration says, and makes those that are missing
    Apply(apply::ApplyArgs),
}

pub(crate) fn run(command: &DataCommand) -> ExitCode {
    let result = wait_for(answer(command)).unwrap_or_else(|error| Err(Report::new(&error)));
    match result {
        Ok((text, fine)) => {
            say(text.trim_end());
            if fine {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(FAILED)
            }
        }
        Err(report) => report.print(),
    }
}

/// Looks at all shared folders without counting their files; gives how many there are, and what is wrong with them.
pub(super) fn inspect(config: &Config) -> io::Result<(usize, Vec<Fault>)> {
    wait_for(check::faults(config, Depth::Folders))
}

fn wait_for<T>(work: impl Future<Output = T>) -> io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let done = runtime.block_on(work);
    // Whatever still waits for a folder that does not answer is not waited for.
    runtime.shutdown_background();
    Ok(done)
}

async fn answer(command: &DataCommand) -> Result<(String, bool), Report> {
    match command {
        DataCommand::Add(args) => Ok((add::add(args).await?, true)),
        DataCommand::List(config) => Ok((list(&load(config)?).await, true)),
        DataCommand::Remove {
            name,
            dry_run,
            config,
        } => Ok((remove(&load(config)?, name, *dry_run).await?, true)),
        DataCommand::Check(config) => Ok(check::check(&load(config)?).await),
        DataCommand::Apply(args) => apply::apply(args).await,
    }
}

fn load(config: &ConfigArgs) -> Result<Config, Report> {
    Ok(cli::config::load_to_prepare(config)?.config)
}

/// The rights of a shared folder; those of data for all if it is not configured.
fn rights_of(config: &Config, name: &str) -> Rights {
    let audience = |with: &SharedWith| match with {
        SharedWith::Word(SharedWord::Everybody) => Audience::Everybody,
        SharedWith::Word(SharedWord::Nobody) => Audience::Nobody,
        SharedWith::Names(names) => Audience::Some {
            users: names.users.clone(),
            groups: names.groups.clone(),
        },
    };
    let shared = config.shared.get(name).cloned().unwrap_or_default();
    Rights {
        read: audience(&shared.read),
        write: audience(&shared.write),
    }
}

/// The names of all shared folders: those of the configuration, and data that is in the usual place.
async fn names(config: &Config) -> Vec<String> {
    let folder = config.shared_folder();
    let entries = look(&folder, |folder| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        Ok(names
            .filter(|name| !name.starts_with('.'))
            .collect::<Vec<_>>())
    });
    let mut names: Vec<String> = config.shared.keys().cloned().collect();
    for name in entries.await.unwrap_or_default() {
        // One that does not answer is not to hide the others.
        if !names.contains(&name)
            && let Ok(Found::Data(_)) = look(&folder.join(&name), data::find).await
        {
            names.push(name);
        }
    }
    names.sort();
    names
}

/// Why a shared folder is not as it should be, or cannot be looked at, and what helps.
#[derive(Debug)]
struct Trouble {
    text: String,
    hint: Option<String>,
}

impl Trouble {
    fn of(error: &DataError) -> Self {
        Self {
            text: chain(error),
            hint: error.hint(),
        }
    }
}

impl From<Trouble> for Report {
    fn from(trouble: Trouble) -> Self {
        let report = Self::text(format!("error: {}", trouble.text));
        match trouble.hint {
            Some(hint) => report.hint(hint),
            None => report,
        }
    }
}

/// Looks at a folder, but not for ever.
async fn look<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce(&Path) -> Result<T, DataError> + Send + 'static,
) -> Result<T, Trouble> {
    let asked: PathBuf = path.to_owned();
    match timeout(LOOK_LIMIT, spawn_blocking(move || work(&asked))).await {
        Ok(Ok(done)) => done.map_err(|error| Trouble::of(&error)),
        Ok(Err(error)) => Err(Trouble {
            text: error.to_string(),
            hint: None,
        }),
        Err(_) => Err(Trouble {
            text: format!(
                "{} does not answer within {} s",
                path.display(),
                LOOK_LIMIT.as_secs()
            ),
            hint: Some("look whether what is mounted there is to be reached".to_owned()),
        }),
    }
}

/// Sees that a name is one of data, and leads nowhere else.
fn check_name(name: &str) -> Result<(), Report> {
    let plain = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
    if name.bytes().all(plain) && name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Ok(());
    }
    Err(
        Report::text(format!("error: `{name}` cannot be the name of data"))
            .hint("names have letters, digits, hyphens and underscores")
            .code(2),
    )
}

fn chain(error: &DataError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        let _ = write!(text, ": {next}");
        cause = next.source();
    }
    text
}

fn report(error: &DataError) -> Report {
    let report = Report::new(error);
    match error.hint() {
        Some(hint) => report.hint(hint),
        None => report,
    }
}

async fn list(config: &Config) -> String {
    let mut text = String::new();
    for name in names(config).await {
        let path = config.shared_path(&name);
        let found = look(&path, data::find).await;
        let what = match found {
            Ok(Found::Data(stamp)) => {
                let count = stamp.packages.len();
                let size = about(stamp.bytes());
                let pieces = if count == 1 { "piece" } else { "pieces" };
                format!("{count} {pieces}, {size}, from {}", stamp.source)
            }
            Ok(Found::Other) => "a folder".to_owned(),
            Ok(Found::Nothing) => "empty, or not there yet".to_owned(),
            Err(trouble) => trouble.text,
        };
        let _ = writeln!(text, "{name}  {}  {what}", path.display());
        if let Some(shared) = config.shared.get(&name) {
            let rights = rights_of(config, &name);
            let _ = write!(text, "    read: {}", people(&rights.read));
            let _ = write!(text, "; write: {}", people(&rights.write));
            if let Some(link) = &shared.link {
                let _ = write!(text, "; in homes as {link}");
            }
            if let Some(variable) = &shared.variable {
                let _ = write!(text, "; ${variable}");
            }
            text.push('\n');
        }
    }
    if text.is_empty() {
        text.push_str("There is no shared data, and no shared folder is configured.");
    }
    text
}

fn people(audience: &Audience) -> String {
    match audience {
        Audience::Nobody => "nobody but root".to_owned(),
        Audience::Everybody => "everybody".to_owned(),
        Audience::Some { users, groups } => {
            let groups = groups.iter().map(|group| format!("group {group}"));
            let all: Vec<_> = users.iter().cloned().chain(groups).collect();
            all.join(", ")
        }
    }
}

async fn remove(config: &Config, name: &str, dry_run: bool) -> Result<String, Report> {
    check_name(name)?;
    let path = config.shared_path(name);
    look(&path, data::find).await?;
    let asked = path.clone();
    let work = move || {
        if dry_run {
            return match data::find(&asked)? {
                Found::Data(stamp) => Ok(stamp),
                Found::Nothing => Err(DataError::Missing { path: asked }),
                Found::Other => Err(DataError::NotOurs { path: asked }),
            };
        }
        data::remove(&asked)
    };
    let done = spawn_blocking(work).await;
    let stamp = done
        .map_err(|error| Report::new(&error))?
        .map_err(|error| match error {
            // Its own hint is about putting something there.
            DataError::NotOurs { .. } => {
                Report::new(&error).hint("remove it yourself if it is not needed any more")
            }
            error => report(&error),
        })?;
    let size = about(stamp.bytes());
    let text = if dry_run { "Would remove" } else { "Removed" };
    Ok(format!("{text} {} ({size}).", path.display()))
}
