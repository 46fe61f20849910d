//! The audit log: its stores, its API and its client.

mod acknowledged;
mod api;
mod callers;
mod client;
#[cfg(target_os = "linux")]
mod disk;
mod gaps;
#[cfg(unix)]
mod kill;
mod limits;
mod openapi;
mod outage;
mod overload;
mod payloads;
mod questions;
mod requests;
mod runtimes;
#[cfg(feature = "s3")]
mod s3;
mod schema;
mod spool;
mod spool_faults;
mod store_errors;
mod stored;
mod traces;
mod writers;
