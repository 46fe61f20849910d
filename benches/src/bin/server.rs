//! Serves bare, or within the crate's layer.

use http::request::Parts;
use tagtrail::{Admit, InboundLayer};
use tagtrail_benches::server::{app, serve};

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("tagtrail") => serve(app().layer(InboundLayer::new(|_: &Parts| Admit::Continue))),
        _ => serve(app()),
    }
}
