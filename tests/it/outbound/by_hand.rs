//! What a client without tower calls itself.

use http::{Extensions, HeaderMap, HeaderValue, Uri};
use tagtrail::{Disclose, Outbound, TraceContext, TraceState};

use super::sent;
use crate::support::CALLER;

#[test]
fn trace_context_insert_replaces_headers() {
    let context = TraceContext::new(CALLER.parse().unwrap(), "foo=1".parse().unwrap());
    let mut headers = HeaderMap::new();
    for name in ["traceparent", "tracestate"] {
        headers.append(name, HeaderValue::from_static("old"));
        headers.append(name, HeaderValue::from_static("older"));
    }
    context.insert_into(&mut headers);
    assert_eq!(TraceContext::from_headers(&headers), Ok(Some(context)));
    TraceContext::new(sent(&headers), TraceState::empty()).insert_into(&mut headers);
    assert!(!headers.contains_key("tracestate"), "an empty tracestate is removed");
}

#[test]
fn apply_accepts_origin_form_uri() {
    let outbound = Outbound::new(Disclose::All);
    let mut headers = HeaderMap::new();
    outbound.apply(&Uri::from_static("/origin-form"), &mut headers, &Extensions::new()).unwrap();
    assert!(headers.contains_key("traceparent"));
}
