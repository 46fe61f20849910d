//! The `tracestate` header (W3C Trace Context, section "Tracestate Header"; keys follow the editors' draft of June
//! 2026, which allows more than Level 1).
//!
//! ```text
//! tracestate  = list-member *( OWS "," OWS list-member )    ; at most 32 members, not counting empty ones
//! list-member = key "=" value / ""
//! key         = ( lcalpha / DIGIT ) *255( lcalpha / DIGIT / "_" / "-" / "*" / "/" / "@" )
//! value       = *255chr nblk-chr
//! nblk-chr    = %x21-2B / %x2D-3C / %x3E-7E                  ; no ",", no "="
//! chr         = SP / nblk-chr
//! ```
//!
//! Several field lines are one list, joined by commas.

mod error;
mod iter;
mod parse;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use http::header::{HeaderMap, HeaderName, HeaderValue};

use self::error::ErrorKind;
pub use self::error::InvalidTraceState;
pub use self::iter::TraceStateIter;
use self::iter::members;
use self::parse::count_members;
use super::list::{self, trim, trimmed};
use super::value::{as_str, header_value, remove};

pub(super) static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

const MAX_MEMBERS: usize = 32;
const MAX_KEY: usize = 256;
const MAX_VALUE: usize = 256;
/// 32 members of maximum size, with their equals signs, and the commas between them.
const MAX_LENGTH: usize = MAX_MEMBERS * (MAX_KEY + 1 + MAX_VALUE) + MAX_MEMBERS - 1;
/// Members longer than this are dropped first if a list has to be truncated.
const LARGE_MEMBER: usize = 128;

/// A `tracestate` header: vendor-specific data that tracing systems along the way add to a trace, as a list of keys and
/// values, the newest first (section "Tracestate Header").
///
/// The list is stored as it was received, in one shared value, and is sent unchanged. An empty list, which is the
/// default, is not sent.
///
/// ```
/// use tagtrail::TraceState;
///
/// let mut state: TraceState = "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7".parse()?;
/// assert_eq!(state.get("rojo"), Some("00f067aa0ba902b7"));
///
/// // A changed member moves to the left end.
/// state.insert("rojo", "1")?;
/// assert_eq!(state.to_string(), "rojo=1,congo=t61rcWkgMzE");
/// # Ok::<_, tagtrail::InvalidTraceState>(())
/// ```
///
/// Two lists are equal if they are sent as the same characters.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TraceState {
    /// Invariant: follows the grammar, without whitespace around it. Empty if there are no members.
    value: HeaderValue,
    /// Invariant: the number of members in `value`.
    members: usize,
}

impl TraceState {
    /// Creates an empty list.
    pub const fn empty() -> Self {
        Self { value: HeaderValue::from_static(""), members: 0 }
    }

    /// Parses a whole list: the value of one field line, or the values of several joined by commas.
    ///
    /// # Errors
    ///
    /// Returns an error if a member does not follow the grammar, if there are more than 32 members, or if the value is
    /// longer than 32 members can be. The error names the rule and the position. A receiver drops such a list as a
    /// whole, and continues the trace.
    pub fn from_bytes(value: &[u8]) -> Result<Self, InvalidTraceState> {
        let value = trim(value);
        let members = count_members(value)?;
        Ok(Self::checked(header_value(value), members))
    }

    /// Parses all field lines of the header, in order, as one list; `None` if there are none.
    ///
    /// # Errors
    ///
    /// See [`from_bytes`](Self::from_bytes). Reads no more than a valid list can contain.
    #[inline]
    pub fn from_headers(headers: &HeaderMap) -> Result<Option<Self>, InvalidTraceState> {
        let lines = headers.get_all(&TRACESTATE);
        let value = list::join(&lines, MAX_LENGTH).map_err(|list::TooLong| ErrorKind::TooLong)?;
        Ok(value.map(Self::from_trimmed).transpose()?)
    }

    #[inline]
    fn from_trimmed(value: HeaderValue) -> Result<Self, ErrorKind> {
        let members = count_members(value.as_bytes())?;
        Ok(Self::checked(value, members))
    }

    #[inline]
    fn checked(value: HeaderValue, members: usize) -> Self {
        if members == 0 { Self::empty() } else { Self { value, members } }
    }

    /// Returns the value of the first, and so newest, member with this key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find_map(|(other, value)| (other == key).then_some(value))
    }

    /// Iterates over keys and values from left to right: from the newest to the oldest.
    pub fn iter(&self) -> TraceStateIter<'_> {
        TraceStateIter::new(self.as_str())
    }

    /// Returns the number of members, not counting empty ones.
    pub const fn len(&self) -> usize {
        self.members
    }

    /// Returns whether there are no members. An empty list is not sent.
    pub const fn is_empty(&self) -> bool {
        self.members == 0
    }

    /// Returns the list as it is sent.
    pub fn as_str(&self) -> &str {
        as_str(&self.value)
    }

    /// Adds or changes a member, which becomes the left-most one. Older members with the same key are removed, and the
    /// right-most member is dropped if there would be more than 32 (section "Mutating the tracestate Field").
    ///
    /// # Errors
    ///
    /// Returns an error, and changes nothing, if `key` or `value` does not follow the grammar. A value cannot be empty,
    /// and cannot end with a space.
    pub fn insert(&mut self, key: &str, value: &str) -> Result<(), InvalidTraceState> {
        let member = format!("{key}={value}");
        // A comma would make two members of it, and whitespace at an end would be lost.
        if trim(member.as_bytes()).len() != member.len()
            || member.contains(',')
            || count_members(member.as_bytes())? != 1
        {
            return Err(ErrorKind::NotOneMember.into());
        }
        let others = members(self.as_str()).filter(|other| key_of(other) != key).take(MAX_MEMBERS - 1);
        *self = Self::from_members(std::iter::once(&*member).chain(others));
        Ok(())
    }

    /// Removes all members with this key, and returns whether there were any. Do not remove members of other vendors
    /// without a reason.
    pub fn remove(&mut self, key: &str) -> bool {
        let before = self.members;
        if self.get(key).is_some() {
            *self = Self::from_members(members(self.as_str()).filter(|member| key_of(member) != key));
        }
        self.members < before
    }

    /// Truncates the list to at most `max_len` characters. Whole members are dropped, from the right: first those
    /// longer than 128 characters, then any (section "tracestate Limits", which asks that at least 512 characters be
    /// kept). A list that fits is not changed.
    ///
    /// ```
    /// let mut state: tagtrail::TraceState = "a=1,b=2,c=3".parse()?;
    /// state.truncate_to(8);
    /// assert_eq!(state.to_string(), "a=1,b=2");
    /// # Ok::<_, tagtrail::InvalidTraceState>(())
    /// ```
    pub fn truncate_to(&mut self, max_len: usize) {
        if self.value.len() <= max_len {
            return;
        }
        let mut kept: Vec<&str> = members(self.as_str()).collect();
        while kept.iter().map(|member| member.len() + 1).sum::<usize>() > max_len + 1 {
            let last_large = kept.iter().rposition(|member| member.len() > LARGE_MEMBER);
            kept.remove(last_large.unwrap_or(kept.len() - 1));
        }
        *self = Self::from_members(kept.into_iter());
    }

    /// Sets the header, replacing all its lines, or removes it if the list is empty.
    pub fn insert_into(&self, headers: &mut HeaderMap) {
        if self.is_empty() {
            remove(headers, &TRACESTATE);
        } else {
            headers.insert(TRACESTATE.clone(), self.value.clone());
        }
    }

    /// Joins members that follow the grammar.
    fn from_members<'a>(members: impl Iterator<Item = &'a str>) -> Self {
        let mut list = String::new();
        let mut count = 0;
        for member in members {
            if count > 0 {
                list.push(',');
            }
            list.push_str(member);
            count += 1;
        }
        Self::checked(header_value(list.as_bytes()), count)
    }
}

fn key_of(member: &str) -> &str {
    member.split_once('=').map_or(member, |(key, _)| key)
}

impl Default for TraceState {
    fn default() -> Self {
        Self::empty()
    }
}

impl<'a> IntoIterator for &'a TraceState {
    type Item = (&'a str, &'a str);
    type IntoIter = TraceStateIter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl AsRef<str> for TraceState {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl FromStr for TraceState {
    type Err = InvalidTraceState;

    fn from_str(value: &str) -> Result<Self, Self::Err> {
        Self::from_bytes(value.as_bytes())
    }
}

impl TryFrom<&str> for TraceState {
    type Error = InvalidTraceState;

    fn try_from(value: &str) -> Result<Self, Self::Error> {
        Self::from_bytes(value.as_bytes())
    }
}

impl TryFrom<&HeaderValue> for TraceState {
    type Error = InvalidTraceState;

    fn try_from(value: &HeaderValue) -> Result<Self, Self::Error> {
        Ok(Self::from_trimmed(trimmed(value))?)
    }
}

/// Returns the value as it is sent. Do not send an empty one.
impl From<&TraceState> for HeaderValue {
    fn from(state: &TraceState) -> Self {
        state.value.clone()
    }
}

/// Returns the value as it is sent. Do not send an empty one.
impl From<TraceState> for HeaderValue {
    fn from(state: TraceState) -> Self {
        state.value
    }
}

/// Writes the value of the header.
impl fmt::Display for TraceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for TraceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self).finish()
    }
}
