//! Loads, merges, validates and explains the configuration; schema and reference page come from it.
