//! Lowercase hexadecimal digits.

use super::grammar::is_hex_digit;

/// Decodes pairs of digits; `None` if one of them is not a lowercase hexadecimal digit.
#[inline]
pub(super) fn decode<const N: usize>(digits: &[[u8; 2]; N]) -> Option<[u8; N]> {
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

/// Returns the index of the first byte that is not a lowercase hexadecimal digit.
pub(super) fn first_invalid(digits: &[u8]) -> Option<usize> {
    digits.iter().position(|&byte| !is_hex_digit(byte))
}

/// Encodes bytes as pairs of digits.
#[inline]
pub(super) fn encode<const N: usize>(bytes: [u8; N]) -> [[u8; 2]; N] {
    let mut digits = bytes.map(|byte| [byte >> 4, byte & 0x0f]);
    for digit in digits.as_flattened_mut() {
        *digit += if *digit < 10 { b'0' } else { b'a' - 10 };
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_decoded_and_encoded() {
        for byte in 0..=u8::MAX {
            let [digits] = encode([byte]);
            assert_eq!(digits, format!("{byte:02x}").as_bytes());
            assert_eq!(decode(&[digits]), Some([byte]));
            assert_eq!(decode(&[*b"0f", digits, *b"a9"]), Some([0x0f, byte, 0xa9]));
            for digit in [[byte, b'0'], [b'0', byte]] {
                assert_eq!(decode(&[digit; 16]).is_some(), is_hex_digit(byte), "{digit:?}");
                assert_eq!(first_invalid(&digit).is_none(), is_hex_digit(byte), "{digit:?}");
            }
        }
    }
}
