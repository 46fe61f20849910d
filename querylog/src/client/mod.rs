//! The clients of the REST APIs, on reqwest.

pub(crate) mod audit;
pub(crate) mod export;
pub(crate) mod http;
mod questions;
mod response;
