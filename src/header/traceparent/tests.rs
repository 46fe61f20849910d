use super::*;

mod rows {
    include!("../../../tests/rows/traceparent.rs");
}

const VALID: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[test]
fn values_are_parsed_or_rejected_by_the_rows() {
    for &(value, expected) in rows::ROWS {
        let parsed: Result<TraceParent, _> = value.parse();
        let parsed = parsed.map(|parent| parent.to_string()).map_err(|error| error.to_string());
        let expected = expected.map(str::to_owned).map_err(|words| format!("invalid traceparent: {words}"));
        assert_eq!(parsed, expected, "{value:?}");
    }
}

#[test]
fn fields_are_those_that_were_sent() {
    let parent: TraceParent = VALID.parse().unwrap();
    assert_eq!(parent.trace_id().to_bytes()[..3], [0x0a, 0xf7, 0x65]);
    assert_eq!(parent.parent_id().to_bytes()[..3], [0xb7, 0xad, 0x6b]);
    assert_eq!(parent.flags(), TraceFlags::SAMPLED);
    assert_eq!(parent.trace_id(), "0af7651916cd43dd8448eb211c80319c".parse().unwrap());
    assert_eq!(parent.parent_id(), "b7ad6b7169203331".parse().unwrap());
    assert_eq!(TraceParent::new(parent.trace_id(), parent.parent_id(), parent.flags()), parent);
    assert_eq!(TraceParent::try_from(&HeaderValue::from(parent)), Ok(parent));
    assert_eq!(TraceParent::try_from(VALID), Ok(parent));
}

#[test]
fn flags_are_two_bits() {
    for bits in 0..=u8::MAX {
        let flags = TraceFlags::from_bits_truncate(bits);
        let (sampled, random) = (bits % 2 == 1, bits / 2 % 2 == 1);
        assert_eq!((flags.is_sampled(), flags.is_random()), (sampled, random), "{bits:08b}");
        assert_eq!(flags.bits(), bits % 4);
        for set in [false, true] {
            let other = flags.with_sampled(set);
            assert_eq!((other.is_sampled(), other.is_random()), (set, random), "{bits:08b}");
            let other = flags.with_random(set);
            assert_eq!((other.is_sampled(), other.is_random()), (sampled, set), "{bits:08b}");
        }
        for other in [TraceFlags::default(), TraceFlags::SAMPLED, TraceFlags::RANDOM] {
            assert_eq!((flags | other).bits(), (bits % 4) | other.bits());
        }
    }
    assert_eq!(format!("{0:?} {0}", TraceFlags::SAMPLED), "TraceFlags(01) 01");
}

#[test]
fn insert_replaces_all_existing_lines() {
    let parent: TraceParent = VALID.parse().unwrap();
    let mut headers = HeaderMap::new();
    headers.append("traceparent", HeaderValue::from_static("bad"));
    headers.append("traceparent", HeaderValue::from_static("worse"));
    let unsampled = parent.with_flags(TraceFlags::RANDOM);
    unsampled.insert_into(&mut headers);
    assert_eq!(TraceParent::from_headers(&headers), Ok(Some(unsampled)));
    assert_eq!(unsampled.to_string(), "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-02");
    assert_eq!(format!("{parent:?}"), format!("TraceParent({parent})"));
}

#[test]
fn several_lines_are_rejected_even_if_equal() {
    let value = HeaderValue::from_static(VALID);
    let mut headers = HeaderMap::new();
    assert_eq!(TraceParent::from_headers(&headers), Ok(None));
    headers.append("TraceParent", value.clone());
    assert!(TraceParent::from_headers(&headers).unwrap().is_some());
    for other in [value, HeaderValue::from_static("bad"), HeaderValue::from_static("")] {
        let mut headers = headers.clone();
        headers.append("traceparent", other);
        let error = TraceParent::from_headers(&headers).unwrap_err();
        assert_eq!(error.to_string(), "invalid traceparent: expected a single field line, found several");
    }
}

/// The lines of a response, and what is read from them: the last digit of the trace-id, or the error's text.
#[test]
fn response_headers_are_read_by_precedence() {
    const ONE: &str = "00-00000000000000000000000000000001-b7ad6b7169203331-01";
    const TWO: &str = "00-00000000000000000000000000000002-b7ad6b7169203331-01";
    let several = "expected a single field line, found several";
    let short = "expected at least 55 characters, found 3";
    let (parent, response) = ("traceparent", "traceresponse");
    for (lines, expected) in [
        (&[][..], Ok(None)),
        (&[(parent, ONE)], Ok(Some(1))),
        (&[(response, TWO)], Ok(Some(2))),
        (&[(parent, ONE), (response, TWO)], Ok(Some(1))),
        (&[(parent, ONE), (response, "bad")], Ok(Some(1))),
        (&[(parent, "bad"), (response, TWO)], Ok(Some(2))),
        (&[(parent, ONE), (parent, ONE), (response, TWO)], Ok(Some(2))),
        (&[(parent, "bad")], Err(format!("invalid traceparent: {short}"))),
        (&[(response, "bad")], Err(format!("invalid traceresponse: {short}"))),
        (&[(parent, ONE), (parent, TWO)], Err(format!("invalid traceparent: {several}"))),
        (&[(response, ONE), (response, TWO)], Err(format!("invalid traceresponse: {several}"))),
        (&[(response, ONE), (response, ONE)], Err(format!("invalid traceresponse: {several}"))),
        (&[(parent, "bad"), (response, "bad")], Err(format!("invalid traceresponse: {short}"))),
    ] {
        let mut headers = HeaderMap::new();
        for &(name, value) in lines {
            headers.append(name, HeaderValue::from_static(value));
        }
        let read = TraceParent::from_response_headers(&headers);
        let read = read.map(|parent| parent.map(|parent| parent.trace_id().to_bytes()[15]));
        assert_eq!(read.map_err(|error| error.to_string()), expected, "{lines:?}");
    }
}

#[test]
fn random_sets_the_random_flag() {
    let (one, other) = (TraceParent::random(TraceFlags::SAMPLED), TraceParent::random(TraceFlags::default()));
    assert_ne!(one.trace_id(), other.trace_id());
    assert_eq!(one.flags().bits(), 0b11);
    assert_eq!(other.flags().bits(), 0b10);
    let child = one.child();
    assert_eq!((child.trace_id(), child.flags()), (one.trace_id(), one.flags()));
    assert_ne!(child.parent_id(), one.parent_id());
}

#[test]
fn ids_have_errors_of_their_own() {
    for (text, words) in [
        ("", "expected 16 lowercase hexadecimal digits"),
        ("b7ad6b716920333", "expected 16 lowercase hexadecimal digits"),
        ("b7ad6b71692033310", "expected 16 lowercase hexadecimal digits"),
        ("b7ad6b7169203331ab", "expected 16 lowercase hexadecimal digits"),
        ("b7ad6b716920333G", "expected a lowercase hexadecimal digit at character 16"),
        ("B7ad6b7169203331", "expected a lowercase hexadecimal digit at character 1"),
        ("0000000000000000", "all digits are zero"),
    ] {
        let error = text.parse::<ParentId>().unwrap_err();
        assert_eq!(error.to_string(), format!("invalid id: {words}"));
        assert_eq!(ParentId::try_from(text), Err(error));
    }
    let error = "0".repeat(32).parse::<TraceId>().unwrap_err().to_string();
    assert_eq!(error, "invalid id: all digits are zero");
    assert_eq!(ParentId::from_bytes([0; 8]), None);
}

#[test]
fn ids_are_shown_as_in_the_header() {
    let id: ParentId = "00ad6b7169203331".parse().unwrap();
    assert_eq!(format!("{id} {id:?} {id:>20}"), "00ad6b7169203331 ParentId(00ad6b7169203331)     00ad6b7169203331");
}
