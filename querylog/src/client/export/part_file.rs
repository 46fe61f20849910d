//! The temporary file of a download.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::private_file;

/// A file that is removed when this is dropped, unless it was renamed.
pub(super) struct PartFile(PathBuf);

impl PartFile {
    /// Creates a file next to this path, with a unique name.
    pub(super) fn create_next_to(path: &Path) -> io::Result<(Self, File)> {
        let mut part = path.to_owned().into_os_string();
        part.push(format!(".{}.part", Uuid::new_v4()));
        let part = PathBuf::from(part);
        let file = private_file::append_new(&part)?;
        Ok((Self(part), file))
    }

    /// Renames the file, unless there is a file at this path already.
    pub(super) fn rename(&self, path: &Path) -> io::Result<()> {
        match std::fs::hard_link(&self.0, path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {}
            linked => return linked,
        }
        // The file system has no hard links: between the check and the rename, another process may create the file.
        if path.symlink_metadata().is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        std::fs::rename(&self.0, path)
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        // After a rename, there is nothing to remove.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_file_is_removed_unless_it_is_renamed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logs.jsonl.gz");
        drop(PartFile::create_next_to(&path).unwrap());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let (part, _) = PartFile::create_next_to(&path).unwrap();
        part.rename(&path).unwrap();
        drop(part);
        assert!(path.exists());
        let (second, _) = PartFile::create_next_to(&path).unwrap();
        assert_eq!(second.rename(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        drop(second);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn part_file_is_private_to_owner_and_group() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let (_part, file) = PartFile::create_next_to(&folder.path().join("logs.jsonl.gz")).unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o137, 0, "no more than 0640");
    }
}
