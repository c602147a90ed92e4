//! Chunked bodies, in pieces.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| lyceum_gateway::fuzz_logic::chunks(data));
