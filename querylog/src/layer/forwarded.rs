//! The addresses that proxies forward, as `Forwarded` (RFC 7239) or `x-forwarded-for` have them.
//!
//! ```text
//! Forwarded       = [ element ] *( OWS "," OWS [ element ] )        in any number of lines
//! element         = [ pair ] *( ";" [ pair ] )
//! pair            = token "=" ( token / quoted-string )             one of them is "for", in any case
//! node            = ( IPv4address / "[" IPv6address "]" / "unknown" / obfuscated ) [ ":" port ]
//! port            = 1*5DIGIT / obfuscated
//! obfuscated      = "_" 1*( ALPHA / DIGIT / "." / "_" / "-" )
//!
//! X-Forwarded-For = [ node / IPv6address ] *( OWS "," OWS [ node / IPv6address ] )
//! ```
//!
//! Whitespace around ";", and a node that has colons or brackets without quotes, are accepted too.
//!
//! Each proxy adds to the end, so the lines are read from there: what a client wrote to the left of that cannot change
//! how it is read, even if it is a quotation mark without its pair.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use http::header::FORWARDED;
use http::{HeaderMap, HeaderName, HeaderValue};

/// The header that proxies forward addresses in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ForwardedBy {
    #[default]
    XForwardedFor,
    /// `Forwarded`.
    Standard,
}

impl ForwardedBy {
    /// Returns the addresses, from the last one to the first. One is `None` if it is unknown, obfuscated or invalid.
    pub(crate) fn addresses(self, headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
        let is_standard = self == Self::Standard;
        let name = if is_standard { FORWARDED } else { HeaderName::from_static("x-forwarded-for") };
        let lines = headers.get_all(name).iter().rev().map(HeaderValue::as_bytes);
        let elements = lines.flat_map(move |line| Elements { rest: Some(line), quotes: is_standard });
        elements.map(if is_standard { element } else { node_or_ipv6 })
    }
}

/// The elements of a line that are not empty, from the last one to the first.
struct Elements<'a> {
    rest: Option<&'a [u8]>,
    /// Whether commas in quotation marks are part of an element.
    quotes: bool,
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let line = self.rest?;
            let comma = if self.quotes { last_comma(line) } else { line.iter().rposition(|&byte| byte == b',') };
            self.rest = comma.and_then(|at| line.get(..at));
            let start = comma.map_or(0, |at| at + 1);
            let element = trim(line.get(start..).unwrap_or_default());
            if !element.is_empty() {
                return Some(element);
            }
        }
    }
}

/// Returns the place of the last comma that is not in quotation marks, seen from the end.
fn last_comma(line: &[u8]) -> Option<usize> {
    let mut quoted = false;
    let mut left = line;
    while let Some((&byte, rest)) = left.split_last() {
        left = rest;
        match byte {
            b',' if !quoted => return Some(rest.len()),
            // A mark after an odd number of backslashes is part of the text.
            b'"' => {
                let marked = rest.iter().rev().take_while(|&&byte| byte == b'\\').count();
                left = rest.get(..rest.len() - marked)?;
                quoted ^= marked % 2 == 0;
            }
            _ => {}
        }
    }
    None
}

/// Returns the address of an element of `Forwarded`.
fn element(mut rest: &[u8]) -> Option<IpAddr> {
    let mut found = None;
    loop {
        rest = trim(rest);
        if let Some((b';', after)) = rest.split_first() {
            rest = after;
            continue;
        }
        if rest.is_empty() {
            return found.flatten();
        }
        let length = rest.iter().take_while(|&&byte| is_token(byte)).count();
        let (name, after) = rest.split_at_checked(length).filter(|(name, _)| !name.is_empty())?;
        let (value, after) = value(after.strip_prefix(b"=")?)?;
        if name.eq_ignore_ascii_case(b"for") && found.replace(node(&value)).is_some() {
            // Two of them contradict each other.
            return None;
        }
        rest = trim(after);
        if !matches!(rest.first(), None | Some(b';')) {
            return None;
        }
    }
}

/// Reads a value, in quotation marks or not, and returns what follows. Of a long one, the start is enough.
fn value(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let Some(mut rest) = text.strip_prefix(b"\"") else {
        let length = text.iter().take_while(|&&byte| is_token(byte) || b":[]".contains(&byte)).count();
        let (value, rest) = text.split_at_checked(length).filter(|(value, _)| !value.is_empty())?;
        return Some((value.iter().copied().take(MAX_NODE + 1).collect(), rest));
    };
    let mut value = Vec::new();
    loop {
        let (&byte, after) = rest.split_first()?;
        rest = after;
        let byte = match byte {
            b'"' => return Some((value, rest)),
            b'\\' => {
                let (&byte, after) = rest.split_first()?;
                rest = after;
                byte
            }
            byte => byte,
        };
        if value.len() <= MAX_NODE {
            value.push(byte);
        }
    }
}

/// The longest node that is read. An address with a port has at most 53 bytes.
const MAX_NODE: usize = 64;

/// Returns the address of a node, without its port.
fn node(text: &[u8]) -> Option<IpAddr> {
    if text.len() > MAX_NODE {
        return None;
    }
    let (address, port): (IpAddr, _) = if let Some(text) = text.strip_prefix(b"[") {
        let end = text.iter().position(|&byte| byte == b']')?;
        (parse::<Ipv6Addr>(text.get(..end)?)?.into(), text.get(end + 1..)?)
    } else {
        let end = text.iter().position(|&byte| byte == b':').unwrap_or(text.len());
        (parse::<Ipv4Addr>(text.get(..end)?)?.into(), text.get(end..)?)
    };
    let is_valid = port.is_empty() || port.strip_prefix(b":").is_some_and(is_port);
    is_valid.then(|| address.to_canonical())
}

/// Returns the address of a node in `x-forwarded-for`, in which an IPv6 address may have no brackets.
fn node_or_ipv6(text: &[u8]) -> Option<IpAddr> {
    node(text).or_else(|| Some(IpAddr::from(parse::<Ipv6Addr>(text)?).to_canonical()))
}

fn parse<T: FromStr>(text: &[u8]) -> Option<T> {
    str::from_utf8(text.get(..text.len().min(MAX_NODE))?).ok()?.parse().ok()
}

fn is_port(text: &[u8]) -> bool {
    match text.split_first() {
        Some((b'_', name)) => {
            !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte))
        }
        Some(_) => text.len() <= 5 && text.iter().all(u8::is_ascii_digit),
        None => false,
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Removes spaces and tabs at both ends.
fn trim(text: &[u8]) -> &[u8] {
    let is_text = |&byte: &u8| byte != b' ' && byte != b'\t';
    let start = text.iter().position(is_text).unwrap_or(text.len());
    let end = text.iter().rposition(is_text).map_or(start, |last| last + 1);
    text.get(start..end).unwrap_or_default()
}

#[cfg(test)]
mod tests;
