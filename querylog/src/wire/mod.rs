//! A record in JSON: as a line of a file, and in the exported form.

pub(crate) mod exported;
pub(crate) mod gap;
pub(crate) mod line;
