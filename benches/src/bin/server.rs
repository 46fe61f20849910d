//! Serves bare, or within the crate's layer.

use axum::body::Body;
use axum::response::Response;
use tagtrail::{Admit, Inbound, InboundLayer};
use tagtrail_benches::server::{app, serve};
use tower::ServiceBuilder;
use tower::layer::util::Identity;

fn main() {
    let layer = InboundLayer::new(Inbound::admit_with(|_| Admit::Continue));
    match std::env::args().nth(1).as_deref() {
        Some("tagtrail") => serve(app().layer(layer)),
        Some("(tagtrail, around the whole router)") => {
            let boxed = |response: Response<_>| response.map(Body::new);
            serve(ServiceBuilder::new().map_response(boxed).layer(layer).service(app()));
        }
        Some("(a layer that does nothing)") => serve(app().layer(Identity::new())),
        Some("bare") => serve(app()),
        _ => panic!("no server has this name"),
    }
}
