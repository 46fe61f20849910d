//! A destination: a folder of files, which are rolled, compressed, kept, and read back.

mod disk;
mod file_name;
mod folder;
mod keeper;
mod lines;
pub(crate) mod log_files;
pub(crate) mod options;
pub(crate) mod reader;
mod sink;
#[cfg(test)]
mod tests;
