//! This crate beside the others of a service's stack: each test uses the real thing.

mod opentelemetry;
mod redirects;
mod retries;
mod signed;
mod spawned;
mod streams;
mod support;
mod tonic;
mod tower_http;
mod tracing;
mod upgrades;
