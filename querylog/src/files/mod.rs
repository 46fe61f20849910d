//! A log in files: rolled, compressed, kept, read back.

pub(crate) mod disk;
pub(crate) mod folder;
pub(crate) mod keeper;
pub(crate) mod reader;
pub(crate) mod rolling;
pub(crate) mod settings;
#[cfg(test)]
mod tests;
