//! Makes a generation: installed under the builder's account, compiled, taken over, and tried out.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{BUILT, Builder, Stamp, blocking, check_python};
use crate::command::end_left_over_of;
use crate::error::EnvError;
use crate::generations::Generations;
use crate::library::installed::installed;
use crate::library::lock::{Lock, Source};
use crate::library::settings::remove;
use crate::library::share::{byte_code_of, find_same, take_over};
use crate::library::{user_site, version};
use crate::progress::Phase;
use crate::python::check::{self, CheckOptions, CheckReport};
use crate::python::meter::{InstallerWatch, Meter, counted};
use crate::python::tune::{self, TuneOptions, TuneReport};

/// How long copying byte-code may take.
const COPY_LIMIT: Duration = Duration::from_mins(10);

impl Builder<'_> {
    /// Installs, compiles and takes over.
    pub(super) async fn make(
        &self,
        lock: &Lock,
        meter: &mut Meter<'_>,
    ) -> Result<TuneReport, EnvError> {
        let prefix = self.generations.path(self.number);
        let version = self.tools.python.version.clone().unwrap_or_default();
        meter.enter(
            Phase::Creating,
            format!("creating generation {} with Python {version}", self.number),
        );
        self.places.hand_over(&prefix)?;
        self.tools.create(&prefix).await?;
        meter.enter(
            Phase::Downloading,
            format!("downloading {}", counted(lock.packages.len())),
        );
        let options: String = self
            .wanted
            .list
            .lines()
            .filter(|line| line.starts_with('-'))
            .flat_map(|line| [line, "\n"])
            .collect();
        let (hashed, others) = lock.lists();
        for (name, list, with_hashes) in
            [("hashed.txt", hashed, true), ("others.txt", others, false)]
        {
            if list.is_empty() {
                continue;
            }
            let list = self.tools.readable(&format!("{options}{list}"));
            let file = self.places.tell(name, &list)?;
            let mut watch = InstallerWatch::new(&prefix, lock.packages.len());
            self.tools
                .install(&prefix, &file, with_hashes, &mut |seen| {
                    watch.see(seen, meter);
                })
                .await?;
        }
        if !lock.packages.contains_key("pip") {
            self.tools.add_pip(&prefix).await?;
        }
        self.compare_with(lock, &prefix)?;
        meter.enter(
            Phase::Compiling,
            "compiling modules, so that servers start faster",
        );
        let owner = self.places.owner();
        let donors = self.donors();
        self.take_byte_code(&prefix, &donors).await?;
        let options = TuneOptions {
            requirements: self.wanted.names.iter().cloned().collect(),
            title: self.settings.title.clone(),
        };
        let tuned = tune::tune(&prefix, &options, self.tools.log).await?;
        meter.inside(Phase::Compiling, 0.8, "taking it over");
        // Nothing of the builder is left that could still write; and if anything were, only to what we have moved away.
        end_left_over_of(self.generations.folder(), self.places.builder.as_ref()).await?;
        let user_packages = self.settings.user_packages;
        let chosen = self.tools.python.executable.clone();
        blocking(move || {
            let interpreter = chosen.canonicalize().map_err(|source| EnvError::Io {
                doing: "find",
                path: chosen,
                source,
            })?;
            let staged = prefix.with_extension(BUILT.trim_start_matches('.'));
            fs::rename(&prefix, &staged).map_err(|source| EnvError::Io {
                doing: "move",
                path: prefix.clone(),
                source,
            })?;
            let same = find_same(&staged, owner, &donors)?;
            take_over(&staged, &prefix, owner, &interpreter, &same)?;
            check_python(&prefix, &interpreter)?;
            user_site::place(&prefix, user_packages)?;
            remove(&staged)
        })
        .await?;
        Ok(tuned)
    }

    /// Finished generations whose files may be the same: the newest of this environment, and the current ones of others.
    fn donors(&self) -> Vec<PathBuf> {
        let mut donors = Vec::new();
        donors.extend(
            self.newest
                .map(|(number, _)| self.generations.path(*number)),
        );
        let others = self.generations.folder().parent();
        let others = others.and_then(|folder| fs::read_dir(folder).ok());
        for entry in others.into_iter().flatten().flatten() {
            let other = Generations::new(entry.path());
            if let Some((number, _)) = other.find_current::<Stamp>() {
                let path = other.path(number);
                if !donors.contains(&path) {
                    donors.push(path);
                }
            }
        }
        donors
    }

    /// Lets the builder take byte-code of sources that are the same from finished generations: compiling them again is
    /// most of the work. What it makes of it is compared again.
    async fn take_byte_code(&self, prefix: &Path, donors: &[PathBuf]) -> Result<(), EnvError> {
        let (staged, owner, donors) = (prefix.to_owned(), self.places.owner(), donors.to_vec());
        let pairs =
            blocking(move || Ok(byte_code_of(&find_same(&staged, owner, &donors)?))).await?;
        if pairs.is_empty() {
            return Ok(());
        }
        let mut list = String::new();
        for (from, to) in pairs {
            // A name that cannot be written on a line is compiled again.
            if let (Some(from), Some(to)) = (from.to_str(), to.to_str())
                && !from.contains(['\n', '\t'])
                && !to.contains(['\n', '\t'])
            {
                let _ = writeln!(list, "{from}\t{to}");
            }
        }
        let list = self.places.tell("byte-code.txt", &list)?;
        let code = include_str!("byte_code.py");
        let mut arguments = ["-I", "-S", "-c", code].map(OsString::from).to_vec();
        arguments.extend([list.into(), prefix.into()]);
        let python = &self.tools.python.executable;
        self.tools
            .run_python("take byte-code over", python, arguments, COPY_LIMIT)
            .await
    }

    /// Tries it out as whoever builds, who may not change it any more.
    pub(super) async fn check(
        &self,
        prefix: &Path,
        packages: &BTreeMap<String, String>,
        meter: &mut Meter<'_>,
    ) -> Result<CheckReport, EnvError> {
        let options = CheckOptions {
            modules: self.settings.smoke.clone(),
            requirements: self.wanted.names.iter().cloned().collect(),
            need_server: self.settings.serves || packages.contains_key("jupyterhub"),
            ..CheckOptions::default()
        };
        meter.enter(Phase::Testing, "trying it out");
        check::check(prefix, &options, self.tools.log, &mut |at, doing| {
            meter.inside(Phase::Testing, at, doing);
        })
        .await
    }

    /// Compares what is there with what was chosen.
    #[expect(clippy::unused_self, reason = "reads better beside the other steps")]
    fn compare_with(&self, lock: &Lock, prefix: &Path) -> Result<(), EnvError> {
        let found = installed(prefix);
        let different: Vec<String> = lock
            .packages
            .iter()
            .filter_map(|(name, package)| match (&package.source, found.get(name)) {
                (_, None) => Some(format!("{name} is missing")),
                (Source::Version(wanted), Some(version))
                    if version::compare(wanted, version).is_ne() =>
                {
                    Some(format!("{name} is {version} and not {wanted}"))
                }
                _ => None,
            })
            .collect();
        if different.is_empty() {
            Ok(())
        } else {
            Err(EnvError::NotAsLocked { different })
        }
    }
}
