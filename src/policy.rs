//! What is allowed: whose trace is continued, which traces are sampled, and who is told. Choices, and functions that
//! make them.

use std::fmt;
use std::sync::Arc;

use http::Uri;
use http::request::Parts;

use crate::targets::Targets;
use crate::traceparent::TraceId;

/// What a server does with the trace of a caller (W3C Trace Context, sections "Processing Model" and "Security
/// Considerations").
///
/// There is no default, since whom to trust is a decision. Tags are validated and kept whatever is chosen.
///
/// | choice | trace-id, `tracestate` | `sampled` flag | use it for |
/// | --- | --- | --- | --- |
/// | `Continue` | the caller's | the caller's | your own services, behind a gate of yours |
/// | `Unsample` | the caller's | cleared | callers who may name a trace, and may not make you record it |
/// | `Restart` | new, dropped | as [`Sample`] says | the public; the answer names the new trace |
///
/// A request without a valid `traceparent` starts a new trace in each case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admit {
    /// The caller's trace goes on.
    Continue,
    /// The caller's trace goes on, without its `sampled` flag.
    Unsample,
    /// A new trace is started.
    Restart,
}

/// Whether a trace that starts here is sampled: the `sampled` flag it is given. A trace that a caller started keeps
/// the caller's flag, and this is not asked.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Sample {
    /// All are sampled.
    #[default]
    Always,
    /// None is sampled.
    Never,
    /// This share of them, from 0 to 1, by the random bytes of the trace-id: whoever uses the same ratio for a trace
    /// comes to the same decision, and so do samplers that follow OpenTelemetry's rule for such bytes: those are sampled
    /// that are at least one minus the ratio, as a share of all. A number outside is taken as the nearest inside, and no
    /// number as 0.
    Ratio(f64),
}

impl Sample {
    /// The decision for a trace.
    ///
    /// ```
    /// use tagtrail::{Sample, TraceId};
    ///
    /// let id = TraceId::random();
    /// assert!(Sample::Always.decide(id));
    /// assert!(!Sample::Ratio(0.0).decide(id));
    /// ```
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "56 bits are left")]
    pub fn decide(self, trace_id: TraceId) -> bool {
        const ALL: u64 = 1 << 56;
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Ratio(ratio) => {
                let ratio = if ratio.is_nan() { 0.0 } else { ratio.clamp(0.0, 1.0) };
                let rejected = ((1.0 - ratio) * 2_f64.powi(56)) as u64;
                // Random, as the flag of that name promises, are the right-most 7 bytes.
                u128::from_be_bytes(trace_id.to_bytes()) as u64 % ALL >= rejected
            }
        }
    }
}

/// What an outgoing request tells its receiver (W3C Trace Context, section "Privacy Considerations").
///
/// There is no default, since whom to tell is a decision. To decide by the receiver's address, see [`Targets`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disclose {
    /// The trace and the tags.
    All,
    /// The trace without the tags: `traceparent` and `tracestate`.
    TraceOnly,
    /// None of our headers, and those that were on the request are removed.
    Nothing,
}

/// A choice: always the same, or made by a function of what is at hand.
///
/// Wherever a layer takes one, a value converts into it and so does a function: a layer that takes
/// `impl Into<Policy<Parts, Admit>>` takes [`Admit::Restart`], and
/// `|head: &Parts| if head.headers.contains_key("x-trusted") { Admit::Continue } else { Admit::Restart }`.
pub struct Policy<Of, Choice>(Kind<Of, Choice>);

enum Kind<Of, Choice> {
    Fixed(Choice),
    Function(Arc<dyn Fn(&Of) -> Choice + Send + Sync>),
}

impl<Of, Choice: Copy> Policy<Of, Choice> {
    #[inline]
    pub(crate) fn choose(&self, of: &Of) -> Choice {
        match &self.0 {
            Kind::Fixed(choice) => *choice,
            Kind::Function(function) => function(of),
        }
    }

    /// The choice, where it is always the same.
    #[cfg(feature = "reqwest")]
    pub(crate) fn fixed(&self) -> Option<Choice> {
        match self.0 {
            Kind::Fixed(choice) => Some(choice),
            Kind::Function(_) => None,
        }
    }
}

impl<Of, Choice: Copy> Clone for Policy<Of, Choice> {
    fn clone(&self) -> Self {
        Self(match &self.0 {
            Kind::Fixed(choice) => Kind::Fixed(*choice),
            Kind::Function(function) => Kind::Function(Arc::clone(function)),
        })
    }
}

impl<Of, Choice: fmt::Debug> fmt::Debug for Policy<Of, Choice> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Fixed(choice) => choice.fmt(f),
            Kind::Function(_) => f.write_str("function"),
        }
    }
}

impl<Of, Choice, F> From<F> for Policy<Of, Choice>
where
    F: Fn(&Of) -> Choice + Send + Sync + 'static,
{
    fn from(function: F) -> Self {
        Self(Kind::Function(Arc::new(function)))
    }
}

impl From<Admit> for Policy<Parts, Admit> {
    fn from(choice: Admit) -> Self {
        Self(Kind::Fixed(choice))
    }
}

impl From<Sample> for Policy<Parts, Sample> {
    fn from(choice: Sample) -> Self {
        Self(Kind::Fixed(choice))
    }
}

impl From<Disclose> for Policy<Uri, Disclose> {
    fn from(choice: Disclose) -> Self {
        Self(Kind::Fixed(choice))
    }
}

impl From<Targets> for Policy<Uri, Disclose> {
    fn from(targets: Targets) -> Self {
        Self::from(move |uri: &Uri| targets.disclose(uri))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_shows_its_choice_and_no_function() {
        let policies: [Policy<Parts, Admit>; 2] = [Admit::Unsample.into(), (|_: &Parts| Admit::Continue).into()];
        assert_eq!(format!("{policies:?}"), "[Unsample, function]");
    }

    #[test]
    fn a_ratio_is_decided_by_the_last_seven_bytes_of_the_trace_id() {
        let id = |text: &str| text.parse::<TraceId>().unwrap();
        let (low, half) = (id("ffffffffffffffffff00000000000000"), id("00000000000000000180000000000000"));
        let (below_half, high) = (id("ffffffffffffffffff7fffffffffffff"), id("000000000000000000ffffffffffffff"));
        for (ratio, sampled) in [
            (0.0, [false; 4]),
            (f64::MIN_POSITIVE, [false; 4]),
            (1e-9, [false, false, false, true]),
            (0.5, [false, false, true, true]),
            (1.0, [true; 4]),
            (2.0, [true; 4]),
            (-1.0, [false; 4]),
            (f64::NAN, [false; 4]),
        ] {
            let decided = [low, below_half, half, high].map(|id| Sample::Ratio(ratio).decide(id));
            assert_eq!(decided, sampled, "{ratio}");
        }
    }
}
