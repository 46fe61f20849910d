//! The query log as its users see it: real servers, clients, files and stores.

mod audit;
mod export;
mod files;
mod layer;
#[cfg(unix)]
mod shutdown;
mod support;
