//! Other crates: the only files that know them.

#[cfg(feature = "axum")]
mod axum;
#[cfg(feature = "opentelemetry")]
mod opentelemetry;
#[cfg(feature = "reqwest")]
mod reqwest;

#[cfg(feature = "axum")]
pub use self::axum::MissingTrail;
#[cfg(feature = "opentelemetry")]
pub use self::opentelemetry::{OpenTelemetryBridge, OpenTelemetryTagsExt, TraceContextPropagator};
#[cfg(all(feature = "reqwest", not(target_arch = "wasm32")))]
pub use self::reqwest::OnDowngrade;
#[cfg(feature = "reqwest")]
pub use self::reqwest::{FollowRedirects, OutboundMiddleware, RedirectError};
