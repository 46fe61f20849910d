//! A value as a line of JSON, without characters that a terminal obeys.

use std::fmt;
use std::io;

use memchr::memchr;
use serde::Serialize;

use crate::model::printable::obeyed_by_terminals;

/// Appends a value as a line, with a line feed.
pub(crate) fn write_line(value: &impl Serialize, line: &mut Vec<u8>) -> io::Result<()> {
    let start = line.len();
    serde_json::to_writer(&mut *line, value)?;
    escape(line, start);
    line.push(b'\n');
    Ok(())
}

/// Escapes the characters from `start` that a terminal obeys and JSON does not escape. In JSON, they occur only in
/// strings.
fn escape(line: &mut Vec<u8>, start: usize) {
    // Below 0x7f, JSON escapes all of them.
    if line[start..].is_ascii() && memchr(0x7f, &line[start..]).is_none() {
        return;
    }
    let json = String::from_utf8_lossy(&line[start..]).into_owned();
    line.truncate(start);
    for char in json.chars() {
        if obeyed_by_terminals(char) {
            for unit in char.encode_utf16(&mut [0; 2]) {
                line.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
            }
        } else {
            line.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}

/// Writes a line for `Display`, without its line feed.
pub(crate) fn show(f: &mut fmt::Formatter<'_>, write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> fmt::Result {
    let mut line = Vec::new();
    write(&mut line).map_err(|_| fmt::Error)?;
    f.write_str(str::from_utf8(&line).map_err(|_| fmt::Error)?.trim_end_matches('\n'))
}
