//! `lyceum data`: shared data and shared folders.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use lyceum_config::settings::{Config, SharedWith, SharedWord};
use lyceum_core::HumanSize;
use lyceum_envs::data::{self, Audience, Change, DataError, Found, Rights};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::report::Report;
use super::{ConfigArgs, FAILED, say};
use crate::cli;

mod add;

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
    Apply(ApplyArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    /// Only these; otherwise all of the configuration
    names: Vec<String>,
    /// Also for what is in them already
    #[arg(long)]
    recursive: bool,
    /// Tell what would be changed
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(crate) fn run(command: &DataCommand) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let result = match &runtime {
        Ok(runtime) => runtime.block_on(answer(command)),
        Err(error) => Err(Report::new(error)),
    };
    if let Ok(runtime) = runtime {
        // Whatever still waits for a folder that does not answer is not waited for.
        runtime.shutdown_background();
    }
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

async fn answer(command: &DataCommand) -> Result<(String, bool), Report> {
    match command {
        DataCommand::Add(args) => Ok((add::add(args).await?, true)),
        DataCommand::List(config) => Ok((list(&load(config)?).await, true)),
        DataCommand::Remove {
            name,
            dry_run,
            config,
        } => Ok((remove(&load(config)?, name, *dry_run).await?, true)),
        DataCommand::Check(config) => Ok(check(&load(config)?).await),
        DataCommand::Apply(args) => apply(args).await,
    }
}

fn load(config: &ConfigArgs) -> Result<Config, Report> {
    Ok(cli::config::load(config)?.config)
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
    let found = look(&folder, |folder| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let ours = entries.filter(|entry| matches!(data::find(&entry.path()), Ok(Found::Data(_))));
        let names = ours.filter_map(|entry| entry.file_name().into_string().ok());
        Ok(names.filter(|name| !name.starts_with('.')).collect())
    });
    let mut names: Vec<String> = found.await.unwrap_or_default();
    names.extend(config.shared.keys().cloned());
    names.sort();
    names.dedup();
    names
}

/// Looks at a folder, but not for ever. `None` if it does not answer in time.
async fn look<T: Send + 'static>(
    path: &Path,
    work: impl FnOnce(&Path) -> Result<T, DataError> + Send + 'static,
) -> Result<T, String> {
    let asked: PathBuf = path.to_owned();
    match timeout(LOOK_LIMIT, spawn_blocking(move || work(&asked))).await {
        Ok(Ok(done)) => done.map_err(|error| chain(&error)),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!(
            "{} does not answer within {} s",
            path.display(),
            LOOK_LIMIT.as_secs()
        )),
    }
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
                let size = HumanSize::from_bytes(stamp.bytes());
                let pieces = if count == 1 { "piece" } else { "pieces" };
                format!("{count} {pieces}, {size}, from {}", stamp.source)
            }
            Ok(Found::Other) => "a folder".to_owned(),
            Ok(Found::Nothing) => "empty, or not there yet".to_owned(),
            Err(why) => why,
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
    let path = config.shared_path(name);
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
    let size = HumanSize::from_bytes(stamp.bytes());
    let text = if dry_run { "Would remove" } else { "Removed" };
    Ok(format!("{text} {} ({size}).", path.display()))
}

async fn check(config: &Config) -> (String, bool) {
    let mut wrong = Vec::new();
    let mut count = 0;
    for name in names(config).await {
        count += 1;
        let path = config.shared_path(&name);
        let rights = rights_of(config, &name);
        let found = look(&path, move |path| {
            let mut wrong = Vec::new();
            match data::find(path)? {
                Found::Data(stamp) => wrong.extend(data::check(path, &stamp)?),
                Found::Nothing if !path.is_dir() => {
                    wrong.push(format!("{} is not there", path.display()));
                    return Ok(wrong);
                }
                Found::Nothing | Found::Other => {}
            }
            if data::apply(path, &rights, true)? != Change::None {
                wrong.push("its rights are not those of the configuration".to_owned());
            }
            Ok(wrong)
        });
        let found = found.await.unwrap_or_else(|why| vec![why]);
        wrong.extend(found.into_iter().map(|text| format!("{name}: {text}")));
    }
    if wrong.is_empty() {
        return (format!("{count} shared folders, and all is well."), true);
    }
    wrong.push("hint: `lyceum data apply` gives rights and makes folders, `lyceum data add` brings data again".to_owned());
    (wrong.join("\n"), false)
}

async fn apply(args: &ApplyArgs) -> Result<(String, bool), Report> {
    let config = load(&args.config)?;
    if let Some(unknown) = args
        .names
        .iter()
        .find(|name| !config.shared.contains_key(*name))
    {
        return Err(
            Report::text(format!("error: no shared folder `{unknown}` is configured"))
                .hint(format!(
                    "add a section `[shared.{unknown}]`; `lyceum config explain shared` tells more"
                ))
                .code(2),
        );
    }
    let (mut text, mut fine) = (String::new(), true);
    for name in config.shared.keys() {
        if !args.names.is_empty() && !args.names.contains(name) {
            continue;
        }
        let path = config.shared_path(name);
        let (rights, dry_run) = (rights_of(&config, name), args.dry_run);
        let (wanted, shared) = (rights.clone(), config.shared_folder());
        let done = look(&path, move |path| {
            if path.parent() == Some(&shared) && !dry_run && !shared.exists() {
                data::make_folder(&shared)?;
            }
            data::create(path, &wanted, dry_run)
        });
        let done = done.await;
        // What is wrong with one of them is no reason to leave out the others.
        let is_done = done.is_ok();
        fine &= is_done;
        let said = match done {
            Ok(Change::None) => "is as it should be".to_owned(),
            Ok(Change::Changed) if args.dry_run => "would get its rights".to_owned(),
            Ok(Change::Changed) => "has got its rights".to_owned(),
            Ok(Change::WithoutLists) => {
                "has got its modes; its file system has no access control lists, so the umask of whoever creates \
                 something decides whether others may change it"
                    .to_owned()
            }
            Err(why) => why,
        };
        let _ = writeln!(text, "{name}: {} {said}", path.display());
        if args.recursive && !args.dry_run && is_done {
            let (said, is_done) = below(path, rights).await;
            fine &= is_done;
            if let Some(said) = said {
                let _ = writeln!(text, "{name}: {said}");
            }
        }
    }
    if text.is_empty() {
        text.push_str("No shared folder is configured.");
    }
    Ok((text, fine))
}

/// Gives their rights to what is in a folder; what there is to say of it, and whether that is done.
async fn below(path: PathBuf, rights: Rights) -> (Option<String>, bool) {
    match spawn_blocking(move || data::apply_below(&path, &rights)).await {
        Ok(Ok(0)) => (None, true),
        Ok(Ok(left)) => {
            let what = "links, files with several names, and programs that run as somebody else";
            let said = format!("{left} entries were left alone: {what}");
            (Some(said), true)
        }
        Ok(Err(error)) => (Some(chain(&error)), false),
        Err(error) => (Some(error.to_string()), false),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use super::*;

    #[tokio::test]
    async fn what_is_wrong_with_one_folder_is_no_reason_to_leave_out_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("a"), "no folder").unwrap();
        fs::create_dir(path("b")).unwrap();
        fs::write(path("b").join("old"), "").unwrap();
        fs::set_permissions(path("b").join("old"), fs::Permissions::from_mode(0o600)).unwrap();
        let mut text = "gateway.listen = [\"127.0.0.1:0\"]\nauth.kind = \"dummy\"\n".to_owned();
        for name in ["a", "b"] {
            let _ = writeln!(text, "[shared.{name}]\npath = {:?}", path(name));
            text.push_str("read = \"everybody\"\n");
        }
        fs::write(path("lyceum.toml"), text).unwrap();
        let args = ApplyArgs {
            names: Vec::new(),
            recursive: true,
            dry_run: false,
            config: ConfigArgs {
                config: Some(path("lyceum.toml")),
                set: Vec::new(),
            },
        };
        let (said, fine) = apply(&args).await.unwrap();
        assert!(!fine && said.contains("a: "), "{said}");
        let mode = fs::metadata(path("b").join("old")).unwrap().mode();
        assert_eq!(mode & 0o004, 0o004, "{said}");
    }
}
