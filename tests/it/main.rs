//! The integration tests of the crate, as one binary: `cargo test --test it`, or one room of it with
//! `cargo test --test it stack::`.

/// What users rely on without asking: auto traits and `Debug` output.
mod api;
/// How much memory a request may cost.
mod budget;
/// The programs in `examples/`.
mod examples;
/// The server side, as tower stacks in memory.
mod inbound;
/// The client side, as tower stacks in memory.
mod outbound;
/// The header parsers against slow, obvious readers.
mod parse;
/// Servers and clients over sockets.
mod sockets;
/// This crate together with the other crates of a service.
mod stack;
/// What the tests share.
mod support;
