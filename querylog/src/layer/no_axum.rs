//! Without axum, nobody tells the route or the peer by itself.

use std::net::IpAddr;

use http::Extensions;

pub(crate) fn route(_extensions: &Extensions) -> Option<&str> {
    None
}

pub(crate) fn peer(_extensions: &Extensions) -> Option<IpAddr> {
    None
}
