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
    terminal: bool,
    last: Mutex<Option<Phase>>,
}

impl Bar {
    pub(crate) fn new() -> Self {
        let terminal = std::io::stdout().is_terminal();
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
            terminal,
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
        self.drawn.set_message(report.text.clone());
        if !self.terminal {
            let mut last = self
                .last
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            if *last != Some(report.phase) {
                *last = Some(report.phase);
                super::say(&format!("  {}", report.text));
            }
        }
    }
}
