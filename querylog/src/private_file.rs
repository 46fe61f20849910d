//! Files that their owner and group alone may read: records are about people, and not for everyone on the machine.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

/// Options for a file that is made with mode 0640.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o640);
    options
}

/// Makes a file that must not be there yet, to be appended to.
pub(crate) fn append_new(path: &Path) -> io::Result<File> {
    options().append(true).create_new(true).open(path)
}

/// Opens a file to be appended to, and makes it if it is not there.
pub(crate) fn append(path: &Path) -> io::Result<File> {
    options().append(true).create(true).open(path)
}

/// Makes a file, and empties one that is there.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    options().write(true).create(true).truncate(true).open(path)
}

/// Opens a file to be read and written, and makes it if it is not there.
pub(crate) fn read_and_write(path: &Path) -> io::Result<File> {
    options().read(true).write(true).create(true).truncate(false).open(path)
}

/// Makes the names in a folder safe from a power cut.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}
