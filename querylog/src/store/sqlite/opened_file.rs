//! Whether the file is still in its place: [`OpenedFile`].

use std::path::{Path, PathBuf};

/// A file that was opened. SQLite continues to write to a file that was deleted, where nobody finds the data.
pub(super) struct OpenedFile {
    path: PathBuf,
    #[cfg(unix)]
    identity: Option<(u64, u64)>,
}

impl OpenedFile {
    #[cfg(unix)]
    pub(super) fn now(path: &Path) -> Self {
        Self { path: path.to_owned(), identity: identity(path) }
    }

    #[cfg(unix)]
    pub(super) fn is_where_it_was(&self) -> bool {
        identity(&self.path) == self.identity
    }

    #[cfg(not(unix))]
    pub(super) fn now(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Open files cannot be deleted on this system.
    #[cfg(not(unix))]
    pub(super) fn is_where_it_was(&self) -> bool {
        true
    }
}

#[cfg(unix)]
fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}
