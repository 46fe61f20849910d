//! A record in JSON: as a line of a file, and in the exported form.

#[cfg(feature = "store")]
pub(crate) mod details;
pub(crate) mod exported;
pub(crate) mod gap;
pub(crate) mod line;
