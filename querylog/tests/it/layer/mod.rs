//! What the layer records of requests, however they end.

mod grpc;
mod host;
mod http2;
mod limits;
mod outcome;
mod record;
mod send;
mod upgrade;
