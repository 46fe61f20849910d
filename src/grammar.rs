//! Bytes: the character classes of the three header grammars, hexadecimal digits, optional whitespace, and lists
//! that arrive in several field lines.
//!
//! Classes are written as their grammars, and asked of sixteen bytes at once, in functions of their own: alone, and
//! without branches (`|`, not `||`), the compiler makes a dozen vector instructions of each.

use bytes::{BufMut, BytesMut};
use http::header::{GetAll, HeaderMap, HeaderName, HeaderValue};

/// Which bytes of a block are not in a class: a bit for each, the first in the lowest.
type Outside = fn([u8; 16]) -> u32;

macro_rules! outside {
    ($(#[$doc:meta])* $name:ident, |$byte:ident| $class:expr) => {
        $(#[$doc])*
        #[allow(clippy::needless_bitwise_bool, reason = "lazy ones would be branches")]
        #[inline(never)]
        pub(crate) fn $name(mut block: [u8; 16]) -> u32 {
            for byte in &mut block {
                let $byte = *byte;
                *byte = if $class { 0x00 } else { 0x80 };
            }
            top_bits(block)
        }
    };
}

/// The top bits of a block's bytes, which are all that is set in them, side by side.
#[inline]
fn top_bits(block: [u8; 16]) -> u32 {
    // Each top bit is moved to its place in the highest byte; none meets another on its way.
    let pack = |bytes: [u8; 8]| u64::from_le_bytes(bytes).wrapping_mul(0x0002_0408_1020_4081).to_le_bytes()[7];
    let (words, _) = block.as_chunks();
    u32::from(pack(words[0])) | u32::from(pack(words[1])) << 8
}

outside! {
    /// What is no `ALPHA / DIGIT / "_"`, the characters of a tag's name and value.
    no_tag_char, |byte| (byte | 0x20).is_ascii_lowercase() | byte.is_ascii_digit() | (byte == b'_')
}

outside! {
    /// What is no `lcalpha / DIGIT / "_" / "-" / "*" / "/" / "@"`, the characters of a tracestate key.
    no_key_char, |byte| byte.is_ascii_lowercase()
        | byte.is_ascii_digit()
        | (byte == b'_')
        | (byte == b'-')
        | (byte == b'*')
        | (byte == b'/')
        | (byte == b'@')
}

outside! {
    /// What is no `%x20-2B / %x2D-3C / %x3E-7E`, the characters of a tracestate value.
    no_value_char, |byte| matches!(byte, b' '..=b'~') & (byte != b',') & (byte != b'=')
}

/// `lcalpha / DIGIT`: what a tracestate key begins with.
pub(crate) const fn begins_key(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9')
}

/// Where the run of a class that starts at `start` ends.
#[inline]
pub(crate) fn run(bytes: &[u8], start: usize, outside: Outside) -> usize {
    Marks::from(bytes, start, outside).next()
}

/// The places of all bytes that are not in a class, from left to right, and then the end of the bytes.
pub(crate) struct Marks<'a> {
    bytes: &'a [u8],
    outside: Outside,
    /// Where the block begins that is read.
    at: usize,
    /// What is left of it.
    others: u32,
}

impl<'a> Marks<'a> {
    #[inline]
    pub(crate) fn from(bytes: &'a [u8], start: usize, outside: Outside) -> Self {
        Self { bytes, outside, at: start, others: outside(block(bytes, start)) }
    }

    /// The next place; after the end, it is some place past it.
    #[inline]
    pub(crate) fn next(&mut self) -> usize {
        while self.others == 0 {
            self.at += 16;
            self.others = (self.outside)(block(self.bytes, self.at));
        }
        let place = self.at + self.others.trailing_zeros() as usize;
        self.others &= self.others - 1;
        place
    }
}

/// The sixteen bytes from `at`; after the end stand zeros, which are in no class.
#[inline]
fn block(bytes: &[u8], at: usize) -> [u8; 16] {
    let rest = bytes.get(at..).unwrap_or_default();
    rest.first_chunk().copied().unwrap_or_else(|| last_block(rest))
}

/// Fewer than sixteen bytes, with zeros after them.
#[inline(never)]
fn last_block(rest: &[u8]) -> [u8; 16] {
    let block = match (rest.first_chunk(), rest.last_chunk()) {
        // The first eight and the last: where they overlap, they are the same.
        (Some(first), Some(last)) => {
            u128::from(u64::from_le_bytes(*first)) | u128::from(u64::from_le_bytes(*last)) << (8 * (rest.len() - 8))
        }
        _ => rest.iter().rev().fold(0, |block, &byte| block << 8 | u128::from(byte)),
    };
    block.to_le_bytes()
}

/// Decodes lowercase hexadecimal digits; `None` where one of them is something else.
#[inline]
pub(crate) fn decode_hex<const N: usize>(digits: &[[u8; 2]; N]) -> Option<[u8; N]> {
    let mut nibbles = [[0; 2]; N];
    let mut union = 0;
    for (nibble, &digit) in nibbles.as_flattened_mut().iter_mut().zip(digits.as_flattened()) {
        let (decimal, letter) = (digit.wrapping_sub(b'0'), digit.wrapping_sub(b'a'));
        *nibble = if decimal < 10 {
            decimal
        } else if letter < 6 {
            letter + 10
        } else {
            0xff
        };
        union |= *nibble;
    }
    let bytes = nibbles.map(|[high, low]| high << 4 | low);
    (union <= 0x0f).then_some(bytes)
}

/// The position of the first byte that is no lowercase hexadecimal digit.
pub(crate) fn first_non_hex(digits: &[u8]) -> Option<usize> {
    digits.iter().position(|byte| !matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Encodes bytes as lowercase hexadecimal digits.
#[inline]
pub(crate) fn encode_hex<const N: usize>(bytes: [u8; N]) -> [[u8; 2]; N] {
    let mut digits = bytes.map(|byte| [byte >> 4, byte & 0x0f]);
    for digit in digits.as_flattened_mut() {
        *digit += if *digit < 10 { b'0' } else { b'a' - 10 };
    }
    digits
}

/// Where the optional whitespace (`SP / HTAB`) that starts at `start` ends.
#[inline]
pub(crate) fn skip_blanks(bytes: &[u8], start: usize) -> usize {
    let mut end = start;
    while let Some(b' ' | b'\t') = bytes.get(end) {
        end += 1;
    }
    end
}

/// The value without the optional whitespace around it (RFC 9110, section 5.5).
#[inline]
pub(crate) fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// The lines of a list header were longer than allowed, together.
#[derive(Debug)]
pub(crate) struct TooLong;

/// All field lines of a list header as one value: in order, joined by commas, empty lines left out (RFC 9110,
/// section 5.3). One line is shared, not copied. Reads no further than `max` characters.
#[inline]
pub(crate) fn list_value(lines: &GetAll<'_, HeaderValue>, max: usize) -> Result<Option<HeaderValue>, TooLong> {
    let mut iter = lines.iter();
    let Some(first) = iter.next() else { return Ok(None) };
    if iter.next().is_none() {
        return if trim(first.as_bytes()).len() > max { Err(TooLong) } else { Ok(Some(trimmed(first))) };
    }
    join_lines(lines, max).map(Some)
}

/// The value without the optional whitespace around it: shared, where there is none.
#[inline]
pub(crate) fn trimmed(value: &HeaderValue) -> HeaderValue {
    let text = trim(value.as_bytes());
    if text.len() == value.len() {
        return value.clone();
    }
    // A part of a header value is one.
    HeaderValue::from_bytes(text).unwrap_or_else(|_| value.clone())
}

/// Removes a header. Where there are few, a look at their names costs less than finding out where one would be.
#[inline]
pub(crate) fn remove_header(headers: &mut HeaderMap, name: &HeaderName) {
    if headers.keys_len() > 8 || headers.keys().any(|other| other == name) {
        headers.remove(name);
    }
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
    // What came out of header values, with commas between, is a header value.
    HeaderValue::from_maybe_shared(joined.freeze()).map_err(|_| TooLong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;

    #[test]
    fn the_classes_are_those_of_the_grammars_in_every_place() {
        let key = |byte: u8| begins_key(byte) || b"_-*/@".contains(&byte);
        let value = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b',' && byte != b'=';
        let tag = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let grammars: [fn(u8) -> bool; 3] = [tag, key, value];
        let classes: [Outside; 3] = [no_tag_char, no_key_char, no_value_char];
        for (outside, grammar) in classes.into_iter().zip(grammars) {
            for byte in 0..=u8::MAX {
                for place in 0..16 {
                    for around in [0x00, b'a', 0x7f, 0x80, 0xff] {
                        let mut block = [around; 16];
                        block[place] = byte;
                        let bits = block.iter().rev().fold(0, |bits, &byte| bits << 1 | u32::from(!grammar(byte)));
                        assert_eq!(outside(block), bits, "{block:?}");
                    }
                }
            }
        }
        assert!((0..=u8::MAX).all(|byte| begins_key(byte) == (byte.is_ascii_digit() || byte.is_ascii_lowercase())));
    }

    #[test]
    fn marks_are_where_a_naive_reader_finds_them() {
        for length in 0..50 {
            for stop in 0..length {
                for byte in [b'=', b',', 0, 0xe9, b' '] {
                    let mut bytes = vec![b'x'; length];
                    bytes[stop] = byte;
                    bytes[length / 2] = b'=';
                    for start in 0..=length {
                        let naive = (start..length).filter(|&at| bytes[at] != b'x').chain([length]);
                        let mut marks = Marks::from(&bytes, start, no_tag_char);
                        for place in naive.clone() {
                            assert_eq!(marks.next(), place, "{bytes:?} from {start}");
                        }
                        assert!(marks.next() > length);
                        assert_eq!(Some(run(&bytes, start, no_tag_char)), naive.clone().next());
                    }
                }
            }
        }
        assert!(run(b"ab", 7, no_tag_char) >= 2, "past the end");
    }

    #[test]
    fn hex_is_decoded_and_encoded() {
        for byte in 0..=u8::MAX {
            let [digits] = encode_hex([byte]);
            assert_eq!(digits, format!("{byte:02x}").as_bytes());
            assert_eq!(decode_hex(&[digits]), Some([byte]));
            assert_eq!(decode_hex(&[*b"0f", digits, *b"a9"]), Some([0x0f, byte, 0xa9]));
            for digit in [[byte, b'0'], [b'0', byte]] {
                let is_digit = matches!(byte, b'0'..=b'9' | b'a'..=b'f');
                assert_eq!(decode_hex(&[digit; 16]).is_some(), is_digit, "{digit:?}");
            }
        }
    }

    #[test]
    fn lines_are_joined_in_order_without_empty_ones() {
        let join = |lines: &[&'static str], max| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("x", HeaderValue::from_static(line));
            }
            list_value(&headers.get_all("x"), max).map(|value| value.map(|value| value.to_str().unwrap().to_owned()))
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
