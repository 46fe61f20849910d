//! Which trace a request belongs to, and whether it is sampled.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use tagtrail::{Admit, Inbound, InboundLayer, Sample};
use tower::{Layer, ServiceExt, service_fn};

use super::send;
use crate::support::{CALLER, TRACE_ID, response_traceparent};

/// Every combination of trust, `traceparent`, tags and sampling. A trace continues if it is valid and not restarted;
/// `Unsample` clears only the `sampled` flag; a new trace has the `random` flag, and is sampled as configured.
#[tokio::test]
async fn admission_truth_table() {
    // The `traceparent` received, whether its trace can be continued, and its flags.
    let received = [
        (None, false, 0),
        (Some(CALLER), true, 0b01),
        (Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"), true, 0b00),
        (Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-ff"), true, 0b11),
        (Some("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01"), false, 0),
    ];
    let tags = [None, Some("a=1,b=2"), Some("a=1,a=2")];
    for admit in [Admit::Continue, Admit::Unsample, Admit::Restart] {
        for (traceparent, valid, flags) in received {
            for tags in tags {
                for sample in [Sample::Always, Sample::Never] {
                    let mut lines = vec![("tracestate", "foo=1")];
                    lines.extend(traceparent.map(|value| ("traceparent", value)));
                    lines.extend(tags.map(|value| ("x-fauna-tags", value)));
                    let (seen, response) = send(Inbound::new(admit).sample(sample.clone()), &lines).await;
                    let case = format!("{admit:?} {sample:?} {lines:?}");

                    let continued = valid && admit != Admit::Restart;
                    let echoed = response_traceparent(response.headers());
                    assert_eq!(echoed.trace_id().to_string() == TRACE_ID, continued, "{case}");
                    assert_ne!(echoed.parent_id().to_string(), "b7ad6b7169203331", "{case}");
                    let expected_flags = match (continued, admit) {
                        (true, Admit::Unsample) => flags & 0b10,
                        (true, _) => flags,
                        (false, _) => 0b10 | u8::from(sample == Sample::Always),
                    };
                    assert_eq!(echoed.flags().bits(), expected_flags, "{case}");

                    if tags == Some("a=1,a=2") {
                        assert_eq!((seen.is_none(), response.status()), (true, StatusCode::BAD_REQUEST), "{case}");
                        continue;
                    }
                    let trail = seen.unwrap();
                    assert_eq!((response.status(), *trail.traceparent()), (StatusCode::OK, echoed), "{case}");
                    assert_eq!(trail.tracestate().as_str(), if continued { "foo=1" } else { "" }, "{case}");
                    assert_eq!(trail.parent_span_id().is_some(), continued, "{case}");
                    assert_eq!(trail.tags().as_str(), tags.unwrap_or_default(), "{case}");
                }
            }
        }
    }
}

/// Of the eight flags, only `sampled` and `random` are sent on; the other six have no meaning in version 00.
#[tokio::test]
async fn unknown_flags_are_cleared() {
    for bits in 0..=u8::MAX {
        let caller = format!("{}{bits:02x}", &CALLER[..53]);
        for (admit, mask) in [(Admit::Continue, 0b11), (Admit::Unsample, 0b10)] {
            let (_, response) = send(admit, &[("traceparent", &caller)]).await;
            assert_eq!(response_traceparent(response.headers()).flags().bits(), bits & mask, "{admit:?} {bits:02x}");
        }
    }
}

#[tokio::test]
async fn several_traceparent_lines_restart_the_trace() {
    for count in [2, 3, 5, 64] {
        for other in [CALLER, "00-ffffffffffffffffffffffffffffffff-ffffffffffffffff-00", "bad", ""] {
            let mut lines = vec![("traceparent", CALLER), ("tracestate", "foo=1")];
            lines.extend(vec![("traceparent", other); count - 1]);
            let trail = send(Admit::Continue, &lines).await.0.unwrap();
            assert_ne!(trail.trace_id().to_string(), TRACE_ID);
            assert!(trail.tracestate().is_empty() && trail.parent_span_id().is_none());
        }
    }
}

#[tokio::test]
async fn invalid_tracestate_is_dropped_and_trace_continues() {
    let trail = send(Admit::Continue, &[("traceparent", CALLER), ("tracestate", "A=1")]).await.0.unwrap();
    assert_eq!((trail.trace_id().to_string().as_str(), trail.tracestate().len()), (TRACE_ID, 0));
}

#[tokio::test]
async fn admit_function_reads_request_headers() {
    let by_secret = || {
        InboundLayer::new(Inbound::admit_with(|parts| match parts.headers.get("x-trace-secret") {
            Some(secret) if secret == "letmein" => Admit::Continue,
            _ => Admit::Restart,
        }))
    };
    for (secret, continued) in [(Some("letmein"), true), (Some("guess"), false), (None, false)] {
        let mut request = Request::new(Full::<Bytes>::default());
        request.headers_mut().insert("traceparent", HeaderValue::from_static(CALLER));
        if let Some(secret) = secret {
            request.headers_mut().insert("x-trace-secret", HeaderValue::from_static(secret));
        }
        let handler = service_fn(|_| async { Ok::<_, Infallible>(Response::new(())) });
        let response = by_secret().layer(handler).oneshot(request).await.unwrap();
        let trace_id = response_traceparent(response.headers()).trace_id().to_string();
        assert_eq!(trace_id == TRACE_ID, continued, "{secret:?}");
    }
}

#[tokio::test]
async fn sample_function_reads_request_method() {
    let by_method = |get: Sample, other: Sample| {
        Inbound::new(Admit::Restart)
            .sample_with(move |parts| if parts.method == Method::GET { get.clone() } else { other.clone() })
    };
    let trail = send(by_method(Sample::Never, Sample::Always), &[]).await.0.unwrap();
    assert!(!trail.flags().is_sampled() && trail.flags().is_random());
    let trail = send(by_method(Sample::Always, Sample::Never), &[]).await.0.unwrap();
    assert!(trail.flags().is_sampled() && trail.flags().is_random());
}

#[tokio::test]
async fn sample_ratio_decides_by_trace_id() {
    let mut sampled = 0;
    for _ in 0..4_000 {
        let trail = send(Inbound::new(Admit::Restart).sample(Sample::ratio(0.25)), &[]).await.0.unwrap();
        assert_eq!(trail.flags().is_sampled(), Sample::ratio(0.25).is_sampled(trail.trace_id()));
        sampled += usize::from(trail.flags().is_sampled());
    }
    // 1,000 on average; eight standard deviations to each side.
    assert!((780..1_220).contains(&sampled), "{sampled}");
}

#[tokio::test]
async fn sample_ratio_outside_zero_to_one_is_clamped() {
    for (ratio, expected) in [(0.0, false), (-1.0, false), (f64::NAN, false), (1.0, true), (7.0, true)] {
        let trail = send(Inbound::new(Admit::Restart).sample(Sample::ratio(ratio)), &[]).await.0.unwrap();
        assert_eq!(trail.flags().is_sampled(), expected, "{ratio}");
    }
}
