//! Text of callers, made harmless where it is shown.

/// Whether terminals, or programs that read lines, may obey this character instead of showing it: control characters
/// of ASCII and of Latin-1, separators of lines and paragraphs, and what changes the direction of writing.
pub(crate) fn obeyed_by_terminals(char: char) -> bool {
    matches!(
        char,
        '\0'..='\x1f'
            | '\x7f'..='\u{9f}'
            | '\u{61c}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{feff}'
    )
}
