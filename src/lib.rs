//! Carry a W3C trace context and validated request tags through your services.
//!
//! A server layer gives each request its [`Trail`]: the trace it belongs to, its tags, and an id of its own. A client
//! layer sends the trail on. Four verbs, parse, decide, carry, write; the client is the server read backwards:
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
//! use tagtrail::{Disclose, Outbound, OutboundMiddleware, Targets};
//!
//! fn client() -> Result<ClientWithMiddleware, Box<dyn std::error::Error>> {
//!     let told = Outbound::new(Targets::otherwise(Disclose::Nothing).host("*.internal.example", Disclose::All)?);
//!     let client = reqwest::Client::builder().redirect(told.redirect_policy()).build()?;
//!     Ok(ClientBuilder::new(client).with(OutboundMiddleware::new(told)).build())
//! }
//! ```
//!
//! # To read
//!
//! - [`decisions`]: whose trace goes on, who is told, what is sampled, what an answer shows, what becomes of bad input.
//! - [`recipes`]: beside tracing, OpenTelemetry, tonic, tower-http, retries, redirects, spawned work, streams.
//! - [`security`]: what is promised, how it is tested, how to report.
//! - [`comparison`] with other crates, and [`performance`].
//!
//! # To use
//!
//! | to | see |
//! | --- | --- |
//! | wrap a server: axum, hyper, tonic | [`InboundLayer`], and its settings, [`Inbound`] |
//! | wrap a client | [`OutboundMiddleware`] for reqwest, [`OutboundLayer`] for tower, and their settings, [`Outbound`] |
//! | decide whose trace goes on | [`Admit`], [`Sample`] |
//! | decide who is told | [`Disclose`], [`Targets`] |
//! | decide what an answer shows | [`Echo`] |
//! | use the trace and tags in a handler | [`Trail`], [`Tags`] |
//! | set the tags of one request that is sent | [`RequestTags`] |
//! | read and write the headers yourself | [`TraceParent`], [`TraceState`], [`TraceContext`], [`TagRules`] |
//!
//! # Features
//!
//! | feature | brings |
//! | --- | --- |
//! | `tower` (default) | [`InboundLayer`], [`OutboundLayer`] |
//! | `axum` | [`Trail`] as an extractor |
//! | `reqwest` | [`OutboundMiddleware`] |
//! | `opentelemetry` | the bridge to OpenTelemetry, [`OpenTelemetry`], and its [`Propagator`] |
//! | `regex` | [`Targets::url`] |
//!
//! Without any, what is left are the headers, the [`Trail`], and [`Inbound`] and [`Outbound`] for other servers and
//! clients. A feature adds items and changes nothing else.
//!
// Where an item is not there, its name leads to the feature that brings it.
#![cfg_attr(not(feature = "tower"), doc = "[`InboundLayer`]: #features\n[`OutboundLayer`]: #features")]
#![cfg_attr(not(feature = "reqwest"), doc = "[`OutboundMiddleware`]: #features")]
#![cfg_attr(not(feature = "opentelemetry"), doc = "[`OpenTelemetry`]: #features\n[`Propagator`]: #features")]
#![cfg_attr(not(feature = "regex"), doc = "[`Targets::url`]: #features")]
#![cfg_attr(docsrs, feature(doc_cfg))]

// Bytes.
mod clock;
mod grammar;
mod random;
// One header a file.
mod tags;
mod traceparent;
mod tracestate;
// Meaning.
mod trace_context;
mod trail;
// Where it lives, what is allowed.
mod current;
mod echo;
mod inbound;
mod outbound;
mod policy;
mod reject;
mod targets;
// Adapters.
#[cfg(feature = "axum")]
mod axum;
#[cfg(feature = "tower")]
mod inbound_layer;
#[cfg(feature = "opentelemetry")]
mod opentelemetry;
#[cfg(feature = "tower")]
mod outbound_layer;
#[cfg(feature = "reqwest")]
mod redirect;
#[cfg(feature = "reqwest")]
mod reqwest;

#[cfg(feature = "axum")]
pub use crate::axum::MissingTrail;
pub use crate::current::Scoped;
pub use crate::echo::Echo;
pub use crate::inbound::{Inbound, Refusal};
#[cfg(feature = "tower")]
pub use crate::inbound_layer::{InboundBody, InboundFuture, InboundLayer, InboundService};
#[cfg(feature = "opentelemetry")]
pub use crate::opentelemetry::{OpenTelemetry, Propagator};
pub use crate::outbound::{Outbound, RequestTags};
#[cfg(feature = "tower")]
pub use crate::outbound_layer::{OutboundError, OutboundFuture, OutboundLayer, OutboundService};
pub use crate::policy::{Admit, Disclose, Policy, Sample};
#[cfg(feature = "reqwest")]
pub use crate::redirect::RedirectError;
#[cfg(feature = "reqwest")]
pub use crate::reqwest::OutboundMiddleware;
pub use crate::tags::{InvalidTags, TagRules, Tags};
pub use crate::targets::{InvalidTarget, Targets};
pub use crate::trace_context::TraceContext;
pub use crate::traceparent::{InvalidTraceParent, ParentId, TraceFlags, TraceId, TraceParent};
pub use crate::tracestate::{InvalidTraceState, TraceState};
pub use crate::trail::Trail;

/// The code of the README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// What is yours to decide: [`Admit`], [`Disclose`], [`Sample`], [`Echo`], and what becomes of bad input.
#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/decisions.md")]
pub mod decisions {}

/// Recipes: this crate beside the others of a service's stack.
#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/recipes.md")]
pub mod recipes {}

/// What is promised, how it is tested, and how to report.
#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/security.md")]
pub mod security {}

/// This crate beside others that carry traces: what each does, and what the W3C's tests say.
#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/comparison.md")]
pub mod comparison {}

/// What it costs, and how the cost grows.
#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/performance.md")]
#[doc = include_str!("../docs/cost.svg")]
pub mod performance {}
