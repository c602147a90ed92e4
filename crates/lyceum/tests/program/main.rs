//! The built program, as a person at a terminal meets it: its answers, its errors, its life cycle.

mod config;
mod serve;
mod support;
