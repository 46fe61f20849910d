//! [`OutboundMiddleware`]: the client's side for reqwest, by reqwest-middleware.

use async_trait::async_trait;
use http::Extensions;
use reqwest::{Request, Response};
use reqwest_middleware::{Error, Middleware, Next, Result};

use crate::outbound::Outbound;
use crate::redirect;

/// Sends the [`Trail`](crate::Trail) with every request of a reqwest client, as [`Outbound`] says.
///
/// The extensions of a request are those of reqwest-middleware: `.with_extension(trail)` sends a trail of your own,
/// `.with_extension(RequestTags::new(…))` the tags of one request. If those are bad, the request is not sent, and the
/// error is a [`Middleware`](reqwest_middleware::Error::Middleware) one that holds an
/// [`InvalidTags`](crate::InvalidTags).
///
/// ```
/// use reqwest_middleware::ClientBuilder;
/// use tagtrail::{Disclose, Outbound, OutboundMiddleware, Targets};
///
/// let told = Outbound::new(Targets::otherwise(Disclose::Nothing).host("*.internal.example", Disclose::All)?);
/// let client = reqwest::Client::builder().redirect(told.redirect_policy()).build()?;
/// let client = ClientBuilder::new(client).with(OutboundMiddleware::new(told)).build();
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// Place it inside of what sends a request more than once: middleware that is added to the client *after*
/// reqwest-retry's runs for each attempt, and gives each a parent-id of its own.
///
/// A trail that is made for a request, since there was none, is left in its extensions: its further attempts have it.
///
/// # Caveats
///
/// reqwest follows redirects beneath its middleware: the headers of the first hop are sent to the next host too,
/// whatever it may be told. Give the client a [`redirect_policy`](Outbound::redirect_policy) that stops before such a
/// hop, or have redirects followed [by this middleware](Self::follow_redirects).
#[derive(Clone, Debug)]
#[must_use]
pub struct OutboundMiddleware {
    outbound: Outbound,
    follows: bool,
}

impl OutboundMiddleware {
    /// A middleware with these settings: an [`Outbound`], or what makes one: a [`Disclose`](crate::Disclose),
    /// [`Targets`](crate::Targets), or a function of the request's URL.
    pub fn new(outbound: impl Into<Outbound>) -> Self {
        Self { outbound: outbound.into(), follows: false }
    }

    /// Follows redirects, up to ten, in place of reqwest: each hop is decided anew, and has a parent-id of its own.
    /// Middleware that is added after this one runs for each hop.
    ///
    /// The client is to be built with [`Policy::none`](reqwest::redirect::Policy::none), or this has nothing to follow.
    ///
    /// ```
    /// use reqwest_middleware::ClientBuilder;
    /// use tagtrail::{Disclose, OutboundMiddleware};
    ///
    /// let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
    /// let middleware = OutboundMiddleware::new(Disclose::TraceOnly).follow_redirects();
    /// let client = ClientBuilder::new(client).with(middleware).build();
    /// # Ok::<_, reqwest::Error>(())
    /// ```
    ///
    /// As reqwest does, it
    ///
    /// - makes a `POST` that is answered with 301 or 302 a `GET` without a body, and so any request but `HEAD` that is
    ///   answered with 303;
    /// - keeps method and body with 307 and 308, and where the body is a stream, which cannot be sent again, returns the
    ///   redirect as the answer;
    /// - removes `Authorization`, `Cookie` and their like where scheme, host or port change.
    ///
    /// It sets no `Referer`. A time-out of the request is that of each hop.
    pub fn follow_redirects(self) -> Self {
        Self { follows: true, ..self }
    }

    /// Sends one request: one attempt, one hop.
    pub(crate) async fn send(
        &self,
        mut request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response> {
        let url = request.url().clone();
        let applied = self.outbound.apply_to_url(url.as_str(), request.headers_mut(), extensions);
        applied.map_err(Error::middleware)?;
        next.run(request, extensions).await
    }
}

#[cfg_attr(not(target_arch = "wasm32"), async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait(?Send))]
impl Middleware for OutboundMiddleware {
    async fn handle(&self, request: Request, extensions: &mut Extensions, next: Next<'_>) -> Result<Response> {
        if self.follows {
            redirect::follow(self, request, extensions, next).await
        } else {
            self.send(request, extensions, next).await
        }
    }
}
