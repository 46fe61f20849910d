//! [`OutboundMiddleware`]: the client's side for reqwest, by reqwest-middleware.

use async_trait::async_trait;
use http::Extensions;
use reqwest::{Request, Response};
use reqwest_middleware::{Error, Middleware, Next, Result};

use crate::outbound::Outbound;

/// Sends the [`Trail`](crate::Trail) with every request of a reqwest client, as [`Outbound`] says.
///
/// The extensions of a request are those of reqwest-middleware: `.with_extension(trail)` sends a trail of your own,
/// `.with_extension(RequestTags::new(…))` the tags of one request. If those are bad, the request is not sent, and the
/// error is a [`Middleware`](reqwest_middleware::Error::Middleware) one that holds an
/// [`InvalidTags`](crate::InvalidTags).
///
/// ```
/// use reqwest_middleware::ClientBuilder;
/// use tagtrail::{Disclose, OutboundMiddleware, Targets};
///
/// let targets = Targets::otherwise(Disclose::Nothing).host("*.internal.example", Disclose::All)?;
/// let client = ClientBuilder::new(reqwest::Client::new()).with(OutboundMiddleware::new(targets)).build();
/// # Ok::<_, tagtrail::InvalidTarget>(())
/// ```
///
/// Place it inside of what sends a request more than once: middleware that is added to the client *after*
/// reqwest-retry's runs for each attempt, and gives each a parent-id of its own.
///
/// # Caveats
///
/// reqwest follows redirects beneath its middleware: the headers of the first hop are sent to the next host too,
/// whatever it may be told. Where that matters, build the client with
/// [`Policy::none`](reqwest::redirect::Policy::none).
#[derive(Clone, Debug)]
#[must_use]
pub struct OutboundMiddleware(Outbound);

impl OutboundMiddleware {
    /// A middleware with these settings: an [`Outbound`], or what makes one: a [`Disclose`](crate::Disclose),
    /// [`Targets`](crate::Targets), or a function of the request's URL.
    pub fn new(outbound: impl Into<Outbound>) -> Self {
        Self(outbound.into())
    }
}

#[cfg_attr(not(target_arch = "wasm32"), async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait(?Send))]
impl Middleware for OutboundMiddleware {
    async fn handle(&self, mut request: Request, extensions: &mut Extensions, next: Next<'_>) -> Result<Response> {
        let url = request.url().clone();
        self.0.apply_to_url(url.as_str(), request.headers_mut(), extensions).map_err(Error::middleware)?;
        next.run(request, extensions).await
    }
}
