//! Shows on the terminal how the preparation of an environment goes.

use std::io::IsTerminal as _;
use std::sync::Mutex;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use lyceum_envs::{Phase, Progress, Report};

/// A bar on a terminal; a line for each part of the work elsewhere.
#[derive(Debug)]
pub(crate) struct Bar {
    drawn: ProgressBar,
    /// Whether each part of the work gets a line.
    lines: bool,
    last: Mutex<Option<(Phase, String)>>,
}

impl Bar {
    pub(crate) fn new() -> Self {
        Self::with(std::io::stdout().is_terminal(), true)
    }

    /// A bar that shows nothing: what is printed is for a program.
    pub(crate) fn quiet() -> Self {
        Self::with(false, false)
    }

    fn with(terminal: bool, lines: bool) -> Self {
        let target = if terminal {
            ProgressDrawTarget::stdout()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(1000), target);
        if let Ok(style) = ProgressStyle::with_template(
            "  {bar:30.cyan/dim} {percent:>3}%  {elapsed:>4}  {wide_msg}",
        ) {
            bar.set_style(style.progress_chars("━╸─"));
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self {
            drawn: bar,
            lines: lines && !terminal,
            last: Mutex::new(None),
        }
    }

    /// Takes the bar away.
    pub(crate) fn clear(&self) {
        self.drawn.finish_and_clear();
    }
}

impl Progress for Bar {
    fn report(&self, report: &Report) {
        if let Some(fraction) = report.fraction {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a fraction from 0 to 1"
            )]
            self.drawn
                .set_position((fraction.clamp(0.0, 1.0) * 1000.0) as u64);
        }
        let left = report
            .fraction
            .and_then(|fraction| time_left(fraction, self.drawn.elapsed(), report.estimate));
        let text = &report.text;
        self.drawn
            .set_message(left.map_or_else(|| text.clone(), |left| format!("{text} ({left} left)")));
        if self.lines {
            let mut last = self
                .last
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            if is_news(last.as_ref(), report) {
                super::say(&format!("  {}", report.text));
                *last = Some((report.phase, report.text.clone()));
            }
        }
    }
}

/// Whether a report is worth a line: each part of the work is, and all that is done before anything is downloaded, since
/// choosing packages may take long.
fn is_news(last: Option<&(Phase, String)>, report: &Report) -> bool {
    last.is_none_or(|(phase, text)| {
        *phase != report.phase || (report.phase <= Phase::Searching && *text != report.text)
    })
}

/// How long it will still take: by what it has taken so far, and before that tells anything, by what it took the last time.
fn time_left(fraction: f32, elapsed: Duration, estimate: Duration) -> Option<String> {
    let left = if fraction > 0.2 {
        elapsed.mul_f32((1.0 - fraction.min(1.0)) / fraction)
    } else {
        estimate.mul_f32(1.0 - fraction.clamp(0.0, 1.0))
    };
    match left.as_secs() {
        0..10 => None,
        seconds @ 10..90 => Some(format!("about {} s", seconds.div_ceil(10) * 10)),
        seconds => Some(format!("about {} min", seconds.div_ceil(60))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_of_the_work_gets_a_line_and_so_does_choosing() {
        let report = |phase, text: &str| Report {
            phase,
            text: text.to_owned(),
            fraction: None,
            estimate: Duration::ZERO,
        };
        let last = |phase, text: &str| Some((phase, text.to_owned()));
        let looking = last(Phase::Searching, "looking for Python");
        assert!(is_news(
            None,
            &report(Phase::Searching, "looking for Python")
        ));
        assert!(!is_news(
            looking.as_ref(),
            &report(Phase::Searching, "looking for Python")
        ));
        assert!(is_news(
            looking.as_ref(),
            &report(Phase::Searching, "choosing packages")
        ));
        let loading = last(Phase::Downloading, "downloading 2 packages");
        assert!(!is_news(
            loading.as_ref(),
            &report(Phase::Downloading, "downloading six")
        ));
        assert!(is_news(
            loading.as_ref(),
            &report(Phase::Installing, "installing")
        ));
    }

    #[test]
    fn the_time_left_is_told_roughly() {
        let seconds = Duration::from_secs;
        let left = |fraction, elapsed| time_left(fraction, seconds(elapsed), seconds(120));
        assert_eq!(left(0.0, 0).as_deref(), Some("about 2 min"));
        assert_eq!(left(0.5, 40).as_deref(), Some("about 40 s"));
        assert_eq!(left(0.5, 600).as_deref(), Some("about 10 min"));
        assert_eq!(left(0.99, 600), None);
        assert_eq!(left(1.0, 600), None);
    }
}
