//! The tag header, `x-fauna-tags` by default.
//!
//! ```text
//! tags  = "" / pair *( "," pair )
//! pair  = name "=" value
//! name  = 1*40 ( ALPHA / DIGIT / "_" )
//! value = 1*80 ( ALPHA / DIGIT / "_" )
//! ```
//!
//! At most 25 pairs and 3,000 characters in all. The header's name and the four limits are [`TagRules`]. Blanks and
//! tabs around the whole value are HTTP's; there is no quoting, no percent-decoding, and no folding of case. Several
//! field lines are one list, joined by commas, empty lines left out.

use std::fmt;
use std::str::FromStr;

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::grammar::{Marks, TooLong, list_value, no_tag_char, remove_header, trim, trimmed};
use crate::random;

/// The tags of a request: names and values, each name once, in the order they were sent.
///
/// They are kept as one header value that was checked once, is read in place, and is shared by all who hold it. No
/// tags, which is the default, is an empty header, and is not sent.
///
/// ```
/// use tagtrail::Tags;
///
/// let tags = Tags::new([("project", "blog"), ("env", "prod")])?;
/// assert_eq!(tags.get("env"), Some("prod"));
/// assert_eq!(tags.to_string(), "project=blog,env=prod");
///
/// let fault = Tags::new([("project", "my blog")]).unwrap_err();
/// assert_eq!(
///     fault.to_string(),
///     "Invalid header 'x-fauna-tags': invalid tags: pair 1, character 11: \
///      expected a value of letters, digits and '_', then ',' or the end",
/// );
/// # Ok::<_, tagtrail::InvalidTags>(())
/// ```
#[derive(Clone)]
pub struct Tags {
    /// Follows the grammar, with nothing around it.
    value: HeaderValue,
    len: usize,
}

impl Tags {
    /// No tags.
    pub const fn empty() -> Self {
        Self { value: HeaderValue::from_static(""), len: 0 }
    }

    /// Makes tags of names and values, by the default [`TagRules`].
    ///
    /// # Errors
    ///
    /// If they break a rule, as [`TagRules::parse`] says.
    pub fn new<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Result<Self, InvalidTags>
    where
        N: AsRef<str>,
        V: AsRef<str>,
    {
        DEFAULT.tags(pairs)
    }

    /// Reads a header's value by the default [`TagRules`].
    ///
    /// # Errors
    ///
    /// If it breaks a rule, as [`TagRules::parse`] says.
    pub fn from_bytes(value: &[u8]) -> Result<Self, InvalidTags> {
        DEFAULT.parse(value)
    }

    /// The value of a tag. Names are compared as they are: `a` and `A` are two.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find_map(|(other, value)| (other == name).then_some(value))
    }

    /// Names and values, in the order they were sent.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        pairs(self.as_str())
    }

    /// How many tags there are.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none; then no header is sent.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The header's value.
    pub fn as_str(&self) -> &str {
        str::from_utf8(self.value.as_bytes()).unwrap_or_default()
    }
}

fn pairs(list: &str) -> impl Iterator<Item = (&str, &str)> {
    list.split(',').filter_map(|pair| pair.split_once('='))
}

/// The rules of the tag header: its name, and its limits.
///
/// ```
/// use http::HeaderName;
/// use tagtrail::TagRules;
///
/// let rules = TagRules::default().header(HeaderName::from_static("x-query-tags")).max_tags(2);
/// assert_eq!(rules.parse(b"a=1,b=2")?.len(), 2);
/// assert_eq!(
///     rules.parse(b"a=1,b=2,c=3").unwrap_err().to_string(),
///     "Invalid header 'x-query-tags': too many tags: at most 2 are allowed",
/// );
/// # Ok::<_, tagtrail::InvalidTags>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct TagRules {
    header: HeaderName,
    max_tags: u8,
    max_name: u16,
    max_value: u16,
    max_length: u16,
}

static DEFAULT: TagRules = TagRules {
    header: HeaderName::from_static("x-fauna-tags"),
    max_tags: 25,
    max_name: 40,
    max_value: 80,
    max_length: 3000,
};

impl Default for TagRules {
    fn default() -> Self {
        DEFAULT.clone()
    }
}

impl TagRules {
    /// The name of the header; `x-fauna-tags` by default.
    pub fn header(self, header: HeaderName) -> Self {
        Self { header, ..self }
    }

    /// How many tags there may be; 25 by default.
    pub fn max_tags(self, max_tags: u8) -> Self {
        Self { max_tags, ..self }
    }

    /// How many characters a name may have; 40 by default.
    pub fn max_name(self, max_name: u16) -> Self {
        Self { max_name, ..self }
    }

    /// How many characters a value may have; 80 by default.
    pub fn max_value(self, max_value: u16) -> Self {
        Self { max_value, ..self }
    }

    /// How many characters all tags may have as one header value; 3,000 by default.
    pub fn max_length(self, max_length: u16) -> Self {
        Self { max_length, ..self }
    }

    /// The name of the header.
    pub fn header_name(&self) -> &HeaderName {
        &self.header
    }

    /// Makes tags of names and values.
    ///
    /// # Errors
    ///
    /// As [`parse`](Self::parse); the place is that in the header they would make.
    pub fn tags<N, V>(&self, pairs: impl IntoIterator<Item = (N, V)>) -> Result<Tags, InvalidTags>
    where
        N: AsRef<str>,
        V: AsRef<str>,
    {
        let mut list = String::new();
        for (index, (name, value)) in pairs.into_iter().enumerate() {
            let (name, value) = (name.as_ref(), value.as_ref());
            // In a header, these would be two tags, or a pair with two equals signs.
            let place = |at: usize| (list.len() + usize::from(index > 0) + at, index + 1);
            if let Some(at) = name.find([',', '=']) {
                return Err(self.fault(grammar(place(at), Rule::Name)));
            }
            if let Some(at) = value.find([',', '=']) {
                return Err(self.fault(grammar(place(name.len() + 1 + at), Rule::Value)));
            }
            if index > 0 {
                list.push(',');
            }
            list.extend([name, "=", value]);
            if list.len() > self.max_length.into() {
                break;
            }
        }
        self.parse_exact(list.as_bytes())
    }

    /// Reads the value of a header. Blanks and tabs around it are not part of it; an empty one is no tags.
    ///
    /// # Errors
    ///
    /// What is wrong is looked for in this order: the header is too long; its grammar, as a whole; it has too many
    /// tags; and for each pair, from left to right, its name is too long, its value is too long, an earlier pair has
    /// its name.
    pub fn parse(&self, value: &[u8]) -> Result<Tags, InvalidTags> {
        self.parse_exact(trim(value))
    }

    fn parse_exact(&self, value: &[u8]) -> Result<Tags, InvalidTags> {
        let len = self.check(value).map_err(|reason| self.fault(reason))?;
        // Letters, digits, '_', '=' and ',' are a header value.
        let value = HeaderValue::from_bytes(value).map_err(|_| self.fault(grammar((0, 1), Rule::Name)))?;
        Ok(Tags { value, len })
    }

    /// Reads every field line of the header, in order, as one list; `None` where there is none.
    ///
    /// # Errors
    ///
    /// As [`parse`](Self::parse), for the list. Reads no further than the limits allow.
    #[inline]
    pub fn from_headers(&self, headers: &HeaderMap) -> Result<Option<Tags>, InvalidTags> {
        let value = match list_value(&headers.get_all(&self.header), self.max_length.into()) {
            Ok(None) => return Ok(None),
            Ok(Some(value)) => value,
            Err(TooLong) => return Err(self.fault(Reason::TooLong { max: self.max_length })),
        };
        self.checked(value).map(Some)
    }

    #[inline]
    fn checked(&self, value: HeaderValue) -> Result<Tags, InvalidTags> {
        let len = self.check(value.as_bytes()).map_err(|reason| self.fault(reason))?;
        Ok(Tags { value, len })
    }

    /// Sets the header, in place of every line of it that is there. Removes it where there are no tags.
    pub fn insert_into(&self, tags: &Tags, headers: &mut HeaderMap) {
        if tags.is_empty() {
            remove_header(headers, &self.header);
        } else {
            headers.insert(self.header.clone(), tags.value.clone());
        }
    }

    /// Removes the header.
    pub(crate) fn remove_from(&self, headers: &mut HeaderMap) {
        remove_header(headers, &self.header);
    }

    /// Whether tags that were made by other rules follow these.
    pub(crate) fn recheck(&self, tags: &Tags) -> Result<(), InvalidTags> {
        self.check(tags.value.as_bytes()).map(|_| ()).map_err(|reason| self.fault(reason))
    }

    #[cold]
    fn fault(&self, reason: Reason) -> InvalidTags {
        InvalidTags { header: self.header.clone(), reason }
    }

    /// Reads a list by the rules, in one pass, and counts its pairs. Bad grammar ends the reading; what breaks a limit
    /// is kept until the whole list is known to be of the grammar.
    fn check(&self, list: &[u8]) -> Result<usize, Reason> {
        if list.len() > self.max_length.into() {
            return Err(Reason::TooLong { max: self.max_length });
        }
        if list.is_empty() {
            return Ok(0);
        }
        let mut marks = Marks::from(list, 0, no_tag_char);
        let mut names = None;
        let mut over_limit = None;
        let mut pair = 1;
        let mut start = 0;
        loop {
            let equals = marks.next();
            if equals == start || list.get(equals) != Some(&b'=') {
                return Err(grammar((equals, pair), Rule::Name));
            }
            let end = marks.next();
            let next = list.get(end);
            if end == equals + 1 || !matches!(next, None | Some(b',')) {
                return Err(grammar((end, pair), Rule::Value));
            }
            if pair <= self.max_tags.into() && over_limit.is_none() {
                let (before, name) = list.get(..equals).unwrap_or_default().split_at_checked(start).unwrap_or_default();
                if name.len() > self.max_name.into() {
                    over_limit = Some(Reason::LongName { pair, max: self.max_name });
                } else if end - equals - 1 > self.max_value.into() {
                    over_limit = Some(Reason::LongValue { pair, max: self.max_value });
                } else if (pair > 1 || next.is_some())
                    && names.get_or_insert_with(Names::new).is_double(name, before, pair - 1)
                {
                    over_limit = Some(Reason::Double { pair });
                }
            }
            if next.is_none() {
                break;
            }
            start = end + 1;
            pair += 1;
        }
        match over_limit {
            _ if pair > self.max_tags.into() => Err(Reason::TooManyTags { max: self.max_tags }),
            Some(reason) => Err(reason),
            None => Ok(pair),
        }
    }
}

fn grammar((at, pair): (usize, usize), rule: Rule) -> Reason {
    Reason::Grammar { pair, position: at + 1, rule }
}

/// The names that were read: a bit for the hash of each, and a part of that hash for the first ones. Only where both are
/// there already is the name looked for, so that a list costs what its length costs. Nobody outside can pick names whose
/// hashes meet, since a secret of the process is in them.
struct Names {
    secret: &'static [u64; 2],
    bits: [u64; 8],
    parts: [u16; Self::FIRST],
}

impl Names {
    const FIRST: usize = 32;

    #[inline]
    fn new() -> Self {
        Self { secret: random::secret(), bits: [0; 8], parts: [0; Self::FIRST] }
    }

    /// Adds the name of a pair. Whether one of the pairs before it, which are so many, has it already.
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "a part is meant")]
    fn is_double(&mut self, name: &[u8], before: &[u8], count: usize) -> bool {
        let hash = hash(name, self.secret);
        let bit = 1 << (hash >> 58);
        let word = &mut self.bits[(hash >> 32 & 7) as usize];
        let seen = *word & bit != 0;
        *word |= bit;
        let part = hash as u16;
        let double = seen && (count >= Self::FIRST || self.has(part)) && stands_in(before, name);
        self.parts[count % Self::FIRST] = part;
        double
    }

    /// Whether a part of a hash is among those that are kept. There is no branch for each: the compiler compares several
    /// at a time.
    #[inline]
    #[allow(clippy::needless_bitwise_bool, reason = "a lazy one is a branch")]
    fn has(&self, part: u16) -> bool {
        self.parts.iter().fold(false, |has, &earlier| has | (earlier == part))
    }
}

/// A hash of a name, eight bytes at a time; the last eight overlap with those before.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "the halves are folded")]
fn hash(name: &[u8], &[start, factor]: &[u64; 2]) -> u64 {
    let mix = |hash: u64, word: u64| {
        let product = u128::from(hash ^ word) * u128::from(factor);
        (product ^ product >> 64) as u64
    };
    // Overlapping parts look alike in names of different lengths.
    let start = start.wrapping_mul(2 * name.len() as u64 + 1);
    let Some(last) = name.last_chunk() else {
        return match (name.first_chunk(), name.last_chunk()) {
            (Some(first), Some(last)) => {
                mix(start, u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last)))
            }
            _ => mix(start, name.iter().fold(0, |word, &byte| word << 8 | u64::from(byte))),
        };
    };
    let (words, _) = name.as_chunks();
    let hash = words.iter().fold(start, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    mix(hash, u64::from_le_bytes(*last))
}

/// Whether one of these pairs has this name.
#[cold]
fn stands_in(pairs: &[u8], name: &[u8]) -> bool {
    pairs.split(|&byte| byte == b',').any(|pair| pair.strip_prefix(name).is_some_and(|rest| rest.starts_with(b"=")))
}

impl Default for Tags {
    fn default() -> Self {
        Self::empty()
    }
}

/// Tags are equal where they are the same pairs in the same order.
impl PartialEq for Tags {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl Eq for Tags {}

impl FromStr for Tags {
    type Err = InvalidTags;

    fn from_str(value: &str) -> Result<Self, Self::Err> {
        Self::from_bytes(value.as_bytes())
    }
}

impl TryFrom<&HeaderValue> for Tags {
    type Error = InvalidTags;

    fn try_from(value: &HeaderValue) -> Result<Self, Self::Error> {
        DEFAULT.checked(trimmed(value))
    }
}

/// The value as it is sent. An empty one is not to be sent.
impl From<&Tags> for HeaderValue {
    fn from(tags: &Tags) -> Self {
        tags.value.clone()
    }
}

/// The form of the header.
impl fmt::Display for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Why tags were refused: which header, the rule and the place, and nothing of the value. Pairs and characters count
/// from 1; characters are those of the list after its field lines were joined by commas, empty lines left out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Invalid header '{header}': {}: {reason}", self.rule())]
pub struct InvalidTags {
    header: HeaderName,
    reason: Reason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Reason {
    #[error("at most {max} characters are allowed")]
    TooLong { max: u16 },
    #[error("pair {pair}, character {position}: {rule}")]
    Grammar { pair: usize, position: usize, rule: Rule },
    #[error("at most {max} are allowed")]
    TooManyTags { max: u8 },
    #[error("pair {pair}: a name has at most {max} characters")]
    LongName { pair: usize, max: u16 },
    #[error("pair {pair}: a value has at most {max} characters")]
    LongValue { pair: usize, max: u16 },
    #[error("pair {pair}: an earlier pair has the same name")]
    Double { pair: usize },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Rule {
    #[error("expected a name of letters, digits and '_', then '='")]
    Name,
    #[error("expected a value of letters, digits and '_', then ',' or the end")]
    Value,
}

impl InvalidTags {
    /// The header that was refused.
    pub fn header(&self) -> &HeaderName {
        &self.header
    }

    /// The rule that was broken, in few words that are always the same, so that they can label a metric: `header is
    /// too long`, `invalid tags`, `too many tags`, `invalid key`, `invalid value` or `duplicate key`.
    pub fn rule(&self) -> &'static str {
        match self.reason {
            Reason::TooLong { .. } => "header is too long",
            Reason::Grammar { .. } => "invalid tags",
            Reason::TooManyTags { .. } => "too many tags",
            Reason::LongName { .. } => "invalid key",
            Reason::LongValue { .. } => "invalid value",
            Reason::Double { .. } => "duplicate key",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    mod rows {
        include!("../tests/rows/tags.rs");
    }

    fn refused(value: &str) -> String {
        let error = value.parse::<Tags>().unwrap_err().to_string();
        error.strip_prefix("Invalid header 'x-fauna-tags': ").unwrap().to_owned()
    }

    #[test]
    fn lines_are_read_or_refused_by_the_rows() {
        let rules = TagRules::default();
        for &(lines, expected) in rows::ROWS {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("x-fauna-tags", HeaderValue::from_bytes(line.as_bytes()).unwrap());
            }
            let read = rules.from_headers(&headers).map(Option::unwrap);
            match expected {
                Ok(pairs) => {
                    let tags = read.unwrap();
                    assert_eq!(tags.iter().collect::<Vec<_>>(), pairs, "{lines:?}");
                    assert_eq!((tags.len(), tags.is_empty()), (pairs.len(), pairs.is_empty()), "{lines:?}");
                    assert_eq!(Tags::new(pairs.iter().copied()), Ok(tags.clone()), "{lines:?}");
                    assert_eq!(tags.to_string().parse(), Ok(tags), "{lines:?}");
                }
                Err(words) => assert_eq!(
                    read.unwrap_err().to_string(),
                    format!("Invalid header 'x-fauna-tags': {words}"),
                    "{lines:?}"
                ),
            }
        }
        assert_eq!(rules.from_headers(&HeaderMap::new()), Ok(None));
    }

    #[test]
    fn a_control_character_is_refused_where_a_header_could_not_hold_it() {
        assert!(refused("a=b\n").starts_with("invalid tags: pair 1, character 4"));
        assert!(refused("a=b\0").starts_with("invalid tags: pair 1, character 4"));
    }

    #[test]
    fn limits_hold_to_the_character() {
        let (name, value) = ("n".repeat(40), "v".repeat(80));
        assert_eq!(format!("{name}={value}").parse::<Tags>().unwrap().get(&name), Some(&*value));
        assert_eq!(refused(&format!("a=b,{name}n=v")), "invalid key: pair 2: a name has at most 40 characters");
        assert_eq!(refused(&format!("a=b,n={value}v")), "invalid value: pair 2: a value has at most 80 characters");

        let pairs = |count: usize| (0..count).map(|n| format!("t{n}=1")).collect::<Vec<_>>().join(",");
        assert_eq!(pairs(25).parse::<Tags>().unwrap().len(), 25);
        assert_eq!(refused(&pairs(26)), "too many tags: at most 25 are allowed");

        let full = |count: usize| (0..count).map(|n| format!("{n:0>40}={value}")).collect::<Vec<_>>().join(",");
        assert_eq!((full(24).len(), full(25).len()), (2927, 3049));
        assert!(full(24).parse::<Tags>().is_ok());
        assert_eq!(refused(&full(25)), "header is too long: at most 3000 characters are allowed");
        let of_length = |length: usize| format!("{},{}", full(24), "x".repeat(length - 2928 - 2) + "=1");
        assert_eq!(of_length(2970).parse::<Tags>().unwrap().as_str().len(), 2970);
        assert_eq!(refused(&of_length(3000)), "invalid key: pair 25: a name has at most 40 characters");
        assert_eq!(refused(&of_length(3001)), "header is too long: at most 3000 characters are allowed");
    }

    #[test]
    fn faults_are_looked_for_in_one_order() {
        // Too long, before grammar.
        assert!(refused(&"?".repeat(3001)).starts_with("header is too long"));
        // Grammar of the whole, before a name's length.
        assert!(refused(&"a".repeat(3000)).starts_with("invalid tags: pair 1, character 3001"));
        assert!(refused(&format!("{}=1,b", "a".repeat(41))).starts_with("invalid tags: pair 2"));
        // The number of tags, before what is wrong with one of them.
        let many = |pair: &str| (0..26).map(|_| pair.to_owned()).collect::<Vec<_>>().join(",");
        assert!(refused(&many(&format!("{}=1", "a".repeat(41)))).starts_with("too many tags"));
        // Pairs from left to right; in each its name, its value, then doubles.
        let (name, value) = ("n".repeat(41), "v".repeat(81));
        assert!(refused(&format!("a=1,a=2,{name}=1")).starts_with("duplicate key: pair 2"));
        assert!(refused(&format!("{name}={value}")).starts_with("invalid key: pair 1"));
        assert!(refused(&format!("a=1,a={value}")).starts_with("invalid value: pair 2"));
    }

    #[test]
    fn every_double_is_found_and_nothing_else() {
        // More names than bits: hashes meet.
        let rules = TagRules::default().max_tags(255).max_length(u16::MAX);
        let names: Vec<_> = (0..255).map(|n| format!("name_{n}")).collect();
        assert_eq!(rules.tags(names.iter().map(|name| (name, "1"))).unwrap().len(), 255);
        for twice in [0, 1, 7, 100, 253] {
            let mut names = names.clone();
            names[254] = names[twice].clone();
            let error = rules.tags(names.iter().map(|name| (name, "1"))).unwrap_err();
            assert_eq!(error.rule(), "duplicate key");
        }
    }

    #[test]
    fn a_name_that_begins_like_an_earlier_one_is_no_double() {
        for (pairs, name, stands) in [
            ("ab=1", "a", false),
            ("a=1", "ab", false),
            ("a=b", "b", false),
            ("x=1,ab=2", "ab", true),
            ("", "a", false),
        ] {
            assert_eq!(stands_in(pairs.as_bytes(), name.as_bytes()), stands, "{name} in {pairs}");
        }
    }

    #[test]
    fn hashes_depend_on_the_secret_and_on_every_character() {
        let name = |length: usize| "abcdefghijklmnopqrstuvwxyz0123456789_ABC".as_bytes()[..length].to_vec();
        let mut hashes = HashSet::new();
        for length in 1..=40 {
            assert!(hashes.insert(hash(&name(length), random::secret())), "{length}");
            assert_ne!(hash(&name(length), &[1, 3]), hash(&name(length), &[1, 5]), "{length}");
            for place in 0..length {
                let mut other = name(length);
                other[place] = b'Z';
                assert!(hashes.insert(hash(&other, random::secret())), "{length} {place}");
            }
        }
        // Names of one letter, of each length.
        let letters: HashSet<_> = (1..=40).map(|length| hash(&vec![b'a'; length], random::secret())).collect();
        assert_eq!(letters.len(), 40);
    }

    #[test]
    fn every_bit_of_a_hash_depends_on_every_part_of_a_name() {
        // With a secret that stays, so that the outcome does too.
        let secret = &[0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9];
        // Names of each way to read one, which differ at the end alone: four letters, five, eight, and more.
        for begin in ["", "a", "abcd", "abcdefgh"] {
            let names: Vec<_> = (0..4096).map(|n| format!("{begin}{n:04}")).collect();
            for bit in 0..64 {
                let set = names.iter().filter(|name| hash(name.as_bytes(), secret) >> bit & 1 == 1).count();
                // Half of them, and far more to either side than chance brings.
                assert!((1500..2600).contains(&set), "bit {bit} is set in {set} of 4096 names like {begin}0000");
            }
        }
    }

    #[test]
    fn tags_are_made_in_code_by_the_same_rules() {
        let tags = Tags::new([("project", "blog"), ("env", "prod")]).unwrap();
        assert_eq!((tags.as_str(), tags.get("env"), tags.get("Env")), ("project=blog,env=prod", Some("prod"), None));
        assert_eq!(Tags::new([("", ""); 0]).unwrap(), Tags::empty());
        for (pairs, words) in [
            (&[("a", "1,b=2")][..], "invalid tags: pair 1, character 4: expected a value"),
            (&[("a", "1"), ("b", "1=2")], "invalid tags: pair 2, character 8: expected a value"),
            (&[("a=1,b", "2")], "invalid tags: pair 1, character 2: expected a name"),
            (&[("a", "1"), ("", "2")], "invalid tags: pair 2, character 5: expected a name"),
            (&[("a", "")], "invalid tags: pair 1, character 3: expected a value"),
            (&[("a", "1"), ("a", "2")], "duplicate key: pair 2"),
            (&[(" a", "1")], "invalid tags: pair 1, character 1: expected a name"),
            (&[("a", "1 ")], "invalid tags: pair 1, character 4: expected a value"),
        ] {
            let error = Tags::new(pairs.iter().copied()).unwrap_err().to_string();
            assert!(error.starts_with(&format!("Invalid header 'x-fauna-tags': {words}")), "{pairs:?}: {error}");
        }
        let endless = std::iter::repeat(("name", "value"));
        assert_eq!(Tags::new(endless).unwrap_err().rule(), "header is too long");
    }

    #[test]
    fn tags_are_equal_by_their_pairs_in_order_and_read_from_a_value() {
        let tags: Tags = "a=1,b=2".parse().unwrap();
        assert_eq!(Tags::try_from(&HeaderValue::from_static(" a=1,b=2\t")), Ok(tags.clone()));
        assert!(Tags::try_from(&HeaderValue::from_static("a=1,b")).is_err());
        for other in ["", "a=1", "b=2,a=1", "a=1,b=3"] {
            assert_ne!(other.parse::<Tags>().unwrap(), tags, "{other}");
        }
        assert_eq!(format!("{tags:?}"), r#"{"a": "1", "b": "2"}"#);
    }

    #[test]
    fn rules_are_settings() {
        let rules = TagRules::default()
            .header(HeaderName::from_static("x-query-tags"))
            .max_tags(2)
            .max_name(3)
            .max_value(4)
            .max_length(12);
        assert_eq!(rules.parse(b"abc=1234,d=5").unwrap().len(), 2);
        for (value, words) in [
            ("abc=1234,d=56", "header is too long: at most 12 characters are allowed"),
            ("a=1,b=2,c=3", "too many tags: at most 2 are allowed"),
            ("abcd=1", "invalid key: pair 1: a name has at most 3 characters"),
            ("a=12345", "invalid value: pair 1: a value has at most 4 characters"),
        ] {
            let error = rules.parse(value.as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), format!("Invalid header 'x-query-tags': {words}"));
            assert_eq!((error.header().as_str(), error.rule()), ("x-query-tags", words.split(':').next().unwrap()));
        }
        let mut headers = HeaderMap::new();
        headers.insert("x-fauna-tags", HeaderValue::from_static("a=1"));
        assert_eq!(rules.from_headers(&headers), Ok(None));
        headers.insert("x-query-tags", HeaderValue::from_static("b=2"));
        assert_eq!(rules.from_headers(&headers).unwrap().unwrap().as_str(), "b=2");
    }
}
