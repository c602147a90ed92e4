//! The broker's child alone, for the tests of this crate; in Lyceum it is `lyceum broker-child`.

use std::process::ExitCode;

fn main() -> ExitCode {
    lyceum_broker::children::child_main()
}
