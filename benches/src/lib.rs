//! Work that is counted: the cases of the crate, and what the cases of its peers share with them.

pub mod case;
pub mod inputs;
pub mod ours;
pub mod server;
pub mod service;
