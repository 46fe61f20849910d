//! A value as a line of JSON, without characters that a terminal obeys.

use std::fmt;
use std::io;

use serde::Serialize;

use crate::wire::json_writer::JsonWriter;

/// Appends a value as a line, with a line feed.
pub(crate) fn write_line(value: &impl Serialize, line: &mut Vec<u8>) -> io::Result<()> {
    value.serialize(JsonWriter(line))?;
    line.push(b'\n');
    Ok(())
}

/// Writes a line for `Display`, without its line feed.
pub(crate) fn show(f: &mut fmt::Formatter<'_>, write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> fmt::Result {
    let mut line = Vec::new();
    write(&mut line).map_err(|_| fmt::Error)?;
    f.write_str(str::from_utf8(&line).map_err(|_| fmt::Error)?.trim_end_matches('\n'))
}
