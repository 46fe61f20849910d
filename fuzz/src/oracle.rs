//! Slow, obvious readers of the three headers.

use std::sync::LazyLock;

use regex::bytes::Regex;

/// What a `traceparent` says.
#[derive(Debug, PartialEq)]
#[expect(clippy::struct_field_names, reason = "the names of the spec")]
pub(crate) struct Parent {
    pub(crate) trace_id: String,
    pub(crate) parent_id: String,
    /// Bits 0 and 1.
    pub(crate) flags: u8,
}

static TRACEPARENT: LazyLock<Regex> = LazyLock::new(|| {
    let regex = r"(?s-u)\A[ \t]*([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*?)?[ \t]*\z";
    Regex::new(regex).expect("a regex")
});

/// The value of one line.
pub(crate) fn traceparent(value: &[u8]) -> Option<Parent> {
    let fields = TRACEPARENT.captures(value)?;
    let text = |field: usize| String::from_utf8(fields[field].to_vec()).expect("ASCII");
    let (version, trace_id, parent_id) = (text(1), text(2), text(3));
    let only_zeros = |id: &str| id.bytes().all(|digit| digit == b'0');
    if version == "ff" || version == "00" && fields.get(5).is_some() || only_zeros(&trace_id) || only_zeros(&parent_id)
    {
        return None;
    }
    let flags = u8::from_str_radix(&text(4), 16).expect("two digits") & 0b11;
    Some(Parent { trace_id, parent_id, flags })
}

/// Without HTTP's blanks around it.
pub(crate) fn trim(mut value: &[u8]) -> &[u8] {
    while let Some((b' ' | b'\t', rest)) = value.split_first() {
        value = rest;
    }
    while let Some((b' ' | b'\t', rest)) = value.split_last() {
        value = rest;
    }
    value
}

/// Field lines of a list as one value.
pub(crate) fn joined(lines: &[&[u8]]) -> Vec<u8> {
    let lines: Vec<&[u8]> = lines.iter().map(|line| trim(line)).filter(|line| !line.is_empty()).collect();
    lines.join(&b","[..])
}

/// Keys and values of a `tracestate`.
pub(crate) type Members = Vec<(String, String)>;

/// A whole list; `None` where it is to be dropped.
pub(crate) fn tracestate(list: &[u8]) -> Option<Members> {
    if trim(list).len() > 32 * (256 + 1 + 256) + 31 {
        return None;
    }
    let mut members = Vec::new();
    for member in list.split(|&byte| byte == b',').map(trim).filter(|member| !member.is_empty()) {
        let member = str::from_utf8(member).ok()?;
        let (key, value) = member.split_once('=')?;
        let first = key.chars().next()?;
        let key_char = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || "_-*/@".contains(char);
        let value_char = |char: char| (' '..='~').contains(&char) && char != '=';
        let good = (first.is_ascii_lowercase() || first.is_ascii_digit())
            && key.len() <= 256
            && key.chars().all(key_char)
            && (1..=256).contains(&value.len())
            && value.chars().all(value_char);
        if !good {
            return None;
        }
        members.push((key.to_owned(), value.to_owned()));
    }
    (members.len() <= 32).then_some(members)
}

/// The limits of a tag header.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) tags: u8,
    pub(crate) name: u16,
    pub(crate) value: u16,
    pub(crate) length: u16,
}

pub(crate) const DEFAULT: Limits = Limits { tags: 25, name: 40, value: 80, length: 3000 };

static TAGS: LazyLock<Regex> = LazyLock::new(|| {
    let pair = "[A-Za-z0-9_]+=[A-Za-z0-9_]+";
    Regex::new(&format!(r"(?-u)\A{pair}(?:,{pair})*\z")).expect("a regex")
});

/// Whether the grammar is followed, limits aside.
pub(crate) fn is_tags(list: &[u8]) -> bool {
    TAGS.is_match(list)
}

/// Names and values of a tag header, or the rule that it breaks.
pub(crate) fn tags(list: &[u8], limits: Limits) -> Result<Vec<(String, String)>, &'static str> {
    let list = trim(list);
    if list.len() > limits.length.into() {
        return Err("header is too long");
    }
    if list.is_empty() {
        return Ok(Vec::new());
    }
    if !is_tags(list) {
        return Err("invalid tags");
    }
    let pairs: Vec<(String, String)> = str::from_utf8(list)
        .expect("ASCII")
        .split(',')
        .map(|pair| pair.split_once('=').expect("the grammar"))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    if pairs.len() > limits.tags.into() {
        return Err("too many tags");
    }
    for (index, (name, value)) in pairs.iter().enumerate() {
        if name.len() > limits.name.into() {
            return Err("invalid key");
        }
        if value.len() > limits.value.into() {
            return Err("invalid value");
        }
        if pairs[..index].iter().any(|(earlier, _)| earlier == name) {
            return Err("duplicate key");
        }
    }
    Ok(pairs)
}

/// Names and values as they are sent.
pub(crate) fn written(pairs: &[(String, String)]) -> String {
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join(",")
}
