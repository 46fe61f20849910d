//! This crate beside the others of a service's stack: each test uses the real thing.

mod opentelemetry;
mod redirects;
mod retries;
mod signed;
mod support;
mod tracing;
mod upgrades;
