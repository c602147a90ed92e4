//! How much memory of the machine is in use.

use std::path::Path;

/// Reads which share of the memory is in use, from 0 to 1, as `/proc/meminfo` tells; what can be got back, such as
/// cached files, is not in use. `None` if it does not tell.
pub(super) fn memory_in_use(meminfo: &Path) -> Option<f64> {
    in_use(&std::fs::read_to_string(meminfo).ok()?)
}

fn in_use(text: &str) -> Option<f64> {
    let kilobytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        let number = line.strip_prefix(':')?.trim().strip_suffix("kB")?;
        number.trim().parse::<f64>().ok()
    };
    let total = kilobytes("MemTotal")?;
    let available = kilobytes("MemAvailable")?;
    (total > 0.0).then(|| (1.0 - available / total).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_in_use_that_cannot_be_got_back() {
        let text = "MemTotal:       1000 kB\nMemFree:  10 kB\nMemAvailable:    250 kB\n";
        assert_eq!(in_use(text), Some(0.75));
        assert_eq!(in_use("MemTotal: 1000 kB\n"), None);
        assert_eq!(in_use("MemTotal: 0 kB\nMemAvailable: 0 kB\n"), None);
        assert_eq!(in_use("nothing"), None);
    }

    #[test]
    fn this_machine_tells() {
        let share = memory_in_use(Path::new("/proc/meminfo")).unwrap();
        assert!(share > 0.0 && share < 1.0, "{share}");
    }
}
