//! The JSON of records and gaps: lines of files, and the exported form.

pub(crate) mod exported;
pub(crate) mod gap;
pub(crate) mod hex;
pub(crate) mod json;
pub(crate) mod json_writer;
pub(crate) mod line;
pub(crate) mod members;
pub(crate) mod stats;
