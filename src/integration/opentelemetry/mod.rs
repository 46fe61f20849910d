//! The bridge to OpenTelemetry. Nothing outside this folder knows it.

mod bridge;
mod propagator;
mod span;
mod tags;

pub use self::bridge::OpenTelemetryBridge;
pub use self::propagator::TraceContextPropagator;
pub use self::tags::OpenTelemetryTagsExt;
