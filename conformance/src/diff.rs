//! Compares what two hubs answered.

use crate::runner::Outcome;

pub(crate) fn print(_: &[Outcome<'_>], _: &[Outcome<'_>]) {}
