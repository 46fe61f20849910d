//! Carry a W3C trace context and validated request tags through your services.
//!
//! A server layer gives each request its [`Trail`]: the trace it belongs to, its tags, and an id of its own. A client
//! layer sends the trail on. Four verbs, parse, decide, carry, write; the client is the server read backwards:
//!
//! ```text
//! SERVER  parse               decide               carry                           write
//!         HeaderMap ────────▶ Admit ─────────────▶ Trail ─▶ request extensions   ─▶ Echo ─▶ response headers
//!         TraceContext, Tags  Continue             + current, while the request     (a 400 instead, if the
//!                             Unsample | Restart   is handled                        tags are bad)
//!
//! CLIENT  write               decide               carry                           parse
//!         HeaderMap ◀──────── Disclose ◀────────── Trail ◀─ extensions, else       ◀─ answered(): the trace
//!         traceparent,        All | TraceOnly      current, else the headers it        that an answer names
//!         tracestate, tags    | Nothing, per host  has, else a new one
//! ```
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
//! | to | see |
//! | --- | --- |
//! | wrap a server: axum, hyper, tonic | [`InboundLayer`], and its settings, [`Inbound`] |
//! | wrap a client | [`OutboundMiddleware`] for reqwest, [`OutboundLayer`] for tower, and their settings, [`Outbound`] |
//! | decide whose trace goes on | [`Admit`], [`Sample`] |
//! | decide who is told | [`Disclose`], [`Targets`] |
//! | decide what an answer shows | [`Echo`] |
//! | use the trace and tags in a handler | [`Trail`], [`Tags`] |
//! | stand beside `tracing`, OpenTelemetry, tonic, tower-http, retries, redirects, streams | the [`recipes`] |
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
//! # What callers cannot do
//!
//! Nothing a caller or a server sends can panic, hang or make this crate allocate without bound: what is read of a
//! header is limited before it is parsed, several lines of it together. No error about a header holds any of it. Nothing
//! that is sent is logged; the one line this crate writes, with the feature `axum`, names a layer that is missing.
//! `#![forbid(unsafe_code)]`.
//!
//! What a trail keeps of a request is shared with it, not copied: the values of `tracestate` and of the tag header. With
//! hyper these are parts of the buffer in which the whole head arrived, so whoever keeps a [`Trail`] for long, with an
//! open stream or a socket, keeps that buffer, whose size is the server's limit for heads.
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

/// Recipes: this crate beside the others of a service's stack.
#[cfg(any(doc, doctest))]
#[doc = include_str!("../docs/recipes.md")]
pub mod recipes {}
