//! A second try, with nothing beside it, of the few tests that failed among others.
//!
//! One that passes then has shown a fault all the same, in itself or in what it tests: the report ends with its name and
//! with what was said of it, so that it is mended. But it does not fail the run.

use anyhow::Result;

use crate::failures::Failure;
use crate::shell::Seen;

/// More failures than that are no accident.
const MOST: usize = 3;

/// Has a few failed tests run once more, if that is what `result` is about. `run` tells whether all of them passed.
pub(super) fn try_again(
    seen: &mut Seen,
    result: Result<()>,
    run: impl FnOnce(&[Failure]) -> Result<bool>,
) -> Result<()> {
    if result.is_ok() || !(1..=MOST).contains(&seen.failures.len()) {
        return result;
    }
    println!("\n    once more, alone:");
    for failure in &seen.failures {
        println!("    - {}", failure.name);
    }
    if !run(&seen.failures)? {
        return result;
    }
    seen.counts.passed += std::mem::take(&mut seen.counts.failed);
    seen.unsteady.append(&mut seen.failures);
    Ok(())
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;
    use crate::shell::Counts;

    fn seen(failed: u32) -> Seen {
        Seen {
            counts: Counts { passed: 5, failed },
            failures: (0..failed)
                .map(|number| Failure::named(format!("test {number}")))
                .collect(),
            unsteady: Vec::new(),
        }
    }

    fn failed() -> Result<()> {
        bail!("tests failed")
    }

    #[test]
    fn what_passes_alone_fails_nothing_and_is_named() {
        let mut seen = seen(2);
        try_again(&mut seen, failed(), |tests| Ok(tests.len() == 2)).unwrap();
        assert_eq!((seen.counts.passed, seen.counts.failed), (7, 0));
        assert_eq!((seen.failures.len(), seen.unsteady.len()), (0, 2));
    }

    #[test]
    fn what_fails_again_has_failed() {
        let mut seen = seen(2);
        try_again(&mut seen, failed(), |_| Ok(false)).unwrap_err();
        assert_eq!((seen.counts.passed, seen.counts.failed), (5, 2));
        assert_eq!((seen.failures.len(), seen.unsteady.len()), (2, 0));
    }

    #[test]
    fn many_or_none_are_not_tried_again() {
        for number in [0, 4] {
            try_again(&mut seen(number), failed(), |_| panic!("tried")).unwrap_err();
        }
        try_again(&mut seen(0), Ok(()), |_| panic!("tried")).unwrap();
    }
}
