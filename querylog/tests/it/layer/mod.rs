//! What the layer records of requests, however they end.

mod outcome;
mod record;
mod send;
