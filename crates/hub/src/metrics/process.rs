//! What the system knows of this process: the metrics `process_*` that all of Prometheus' clients have.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// The time slice in which Linux counts (`USER_HZ`), the same on all machines.
const TICKS_PER_SECOND: f64 = 100.0;

/// Reads `/proc` whenever somebody reads the metrics; what cannot be read is left out.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let facts = Facts::parse(&stat);
        if let Some(cpu) = facts.cpu_seconds {
            let counter = ConstCounter::new(cpu);
            let (name, help) = ("process_cpu_seconds", "Time of processors that was used");
            let metric = encoder.encode_descriptor(name, help, None, counter_type())?;
            counter.encode(metric)?;
        }
        let gauges = [
            (
                "process_start_time_seconds",
                "When the process started, in seconds since 1970",
                facts
                    .started
                    .zip(boot_time())
                    .map(|(after, boot)| boot + after),
            ),
            (
                "process_virtual_memory_bytes",
                "Virtual memory",
                facts.virtual_bytes,
            ),
            (
                "process_resident_memory_bytes",
                "Memory that is held",
                resident_bytes(),
            ),
            ("process_open_fds", "Open files", open_files()),
            ("process_max_fds", "How many files may be open", max_files()),
        ];
        for (name, help, value) in gauges {
            let Some(value) = value else { continue };
            let gauge = ConstGauge::new(value);
            let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        Ok(())
    }
}

fn counter_type() -> prometheus_client::metrics::MetricType {
    ConstCounter::new(0.0_f64).metric_type()
}

/// What `/proc/self/stat` says.
#[derive(Debug, Default, PartialEq)]
struct Facts {
    cpu_seconds: Option<f64>,
    /// Seconds from the boot.
    started: Option<f64>,
    virtual_bytes: Option<f64>,
}

impl Facts {
    fn parse(stat: &str) -> Self {
        // The name of the program, in parentheses, may have spaces and parentheses itself.
        let Some((_, rest)) = stat.rsplit_once(')') else {
            return Self::default();
        };
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // proc(5) counts from 1; the first one here is field 3.
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        Self {
            cpu_seconds: field(14)
                .zip(field(15))
                .map(|(user, system)| (user + system) / TICKS_PER_SECOND),
            started: field(22).map(|ticks| ticks / TICKS_PER_SECOND),
            virtual_bytes: field(23),
        }
    }
}

fn boot_time() -> Option<f64> {
    line_of("/proc/stat", "btime ")
}

fn resident_bytes() -> Option<f64> {
    line_of("/proc/self/status", "VmRSS:").map(|kib| kib * 1024.0)
}

fn max_files() -> Option<f64> {
    line_of("/proc/self/limits", "Max open files")
}

fn open_files() -> Option<f64> {
    let count = fs::read_dir("/proc/self/fd").ok()?.count();
    // The folder itself is open while it is read.
    u32::try_from(count.saturating_sub(1)).ok().map(f64::from)
}

/// The first number after the beginning of a line.
fn line_of(path: &str, start: &str) -> Option<f64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(start))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_may_have_any_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 4 0 1000 2048 3 0";
        let facts = Facts::parse(stat);
        assert_eq!(facts.cpu_seconds, Some(2.0));
        assert_eq!(facts.started, Some(10.0));
        assert_eq!(facts.virtual_bytes, Some(2048.0));
        assert_eq!(Facts::parse(""), Facts::default());
    }

    #[test]
    fn this_process_is_known_to_the_system() {
        assert!(resident_bytes().unwrap() > 1024.0);
        assert!(open_files().unwrap() >= 3.0);
        assert!(max_files().unwrap() >= 3.0);
        assert!(boot_time().unwrap() > 1e9);
    }
}
