//! The client side for reqwest, as middleware of reqwest-middleware.

mod follow_redirects;
mod middleware;
#[cfg(not(target_arch = "wasm32"))]
mod redirect_policy;

pub use self::follow_redirects::FollowRedirects;
pub use self::middleware::OutboundMiddleware;
#[cfg(not(target_arch = "wasm32"))]
pub use self::redirect_policy::OnDowngrade;

/// The error of a redirect that was not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RedirectError {
    /// The new host may be sent less than the first one: the source of the error of a reqwest client whose
    /// [redirect policy](OutboundMiddleware::redirect_policy) fails.
    #[error("redirect not followed: the new host is trusted less than the first")]
    LessTrusted,
    /// There were more redirects than [`FollowRedirects`] allows: the
    /// [`Middleware`](reqwest_middleware::Error::Middleware) error of the request.
    #[error("too many redirects (limit: {limit})")]
    #[non_exhaustive]
    TooMany {
        /// The limit that was reached.
        limit: usize,
    },
}
