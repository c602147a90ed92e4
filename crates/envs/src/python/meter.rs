//! Turns the output of pip and uv, and what appears in the environment, into progress.
//!
//! The shares are of wall-clock time, measured with pip and a fast index; they only shape a bar.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::command::Seen;
use crate::progress::{Phase, Progress, Report};

/// Where each part begins on the scale of the whole work.
const SCALE: &[(Phase, f32)] = &[
    (Phase::Creating, 0.01),
    (Phase::Downloading, 0.10),
    (Phase::Installing, 0.55),
    (Phase::Compiling, 0.75),
    (Phase::Testing, 0.90),
    (Phase::Done, 1.0),
];

/// Sends reports, and remembers how far the work is.
#[derive(Debug)]
pub(crate) struct Meter<'a> {
    progress: &'a dyn Progress,
    estimate: Duration,
    last: Option<f32>,
}

impl<'a> Meter<'a> {
    pub(crate) fn new(progress: &'a dyn Progress, estimate: Duration) -> Self {
        Self {
            progress,
            estimate,
            last: None,
        }
    }

    /// Reports that a part has begun.
    pub(crate) fn enter(&mut self, phase: Phase, text: impl Into<String>) {
        self.inside(phase, 0.0, text);
    }

    /// Reports how far a part is, from 0 to 1.
    pub(crate) fn inside(&mut self, phase: Phase, part: f32, text: impl Into<String>) {
        let text = text.into();
        if let Some(at) = position(phase, part) {
            self.last = Some(self.last.map_or(at, |last| last.max(at)));
        }
        tracing::debug!(
            phase = phase.as_str(),
            "Preparing the Python environment: {text}"
        );
        self.progress.report(&Report {
            phase,
            text,
            fraction: self.last,
            estimate: self.estimate,
        });
    }
}

fn position(phase: Phase, part: f32) -> Option<f32> {
    let index = SCALE.iter().position(|(at, _)| *at == phase)?;
    let (_, from) = *SCALE.get(index)?;
    let to = SCALE.get(index + 1).map_or(1.0, |(_, to)| *to);
    Some(from + (to - from) * part.clamp(0.0, 1.0))
}

/// So many packages, in words.
pub(crate) fn counted(number: usize) -> String {
    match number {
        1 => "1 package".to_owned(),
        more => format!("{more} packages"),
    }
}

/// Watches an installer at work.
#[derive(Debug)]
pub(crate) struct InstallerWatch {
    site_packages: Option<PathBuf>,
    /// How many packages there will be: a guess until the installer has said it.
    total: usize,
    known: bool,
    collected: usize,
    installed_before: usize,
    installed: usize,
    installing: bool,
}

impl InstallerWatch {
    /// `expected` is the likely number of packages.
    pub(crate) fn new(prefix: &Path, expected: usize) -> Self {
        let site_packages = find_site_packages(prefix);
        let installed_before = site_packages.as_deref().map_or(0, count_installed);
        Self {
            site_packages,
            total: expected,
            known: false,
            collected: 0,
            installed_before,
            installed: 0,
            installing: false,
        }
    }

    /// Takes a line or a tick, and reports if it tells something new.
    pub(crate) fn see(&mut self, seen: Seen<'_>, meter: &mut Meter<'_>) {
        match seen {
            Seen::Line(line) => self.line(line.trim_start(), meter),
            Seen::Tick => self.look(meter),
        }
    }

    fn line(&mut self, line: &str, meter: &mut Meter<'_>) {
        if let Some(rest) = line.strip_prefix("Collecting ") {
            let name = rest
                .split(['<', '>', '=', '!', '~', ' ', '[', ';'])
                .next()
                .unwrap_or(rest);
            self.collected += 1;
            self.total = self.total.max(self.collected);
            let (done, total) = (self.collected, self.total);
            meter.inside(
                Phase::Downloading,
                ratio(done, total),
                format!("downloading {name} ({done} of about {total} packages)"),
            );
        } else if let Some(rest) = line.strip_prefix("Installing collected packages: ") {
            self.begin_installing(rest.split(',').count(), meter);
        } else if let Some(rest) = line.strip_prefix("Resolved ") {
            // uv downloads everything first and then links it into place within a moment.
            if let Some(total) = first_number(rest) {
                (self.total, self.known) = (total, true);
                meter.enter(
                    Phase::Downloading,
                    format!("downloading {}", counted(total)),
                );
            }
        } else if let Some(rest) = line.strip_prefix("Downloading ").filter(|_| self.known) {
            let name = rest.split(' ').next().unwrap_or(rest);
            meter.inside(Phase::Downloading, 0.3, format!("downloading {name}"));
        } else if let Some(rest) = line.strip_prefix("Prepared ") {
            if let Some(total) = first_number(rest) {
                self.begin_installing(total, meter);
            }
        } else if line.contains("Retrying (") {
            meter.inside(
                Phase::Downloading,
                0.0,
                "the package index does not answer, trying again",
            );
        }
    }

    fn begin_installing(&mut self, total: usize, meter: &mut Meter<'_>) {
        (self.total, self.known, self.installing) = (total, true, true);
        meter.enter(Phase::Installing, format!("installing {}", counted(total)));
    }

    /// Counts what is there: pip says nothing while it installs.
    fn look(&mut self, meter: &mut Meter<'_>) {
        let Some(folder) = self.site_packages.as_deref().filter(|_| self.installing) else {
            return;
        };
        let installed = count_installed(folder)
            .saturating_sub(self.installed_before)
            .min(self.total);
        if installed > self.installed {
            self.installed = installed;
            meter.inside(
                Phase::Installing,
                ratio(installed, self.total),
                format!("installing packages ({installed} of {})", self.total),
            );
        }
    }
}

/// Finds `lib/pythonX.Y/site-packages` in an environment.
pub(crate) fn find_site_packages(prefix: &Path) -> Option<PathBuf> {
    fs::read_dir(prefix.join("lib"))
        .ok()?
        .filter_map(Result::ok)
        .map(|entry| entry.path().join("site-packages"))
        .find(|path| path.is_dir())
}

fn count_installed(site_packages: &Path) -> usize {
    fs::read_dir(site_packages).map_or(0, |entries| {
        entries
            .filter_map(Result::ok)
            .filter(|entry| {
                entry
                    .file_name()
                    .as_encoded_bytes()
                    .ends_with(b".dist-info")
            })
            .count()
    })
}

fn first_number(text: &str) -> Option<usize> {
    text.split(' ').next()?.parse().ok()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of packages are small, and only shape a bar"
)]
fn ratio(done: usize, total: usize) -> f32 {
    done as f32 / total.max(1) as f32
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Debug, Default)]
    struct Heard(Mutex<Vec<(Phase, String, Option<f32>)>>);

    impl Progress for Heard {
        fn report(&self, report: &Report) {
            self.0
                .lock()
                .unwrap()
                .push((report.phase, report.text.clone(), report.fraction));
        }
    }

    fn watch(lines: &[&str]) -> Vec<(Phase, String, Option<f32>)> {
        let heard = Heard::default();
        {
            let mut meter = Meter::new(&heard, Duration::from_mins(1));
            let mut watch = InstallerWatch::new(Path::new("/nowhere"), 4);
            for line in lines {
                watch.see(Seen::Line(line), &mut meter);
            }
        }
        heard.0.into_inner().unwrap()
    }

    #[test]
    fn pips_output_moves_the_bar() {
        let heard = watch(&[
            "Collecting jupyterhub<7,>=6",
            "  Downloading jupyterhub-6.1.1-py3-none-any.whl (15.4 MB)",
            "Collecting jupyterlab",
            "Installing collected packages: a, b, c",
        ]);
        let texts: Vec<_> = heard.iter().map(|(_, text, _)| text.as_str()).collect();
        assert_eq!(
            texts,
            [
                "downloading jupyterhub (1 of about 4 packages)",
                "downloading jupyterlab (2 of about 4 packages)",
                "installing 3 packages",
            ]
        );
        assert!(
            heard.windows(2).all(|pair| pair[0].2 < pair[1].2),
            "{heard:?}"
        );
    }

    #[test]
    fn uvs_output_moves_the_bar() {
        let heard = watch(&[
            "Resolved 112 packages in 786ms",
            "Downloading jupyterhub (14.7MiB)",
            " Downloaded jupyterhub",
            "Prepared 112 packages in 1s",
        ]);
        let texts: Vec<_> = heard.iter().map(|(_, text, _)| text.as_str()).collect();
        assert_eq!(
            texts,
            [
                "downloading 112 packages",
                "downloading jupyterhub",
                "installing 112 packages"
            ]
        );
    }

    #[test]
    fn the_bar_never_goes_back() {
        let heard = watch(&[
            "Collecting a",
            "Collecting b",
            "WARNING: Retrying (Retry(total=4, connect=None))",
            "Collecting c",
            "Collecting d",
            "Collecting e",
            "Collecting f",
        ]);
        assert!(
            heard.windows(2).all(|pair| pair[0].2 <= pair[1].2),
            "{heard:?}"
        );
        assert!(
            heard
                .iter()
                .all(|(_, _, fraction)| fraction.unwrap() <= 0.55),
            "{heard:?}"
        );
    }
}
