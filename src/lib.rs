//! Tower layers and reqwest middleware that carry a W3C trace context and validated request tags through your services.
//!
//! A server layer gives each request a [`Trail`]: the trace it belongs to, its tags, and its own span id. A client layer
//! sends the trail with the requests that your handler makes. A server parses, decides, carries, and writes; a client
//! takes the same steps in reverse:
//!
#![doc = include_str!("../docs/flow.svg")]
//!
//! A server:
//!
//! ```
//! use axum::{Router, routing::get};
//! use tagtrail::{Admit, InboundLayer, Trail};
//!
//! async fn project(trail: Trail) -> String {
//!     trail.tags().get("project").unwrap_or("none").to_owned()
//! }
//!
//! let app: Router = Router::new().route("/", get(project)).layer(InboundLayer::new(Admit::Restart));
//! ```
//!
//! A client:
//!
//! ```
//! use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
//! use tagtrail::{Disclose, OnDowngrade, OutboundMiddleware, Targets};
//!
//! fn client() -> Result<ClientWithMiddleware, Box<dyn std::error::Error>> {
//!     let targets = Targets::with_default(Disclose::Nothing).host("*.internal.example", Disclose::All)?;
//!     let middleware = OutboundMiddleware::new(targets);
//!     let client = reqwest::Client::builder().redirect(middleware.redirect_policy(OnDowngrade::Stop)).build()?;
//!     Ok(ClientBuilder::new(client).with(middleware).build())
//! }
//! ```
//!
//! # Guides
//!
//! - [`decisions`](guide::decisions): which traces are continued, what receivers are sent, sampling, response headers,
//!   and the handling of invalid input.
//! - [`recipes`](guide::recipes): with tracing, OpenTelemetry, tonic, tower-http, retries, redirects, spawned work, and
//!   streams.
//! - [`security`](guide::security): what is promised, how it is tested, and how to report a vulnerability.
//! - [`comparison`](guide::comparison) with other crates, and [`performance`](guide::performance).
//!
//! # Where to start
//!
//! | to | see |
//! | --- | --- |
//! | wrap a server: axum, hyper, tonic | [`InboundLayer`], and its settings, [`Inbound`] |
//! | wrap a client | [`OutboundMiddleware`] for reqwest, [`OutboundLayer`] for tower, and their settings, [`Outbound`] |
//! | decide which traces are continued and sampled | [`Admit`], [`Sample`] |
//! | decide what each receiver is sent | [`Disclose`], [`Targets`] |
//! | choose the headers of a response | [`Echo`] |
//! | use the trace and the tags in a handler | [`Trail`], [`Tags`] |
//! | set the tags of one outgoing request | [`RequestTags`] |
//! | parse and write the headers yourself | [`TraceParent`], [`TraceState`], [`TraceContext`], [`TagOptions`] |
//! | connect another tracing system | [`ContextHook`], [`Outbound::parent_span`] |
//!
//! # Features
//!
//! | feature | adds |
//! | --- | --- |
//! | `tower` (default) | [`InboundLayer`], [`OutboundLayer`] |
//! | `axum` | [`Trail`] as an extractor |
//! | `reqwest` | [`OutboundMiddleware`], [`FollowRedirects`] |
//! | `opentelemetry` | the bridge to OpenTelemetry, [`OpenTelemetryBridge`], and a propagator, [`TraceContextPropagator`] |
//! | `regex` | [`Targets::url_regex`] |
//!
//! With no features enabled, the crate still provides the header types, the [`Trail`], and [`Inbound`] and [`Outbound`]
//! for other servers and clients. A feature adds items and changes nothing else.
//!
// Links to feature-gated items point to the feature table when the feature is disabled.
#![cfg_attr(not(feature = "tower"), doc = "[`InboundLayer`]: #features\n[`OutboundLayer`]: #features")]
#![cfg_attr(not(feature = "reqwest"), doc = "[`OutboundMiddleware`]: #features\n[`FollowRedirects`]: #features")]
#![cfg_attr(
    not(feature = "opentelemetry"),
    doc = "[`OpenTelemetryBridge`]: #features\n[`TraceContextPropagator`]: #features"
)]
#![cfg_attr(not(feature = "regex"), doc = "[`Targets::url_regex`]: #features")]
#![cfg_attr(docsrs, feature(doc_cfg))]

// From the bottom up: each uses only those above it.
mod clock;
mod macros;
mod random;

mod header;

mod policy;

mod trail;

mod inbound;
mod outbound;

mod integration;

pub mod guide;

pub use self::header::{
    InvalidId, InvalidTags, InvalidTagsKind, InvalidTraceParent, InvalidTraceState, ParentId, TagOptions, Tags,
    TagsIter, TraceContext, TraceFlags, TraceId, TraceParent, TraceState, TraceStateIter,
};
pub use self::inbound::{Echo, Inbound, InvalidTagsPolicy, Rejection};
#[cfg(feature = "tower")]
pub use self::inbound::{InboundBody, InboundFuture, InboundLayer, InboundService};
#[cfg(feature = "axum")]
pub use self::integration::MissingTrail;
#[cfg(all(feature = "reqwest", not(target_arch = "wasm32")))]
pub use self::integration::OnDowngrade;
#[cfg(feature = "reqwest")]
pub use self::integration::{FollowRedirects, OutboundMiddleware, RedirectError};
#[cfg(feature = "opentelemetry")]
pub use self::integration::{OpenTelemetryBridge, OpenTelemetryTagsExt, TraceContextPropagator};
pub use self::outbound::{NewTraces, Outbound, RequestTags};
#[cfg(feature = "tower")]
pub use self::outbound::{OutboundFuture, OutboundLayer, OutboundService};
pub use self::policy::{Admit, Disclose, InvalidTarget, Ratio, Sample, Targets};
pub use self::trail::{Attach, ContextHook, Scoped, Trail};

/// The code of the README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
