//! Answers of applications below a prefix.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| lyceum_gateway::fuzz_logic::rewrite_answer(data));
