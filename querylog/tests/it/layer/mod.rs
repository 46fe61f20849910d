//! What the layer records of requests, however they end.

mod grpc;
mod http2;
mod outcome;
mod record;
mod send;
