//! The parser of `traceparent`, as its grammar has it.

use std::ops::Range;

use super::{ErrorKind, Field, LENGTH, ParentId, TraceFlags, TraceId, TraceParent};
use crate::header::hex;
use crate::header::list::trim;

/// Parses a value. Checks the length once: after that, every field has its place.
#[inline]
pub(super) fn parse(value: &[u8]) -> Result<TraceParent, ErrorKind> {
    let value = trim(value);
    let Some((text, after)) = value.split_first_chunk::<LENGTH>() else {
        return Err(ErrorKind::TooShort { length: value.len() });
    };
    // The digits of all fields are decoded at once, which costs a third less than field by field. The ids come first,
    // since that aligns them.
    let mut digits = [[b'0'; 2]; 32];
    let flat = digits.as_flattened_mut();
    flat[..32].copy_from_slice(&text[TRACE_ID]);
    flat[32..48].copy_from_slice(&text[PARENT_ID]);
    flat[48..50].copy_from_slice(&text[VERSION]);
    flat[50..52].copy_from_slice(&text[FLAGS]);
    let has_dashes = text[2] == b'-' && text[35] == b'-' && text[52] == b'-';
    let Some(bytes) = hex::decode(&digits).filter(|_| has_dashes) else { return Err(first_error(text)) };

    let version = bytes[24];
    if version == 0xff {
        return Err(ErrorKind::VersionFf);
    }
    let trace_id = bytes.first_chunk().and_then(|bytes| TraceId::from_bytes(*bytes));
    let parent_id = bytes[16..].first_chunk().and_then(|bytes| ParentId::from_bytes(*bytes));
    let flags = TraceFlags::from_bits_truncate(bytes[25]);
    let trace_id = trace_id.ok_or(ErrorKind::Zero(Field::TraceId))?;
    let parent_id = parent_id.ok_or(ErrorKind::Zero(Field::ParentId))?;
    match (version, after) {
        (_, []) => {}
        (0x00, _) => return Err(ErrorKind::TooLong { length: value.len() }),
        // A later version may add fields.
        (_, [b'-', ..]) => {}
        _ => return Err(ErrorKind::ExpectedDash { position: LENGTH + 1 }),
    }
    Ok(TraceParent::new(trace_id, parent_id, flags))
}

const VERSION: Range<usize> = 0..2;
const TRACE_ID: Range<usize> = 3..35;
const PARENT_ID: Range<usize> = 36..52;
const FLAGS: Range<usize> = 53..55;

/// Returns the first character that is neither the digit nor the dash that it should be.
#[cold]
fn first_error(text: &[u8; LENGTH]) -> ErrorKind {
    for field in [VERSION, TRACE_ID, PARENT_ID, FLAGS] {
        let start = field.start;
        if start > 0 && text[start - 1] != b'-' {
            return ErrorKind::ExpectedDash { position: start };
        }
        if let Some(at) = hex::first_invalid(&text[field]) {
            return ErrorKind::ExpectedDigit { position: start + at + 1 };
        }
    }
    unreachable!("called for a text with an error")
}
