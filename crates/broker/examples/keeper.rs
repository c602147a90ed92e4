//! The keeper of servers as a program of its own, for tests. In the product it is `lyceum broker-child run-server`.

use std::process::ExitCode;

fn main() -> ExitCode {
    lyceum_broker::engine::process::child_main()
}
