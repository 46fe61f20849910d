//! What the framework knows about a request.

use std::any::Any;
use std::error::Error;
use std::net::IpAddr;

use http::Extensions;

/// Returns the route that matched. It is only known in a layer of the router, not around the whole of it.
#[cfg(feature = "axum")]
pub(crate) fn route(extensions: &Extensions) -> Option<&str> {
    extensions.get::<axum::extract::MatchedPath>().map(axum::extract::MatchedPath::as_str)
}

/// Returns the address of the peer, if the router is served with it.
#[cfg(feature = "axum")]
pub(crate) fn peer(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<axum::extract::ConnectInfo<std::net::SocketAddr>>().map(|peer| peer.0.ip())
}

/// Returns the source of an error of the framework's bodies.
#[cfg(feature = "axum")]
pub(crate) fn source(error: &dyn Any) -> Option<&(dyn Error + 'static)> {
    error.downcast_ref::<axum::Error>()?.source()
}

#[cfg(not(feature = "axum"))]
pub(crate) fn source(_error: &dyn Any) -> Option<&(dyn Error + 'static)> {
    None
}

#[cfg(not(feature = "axum"))]
pub(crate) fn route(_extensions: &Extensions) -> Option<&str> {
    None
}

#[cfg(not(feature = "axum"))]
pub(crate) fn peer(_extensions: &Extensions) -> Option<IpAddr> {
    None
}
