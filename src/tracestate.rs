//! The `tracestate` header (W3C Trace Context, section "Tracestate Header"; the key's rule is that of the editors'
//! draft of June 2026, which is wider than Level 1's).
//!
//! ```text
//! tracestate  = list-member *( OWS "," OWS list-member )    ; at most 32 members, empty ones not counted
//! list-member = key "=" value / ""
//! key         = ( lcalpha / DIGIT ) *255( lcalpha / DIGIT / "_" / "-" / "*" / "/" / "@" )
//! value       = *255chr nblk-chr
//! nblk-chr    = %x21-2B / %x2D-3C / %x3E-7E                  ; no ",", no "="
//! chr         = SP / nblk-chr
//! ```
//!
//! Several field lines are one list, joined by commas.

use std::fmt;
use std::str::FromStr;

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::grammar::{BLANK, KEY_CHAR, KEY_START, VALUE_CHAR, list_value, trim};

pub(crate) static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

const MAX_MEMBERS: usize = 32;
const MAX_KEY: usize = 256;
const MAX_VALUE: usize = 256;
/// 32 members of full size, their equals signs, and the commas between them.
const MAX_LENGTH: usize = MAX_MEMBERS * (MAX_KEY + 1 + MAX_VALUE) + MAX_MEMBERS - 1;
/// Members longer than this are the first to go where a length limit cuts.
const LARGE_MEMBER: usize = 128;

/// A `tracestate` header: what tracing systems along the way have to say about a trace, as a list of keys and values,
/// the newest first (section "Tracestate Header").
///
/// The list is kept as it was received, in one value that is shared and not copied, and is sent on that way. The
/// empty list, which is the default, is not sent.
///
/// ```
/// use tagtrail::TraceState;
///
/// let mut state: TraceState = "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7".parse()?;
/// assert_eq!(state.get("rojo"), Some("00f067aa0ba902b7"));
///
/// // A changed member moves to the left end.
/// state.set("rojo", "1")?;
/// assert_eq!(state.to_string(), "rojo=1,congo=t61rcWkgMzE");
/// # Ok::<_, tagtrail::InvalidTraceState>(())
/// ```
#[derive(Clone)]
pub struct TraceState {
    /// Follows the grammar and has no blanks around it. Empty where there is no member.
    value: HeaderValue,
    members: usize,
}

impl TraceState {
    /// The empty list.
    pub const fn empty() -> Self {
        Self { value: HeaderValue::from_static(""), members: 0 }
    }

    /// Reads a whole list: the value of one field line, or of several joined by commas.
    ///
    /// # Errors
    ///
    /// If a member breaks a rule of the grammar, or there are more than 32, or the value is longer than 32 members can
    /// be. The rule and the place are named. Whoever receives such a list drops it whole, and the trace goes on.
    pub fn from_bytes(value: &[u8]) -> Result<Self, InvalidTraceState> {
        let value = trim(value);
        let members = check(value)?;
        let value = HeaderValue::from_bytes(value).map_err(|_| Reason::Unsendable)?;
        Ok(Self::checked(value, members))
    }

    /// Reads every field line of the header, in order, as one list; `None` where there is none.
    ///
    /// # Errors
    ///
    /// As [`from_bytes`](Self::from_bytes). Reads no more than a valid list can hold.
    #[inline]
    pub fn from_headers(headers: &HeaderMap) -> Result<Option<Self>, InvalidTraceState> {
        let Some(value) = list_value(&headers.get_all(&TRACESTATE), MAX_LENGTH).map_err(|_| Reason::TooLong)? else {
            return Ok(None);
        };
        let members = check(value.as_bytes())?;
        Ok(Some(Self::checked(value, members)))
    }

    fn checked(value: HeaderValue, members: usize) -> Self {
        if members == 0 { Self::empty() } else { Self { value, members } }
    }

    /// The value of the first, which is the newest, member with this key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find_map(|(name, value)| (name == key).then_some(value))
    }

    /// Keys and values, from left to right, which is from the newest to the oldest.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.members().filter_map(|member| member.split_once('='))
    }

    /// How many members there are, empty ones not counted.
    pub const fn len(&self) -> usize {
        self.members
    }

    /// Whether there is no member; then no header is sent.
    pub const fn is_empty(&self) -> bool {
        self.members == 0
    }

    /// The list as it is sent.
    pub fn as_str(&self) -> &str {
        str::from_utf8(self.value.as_bytes()).unwrap_or_default()
    }

    /// Adds a member, or changes it: it goes to the left end, older ones of the same key go away, and where it would
    /// be the 33rd, the right-most member goes (section "Mutating the tracestate Field").
    ///
    /// # Errors
    ///
    /// If `key` or `value` breaks the grammar; then nothing is changed. A value cannot be empty or end in a blank.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), InvalidTraceState> {
        let member = format!("{key}={value}");
        // A comma would make two members of one, and blanks at an end would go in silence.
        if trim(member.as_bytes()).len() != member.len() || member.contains(',') || check(member.as_bytes())? != 1 {
            return Err(Reason::NotOneMember.into());
        }
        let others = self.members().filter(|other| key_of(other) != key).take(MAX_MEMBERS - 1);
        *self = Self::from_members(std::iter::once(&*member).chain(others));
        Ok(())
    }

    /// Removes every member with this key, and tells whether there was one. Members of others are not to be removed
    /// without a reason.
    pub fn remove(&mut self, key: &str) -> bool {
        let before = self.members;
        if self.get(key).is_some() {
            *self = Self::from_members(self.members().filter(|member| key_of(member) != key));
        }
        self.members < before
    }

    /// Cuts the list to at most `max` characters, by whole members: those of more than 128 characters first, from the
    /// right, then any, from the right (section "tracestate Limits", which asks that at least 512 characters be
    /// carried). A list that fits is left as it is.
    ///
    /// ```
    /// let mut state: tagtrail::TraceState = "a=1,b=2,c=3".parse()?;
    /// state.truncate(8);
    /// assert_eq!(state.to_string(), "a=1,b=2");
    /// # Ok::<_, tagtrail::InvalidTraceState>(())
    /// ```
    pub fn truncate(&mut self, max: usize) {
        if self.value.len() <= max {
            return;
        }
        let mut members: Vec<&str> = self.members().collect();
        while members.iter().map(|member| member.len() + 1).sum::<usize>() > max + 1 {
            let last_large = members.iter().rposition(|member| member.len() > LARGE_MEMBER);
            members.remove(last_large.unwrap_or(members.len() - 1));
        }
        *self = Self::from_members(members.into_iter());
    }

    /// Sets the header, in place of every line of it that is there. Removes it where the list is empty.
    pub fn insert_into(&self, headers: &mut HeaderMap) {
        if self.is_empty() {
            headers.remove(&TRACESTATE);
        } else {
            headers.insert(TRACESTATE.clone(), self.value.clone());
        }
    }

    fn members(&self) -> impl Iterator<Item = &str> {
        self.as_str().split(',').map(|member| member.trim_matches([' ', '\t'])).filter(|member| !member.is_empty())
    }

    /// From members that follow the grammar.
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
        HeaderValue::try_from(list).map_or(Self::empty(), |value| Self::checked(value, count))
    }
}

fn key_of(member: &str) -> &str {
    member.split_once('=').map_or(member, |(key, _)| key)
}

/// Reads a list by the grammar, and counts its members.
fn check(list: &[u8]) -> Result<usize, Reason> {
    if list.len() > MAX_LENGTH {
        return Err(Reason::TooLong);
    }
    let mut members = 0;
    let mut at = 0;
    loop {
        at = BLANK.run(list, at);
        match list.get(at) {
            None => return Ok(members),
            Some(b',') => {}
            Some(_) => {
                members += 1;
                if members > MAX_MEMBERS {
                    return Err(Reason::TooManyMembers);
                }
                at = check_member(list, at).map_err(|(at, rule)| Reason::Member { members, position: at + 1, rule })?;
            }
        }
        at += 1;
    }
}

/// Reads the member that starts at `start`, and the blanks after it. Returns where it ends: at a comma, or at the end.
#[inline]
fn check_member(list: &[u8], start: usize) -> Result<usize, (usize, Rule)> {
    if !list.get(start).is_some_and(|&byte| KEY_START.has(byte)) {
        return Err((start, Rule::KeyStart));
    }
    let equals = KEY_CHAR.run(list, start + 1);
    if list.get(equals) != Some(&b'=') {
        return Err((equals, Rule::Key));
    }
    if equals - start > MAX_KEY {
        return Err((start, Rule::LongKey));
    }
    let end = VALUE_CHAR.run(list, equals + 1);
    let value = list.get(equals + 1..end).unwrap_or_default();
    // Blanks at the end are not the value's.
    let blanks = value.iter().rev().take_while(|&&byte| byte == b' ').count();
    match value.len() - blanks {
        0 => return Err((equals + 1, Rule::EmptyValue)),
        length if length > MAX_VALUE => return Err((equals + 1, Rule::LongValue)),
        _ => {}
    }
    let end = BLANK.run(list, end);
    match list.get(end) {
        None | Some(b',') => Ok(end),
        Some(_) => Err((end, Rule::Value)),
    }
}

impl Default for TraceState {
    fn default() -> Self {
        Self::empty()
    }
}

/// Two lists are equal where they are sent as the same characters.
impl PartialEq for TraceState {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl Eq for TraceState {}

impl FromStr for TraceState {
    type Err = InvalidTraceState;

    fn from_str(value: &str) -> Result<Self, Self::Err> {
        Self::from_bytes(value.as_bytes())
    }
}

impl TryFrom<&HeaderValue> for TraceState {
    type Error = InvalidTraceState;

    fn try_from(value: &HeaderValue) -> Result<Self, Self::Error> {
        Self::from_bytes(value.as_bytes())
    }
}

/// The value as it is sent. An empty one is not to be sent.
impl From<&TraceState> for HeaderValue {
    fn from(state: &TraceState) -> Self {
        state.value.clone()
    }
}

/// The form of the header.
impl fmt::Display for TraceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for TraceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Why a `tracestate` was refused: the rule and the place, and nothing of the value. Members and positions count
/// from 1; positions are those of the list after its field lines were joined by commas, empty lines left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Invalid header 'tracestate': {0}")]
pub struct InvalidTraceState(Reason);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Reason {
    #[error("more than {MAX_LENGTH} characters")]
    TooLong,
    #[error("more than {MAX_MEMBERS} members")]
    TooManyMembers,
    #[error("member {members}, character {position}: {rule}")]
    Member { members: usize, position: usize, rule: Rule },
    #[error("expected one key and one value, without blanks around them")]
    NotOneMember,
    #[error("a byte that no header can hold")]
    Unsendable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Rule {
    #[error("a key begins with a-z or 0-9")]
    KeyStart,
    #[error("a key is made of a-z, 0-9, '_', '-', '*', '/' and '@', and ends with '='")]
    Key,
    #[error("a key has at most {MAX_KEY} characters")]
    LongKey,
    #[error("a value is missing")]
    EmptyValue,
    #[error("a value is made of printable ASCII without ',' and '='")]
    Value,
    #[error("a value has at most {MAX_VALUE} characters")]
    LongValue,
}

impl From<Reason> for InvalidTraceState {
    fn from(reason: Reason) -> Self {
        Self(reason)
    }
}
