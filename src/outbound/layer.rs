//! [`OutboundLayer`]: the client side as a tower layer, for example around hyper-util's client.

use std::sync::Arc;

use tower_layer::Layer;

use super::{Outbound, OutboundService};

/// Sends the [`Trail`](crate::Trail) with each request of a tower client, as [`Outbound`] describes.
///
/// The errors of the service are boxed, as by tower's own middleware, and are otherwise unchanged. If the tags of a
/// request are invalid, it is not sent, and the error is an [`InvalidTags`](crate::InvalidTags).
///
/// ```no_run
/// # async fn call() -> Result<(), tower::BoxError> {
/// use bytes::Bytes;
/// use http_body_util::Full;
/// use hyper_util::client::legacy::Client;
/// use hyper_util::rt::TokioExecutor;
/// use tagtrail::{Disclose, InvalidTags, OutboundLayer, Targets};
/// use tower::{Layer, Service, ServiceExt};
///
/// let targets = Targets::with_default(Disclose::Nothing).host("*.internal.example", Disclose::All)?;
/// let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
/// let mut client = OutboundLayer::new(targets).layer(client);
///
/// let request = http::Request::get("http://users.internal.example/7").body(Full::default())?;
/// match client.ready().await?.call(request).await {
///     Ok(response) => println!("{}", response.status()),
///     Err(error) if error.is::<InvalidTags>() => println!("not sent: {error}"),
///     Err(error) => return Err(error),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct OutboundLayer(Arc<Outbound>);

impl OutboundLayer {
    /// Creates a layer with these settings: an [`Outbound`], or a [`Disclose`](crate::Disclose) or
    /// [`Targets`](crate::Targets) for the default settings.
    pub fn new(outbound: impl Into<Outbound>) -> Self {
        Self(Arc::new(outbound.into()))
    }
}

impl<S> Layer<S> for OutboundLayer {
    type Service = OutboundService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        OutboundService::from_parts(inner, Arc::clone(&self.0))
    }
}

impl OutboundService<()> {
    /// Creates a layer that wraps clients in `OutboundService`.
    pub fn layer(outbound: impl Into<Outbound>) -> OutboundLayer {
        OutboundLayer::new(outbound)
    }
}
