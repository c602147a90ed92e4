//! `lyceum env r`: R versions, and generations of libraries of packages.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use lyceum_envs::r::{BuildReport, Editor, PackageList, RError, RKernel, RSpec, Upgrade};
use lyceum_envs::{Progress, Silent};

use crate::cli::progress::Bar;
use crate::cli::{ConfigArgs, FAILED, Report, say};
use crate::lifecycle::{self, Signals};

mod apply;
mod meant;
mod own;
mod setup;
mod show;
mod wanted;

pub(super) use apply::apply;
use meant::Meant;
use setup::{set_up, setup, switched};

/// What can be done with R and its libraries.
#[derive(Debug, Subcommand)]
pub(crate) enum RCommand {
    /// Lists the R versions of this machine, and those that the configuration names
    Versions {
        /// Print it as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Makes a list of packages from one that is written as R code, such as `requirements.R`; runs nothing of it
    Import {
        /// The file with R code
        file: PathBuf,
        /// Where to write the list; `-` prints it [default: the list of the library]
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Replace a list that is there
        #[arg(long)]
        replace: bool,
        #[command(flatten)]
        library: LibraryArgs,
    },
    /// Builds a generation of a library from its list, beside the ones that are there
    ///
    /// Packages that are there already are taken over as they are; `upgrade` gets new versions. Packages that fail stop
    /// no others. Ends with status 1 if a package that is required is not in.
    Build {
        /// Take exactly the packages of the lock file beside the list
        #[arg(long)]
        from_lock: bool,
        #[command(flatten)]
        how: BuildArgs,
        #[command(flatten)]
        library: LibraryArgs,
    },
    /// Gets the newest versions of all packages, or of those that are named, as a new generation
    Upgrade {
        /// Packages, as they are called in R
        packages: Vec<String>,
        #[command(flatten)]
        how: BuildArgs,
        #[command(flatten)]
        library: LibraryArgs,
    },
    /// Adds packages to the list, and builds a generation; if that fails, the list stays as it is
    Add {
        /// Packages: NAME, NAME@VERSION, apt:NAME, bioc:NAME, github:OWNER/REPOSITORY@REF, git:ADDRESS@REF, url:ADDRESS,
        /// local:PATH
        #[arg(required = true, value_name = "PACKAGE")]
        packages: Vec<String>,
        /// What the package is called in R, where its address does not say it; with one package only
        #[arg(long)]
        name: Option<String>,
        /// What the archive's SHA-256 has to be; with one package only
        #[arg(long, value_name = "HEX")]
        sha256: Option<String>,
        /// A library without it is of use, too
        #[arg(long)]
        optional: bool,
        #[command(flatten)]
        how: BuildArgs,
        #[command(flatten)]
        library: LibraryArgs,
    },
    /// Takes packages out of the list, and builds a generation; if that fails, the list stays as it is
    Remove {
        /// Packages, as they are called in R
        #[arg(required = true, value_name = "PACKAGE")]
        packages: Vec<String>,
        #[command(flatten)]
        how: BuildArgs,
        #[command(flatten)]
        library: LibraryArgs,
    },
    /// Lets new starts of R have a generation: the newest one, or the one that is named. R that runs keeps its own
    Switch {
        /// Its number
        number: Option<u32>,
        #[command(flatten)]
        library: LibraryArgs,
    },
    /// Goes back to the generation before
    Rollback {
        #[command(flatten)]
        library: LibraryArgs,
    },
    /// Lists the generations: size, age, packages, and who uses them
    List {
        /// Print it as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        library: LibraryArgs,
    },
    /// Says which packages differ between two generations [default: between the current and the newest]
    Diff {
        /// The number of the first one
        before: Option<u32>,
        /// The number of the second one
        after: Option<u32>,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        library: LibraryArgs,
    },
    /// Removes old generations that nobody uses
    Gc {
        /// Only say what would be removed
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        library: LibraryArgs,
    },
    /// Tells every R of this machine of the library, in its files `Renviron.site` and `Rprofile.site`
    Setup {
        /// Take the blocks out of these files again
        #[arg(long)]
        undo: bool,
        #[command(flatten)]
        library: LibraryArgs,
    },
    /// Prints the description of a kernel for notebooks that has the library; it needs the package IRkernel
    Kernel {
        /// What people see [default: such as `R 4.2`]
        #[arg(long)]
        title: Option<String>,
        #[command(flatten)]
        library: LibraryArgs,
    },
    /// Installs your own packages again, after a new series of R; run it as yourself
    ///
    /// Looks for packages in your library for the R before that are not there for the new one, and installs them from
    /// where they came. Deletes nothing.
    ReinstallMine(own::OwnArgs),
}

/// Which library is meant.
#[derive(Debug, Args)]
pub(crate) struct LibraryArgs {
    /// The library [default: `env.default_r`]
    #[arg(long, short, value_name = "NAME")]
    library: Option<String>,
    #[command(flatten)]
    config: ConfigArgs,
}

/// How a generation is built.
#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    /// Switch to the generation at once, if it is complete
    #[arg(long, conflicts_with = "dry_run")]
    switch: bool,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

impl RCommand {
    /// The configuration of a command that may have switched to another generation.
    pub(super) fn switches(&self) -> Option<&ConfigArgs> {
        let (how, library) = match self {
            Self::Switch { library, .. } | Self::Rollback { library } => {
                return Some(&library.config);
            }
            Self::Build { how, library, .. }
            | Self::Upgrade { how, library, .. }
            | Self::Add { how, library, .. }
            | Self::Remove { how, library, .. } => (how, library),
            _ => return None,
        };
        (how.switch && !how.dry_run).then_some(&library.config)
    }
}

pub(super) fn run(command: &RCommand) -> Result<ExitCode, Report> {
    match command {
        RCommand::Versions { json, config } => show::versions(*json, config),
        RCommand::ReinstallMine(args) => own::run(args),
        RCommand::Import {
            file,
            output,
            replace,
            library,
        } => import(file, output.as_ref(), *replace, library),
        RCommand::Build {
            from_lock,
            how,
            library,
        } => {
            let meant = Meant::find(library)?;
            let list = PackageList::read(&meant.list).map_err(|error| meant.tell(&error))?;
            let mut spec = meant.spec(list)?;
            if *from_lock {
                spec.lock = Some(meant.lock()?);
            }
            build(&meant, &spec, &Upgrade::Nothing, how, None)
        }
        RCommand::Upgrade {
            packages,
            how,
            library,
        } => {
            let meant = Meant::find(library)?;
            let list = PackageList::read(&meant.list).map_err(|error| meant.tell(&error))?;
            let upgrade = if packages.is_empty() {
                Upgrade::All
            } else {
                Upgrade::Named(packages.clone())
            };
            build(&meant, &meant.spec(list)?, &upgrade, how, None)
        }
        RCommand::Add {
            packages,
            name,
            sha256,
            optional,
            how,
            library,
        } => {
            let wanted = wanted::entries(packages, name.as_deref(), sha256.as_deref(), !optional)?;
            let meant = Meant::find(library)?;
            let _held = wanted::hold_list(&meant, how)?;
            let mut editor = Editor::open(&meant.list).map_err(|error| tell(&error))?;
            for entry in &wanted {
                editor.add(entry).map_err(|error| tell(&error))?;
            }
            edited(&meant, &editor, how)
        }
        RCommand::Remove {
            packages,
            how,
            library,
        } => {
            let meant = Meant::find(library)?;
            let _held = wanted::hold_list(&meant, how)?;
            let mut editor = Editor::open(&meant.list).map_err(|error| tell(&error))?;
            for name in packages {
                editor.remove(name).map_err(|error| tell(&error))?;
            }
            edited(&meant, &editor, how)
        }
        RCommand::Switch { number, library } => {
            let meant = Meant::find(library)?;
            let series = meant.series()?;
            let (now, before) = block_on(meant.library.switch(&series, *number))?;
            switched(&meant, &series, now, before)
        }
        RCommand::Rollback { library } => {
            let meant = Meant::find(library)?;
            let series = meant.series()?;
            let (now, before) = block_on(meant.library.roll_back(&series))?;
            switched(&meant, &series, now, before)
        }
        RCommand::List { json, library } => show::list(&Meant::find(library)?, *json),
        RCommand::Diff {
            before,
            after,
            json,
            library,
        } => show::diff(&Meant::find(library)?, *before, *after, *json),
        RCommand::Gc { dry_run, library } => {
            let meant = Meant::find(library)?;
            let keep = usize::try_from(meant.config.keep).unwrap_or(usize::MAX);
            let found = meant.interpreters();
            let collected = block_on(meant.library.collect(keep, &found, *dry_run))?;
            show::collected(&collected, *dry_run);
            Ok(ExitCode::SUCCESS)
        }
        RCommand::Kernel { title, library } => {
            let meant = Meant::find(library)?;
            let kernel = RKernel::new(&meant.library, &meant.interpreter()?, title.as_deref());
            say(kernel.to_json().trim_end());
            Ok(ExitCode::SUCCESS)
        }
        RCommand::Setup { undo, library } => setup(&Meant::find(library)?, *undo),
    }
}

/// A path of this machine is meant from where the command is run; in the list it has to be whole.
fn whole_path(text: &str) -> String {
    text.strip_prefix("local:")
        .filter(|path| !path.is_empty())
        .and_then(|path| std::path::absolute(path).ok())
        .map_or_else(
            || text.to_owned(),
            |path| format!("local:{}", path.display()),
        )
}

/// Tells an error with its details and its hint.
fn tell(error: &RError) -> Report {
    let mut report = Report::new(error);
    if let Some(details) = error.details() {
        report = report.detail(details);
    }
    match error.hint() {
        Some(hint) => report.hint(hint),
        None => report,
    }
}

/// Does work that can be interrupted from the terminal; what it leaves, the next run removes.
fn block_on<T>(work: impl Future<Output = Result<T, RError>>) -> Result<T, Report> {
    let runtime = lifecycle::runtime().map_err(|error| Report::of_chain(&error))?;
    let result = runtime.block_on(async {
        let mut signals = Signals::new().map_err(|error| Report::of_chain(&error))?;
        tokio::select! {
            result = work => result.map_err(|error| tell(&error)),
            _ = signals.next() => Err(Report::text(
                "Interrupted. What runs, runs on as it was; the next build goes on with what was downloaded. An apt that had \
                 begun to install comes to its end by itself, and the next build waits for that."
            )
            .code(130)),
        }
    });
    runtime.shutdown_background();
    result
}

/// Builds what an edited list says, and writes the list if that succeeds.
fn edited(meant: &Meant, editor: &Editor, how: &BuildArgs) -> Result<ExitCode, Report> {
    let list = editor.list().map_err(|error| tell(&error))?;
    build(
        meant,
        &meant.spec(list)?,
        &Upgrade::Nothing,
        how,
        Some(editor),
    )
}

fn build(
    meant: &Meant,
    spec: &RSpec,
    upgrade: &Upgrade,
    how: &BuildArgs,
    editor: Option<&Editor>,
) -> Result<ExitCode, Report> {
    // With JSON, nothing else is printed.
    let bar = (!how.json).then(Bar::new);
    let progress: &dyn Progress = bar.as_ref().map_or(&Silent, |bar| bar);
    let report = if how.dry_run {
        block_on(meant.library.plan(spec, upgrade, progress))
    } else {
        block_on(meant.library.build(spec, upgrade, progress))
    };
    if let Some(bar) = &bar {
        bar.clear();
    }
    let report: BuildReport = report?;
    if how.json {
        let text = serde_json::to_string_pretty(&report).map_err(|error| Report::new(&error))?;
        say(&text);
    } else {
        say(show::built(&report, spec, how.dry_run).trim_end());
    }
    if how.dry_run {
        return Ok(ExitCode::SUCCESS);
    }
    if !report.complete {
        if editor.is_some() && !how.json {
            say(&format!("{} stays as it was.", meant.list.display()));
        }
        return Ok(ExitCode::from(FAILED));
    }
    if let Some(editor) = editor
        && editor.save().map_err(|error| tell(&error))?
        && !how.json
    {
        say(&format!(
            "{} was changed by somebody else meanwhile; that is kept, and not built yet.",
            meant.list.display()
        ));
    }
    meant.write_lock(spec)?;
    if how.switch {
        // Without a new one, the newest is as the list says; somebody may have gone back from it.
        let switched_to = block_on(meant.library.switch(&report.series, report.generation))?;
        if how.json {
            set_up(meant)?;
            return Ok(ExitCode::SUCCESS);
        }
        let (now, before) = switched_to;
        return switched(meant, &report.series, now, before);
    }
    if !how.json && report.generation.is_some() {
        say(
            "\nNothing has changed for anybody yet. To let new starts of R have it: lyceum env r switch",
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn import(
    file: &std::path::Path,
    output: Option<&PathBuf>,
    replace: bool,
    library: &LibraryArgs,
) -> Result<ExitCode, Report> {
    let imported = lyceum_envs::r::import(file).map_err(|error| tell(&error))?;
    let text = imported.list.to_toml();
    let to = match output {
        Some(path) if path.as_os_str() == "-" => None,
        Some(path) => Some(path.clone()),
        None => Some(Meant::find(library)?.list),
    };
    if let Some(path) = &to {
        if path.exists() && !replace {
            return Err(
                Report::text(format!("error: {} is there already", path.display()))
                    .hint("--replace replaces it, `--output -` prints what would be written"),
            );
        }
        lyceum_envs::r::write_file(path, &text).map_err(|error| tell(&error))?;
    } else {
        say(text.trim_end());
    }
    show::imported(&imported, to.as_deref());
    Ok(ExitCode::SUCCESS)
}
