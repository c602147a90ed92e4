//! The privileged helper, and its client: a closed list of verbs for what `lyceum serve` may not do itself.
//!
//! `lyceum broker` runs as root and is small. It asks the configuration, which root alone can write, who may be let in,
//! under which account a server runs, with which command and which limits; what a client says is never more than a
//! wish. Whatever stalls or reads what people can change happens in children with a time limit.

pub mod account;
pub mod beside;
pub mod children;
pub mod client;
mod decide;
pub mod engine;
mod folders;
pub mod fuzz_logic;
pub mod plan;
pub mod policy;
pub mod protocol;
pub mod python;
pub mod serve;
pub mod static_files;
mod trusted;
mod variables;

pub use account::Account;
pub use client::Broker;
pub use policy::Policy;
pub use python::PythonFolders;
pub use variables::Variables;
