//! Bytes: the character classes of the three header grammars, hexadecimal digits, optional whitespace, and lists
//! that arrive in several field lines.
//!
//! The hot classes are tested eight bytes at a time, in one `u64` whose bytes are lanes: adding `0x80 - low` to a
//! lane sets its top bit where the byte is at least `low`, adding `0x7f - high` where it is above `high`. Lanes are
//! below `0x80` when they are added to (a byte above ASCII is refused by its own top bit), so no lane carries into
//! the next.

use bytes::{BufMut, BytesMut};
use http::HeaderValue;
use http::header::GetAll;

/// One byte value in every lane.
const fn lanes(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

const TOP: u64 = lanes(0x80);
const LOW_BITS: u64 = lanes(0x7f);

/// The top bit of each lane that lies in `low..=high`; lanes above ASCII are left to [`ascii`].
const fn range(word: u64, low: u8, high: u8) -> u64 {
    let word = word & LOW_BITS;
    (word + lanes(0x80 - low)) & !(word + lanes(0x7f - high))
}

/// The top bit of each lane that equals `byte`.
const fn equal(word: u64, byte: u8) -> u64 {
    !(((word ^ lanes(byte)) & LOW_BITS) + LOW_BITS)
}

/// The top bits of `class`, in the lanes of `word` that are ASCII.
const fn ascii(word: u64, class: u64) -> u64 {
    class & !word & TOP
}

/// `ALPHA / DIGIT / "_"`, the characters of a tag's name and value.
const fn tag_char(word: u64) -> u64 {
    ascii(word, range(word | lanes(0x20), b'a', b'z') | range(word, b'0', b'9') | equal(word, b'_'))
}

/// `%x61-66 / DIGIT`, the lowercase hexadecimal digits.
const fn hex_digit(word: u64) -> u64 {
    ascii(word, range(word, b'0', b'9') | range(word, b'a', b'f'))
}

/// Up to eight bytes from `at`, the first in the lowest lane; lanes past the end are zero, which is in no class.
#[inline]
fn load(bytes: &[u8], at: usize) -> u64 {
    if let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        return u64::from_le_bytes(*chunk);
    }
    let rest = bytes.get(at..).unwrap_or_default();
    match bytes.last_chunk::<8>() {
        // The last eight bytes, moved down by those that stand before `at`.
        Some(chunk) if !rest.is_empty() => u64::from_le_bytes(*chunk) >> (8 * (8 - rest.len())),
        _ => rest.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte)),
    }
}

/// A run of tag characters: where it ends, and a hash of what it holds.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    pub(crate) end: usize,
    pub(crate) hash: u64,
}

/// The longest run of `ALPHA / DIGIT / "_"` that starts at `start`.
#[inline]
pub(crate) fn tag_run(bytes: &[u8], start: usize) -> Run {
    let mut end = start;
    let mut hash = 0_u64;
    loop {
        let word = load(bytes, end);
        let others = tag_char(word) ^ TOP;
        if others == 0 {
            hash = mix(hash, word);
            end += 8;
            continue;
        }
        let bits = others.trailing_zeros() & !7;
        hash = mix(hash, word & !(u64::MAX << bits));
        return Run { end: end + bits as usize / 8, hash };
    }
}

const fn mix(hash: u64, word: u64) -> u64 {
    (hash.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Decodes `2 * N` lowercase hexadecimal digits, or nothing where one of them is something else.
#[inline]
pub(crate) fn decode_hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if digits.len() != 2 * N {
        return None;
    }
    let mut valid = TOP;
    for (four, digits) in bytes.chunks_mut(4).zip(digits.chunks(8)) {
        let word = load(digits, 0);
        // Lanes that hold no digit, because there are fewer than eight, are not asked.
        let wanted = u64::MAX >> (8 * (8 - digits.len()));
        valid &= hex_digit(word) | !wanted;
        // A letter's low four bits count from 1, and bit 6 tells it from a digit.
        let nibbles = (word & lanes(0x0f)) + ((word >> 6) & lanes(1)) * 9;
        let pairs = (nibbles << 4 | nibbles >> 8) & 0x00ff_00ff_00ff_00ff;
        let quads = (pairs | pairs >> 8) & 0x0000_ffff_0000_ffff;
        let packed = (quads | quads >> 16).to_le_bytes();
        four.copy_from_slice(packed.get(..four.len())?);
    }
    (valid == TOP).then_some(bytes)
}

/// The position of the first byte that is no lowercase hexadecimal digit.
pub(crate) fn first_non_hex(digits: &[u8]) -> Option<usize> {
    digits.iter().position(|byte| !matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

const HEX_PAIRS: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [digits[byte >> 4], digits[byte & 0x0f]];
        byte += 1;
    }
    pairs
};

/// Writes `bytes` as lowercase hexadecimal digits; `digits` is twice as long.
#[inline]
pub(crate) fn encode_hex(bytes: &[u8], digits: &mut [u8]) {
    for (&byte, pair) in bytes.iter().zip(digits.as_chunks_mut::<2>().0) {
        *pair = HEX_PAIRS[byte as usize];
    }
}

/// A set of byte values, written as its grammar.
pub(crate) struct Class([bool; 256]);

macro_rules! class {
    ($($pattern:pat_param)|+) => {{
        let mut members = [false; 256];
        let mut byte = 0_u8;
        loop {
            members[byte as usize] = matches!(byte, $($pattern)|+);
            if byte == u8::MAX {
                break Class(members);
            }
            byte += 1;
        }
    }};
}

/// `lcalpha / DIGIT`: what a tracestate key begins with.
pub(crate) static KEY_START: Class = class!(b'a'..=b'z' | b'0'..=b'9');
/// `lcalpha / DIGIT / "_" / "-" / "*" / "/" / "@"`: the rest of a tracestate key.
pub(crate) static KEY_CHAR: Class = class!(b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/' | b'@');
/// `%x20-2B / %x2D-3C / %x3E-7E`: a tracestate value, blanks included.
pub(crate) static VALUE_CHAR: Class = class!(b' '..=b'+' | b'-'..=b'<' | b'>'..=b'~');
/// `SP / HTAB`: HTTP's optional whitespace.
pub(crate) static BLANK: Class = class!(b' ' | b'\t');

impl Class {
    #[inline]
    pub(crate) const fn has(&self, byte: u8) -> bool {
        self.0[byte as usize]
    }

    /// Where the run of this class that starts at `start` ends.
    #[inline]
    pub(crate) fn run(&self, bytes: &[u8], start: usize) -> usize {
        let rest = bytes.get(start..).unwrap_or_default();
        start + rest.iter().position(|&byte| !self.has(byte)).unwrap_or(rest.len())
    }
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
/// section 5.3). One line is taken as it is, without a copy. Reads no further than `max` characters.
#[inline]
pub(crate) fn list_value(lines: &GetAll<'_, HeaderValue>, max: usize) -> Result<Option<HeaderValue>, TooLong> {
    let mut iter = lines.iter();
    let Some(first) = iter.next() else { return Ok(None) };
    if iter.next().is_none() && trim(first.as_bytes()).len() == first.len() {
        return if first.len() > max { Err(TooLong) } else { Ok(Some(first.clone())) };
    }
    join_lines(lines, max).map(Some)
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
    fn the_word_classes_agree_with_their_grammars_in_every_lane() {
        for byte in 0..=u8::MAX {
            for lane in 0..8 {
                // Neighbours of the extreme values show that no lane carries into another.
                for around in [0x00, b'a', 0x7f, 0xff] {
                    let mut bytes = [around; 8];
                    bytes[lane] = byte;
                    let word = u64::from_le_bytes(bytes);
                    let bit = |class: u64| class >> (8 * lane + 7) & 1 == 1;
                    assert_eq!(bit(tag_char(word)), byte.is_ascii_alphanumeric() || byte == b'_', "{bytes:?}");
                    assert_eq!(bit(hex_digit(word)), matches!(byte, b'0'..=b'9' | b'a'..=b'f'), "{bytes:?}");
                    assert_eq!(tag_char(word) & !TOP, 0);
                }
            }
        }
    }

    #[test]
    fn a_run_ends_where_a_naive_reader_ends_it() {
        for length in 0..40 {
            for stop in 0..length {
                for byte in [b'=', b',', 0, 0xe9, b' '] {
                    let mut bytes = vec![b'x'; length];
                    bytes[stop] = byte;
                    for start in 0..=length {
                        let end = if start <= stop { stop } else { length };
                        assert_eq!(tag_run(&bytes, start).end, end, "{bytes:?} from {start}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_hash_depends_on_the_run_alone() {
        let hash = |bytes: &[u8], start| tag_run(bytes, start).hash;
        for name in ["a", "abcdefg", "abcdefgh", "abcdefghi", "abcdefghijklmnopq"] {
            let alone = hash(name.as_bytes(), 0);
            assert_eq!(hash(format!("{name}=b").as_bytes(), 0), alone);
            assert_eq!(hash(format!("x,{name}=bbbbbbbbbbbbbbbb").as_bytes(), 2), alone);
            assert_ne!(hash(format!("{name}a").as_bytes(), 0), alone);
        }
    }

    #[test]
    fn hex_is_decoded_and_encoded() {
        assert_eq!(decode_hex::<8>(b"00f067aa0ba902b7"), Some([0, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]));
        for byte in 0..=u8::MAX {
            let mut digits = [0; 2];
            encode_hex(&[byte], &mut digits);
            assert_eq!(digits, format!("{byte:02x}").as_bytes());
            assert_eq!(decode_hex::<1>(&digits), Some([byte]));
        }
        for bad in [b"0" as &[u8], b"", b"000", b"0G", b"F0", b"+1", b" 1"] {
            assert_eq!(decode_hex::<1>(bad), None, "{bad:?}");
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
