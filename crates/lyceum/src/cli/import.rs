//! `lyceum import`: takes over what another hub has stored. Without `--apply`, it only tells what it would do.
//!
//! The other hub's file is never written to, and neither is anything of a Lyceum that runs.

mod print;

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::process::ExitCode;

use lyceum_config::settings::Config;
use lyceum_core::declared::Declared;
use lyceum_core::{Clock as _, SystemClock};
use lyceum_hub::CryptKeys;
use lyceum_hub::import::{self, ImportOptions, Report as Imported};
use lyceum_store::jupyterhub::{self, Database};
use lyceum_store::{OpenError, Rehearsal, Store, StoreError, StoreSettings};
use nix::unistd::{Uid, User, geteuid};

use self::print::Outline;
use super::report::Report;
use super::{ImportArgs, ImportCommand};
use crate::places::{self, FolderLock, own_folder};
use crate::{cli, lifecycle, wire};

pub(crate) fn run(command: &ImportCommand) -> ExitCode {
    let ImportCommand::Jupyterhub(args) = command;
    match import_jupyterhub(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(report) => report.print(),
    }
}

fn import_jupyterhub(args: &ImportArgs) -> Result<(), Report> {
    let config = cli::config::load_to_prepare(&args.config)?.config;
    let data_dir = &config.hub.data_dir;
    let _lock = hold(data_dir, args.apply)?;
    let settings = config
        .store
        .settings(data_dir)
        .map_err(|error| Report::new(&error))?;
    let runtime = lifecycle::runtime().map_err(|error| Report::of_chain(&error))?;
    let outcome = runtime.block_on(async {
        let source = jupyterhub::read(&args.file)
            .await
            .map_err(|error| hinted(&error, error.hint()))?;
        let here = Here::of(&config)?;
        if args.apply {
            apply(args, &settings, &source, &here).await
        } else {
            rehearse(args, &settings, &source, &here).await
        }
    });
    runtime.shutdown_background();
    outcome
}

/// What an import needs to know of this hub's configuration.
struct Here {
    declared: Declared,
    roles: BTreeSet<String>,
    services: BTreeSet<String>,
    keys: Option<CryptKeys>,
    named_servers: bool,
    keeps_auth_state: bool,
}

impl Here {
    fn of(config: &Config) -> Result<Self, Report> {
        let declared = config.declared().map_err(|error| Report::new(&error))?;
        let keys = wire::auth_state::keys_if_given(&config.auth_state)
            .map_err(|error| Report::of_chain(&error))?;
        Ok(Self {
            roles: declared
                .roles
                .iter()
                .map(|role| role.name.to_string())
                .collect(),
            services: declared
                .services
                .iter()
                .map(|service| service.name.to_string())
                .collect(),
            declared,
            keys,
            named_servers: config.hub.named_servers.allowed(),
            keeps_auth_state: config.auth_state.enabled,
        })
    }

    fn options(&self) -> ImportOptions<'_> {
        ImportOptions {
            now: SystemClock.now(),
            catalogue: &self.declared.catalogue,
            named_servers: self.named_servers,
            configured_roles: &self.roles,
            configured_services: &self.services,
            keys: self.keys.as_ref(),
            keeps_auth_state: self.keeps_auth_state,
        }
    }
}

/// Does everything on a copy of the database, and throws it away.
async fn rehearse(
    args: &ImportArgs,
    settings: &StoreSettings,
    source: &Database,
    here: &Here,
) -> Result<(), Report> {
    let rehearsal: Rehearsal = Store::rehearse(settings, SystemClock.now())
        .await
        .map_err(|error| open_error(&error))?;
    let store = rehearsal.store();
    let mut tx = store.begin().await.map_err(|error| store_error(&error))?;
    let imported = import::import(&mut tx, source, here.options())
        .await
        .map_err(|error| store_error(&error))?;
    tx.rollback().await.map_err(|error| store_error(&error))?;
    store.close().await;
    tell(args, settings, source, &imported)
}

/// Does everything in one transaction.
async fn apply(
    args: &ImportArgs,
    settings: &StoreSettings,
    source: &Database,
    here: &Here,
) -> Result<(), Report> {
    let store = Store::open(settings, SystemClock.now())
        .await
        .map_err(|error| open_error(&error))?;
    let mut tx = store.begin().await.map_err(|error| store_error(&error))?;
    let imported = import::import(&mut tx, source, here.options())
        .await
        .map_err(|error| store_error(&error))?;
    if imported.changes() > 0 {
        tx.commit().await.map_err(|error| store_error(&error))?;
    } else {
        tx.rollback().await.map_err(|error| store_error(&error))?;
    }
    store.close().await;
    tell(args, settings, source, &imported)
}

/// Prints the report, and writes what belongs into the configuration to a file if that was asked for.
fn tell(
    args: &ImportArgs,
    settings: &StoreSettings,
    source: &Database,
    imported: &Imported,
) -> Result<(), Report> {
    let mut written = None;
    let mut failure = None;
    if let Some(path) = &args.write_config
        && !imported.configuration.is_empty()
    {
        match write_new(path, &imported.configuration) {
            Ok(()) => written = Some(path.as_path()),
            Err(error) => failure = Some(write_error(path, &error)),
        }
    }
    let outline = Outline {
        file: &args.file,
        revision: source.revision,
        database: settings.to_string(),
        applied: args.apply,
        written,
        imported,
    };
    // What was done is told even if something failed after it.
    let printed = if args.json {
        outline.json()
    } else {
        Ok(outline.text())
    };
    let printed = printed.and_then(|text| writeln!(io::stdout(), "{}", text.trim_end()));
    if let Some(failure) = failure {
        return Err(failure);
    }
    match printed {
        // A reader that has gone, such as `head`, is no mistake.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Report::new(&error)),
        _ => Ok(()),
    }
}

/// Takes the data folder for this process alone, unless there is none yet and none is to be made.
fn hold(data_dir: &Path, apply: bool) -> Result<Option<FolderLock>, Report> {
    match std::fs::metadata(data_dir) {
        Ok(found) if found.uid() != geteuid().as_raw() => {
            return Err(another_users(data_dir, found.uid()));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && !apply => return Ok(None),
        _ => {}
    }
    own_folder(data_dir, "`hub.data_dir`")?;
    places::lock_folder_or(
        data_dir,
        "a running Lyceum is not changed behind its back: end it, import, and start it again; users' servers go on \
         running meanwhile",
    )
    .map(Some)
}

fn another_users(data_dir: &Path, uid: u32) -> Report {
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    let name = user.map_or_else(|| format!("#{uid}"), |user| user.name);
    Report::text(format!(
        "error: {} (`hub.data_dir`) belongs to user {name}",
        data_dir.display()
    ))
    .hint(format!(
        "import as that user: sudo -u {name} lyceum import jupyterhub …"
    ))
}

/// Writes a file that was not there, for the owner only.
fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn write_error(path: &Path, error: &io::Error) -> Report {
    let report = Report::text(format!(
        "error: could not write {}\n  caused by: {error}",
        path.display()
    ));
    match error.kind() {
        io::ErrorKind::AlreadyExists => {
            report.hint("name a new file; nothing that is there is overwritten")
        }
        _ => report.hint("name another file with --write-config, or copy the text above"),
    }
}

fn open_error(error: &OpenError) -> Report {
    hinted(error, error.hint())
}

fn store_error(error: &StoreError) -> Report {
    hinted(error, error.hint().map(str::to_owned))
}

fn hinted(error: &(dyn std::error::Error + 'static), hint: Option<String>) -> Report {
    let report = Report::new(error);
    match hint {
        Some(hint) => report.hint(hint),
        None => report,
    }
}
