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

use crate::grammar::{
    begins_key, list_value, no_key_char, no_value_char, remove_header, run, skip_blanks, trim, trimmed,
};

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
            remove_header(headers, &TRACESTATE);
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
        at = skip_blanks(list, at);
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
    if !list.get(start).copied().is_some_and(begins_key) {
        return Err((start, Rule::KeyStart));
    }
    let equals = run(list, start + 1, no_key_char);
    if list.get(equals) != Some(&b'=') {
        return Err((equals, Rule::Key));
    }
    if equals - start > MAX_KEY {
        return Err((start, Rule::LongKey));
    }
    let end = run(list, equals + 1, no_value_char);
    let mut value = list.get(equals + 1..end).unwrap_or_default();
    // Blanks at the end are not the value's.
    while let [rest @ .., b' '] = value {
        value = rest;
    }
    match value.len() {
        0 => return Err((equals + 1, Rule::EmptyValue)),
        length if length > MAX_VALUE => return Err((equals + 1, Rule::LongValue)),
        _ => {}
    }
    let end = skip_blanks(list, end);
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
        let value = trimmed(value);
        let members = check(value.as_bytes())?;
        Ok(Self::checked(value, members))
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

#[cfg(test)]
mod tests {
    use super::*;

    mod rows {
        include!("../tests/rows/tracestate.rs");
    }

    fn read(lines: &[&str]) -> Result<Option<TraceState>, String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("tracestate", HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        TraceState::from_headers(&headers).map_err(|error| error.to_string())
    }

    fn state(value: &str) -> TraceState {
        value.parse().unwrap()
    }

    #[test]
    fn lines_are_read_or_refused_by_the_rows() {
        for &(lines, expected) in rows::ROWS {
            let read = read(lines);
            match expected {
                Ok(members) => {
                    let state = read.unwrap().unwrap();
                    assert_eq!(state.iter().collect::<Vec<_>>(), members, "{lines:?}");
                    assert_eq!((state.len(), state.is_empty()), (members.len(), members.is_empty()), "{lines:?}");
                    // What is written is read as the same.
                    assert_eq!(TraceState::from_bytes(state.as_str().as_bytes()).unwrap(), state, "{lines:?}");
                }
                Err(words) => {
                    assert_eq!(read.unwrap_err(), format!("Invalid header 'tracestate': {words}"), "{lines:?}");
                }
            }
        }
        assert_eq!(read(&[]).unwrap(), None);
    }

    #[test]
    fn limits_hold_to_the_character() {
        let refused = |value: &str| value.parse::<TraceState>().unwrap_err().to_string();
        let (key, value) = ("k".repeat(256), "v".repeat(256));
        assert_eq!(state(&format!("{key}={value}")).get(&key), Some(&*value));
        assert_eq!(
            refused(&format!("{key}k=1")),
            "Invalid header 'tracestate': member 1, character 1: a key has at most 256 characters"
        );
        assert_eq!(
            refused(&format!("a={value}v")),
            "Invalid header 'tracestate': member 1, character 3: a value has at most 256 characters"
        );
        // Blanks after a value are not the value's.
        assert_eq!(state(&format!("a={value}  ,b=1")).len(), 2);

        let full = |members: usize| {
            let members: Vec<_> = (0..members).map(|n| format!("{n:0>256}={value}")).collect();
            members.join(",")
        };
        assert_eq!(full(32).len(), 16_447);
        assert_eq!(state(&full(32)).len(), 32);
        assert_eq!(refused(&full(33)), "Invalid header 'tracestate': more than 16447 characters");
        let small: Vec<_> = (0..33).map(|n| format!("{n}=1")).collect();
        assert_eq!(state(&small[..32].join(",")).len(), 32);
        assert_eq!(refused(&small.join(",")), "Invalid header 'tracestate': more than 32 members");
        // Empty members are not counted; the length counts them.
        assert_eq!(state(&format!("{}a=1", ",".repeat(16_444))).len(), 1);
        assert_eq!(
            refused(&format!("{}a=1", ",".repeat(16_445))),
            "Invalid header 'tracestate': more than 16447 characters"
        );
        assert_eq!(read(&[&full(32), "a=1"]).unwrap_err(), "Invalid header 'tracestate': more than 16447 characters");
    }

    #[test]
    fn lists_are_equal_by_their_characters_and_read_from_a_value() {
        let two = state("a=1,b=2");
        assert_eq!(TraceState::try_from(&HeaderValue::from_static(" a=1,b=2\t")), Ok(two.clone()));
        assert!(TraceState::try_from(&HeaderValue::from_static("a=1,b")).is_err());
        for other in ["", "a=1", "b=2,a=1", "a=1,b=3"] {
            assert_ne!(state(other), two, "{other}");
        }
        assert_eq!(format!("{two:?}"), r#"{"a": "1", "b": "2"}"#);
    }

    #[test]
    fn the_first_of_doubles_wins_a_look_up() {
        assert_eq!(state("foo=1,foo=2").get("foo"), Some("1"));
        assert_eq!(state("foo=1").get("bar"), None);
    }

    #[test]
    fn a_member_that_is_set_moves_to_the_left_end() {
        for (before, key, value, after) in [
            ("", "a", "1", "a=1"),
            ("b=2,c=3", "a", "1", "a=1,b=2,c=3"),
            ("b=2,a=0,c=3", "a", "1", "a=1,b=2,c=3"),
            ("a=0,b=2,a=9", "a", "1", "a=1,b=2"),
            ("b=2 , ,c=3", "a", " 1", "a= 1,b=2,c=3"),
        ] {
            let mut state = state(before);
            state.set(key, value).unwrap();
            assert_eq!(state.to_string(), after);
            assert_eq!(state.len(), after.split(',').count());
        }
    }

    #[test]
    fn the_right_most_goes_where_a_33rd_comes() {
        let members: Vec<_> = (0..32).map(|n| format!("m{n}=1")).collect();
        let mut full = state(&members.join(","));
        full.set("m7", "2").unwrap();
        assert_eq!((full.len(), full.get("m31")), (32, Some("1")));
        full.set("new", "1").unwrap();
        assert_eq!((full.len(), full.get("new"), full.get("m31")), (32, Some("1"), None));
    }

    #[test]
    fn what_is_no_member_changes_nothing() {
        let before = state("b=2,c=3");
        for (key, value) in [
            ("", "1"),
            ("A", "1"),
            ("a", ""),
            ("a", "1,d=4"),
            ("a", "1 "),
            (" a", "1"),
            ("a=1,b", "1"),
            ("a", "="),
            (",a", "1"),
            ("a", "1,"),
            ("a", "\n"),
        ] {
            let mut state = before.clone();
            state.set(key, value).unwrap_err();
            assert_eq!(state, before, "{key:?} {value:?}");
        }
    }

    #[test]
    fn members_are_removed() {
        let mut state = state("a=1,b=2,a=3");
        assert!(!state.remove("c"));
        assert_eq!(state.to_string(), "a=1,b=2,a=3");
        assert!(state.remove("a"));
        assert_eq!((state.to_string().as_str(), state.len()), ("b=2", 1));
        assert!(state.remove("b"));
        assert_eq!(state, TraceState::empty());
    }

    #[test]
    fn a_length_limit_cuts_whole_members_large_ones_first() {
        let large = |key: &str| format!("{key}={}", "x".repeat(127));
        let fits = |key: &str| format!("{key}={}", "x".repeat(126));
        for (before, max, after) in [
            ("a=1,b=2,c=3".to_owned(), 11, "a=1,b=2,c=3".to_owned()),
            ("a=1,b=2,c=3".to_owned(), 10, "a=1,b=2".to_owned()),
            ("a=1,b=2,c=3".to_owned(), 7, "a=1,b=2".to_owned()),
            ("a=1,b=2,c=3".to_owned(), 6, "a=1".to_owned()),
            ("a=1,b=2,c=3".to_owned(), 2, String::new()),
            ("a=1 , ,b=2".to_owned(), 9, "a=1,b=2".to_owned()),
            (format!("{},b=2,{},d=4", large("a"), large("c")), 140, format!("{},b=2,d=4", large("a"))),
            (format!("{},b=2,{},d=4", large("a"), large("c")), 100, "b=2,d=4".to_owned()),
            (format!("{},b=2", fits("a")), 130, fits("a")),
            (format!("{},b=2", large("a")), 130, "b=2".to_owned()),
            (format!("{},b=2,{}", fits("a"), fits("c")), 200, format!("{},b=2", fits("a"))),
        ] {
            let mut state = state(&before);
            state.truncate(max);
            assert_eq!(state.to_string(), after, "{before} to {max}");
            assert!(state.as_str().len() <= max || before.len() <= max);
        }
    }

    #[test]
    fn an_empty_list_is_not_sent() {
        let mut headers = HeaderMap::new();
        headers.append("tracestate", HeaderValue::from_static("old=1"));
        headers.append("tracestate", HeaderValue::from_static("old=2"));
        state("new=1").insert_into(&mut headers);
        assert_eq!(headers.get_all("tracestate").iter().collect::<Vec<_>>(), ["new=1"]);
        state(" , ").insert_into(&mut headers);
        assert!(headers.is_empty());
    }
}
