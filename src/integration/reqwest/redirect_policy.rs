//! A redirect policy for reqwest: a redirect never discloses more than [`Disclose`] allows.

use reqwest::Url;
use reqwest::redirect::Policy;

use super::{OutboundMiddleware, RedirectError};
use crate::policy::Disclose;

/// As many as reqwest follows by default.
const MAX_REDIRECTS: usize = 10;

/// What happens at a redirect to a host that may be sent less than the first one: see
/// [`OutboundMiddleware::redirect_policy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnDowngrade {
    /// Returns the redirect as the response.
    Stop,
    /// Fails the request: the source of the error is a [`RedirectError`].
    Fail,
}

impl OutboundMiddleware {
    /// Creates a policy for a reqwest client that follows redirects itself: it does not follow a redirect to a host
    /// that may be sent less than the first one. At most ten redirects are followed.
    ///
    /// reqwest sends the headers of the first request with each later one, including the parent-id, and a policy cannot
    /// change them. To decide again at each redirect, use [`FollowRedirects`](crate::FollowRedirects).
    ///
    /// ```
    /// use reqwest_middleware::ClientBuilder;
    /// use tagtrail::{Disclose, OnDowngrade, OutboundMiddleware, Targets};
    ///
    /// let targets = Targets::with_default(Disclose::Nothing).host("*.internal.example", Disclose::All)?;
    /// let middleware = OutboundMiddleware::new(targets);
    /// let client = reqwest::Client::builder().redirect(middleware.redirect_policy(OnDowngrade::Fail)).build()?;
    /// let client = ClientBuilder::new(client).with(middleware).build();
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn redirect_policy(&self, on_downgrade: OnDowngrade) -> Policy {
        let outbound = self.0.clone();
        let limited = Policy::limited(MAX_REDIRECTS);
        Policy::custom(move |attempt| {
            let disclosed = |url: &Url| rank(outbound.disclose_to_url(url.as_str()));
            let first = attempt.previous().first().map_or(0, disclosed);
            if disclosed(attempt.url()) >= first {
                return limited.redirect(attempt);
            }
            match on_downgrade {
                OnDowngrade::Stop => attempt.stop(),
                OnDowngrade::Fail => attempt.error(RedirectError::LessTrusted),
            }
        })
    }
}

fn rank(disclose: Disclose) -> u8 {
    match disclose {
        Disclose::Nothing => 0,
        Disclose::TraceOnly => 1,
        Disclose::All => 2,
    }
}
