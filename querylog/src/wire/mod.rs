//! A record in JSON: as a line of a file, and in the exported form.

pub(crate) mod exported;
pub(crate) mod gap;
pub(crate) mod json;
pub(crate) mod line;
pub(crate) mod members;
pub(crate) mod stats;
