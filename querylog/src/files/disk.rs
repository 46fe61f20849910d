//! What the writer needs of a disk. A folder is one; tests have others, which fail.

use std::io;

use crate::model::time::Timestamp;

/// Where the files of a log are.
pub(crate) trait Disk: Send {
    /// Creates the file that is written from now on, and makes its name safe if `synced`.
    fn create(&mut self, start: Timestamp, synced: bool) -> io::Result<Box<dyn DiskFile>>;

    /// The file that was written is whole, and no file is being written.
    fn rolled(&mut self);

    /// The log is closed, and has everything it should.
    fn stopped(&mut self) -> io::Result<()>;
}

/// A file that is being written.
pub(crate) trait DiskFile: Send {
    /// Hands bytes to the operating system.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Returns when the bytes are on the disk.
    fn sync(&mut self) -> io::Result<()>;

    /// Takes back what is after this many bytes.
    fn cut(&mut self, length: u64) -> io::Result<()>;

    /// What others did to the file meanwhile.
    fn place(&self) -> io::Result<Place>;
}

/// Where the file is that is being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Where it was created.
    Kept,
    /// Elsewhere.
    Moved,
    /// It has no name any more, and what is in it is lost.
    Deleted,
}
