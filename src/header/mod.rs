//! The headers: one folder for each grammar, and what the grammars share. Nothing outside this room parses or writes
//! the value of a header.
//!
//! | file | holds |
//! | --- | --- |
//! | `grammar` | the byte classes, as the grammars define them |
//! | `hex`, `list`, `scan` | hexadecimal digits; lists in several field lines; finding the end of a run of bytes |
//! | `value` | creating, reading and removing header values |
//! | `traceparent/`, `tracestate/`, `tags/` | a header each: type, parser, error |
//! | `trace_context` | `traceparent` and `tracestate` together |

mod grammar;
mod hex;
mod list;
mod scan;
mod tags;
mod trace_context;
mod traceparent;
mod tracestate;
mod value;

pub use self::tags::{InvalidTags, InvalidTagsKind, TagOptions, Tags, TagsIter};
pub use self::trace_context::TraceContext;
pub(crate) use self::traceparent::TRACERESPONSE;
pub use self::traceparent::{InvalidId, InvalidTraceParent, ParentId, TraceFlags, TraceId, TraceParent};
pub use self::tracestate::{InvalidTraceState, TraceState, TraceStateIter};
