//! What peers say about the client, in `X-Forwarded-…` headers.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| lyceum_gateway::fuzz_logic::forwarded(data));
