//! tower-http: a request-id, which is one opaque text, and `TraceLayer`, which propagates nothing. No subscriber.

use tagtrail_benches::case::Case;
use tagtrail_benches::service::Bare;
use tower::ServiceBuilder;
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use tower_http::trace::TraceLayer;

use crate::{bare_servers, server};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = bare_servers().collect();
    cases.extend(server!("(tower-http request-id, one opaque id)", {
        ServiceBuilder::new()
            .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
            .layer(PropagateRequestIdLayer::x_request_id())
            .service(Bare)
    }));
    let trace = || ServiceBuilder::new().layer(TraceLayer::new_for_http()).service(Bare);
    cases.extend(server!("(tower-http TraceLayer, which propagates nothing)", trace()));
    cases
}
