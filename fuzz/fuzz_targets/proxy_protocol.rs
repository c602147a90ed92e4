//! Headers of the PROXY protocol at the beginning of a connection.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| lyceum_gateway::fuzz_logic::proxy_protocol(data));
