//! Carry a W3C trace context and validated request tags through a service.
#![cfg_attr(docsrs, feature(doc_cfg))]

// Bytes.
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
#[cfg(feature = "tower")]
mod outbound_layer;
#[cfg(feature = "reqwest")]
mod reqwest;

#[cfg(feature = "axum")]
pub use crate::axum::MissingTrail;
pub use crate::current::Scoped;
pub use crate::echo::{Echo, answered};
pub use crate::inbound::{Inbound, Refusal};
#[cfg(feature = "tower")]
pub use crate::inbound_layer::{InboundBody, InboundFuture, InboundLayer, InboundService};
pub use crate::outbound::{Outbound, RequestTags};
#[cfg(feature = "tower")]
pub use crate::outbound_layer::{OutboundError, OutboundFuture, OutboundLayer, OutboundService};
pub use crate::policy::{Admit, Disclose, Policy, Sample};
#[cfg(feature = "reqwest")]
pub use crate::reqwest::OutboundMiddleware;
pub use crate::tags::{InvalidTags, TagRules, Tags};
pub use crate::targets::{InvalidTarget, Targets};
pub use crate::trace_context::TraceContext;
pub use crate::traceparent::{InvalidTraceParent, ParentId, TraceFlags, TraceId, TraceParent};
pub use crate::tracestate::{InvalidTraceState, TraceState};
pub use crate::trail::Trail;
