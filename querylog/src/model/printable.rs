//! Text of callers, made harmless where it is shown.

use std::borrow::Cow;

/// A text with what a terminal obeys escaped, for people: `\u{1b}[31m` and not what it does.
///
/// ```
/// assert_eq!(tagtrail_querylog::record::printable("a\u{1b}[31m\nb"), "a\\u{1b}[31m\\u{a}b");
/// ```
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.contains(obeyed_by_terminals) {
        let escape =
            |char: char| if obeyed_by_terminals(char) { char.escape_unicode().to_string() } else { char.into() };
        Cow::Owned(text.chars().map(escape).collect())
    } else {
        Cow::Borrowed(text)
    }
}

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
