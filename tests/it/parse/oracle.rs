//! Slow, obvious readers of the three headers, which share nothing with the crate's parsers. The fuzz targets include
//! this file too.

use std::sync::LazyLock;

use regex::bytes::Regex;

/// Keys and values of a `tracestate`, or names and values of a tag header.
pub(crate) type Pairs = Vec<(String, String)>;

/// A valid `traceparent`.
#[derive(Debug, PartialEq)]
#[expect(clippy::struct_field_names, reason = "the names of the spec")]
pub(crate) struct Parent {
    pub(crate) trace_id: String,
    pub(crate) parent_id: String,
    /// Bits 0 and 1.
    pub(crate) flags: u8,
}

impl Parent {
    /// The value as it is sent on: always version 00.
    pub(crate) fn written(&self) -> String {
        format!("00-{}-{}-{:02x}", self.trace_id, self.parent_id, self.flags)
    }
}

static TRACEPARENT: LazyLock<Regex> = LazyLock::new(|| {
    let regex = r"(?s-u)\A([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?\z";
    Regex::new(regex).expect("a regex")
});

/// Reads the value of one line.
pub(crate) fn traceparent(value: &[u8]) -> Option<Parent> {
    let fields = TRACEPARENT.captures(trim(value))?;
    let text = |field: usize| String::from_utf8(fields[field].to_vec()).expect("ASCII");
    let (version, trace_id, parent_id) = (text(1), text(2), text(3));
    let only_zeros = |id: &str| id.bytes().all(|digit| digit == b'0');
    if version == "ff" || only_zeros(&trace_id) || only_zeros(&parent_id) {
        return None;
    }
    // Only a later version may have more fields.
    if version == "00" && fields.get(5).is_some() {
        return None;
    }
    let flags = u8::from_str_radix(&text(4), 16).expect("two digits") & 0b11;
    Some(Parent { trace_id, parent_id, flags })
}

/// Removes the whitespace that HTTP allows around a value.
pub(crate) fn trim(mut value: &[u8]) -> &[u8] {
    while let Some((b' ' | b'\t', rest)) = value.split_first() {
        value = rest;
    }
    while let Some((b' ' | b'\t', rest)) = value.split_last() {
        value = rest;
    }
    value
}

/// Joins the field lines of a list header into one value, without the empty lines.
pub(crate) fn joined<L: AsRef<[u8]>>(lines: &[L]) -> Vec<u8> {
    let lines: Vec<&[u8]> = lines.iter().map(|line| trim(line.as_ref())).filter(|line| !line.is_empty()).collect();
    lines.join(&b","[..])
}

/// Reads a whole `tracestate`; `None` if it must be dropped.
pub(crate) fn tracestate(list: &[u8]) -> Option<Pairs> {
    if trim(list).len() > 32 * (256 + 1 + 256) + 31 {
        return None;
    }
    let mut members = Vec::new();
    for member in list.split(|&byte| byte == b',').map(trim).filter(|member| !member.is_empty()) {
        let member = str::from_utf8(member).ok()?;
        let (key, value) = member.split_once('=')?;
        let key_start = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit();
        let key_char = |char: char| key_start(char) || "_-*/@".contains(char);
        let value_char = |char: char| (' '..='~').contains(&char) && char != '=';
        let valid_key = key.starts_with(key_start) && key.chars().all(key_char) && key.len() <= 256;
        let valid_value = value.chars().all(value_char) && (1..=256).contains(&value.len());
        if !valid_key || !valid_value {
            return None;
        }
        members.push((key.to_owned(), value.to_owned()));
    }
    (members.len() <= 32).then_some(members)
}

/// The limits of a tag header.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) tags: usize,
    pub(crate) name: usize,
    pub(crate) value: usize,
    pub(crate) length: usize,
}

impl Limits {
    pub(crate) const DEFAULT: Self = Self { tags: 25, name: 40, value: 80, length: 3000 };
}

static TAGS: LazyLock<Regex> = LazyLock::new(|| {
    let pair = "[A-Za-z0-9_]+=[A-Za-z0-9_]+";
    Regex::new(&format!(r"(?-u)\A{pair}(?:,{pair})*\z")).expect("a regex")
});

/// Whether a list follows the grammar of tags, limits aside.
pub(crate) fn is_tags(list: &[u8]) -> bool {
    TAGS.is_match(list)
}

/// Reads a whole tag header: its names and values, or the rule that it breaks.
pub(crate) fn tags(list: &[u8], limits: Limits) -> Result<Pairs, &'static str> {
    let list = trim(list);
    if list.len() > limits.length {
        return Err("header is too long");
    }
    if list.is_empty() {
        return Ok(Vec::new());
    }
    if !is_tags(list) {
        return Err("invalid tags");
    }
    let pairs: Pairs = str::from_utf8(list)
        .expect("ASCII")
        .split(',')
        .map(|pair| pair.split_once('=').expect("the grammar"))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    if pairs.len() > limits.tags {
        return Err("too many tags");
    }
    for (index, (name, value)) in pairs.iter().enumerate() {
        if name.len() > limits.name {
            return Err("invalid key");
        }
        if value.len() > limits.value {
            return Err("invalid value");
        }
        if pairs[..index].iter().any(|(earlier, _)| earlier == name) {
            return Err("duplicate key");
        }
    }
    Ok(pairs)
}

/// Writes a list as it is sent.
pub(crate) fn written(pairs: &[(String, String)]) -> String {
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join(",")
}
