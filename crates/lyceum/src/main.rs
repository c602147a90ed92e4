//! The program `lyceum`.

fn main() {}
