//! Redirects of reqwest: nobody is told by a redirect whom [`Disclose`] would not tell.

use http::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HeaderName, LOCATION, PROXY_AUTHORIZATION,
    TRANSFER_ENCODING, WWW_AUTHENTICATE,
};
use http::{Extensions, Method, StatusCode};
#[cfg(not(target_arch = "wasm32"))]
use reqwest::redirect::Policy;
use reqwest::{Request, Response, Url};
use reqwest_middleware::{Error, Next, Result};

#[cfg(not(target_arch = "wasm32"))]
use crate::outbound::Outbound;
#[cfg(not(target_arch = "wasm32"))]
use crate::policy::Disclose;
use crate::reqwest::OutboundMiddleware;

/// As many as reqwest follows.
const MAX_REDIRECTS: usize = 10;

static COOKIE2: HeaderName = HeaderName::from_static("cookie2");

/// With feature `reqwest`.
#[cfg(not(target_arch = "wasm32"))]
impl Outbound {
    /// A policy for a reqwest client that follows redirects itself: it stops before a hop whose receiver may be told
    /// less than that of the first, and the answer is the redirect. Up to ten redirects are followed.
    ///
    /// reqwest sends the headers of the first hop with each further one, the same parent-id included, and a policy
    /// cannot change them. To have each hop decided anew, see [`OutboundMiddleware::follow_redirects`].
    ///
    /// ```
    /// use reqwest_middleware::ClientBuilder;
    /// use tagtrail::{Disclose, Outbound, OutboundMiddleware, Targets};
    ///
    /// let outbound = Outbound::new(Targets::otherwise(Disclose::Nothing).host("*.internal.example", Disclose::All)?);
    /// let client = reqwest::Client::builder().redirect(outbound.redirect_policy()).build()?;
    /// let client = ClientBuilder::new(client).with(OutboundMiddleware::new(outbound)).build();
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn redirect_policy(&self) -> Policy {
        self.policy(false)
    }

    /// As [`redirect_policy`](Self::redirect_policy), but the request fails: the error's source is a
    /// [`RedirectError`].
    pub fn failing_redirect_policy(&self) -> Policy {
        self.policy(true)
    }

    fn policy(&self, fails: bool) -> Policy {
        let outbound = self.clone();
        let limited = Policy::limited(MAX_REDIRECTS);
        Policy::custom(move |attempt| {
            let told = |url: &Url| rank(outbound.told_url(url.as_str()));
            let first = attempt.previous().first().map_or(0, told);
            match told(attempt.url()) < first {
                true if fails => attempt.error(RedirectError::ToldLess),
                true => attempt.stop(),
                false => limited.redirect(attempt),
            }
        })
    }
}

#[cfg(not(target_arch = "wasm32"))]
fn rank(told: Disclose) -> u8 {
    match told {
        Disclose::Nothing => 0,
        Disclose::TraceOnly => 1,
        Disclose::All => 2,
    }
}

/// Sends a request, and follows where its answers redirect it: each hop by the middleware, as a request of its own.
pub(crate) async fn follow(
    middleware: &OutboundMiddleware,
    mut request: Request,
    extensions: &mut Extensions,
    next: Next<'_>,
) -> Result<Response> {
    for _ in 0..=MAX_REDIRECTS {
        let again = Again::of(&mut request);
        let response = middleware.send(request, extensions, next.clone()).await?;
        match again.and_then(|again| again.redirected(&response)) {
            Some(redirected) => request = redirected,
            None => return Ok(response),
        }
    }
    Err(Error::middleware(RedirectError::TooMany))
}

/// A request, kept to be sent again.
struct Again {
    request: Request,
    /// Whether the body could be kept too.
    whole: bool,
}

impl Again {
    fn of(request: &mut Request) -> Option<Self> {
        if let Some(request) = request.try_clone() {
            return Some(Self { request, whole: true });
        }
        let body = request.body_mut().take();
        let without_body = request.try_clone();
        *request.body_mut() = body;
        Some(Self { request: without_body?, whole: false })
    }

    /// The request that the answer asks for; none where it asks for none, or the body that it should have is gone.
    fn redirected(mut self, response: &Response) -> Option<Request> {
        match response.status() {
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND if self.request.method() == Method::POST => self.fetch(),
            StatusCode::SEE_OTHER => self.fetch(),
            StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT => {}
            _ => return None,
        }
        let location = response.headers().get(LOCATION)?;
        let location = response.url().join(str::from_utf8(location.as_bytes()).ok()?).ok()?;
        if !same_origin(&location, response.url()) {
            for name in [&AUTHORIZATION, &COOKIE, &COOKIE2, &PROXY_AUTHORIZATION, &WWW_AUTHENTICATE] {
                self.request.headers_mut().remove(name);
            }
        }
        *self.request.url_mut() = location;
        self.whole.then_some(self.request)
    }

    /// Makes it a request without a body.
    fn fetch(&mut self) {
        if self.request.method() != Method::HEAD {
            *self.request.method_mut() = Method::GET;
        }
        *self.request.body_mut() = None;
        for name in [CONTENT_TYPE, CONTENT_LENGTH, CONTENT_ENCODING, TRANSFER_ENCODING] {
            self.request.headers_mut().remove(name);
        }
        self.whole = true;
    }
}

fn same_origin(one: &Url, other: &Url) -> bool {
    let origin = |url: &Url| (url.scheme().to_owned(), url.host_str().map(str::to_owned), url.port_or_known_default());
    origin(one) == origin(other)
}

/// Why a redirect was not followed: the source of reqwest's error, where reqwest follows; in the
/// [`Middleware`](reqwest_middleware::Error::Middleware) error, where [`OutboundMiddleware`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RedirectError {
    /// The receiver may be told less than that of the first hop ([`Outbound::failing_redirect_policy`]).
    #[error("a redirect was not followed: its receiver may be told less than the first")]
    ToldLess,
    /// There were more than ten ([`OutboundMiddleware::follow_redirects`]).
    #[error("more than {MAX_REDIRECTS} redirects were not followed")]
    TooMany,
}
