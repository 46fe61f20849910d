//! Which traces are sampled.

use std::fmt;

use crate::header::TraceId;

/// Whether a new trace is sampled: the `sampled` flag it starts with. A continued trace keeps its caller's flag, and
/// its sampling is not decided again.
///
/// ```
/// use tagtrail::{Sample, TraceId};
///
/// let id = TraceId::random();
/// assert!(Sample::Always.is_sampled(id));
/// assert!(!Sample::ratio(0.0).is_sampled(id));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Sample {
    /// Samples every trace.
    #[default]
    Always,
    /// Samples no trace.
    Never,
    /// Samples a share of all traces: see [`Sample::ratio`].
    #[non_exhaustive]
    Ratio(Ratio),
}

/// The share of traces that [`Sample::ratio`] samples.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ratio {
    /// The random numbers below this one are not sampled.
    threshold: u64,
}

/// One more than the largest random number: the random part of a trace-id has 56 bits.
const RANGE: u64 = 1 << 56;

impl Sample {
    /// Samples a share of all traces, from 0 to 1. Values outside this range are clamped; NaN is treated as 0.
    ///
    /// The random bytes of the trace-id decide, so services with the same ratio make the same decision for a trace. So
    /// do samplers that follow OpenTelemetry's rule for these bytes: a trace is sampled if they are, as a share of
    /// their range, at least one minus the ratio.
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "56 bits")]
    pub fn ratio(ratio: f64) -> Self {
        let ratio = if ratio.is_nan() { 0.0 } else { ratio.clamp(0.0, 1.0) };
        Self::Ratio(Ratio { threshold: ((1.0 - ratio) * RANGE as f64) as u64 })
    }

    /// Returns whether a trace is sampled.
    pub fn is_sampled(&self, trace_id: TraceId) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Ratio(ratio) => ratio.is_sampled(trace_id),
        }
    }
}

impl Ratio {
    fn is_sampled(self, trace_id: TraceId) -> bool {
        // The right-most 7 bytes are random, as the `random` flag promises.
        let [_, _, _, _, _, _, _, _, low @ ..] = trace_id.to_bytes();
        u64::from_be_bytes(low) % RANGE >= self.threshold
    }
}

impl fmt::Debug for Ratio {
    #[expect(clippy::cast_precision_loss, reason = "56 bits, of which 53 are kept")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&(1.0 - self.threshold as f64 / RANGE as f64), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratio_is_decided_by_the_last_seven_bytes_of_the_trace_id() {
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
            let decided = [low, below_half, half, high].map(|id| Sample::ratio(ratio).is_sampled(id));
            assert_eq!(decided, sampled, "{ratio}");
        }
        assert_eq!(format!("{:?} {:?}", Sample::ratio(0.25), Sample::ratio(7.0)), "Ratio(0.25) Ratio(1.0)");
    }
}
