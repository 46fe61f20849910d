//! Whether the file is still where it was.

use std::path::{Path, PathBuf};

/// A file as it was when it was opened. SQLite goes on to write to one that is deleted, where nobody finds it.
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

    /// Where files that are open cannot be deleted.
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
