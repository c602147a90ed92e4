//! Questions to the broker, and what is decided of them.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| lyceum_broker::fuzz_logic::question(data));
