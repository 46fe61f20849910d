//! Lists in header values: optional whitespace, and several field lines that are one list (RFC 9110, sections 5.3
//! and 5.6.3).

use bytes::{BufMut, BytesMut};
use http::header::{GetAll, HeaderValue};

/// Returns the index of the first byte from `start` that is not optional whitespace (`SP / HTAB`).
#[inline]
pub(super) fn skip_whitespace(bytes: &[u8], start: usize) -> usize {
    let mut end = start;
    while let Some(b' ' | b'\t') = bytes.get(end) {
        end += 1;
    }
    end
}

/// Removes the optional whitespace around a value.
#[inline]
pub(super) fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Removes the optional whitespace around a value. A value without any is shared, not copied.
#[inline]
pub(super) fn trimmed(value: &HeaderValue) -> HeaderValue {
    let text = trim(value.as_bytes());
    if text.len() == value.len() {
        return value.clone();
    }
    HeaderValue::from_bytes(text).expect("a part of a header value is a header value")
}

/// The lines of a list are longer than allowed, together.
#[derive(Debug)]
pub(super) struct TooLong;

/// Reads all field lines of a list as one value: in order, joined by commas, without empty lines. A single line is
/// shared, not copied. Reads at most `max` characters.
#[inline]
pub(super) fn join(lines: &GetAll<'_, HeaderValue>, max: usize) -> Result<Option<HeaderValue>, TooLong> {
    let mut iter = lines.iter();
    let Some(first) = iter.next() else { return Ok(None) };
    if iter.next().is_none() {
        return if trim(first.as_bytes()).len() > max { Err(TooLong) } else { Ok(Some(trimmed(first))) };
    }
    join_lines(lines, max).map(Some)
}

fn join_lines(lines: &GetAll<'_, HeaderValue>, max: usize) -> Result<HeaderValue, TooLong> {
    let mut joined = BytesMut::new();
    for line in lines {
        let line = trim(line.as_bytes());
        let comma = usize::from(!joined.is_empty());
        if line.is_empty() {
            continue;
        }
        if joined.len() + comma + line.len() > max {
            return Err(TooLong);
        }
        joined.put_slice(if comma == 1 { b"," } else { b"" });
        joined.put_slice(line);
    }
    Ok(HeaderValue::from_maybe_shared(joined.freeze()).expect("header values joined by commas are a header value"))
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    #[test]
    fn lines_are_joined_in_order_without_empty_ones() {
        let join = |lines: &[&'static str], max| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("x", HeaderValue::from_static(line));
            }
            join(&headers.get_all("x"), max).map(|value| value.map(|value| value.to_str().unwrap().to_owned()))
        };
        assert!(matches!(join(&[], 9), Ok(None)));
        for (lines, joined) in [
            (&["a"][..], "a"),
            (&[" a\t"], "a"),
            (&[""], ""),
            (&["", " "], ""),
            (&["a", "b"], "a,b"),
            (&["", "a", "\t", "b ", ""], "a,b"),
            (&["a,", ",b"], "a,,,b"),
        ] {
            assert_eq!(join(lines, 9).unwrap().as_deref(), Some(joined), "{lines:?}");
            assert!(joined.is_empty() || join(lines, joined.len() - 1).is_err(), "{lines:?}");
            assert!(join(lines, joined.len()).is_ok(), "{lines:?}");
        }
    }
}
