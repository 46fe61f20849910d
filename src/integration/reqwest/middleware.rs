//! [`OutboundMiddleware`]: sends the trail.

use async_trait::async_trait;
use http::Extensions;
use reqwest::{Request, Response};
use reqwest_middleware::{Error, Middleware, Next, Result};

use crate::outbound::Outbound;

/// Sends the [`Trail`](crate::Trail) with each request of a reqwest client, as [`Outbound`] describes.
///
/// A request's extensions are those of reqwest-middleware: `.with_extension(trail)` sends a trail of your own, and
/// `.with_extension(RequestTags::new(…))` the tags of one request. If these are invalid, the request is not sent, and
/// the error is a [`Middleware`](reqwest_middleware::Error::Middleware) error that contains an
/// [`InvalidTags`](crate::InvalidTags).
///
/// ```
/// use reqwest_middleware::ClientBuilder;
/// use tagtrail::{Disclose, OnDowngrade, OutboundMiddleware, Targets};
///
/// let targets = Targets::with_default(Disclose::Nothing).host("*.internal.example", Disclose::All)?;
/// let middleware = OutboundMiddleware::new(targets);
/// let client = reqwest::Client::builder().redirect(middleware.redirect_policy(OnDowngrade::Stop)).build()?;
/// let client = ClientBuilder::new(client).with(middleware).build();
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// Add it after middleware that sends a request more than once: a middleware that is added *after* reqwest-retry's runs
/// for each attempt, and gives each its own parent-id.
///
/// A trail that is created for a request without one is added to its extensions, so later attempts share it.
///
/// # Caveats
///
/// reqwest follows redirects below its middleware: the headers of the first request are sent to the next host too,
/// whatever may be disclosed to it. Give the client a [`redirect_policy`](Self::redirect_policy) that does not follow
/// such a redirect, or use [`FollowRedirects`](crate::FollowRedirects).
#[derive(Clone, Debug)]
#[must_use]
pub struct OutboundMiddleware(pub(super) Outbound);

impl OutboundMiddleware {
    /// Creates a middleware with these settings: an [`Outbound`], or a [`Disclose`](crate::Disclose) or
    /// [`Targets`](crate::Targets) for the default settings.
    pub fn new(outbound: impl Into<Outbound>) -> Self {
        Self(outbound.into())
    }
}

#[cfg_attr(not(target_arch = "wasm32"), async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait(?Send))]
impl Middleware for OutboundMiddleware {
    async fn handle(&self, mut request: Request, extensions: &mut Extensions, next: Next<'_>) -> Result<Response> {
        let url = request.url().clone();
        let applied = self.0.apply_to_url(url.as_str(), request.headers_mut(), extensions);
        applied.map_err(Error::middleware)?;
        next.run(request, extensions).await
    }
}
