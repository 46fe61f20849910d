//! The clients of the REST APIs, on reqwest.

pub(crate) mod audit;
pub(crate) mod export;
mod questions;
mod response;
