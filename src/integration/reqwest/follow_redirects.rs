//! [`FollowRedirects`]: follows redirects above the other middleware. Knows nothing of traces.

use async_trait::async_trait;
use http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HeaderName, LOCATION, PROXY_AUTHORIZATION,
    TRANSFER_ENCODING, WWW_AUTHENTICATE,
};
use http::{Extensions, Method, StatusCode};
use reqwest::{Request, Response, Url};
use reqwest_middleware::{Error, Middleware, Next, Result};

use super::RedirectError;

static COOKIE2: HeaderName = HeaderName::from_static("cookie2");

/// Follows redirects in place of reqwest, so that the middleware added after it runs for each request on the way. An
/// [`OutboundMiddleware`](crate::OutboundMiddleware) after it decides for each host what is disclosed, and gives each
/// request its own parent-id.
///
/// Build the client with [`Policy::none`](reqwest::redirect::Policy::none); otherwise there is nothing left to follow.
///
/// ```
/// use reqwest_middleware::ClientBuilder;
/// use tagtrail::{Disclose, FollowRedirects, OutboundMiddleware};
///
/// let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
/// let client = ClientBuilder::new(client)
///     .with(FollowRedirects::limited(10))
///     .with(OutboundMiddleware::new(Disclose::TraceOnly))
///     .build();
/// # Ok::<_, reqwest::Error>(())
/// ```
///
/// Like reqwest, it
///
/// - changes a `POST` to a `GET` without a body after a 301 or 302, and any method but `HEAD` after a 303;
/// - keeps method and body after a 307 or 308; if the body is a stream, which cannot be sent again, it returns the
///   redirect as the response;
/// - removes `Authorization`, `Cookie` and similar headers of the request if the scheme, host or port changes.
///
/// # Caveats
///
/// Headers that `reqwest::ClientBuilder::default_headers` adds are not on the request yet when this middleware sees it,
/// so it cannot remove them: reqwest sends them to every host, `Authorization` included. Set credentials per request.
///
/// It does not set `Referer`. A request timeout applies to each request on the way separately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct FollowRedirects {
    limit: usize,
}

impl FollowRedirects {
    /// Creates a middleware that follows at most `limit` redirects. One more fails the request with
    /// [`RedirectError::TooMany`].
    pub fn limited(limit: usize) -> Self {
        Self { limit }
    }
}

/// Follows at most ten redirects, as reqwest does by default.
impl Default for FollowRedirects {
    fn default() -> Self {
        Self::limited(10)
    }
}

#[cfg_attr(not(target_arch = "wasm32"), async_trait)]
#[cfg_attr(target_arch = "wasm32", async_trait(?Send))]
impl Middleware for FollowRedirects {
    async fn handle(&self, mut request: Request, extensions: &mut Extensions, next: Next<'_>) -> Result<Response> {
        for _ in 0..=self.limit {
            let replay = Replay::new(&mut request);
            let response = next.clone().run(request, extensions).await?;
            match replay.and_then(|replay| replay.redirected(&response)) {
                Some(redirected) => request = redirected,
                None => return Ok(response),
            }
        }
        Err(Error::middleware(RedirectError::TooMany { limit: self.limit }))
    }
}

/// A copy of a request, to send it again.
struct Replay {
    request: Request,
    /// Whether the copy has the body. A stream cannot be copied.
    has_body: bool,
}

impl Replay {
    fn new(request: &mut Request) -> Option<Self> {
        if let Some(request) = request.try_clone() {
            return Some(Self { request, has_body: true });
        }
        let body = request.body_mut().take();
        let without_body = request.try_clone();
        *request.body_mut() = body;
        Some(Self { request: without_body?, has_body: false })
    }

    /// Returns the request that the response asks for; `None` if it asks for none, or for a body that cannot be sent
    /// again.
    fn redirected(mut self, response: &Response) -> Option<Request> {
        match response.status() {
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND if self.request.method() == Method::POST => self.get(),
            StatusCode::SEE_OTHER => self.get(),
            StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT => {}
            _ => return None,
        }
        let location = response.headers().get(LOCATION)?;
        let location = response.url().join(str::from_utf8(location.as_bytes()).ok()?).ok()?;
        if !is_same_origin(&location, response.url()) {
            for name in [&AUTHORIZATION, &COOKIE, &COOKIE2, &PROXY_AUTHORIZATION, &WWW_AUTHENTICATE] {
                self.request.headers_mut().remove(name);
            }
        }
        *self.request.url_mut() = location;
        self.has_body.then_some(self.request)
    }

    /// Changes the request to a `GET`, or leaves it a `HEAD`, without a body.
    fn get(&mut self) {
        if self.request.method() != Method::HEAD {
            *self.request.method_mut() = Method::GET;
        }
        *self.request.body_mut() = None;
        for name in [CONTENT_TYPE, CONTENT_LENGTH, CONTENT_ENCODING, TRANSFER_ENCODING] {
            self.request.headers_mut().remove(name);
        }
        self.has_body = true;
    }
}

fn is_same_origin(one: &Url, other: &Url) -> bool {
    let origin = |url: &Url| (url.scheme().to_owned(), url.host_str().map(str::to_owned), url.port_or_known_default());
    origin(one) == origin(other)
}
