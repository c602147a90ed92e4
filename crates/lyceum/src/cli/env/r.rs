//! `lyceum env r`: R versions, and generations of libraries of packages.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use lyceum_config::settings::{EnvConfig, REnvConfig};
use lyceum_envs::r::{
    Account, BuildReport, Editor, Entry, Interpreter, PackageList, RError, RKernel, RLibrary,
    RSpec, SiteFiles, Upgrade,
};
use lyceum_envs::{Progress, Silent};
use nix::unistd::{User, geteuid};

use crate::cli;
use crate::cli::progress::Bar;
use crate::cli::{ConfigArgs, FAILED, Report, say};
use crate::lifecycle::{self, Signals};

mod apply;
mod own;
mod show;

pub(super) use apply::apply;

/// What can be done with R and its libraries.
#[derive(Debug, Subcommand)]
pub(crate) enum RCommand {
    /// Lists the R versions of this machine
    Versions {
        /// Print it as JSON
        #[arg(long)]
        json: bool,
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
        /// What the package is called in R, where its address does not say it
        #[arg(long)]
        name: Option<String>,
        /// What the archive's SHA-256 has to be
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

/// A library, as the configuration describes it.
struct Meant {
    name: String,
    env: EnvConfig,
    config: REnvConfig,
    list: PathBuf,
    library: RLibrary,
}

pub(super) fn run(command: &RCommand) -> Result<ExitCode, Report> {
    match command {
        RCommand::Versions { json } => show::versions(*json),
        RCommand::ReinstallMine(args) => own::run(args),
        RCommand::Import {
            file,
            output,
            replace,
            library,
        } => import(file, output.as_ref(), *replace, library),
        RCommand::Build { how, library } => {
            let meant = Meant::find(library)?;
            let list = PackageList::read(&meant.list).map_err(|error| meant.tell(&error))?;
            build(&meant, list, &Upgrade::Nothing, how, None)
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
            build(&meant, list, &upgrade, how, None)
        }
        RCommand::Add {
            packages,
            name,
            sha256,
            optional,
            how,
            library,
        } => {
            let meant = Meant::find(library)?;
            let mut editor = Editor::open(&meant.list).map_err(|error| tell(&error))?;
            for text in packages {
                let entry = Entry::parse(text, name.as_deref())
                    .map_err(|problem| Report::text(format!("error: {problem}")).code(2))?;
                let entry = Entry {
                    sha256: sha256.clone(),
                    required: !optional,
                    ..entry
                };
                editor.add(&entry).map_err(|error| tell(&error))?;
            }
            edited(&meant, &editor, how)
        }
        RCommand::Remove {
            packages,
            how,
            library,
        } => {
            let meant = Meant::find(library)?;
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
            let found = lyceum_envs::r::find_all();
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

impl Meant {
    fn find(args: &LibraryArgs) -> Result<Self, Report> {
        let env = cli::config::load(&args.config)?.config.env;
        let name = args
            .library
            .as_deref()
            .or(env.default_r())
            .unwrap_or("base")
            .to_owned();
        let (Some(config), Some(list)) = (env.r.get(&name).cloned(), env.r_packages(&name)) else {
            let names: Vec<&str> = env.r.keys().map(String::as_str).collect();
            let report = if names.is_empty() {
                Report::text("error: no R library is configured")
                    .hint("add a section `[env.r.base]`; `lyceum config explain env.r` tells more")
            } else {
                Report::text(format!("error: no R library `{name}` is configured"))
                    .hint(format!("there is {}", names.join(", ")))
            };
            return Err(report);
        };
        let library = RLibrary::new(&env.folder, &name).map_err(|error| tell(&error))?;
        Ok(Self {
            name,
            env,
            config,
            list,
            library,
        })
    }

    fn interpreter(&self) -> Result<Interpreter, Report> {
        lyceum_envs::r::find(&self.config.r).map_err(|error| tell(&error))
    }

    fn series(&self) -> Result<String, Report> {
        Ok(self.interpreter()?.version.series())
    }

    fn tell(&self, error: &RError) -> Report {
        match error {
            RError::Env(lyceum_envs::EnvError::Io { source, .. })
                if source.kind() == std::io::ErrorKind::NotFound =>
            {
                Report::text(format!("error: the library `{}` has no list of packages", self.name)).hint(format!(
                    "write {}, or begin one with `lyceum env r add PACKAGE` or `lyceum env r import requirements.R`",
                    self.list.display()
                ))
            }
            error => tell(error),
        }
    }

    fn spec(&self, list: PackageList) -> Result<RSpec, Report> {
        Ok(RSpec {
            interpreter: self.interpreter()?,
            list,
            repositories: self.config.repositories.clone(),
            bioconductor: self.config.bioconductor.clone(),
            prefer_apt: self.config.prefer_apt,
            account: account(&self.config.build_as)?,
            jobs: std::thread::available_parallelism().map_or(1, usize::from),
        })
    }
}

/// The account that builds, if we can be somebody else.
fn account(name: &str) -> Result<Option<Account>, Report> {
    if !geteuid().is_root() || name == "root" {
        return Ok(None);
    }
    match User::from_name(name) {
        Ok(Some(user)) => Ok(Some(Account {
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
        })),
        _ => Err(Report::text(format!(
            "error: there is no account `{name}`, which builds packages"
        ))
        .hint(format!(
            "make it: useradd --system --shell /usr/sbin/nologin {name}"
        ))),
    }
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
                "Interrupted. What runs, runs on as it was; the next build goes on with what was downloaded."
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
    build(meant, list, &Upgrade::Nothing, how, Some(editor))
}

fn build(
    meant: &Meant,
    list: PackageList,
    upgrade: &Upgrade,
    how: &BuildArgs,
    editor: Option<&Editor>,
) -> Result<ExitCode, Report> {
    let spec = meant.spec(list)?;
    // With JSON, nothing else is printed.
    let bar = (!how.json).then(Bar::new);
    let progress: &dyn Progress = bar.as_ref().map_or(&Silent, |bar| bar);
    let report = if how.dry_run {
        block_on(meant.library.plan(&spec, upgrade, progress))
    } else {
        block_on(meant.library.build(&spec, upgrade, progress))
    };
    if let Some(bar) = &bar {
        bar.clear();
    }
    let report: BuildReport = report?;
    if how.json {
        let text = serde_json::to_string_pretty(&report).map_err(|error| Report::new(&error))?;
        say(&text);
    } else {
        say(show::built(&report, &spec, how.dry_run).trim_end());
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
    if let Some(editor) = editor {
        editor.save().map_err(|error| tell(&error))?;
    }
    match report.generation {
        Some(number) if how.switch => {
            let (now, before) = block_on(meant.library.switch(&report.series, Some(number)))?;
            if how.json {
                set_up(meant)?;
                return Ok(ExitCode::SUCCESS);
            }
            switched(meant, &report.series, now, before)
        }
        Some(_) if !how.json => {
            say(
                "\nNothing has changed for anybody yet. To let new starts of R have it: lyceum env r switch",
            );
            Ok(ExitCode::SUCCESS)
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn switched(
    meant: &Meant,
    series: &str,
    now: u32,
    before: Option<u32>,
) -> Result<ExitCode, Report> {
    match before {
        Some(before) if before == now => say(&format!("R {series} has generation {now} already.")),
        Some(before) => say(&format!(
            "New starts of R {series} have generation {now} of `{}`; what runs keeps generation {before}.",
            meant.name
        )),
        None => say(&format!(
            "New starts of R {series} have generation {now} of `{}`.",
            meant.name
        )),
    }
    if meant.env.default_r() != Some(&meant.name) {
        say("It is not the default library: kernels have it that name it (`env.default_r`).");
    } else if set_up(meant)? {
        say(
            "Renviron.site and Rprofile.site lead to it now (`lyceum env r setup --undo` takes that back).",
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the start files of every R, if this library is for them and we may. Gives whether something changed.
fn set_up(meant: &Meant) -> Result<bool, Report> {
    let may = geteuid().is_root()
        && meant.config.site_files
        && meant.env.default_r() == Some(&meant.name);
    let mut changed = false;
    for interpreter in lyceum_envs::r::find_all().iter().filter(|_| may) {
        let files = SiteFiles::of(interpreter);
        changed |= files.set(&meant.library).map_err(|error| tell(&error))?;
    }
    Ok(changed)
}

fn setup(meant: &Meant, undo: bool) -> Result<ExitCode, Report> {
    for interpreter in lyceum_envs::r::find_all() {
        let files = SiteFiles::of(&interpreter);
        let changed = if undo {
            files.unset()
        } else {
            files.set(&meant.library)
        };
        let word = match (changed.map_err(|error| tell(&error))?, undo) {
            (true, false) => "looks into the library now",
            (false, false) => "looks into the library already",
            (true, true) => "no longer looks into the library",
            (false, true) => "has no such block",
        };
        say(&format!(
            "R {} ({}) {word}",
            interpreter.version,
            interpreter.program.display()
        ));
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
