//! The parser of `tracestate`, which reads as the grammar does.

use super::error::{ErrorKind, MemberError};
use super::{MAX_KEY, MAX_LENGTH, MAX_MEMBERS, MAX_VALUE};
use crate::header::grammar::{is_key_char, is_key_start, is_value_char};
use crate::header::list::skip_whitespace;
use crate::header::scan::first_not_in;

/// Checks a list, and returns the number of its members.
pub(super) fn count_members(list: &[u8]) -> Result<usize, ErrorKind> {
    if list.len() > MAX_LENGTH {
        return Err(ErrorKind::TooLong);
    }
    let mut members = 0;
    let mut at = 0;
    loop {
        at = skip_whitespace(list, at);
        match list.get(at) {
            None => return Ok(members),
            Some(b',') => {}
            Some(_) => {
                members += 1;
                if members > MAX_MEMBERS {
                    return Err(ErrorKind::TooManyMembers);
                }
                at = check_member(list, at).map_err(|(at, error)| ErrorKind::Member {
                    member: members,
                    position: at + 1,
                    error,
                })?;
            }
        }
        at += 1;
    }
}

/// Checks the member that starts at `start`. Returns the index of the comma after it, or the end of the list; or the
/// index of what is wrong.
#[inline]
fn check_member(list: &[u8], start: usize) -> Result<usize, (usize, MemberError)> {
    if !list.get(start).copied().is_some_and(is_key_start) {
        return Err((start, MemberError::KeyStart));
    }
    let equals = first_not_in(is_key_char, list, start + 1);
    if list.get(equals) != Some(&b'=') {
        return Err((equals, MemberError::Key));
    }
    if equals - start > MAX_KEY {
        return Err((start, MemberError::KeyTooLong));
    }
    let end = first_not_in(is_value_char, list, equals + 1);
    let mut value = list.get(equals + 1..end).unwrap_or_default();
    // Spaces at the end are whitespace around the member, and not part of the value.
    while let [rest @ .., b' '] = value {
        value = rest;
    }
    match value.len() {
        0 => return Err((equals + 1, MemberError::EmptyValue)),
        length if length > MAX_VALUE => return Err((equals + 1, MemberError::ValueTooLong)),
        _ => {}
    }
    let end = skip_whitespace(list, end);
    match list.get(end) {
        None | Some(b',') => Ok(end),
        Some(_) => Err((end, MemberError::Value)),
    }
}
