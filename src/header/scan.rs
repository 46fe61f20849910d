//! Finds the bytes that are not in a byte class, sixteen bytes at a time.
//!
//! `memchr` searches for up to three given bytes; a class has dozens. A loop over single bytes would take a few lines,
//! but costs four times as many instructions: 23,600 instead of 5,700 for a `tracestate` of 32 members, and 53,900
//! instead of 13,950 for 25 tags of maximum size (`cd benches && cargo run --release -- --ours`).

/// Finds, from left to right, the index of each byte that is not in a class, and then the end of the bytes.
pub(super) struct Scanner<'a, C> {
    bytes: &'a [u8],
    class: C,
    /// The index of the block that is being read.
    at: usize,
    /// The bytes of that block that are not in the class, and were not returned yet: a bit each, the first the lowest.
    stops: u32,
}

impl<'a, C: Fn(u8) -> bool + Copy> Scanner<'a, C> {
    #[inline]
    pub(super) fn new(bytes: &'a [u8], start: usize, class: C) -> Self {
        Self { bytes, class, at: start, stops: not_in(class, block(bytes, start)) }
    }

    /// Returns the index of the next byte that is not in the class; `bytes.len()` if there is none. Every later call
    /// returns an index past the end, at which `bytes.get` finds nothing.
    #[inline]
    pub(super) fn next_stop(&mut self) -> usize {
        while self.stops == 0 {
            self.at += 16;
            self.stops = not_in(self.class, block(self.bytes, self.at));
        }
        let stop = self.at + self.stops.trailing_zeros() as usize;
        self.stops &= self.stops - 1;
        stop
    }
}

/// Returns the index of the first byte from `start` that is not in a class; the end of the bytes if all are.
#[inline]
pub(super) fn first_not_in(class: impl Fn(u8) -> bool + Copy, bytes: &[u8], start: usize) -> usize {
    Scanner::new(bytes, start, class).next_stop()
}

/// Returns a bit for each byte that is not in a class. A separate function, since the compiler then turns the loop into
/// a dozen vector instructions.
#[inline(never)]
fn not_in(class: impl Fn(u8) -> bool, mut block: [u8; 16]) -> u32 {
    for byte in &mut block {
        *byte = if class(*byte) { 0x00 } else { 0x80 };
    }
    movemask(block)
}

/// Collects the top bit of each byte, as the x86 instruction of that name does. No other bit may be set.
#[inline]
fn movemask(block: [u8; 16]) -> u32 {
    // The multiplication moves each top bit to its place in the highest byte; no two of them meet on the way.
    let pack = |bytes: [u8; 8]| u64::from_le_bytes(bytes).wrapping_mul(0x0002_0408_1020_4081).to_le_bytes()[7];
    let (words, _) = block.as_chunks();
    u32::from(pack(words[0])) | u32::from(pack(words[1])) << 8
}

/// Returns the sixteen bytes from `at`, filled up with zeros, which are in no class.
#[inline]
pub(super) fn block(bytes: &[u8], at: usize) -> [u8; 16] {
    let rest = bytes.get(at..).unwrap_or_default();
    rest.first_chunk().copied().unwrap_or_else(|| last_block(rest))
}

/// Fills up fewer than sixteen bytes with zeros.
#[inline(never)]
fn last_block(rest: &[u8]) -> [u8; 16] {
    let block = match (rest.first_chunk(), rest.last_chunk()) {
        // The first eight bytes and the last eight: where they overlap, they are the same.
        (Some(first), Some(last)) => {
            u128::from(u64::from_le_bytes(*first)) | u128::from(u64::from_le_bytes(*last)) << (8 * (rest.len() - 8))
        }
        _ => rest.iter().rev().fold(0, |block, &byte| block << 8 | u128::from(byte)),
    };
    block.to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::grammar::{is_key_char, is_key_start, is_tag_char, is_value_char};

    #[track_caller]
    fn check_class(class: impl Fn(u8) -> bool + Copy, grammar: impl Fn(u8) -> bool) {
        for byte in 0..=u8::MAX {
            assert_eq!(class(byte), grammar(byte), "{byte:#04x}");
            for place in 0..16 {
                for around in [0x00, b'a', 0x7f, 0x80, 0xff] {
                    let mut block = [around; 16];
                    block[place] = byte;
                    let bits = block.iter().rev().fold(0, |bits, &byte| bits << 1 | u32::from(!grammar(byte)));
                    assert_eq!(not_in(class, block), bits, "{block:?}");
                }
            }
        }
    }

    #[test]
    fn classes_match_their_grammars_in_every_place() {
        let key_start = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9');
        check_class(is_tag_char, |byte| matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_'));
        check_class(is_key_start, key_start);
        check_class(is_key_char, |byte| key_start(byte) || b"_-*/@".contains(&byte));
        check_class(is_value_char, |byte| (b' '..=b'~').contains(&byte) && byte != b',' && byte != b'=');
    }

    #[test]
    fn stops_are_where_a_naive_reader_finds_them() {
        for length in 0..50 {
            for stop in 0..length {
                for byte in [b'=', b',', 0, 0xe9, b' '] {
                    let mut bytes = vec![b'x'; length];
                    bytes[stop] = byte;
                    bytes[length / 2] = b'=';
                    for start in 0..=length {
                        let naive = (start..length).filter(|&at| bytes[at] != b'x').chain([length]);
                        let mut scanner = Scanner::new(&bytes, start, is_tag_char);
                        for stop in naive.clone() {
                            assert_eq!(scanner.next_stop(), stop, "{bytes:?} from {start}");
                        }
                        assert!(scanner.next_stop() > length);
                        assert_eq!(Some(first_not_in(is_tag_char, &bytes, start)), naive.clone().next());
                    }
                }
            }
        }
        assert!(first_not_in(is_tag_char, b"ab", 7) >= 2, "past the end");
    }
}
