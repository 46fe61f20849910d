//! A destination: a folder of files, which are rolled, compressed, kept, and read back.

mod disk;
mod entry;
mod file_name;
mod folder;
mod keeper;
mod lines;
mod log_files;
#[cfg(test)]
pub(crate) mod memory;
mod options;
mod read_lines;
mod reader;
mod rotation;
mod sink;
#[cfg(test)]
mod tests;
mod to_read;
mod wrapped;

pub use self::entry::{Entry, ForeignLine};
pub use self::log_files::LogFiles;
pub use self::options::{Keep, LineFormat, Roll};
pub use self::reader::LogReader;
