//! [`InboundLayer`]: the server side as a tower layer, around any service of HTTP requests.

use std::sync::Arc;

use tower_layer::Layer;

use super::{Inbound, InboundService};

/// Assigns a [`Trail`](crate::Trail) to each request, and adds the trace to each response.
///
/// For each request the layer
///
/// 1. parses `traceparent`, `tracestate` and the tag header;
/// 2. decides by [`Admit`](crate::Admit) whether to continue the caller's trace, and by [`Sample`](crate::Sample)
///    whether a new trace is sampled;
/// 3. rejects invalid tags with a 400, before the handler runs;
/// 4. adds the trail to the request's extensions, and makes it current while the handler is called, while its future
///    and the response body are polled, and while they are dropped;
/// 5. writes the trace to the response, as [`Echo`](crate::Echo) selects, and to its own 400 too.
///
/// Nothing is boxed, and the service's errors pass unchanged. The extensions of a rejected response hold the
/// [`InvalidTags`](crate::InvalidTags) and the `Trail`, so outer layers can see why it was rejected.
///
/// # Caveats
///
/// A response that is created by a layer outside this one, such as a timeout, carries no trace. Place this layer
/// outside those layers, and inside only layers that must see the request first (such as a connection limit).
///
/// # Example
///
/// ```
/// use axum::{Router, routing::get};
/// use tagtrail::{Admit, InboundLayer, Trail};
///
/// async fn project(trail: Trail) -> String {
///     trail.tags().get("project").unwrap_or("none").to_owned()
/// }
///
/// let app: Router = Router::new().route("/", get(project)).layer(InboundLayer::new(Admit::Restart));
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct InboundLayer(Arc<Inbound>);

impl InboundLayer {
    /// Creates a layer with these settings: an [`Inbound`], or an [`Admit`](crate::Admit) for the default settings.
    pub fn new(inbound: impl Into<Inbound>) -> Self {
        Self(Arc::new(inbound.into()))
    }
}

impl<S> Layer<S> for InboundLayer {
    type Service = InboundService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        InboundService::from_parts(inner, Arc::clone(&self.0))
    }
}

impl InboundService<()> {
    /// Creates a layer that wraps services in `InboundService`.
    pub fn layer(inbound: impl Into<Inbound>) -> InboundLayer {
        InboundLayer::new(inbound)
    }
}
