//! Files that only their owner and group can read, since records are about people.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// How long a file may be locked for another reason: for a moment, a program that is being started has all that its
/// parent had open, including a file that was closed meanwhile.
const PATIENCE: Duration = Duration::from_secs(1);

/// Returns options that create a file with mode 0640.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o640);
    options
}

/// Gives the mode to a file that existed already, too.
fn private(file: File) -> io::Result<File> {
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o640))?;
    Ok(file)
}

/// Creates a file for appending, which must not exist yet.
pub(crate) fn append_new(path: &Path) -> io::Result<File> {
    options().append(true).create_new(true).open(path)
}

/// Opens a file for appending, and creates it if it does not exist.
pub(crate) fn append(path: &Path) -> io::Result<File> {
    private(options().append(true).create(true).open(path)?)
}

/// Creates a file, or truncates it if it exists.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    private(options().write(true).create(true).truncate(true).open(path)?)
}

/// Opens a file for reading and writing, and creates it if it does not exist.
pub(crate) fn read_and_write(path: &Path) -> io::Result<File> {
    options().read(true).write(true).create(true).truncate(false).open(path)
}

/// Opens a file as [`read_and_write`], and locks it until it is dropped. If it is locked already, the error says `busy`.
pub(crate) fn lock(path: &Path, busy: &'static str) -> io::Result<File> {
    let file = read_and_write(path)?;
    let end = Instant::now() + PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < end => thread::sleep(Duration::from_millis(10)),
            Err(TryLockError::WouldBlock) => return Err(io::Error::new(io::ErrorKind::ResourceBusy, busy)),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// Creates a folder with mode 0750, and those above it, if they do not exist.
pub(crate) fn create_folder(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o750);
    builder.recursive(true).create(path)
}

/// Syncs a folder, so that the names in it survive a power cut.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}

/// Fails if a file that is open was deleted.
#[cfg(feature = "store")]
pub(crate) fn check_linked(file: &File) -> io::Result<()> {
    #[cfg(unix)]
    if std::os::unix::fs::MetadataExt::nlink(&file.metadata()?) == 0 {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the file was deleted"));
    }
    #[cfg(not(unix))]
    let _ = file;
    Ok(())
}

/// Gives a file that was created elsewhere its mode.
#[cfg(feature = "store")]
pub(crate) fn make_private(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o640))?;
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}
