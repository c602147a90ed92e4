//! Requests against a changing route table.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| lyceum_gateway::fuzz_logic::routes(data));
