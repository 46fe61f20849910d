//! Text from callers, escaped for display.

use std::borrow::Cow;

/// Escapes the characters that a terminal obeys, so that text from callers can be shown: `\u{1b}[31m` instead of red
/// text.
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

/// Returns whether terminals, or programs that read lines, may obey this character instead of showing it: control
/// characters of ASCII and Latin-1, line and paragraph separators, and marks that change the direction of text.
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
