//! Exports: their jobs, their API and their client.

mod api;
mod client;
mod flow;
mod gaps;
mod jobs;
mod links;
mod openapi;
mod records;
mod slow;
mod wait;
