//! A destination: a folder of files, which are rolled, compressed, kept, and read back.

mod disk;
mod file_name;
mod folder;
mod keeper;
mod lines;
mod log_files;
#[cfg(test)]
pub(crate) mod memory;
mod options;
mod reader;
mod sink;
#[cfg(test)]
mod tests;

pub use self::log_files::LogFiles;
pub use self::options::{Keep, LineFormat, Roll};
pub use self::reader::{Entry, ForeignLine, LogReader};
