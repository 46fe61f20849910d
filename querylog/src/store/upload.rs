//! Objects that are written in parts.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use object_store::{MultipartUpload, ObjectStoreExt};

use crate::private_file;
use crate::store::{Objects, StoreError};

impl Objects {
    /// Starts writing an object. A file has mode 0640 before it has a byte, in a folder of mode 0750.
    pub(crate) async fn start(&self, path: &object_store::path::Path) -> Result<Box<dyn MultipartUpload>, StoreError> {
        let file = self.file(path);
        if let Some(folder) = file.as_deref().and_then(Path::parent) {
            private_file::create_folder(folder).map_err(StoreError::failed)?;
        }
        let upload = self.store.put_multipart(path).await.map_err(StoreError::failed)?;
        for staged in file.map_or(Ok(Vec::new()), |file| staged(&file)).map_err(StoreError::failed)? {
            private_file::make_private(&staged).map_err(StoreError::failed)?;
        }
        Ok(upload)
    }

    /// Deletes what a crash left of writing an object.
    pub(crate) fn clear(&self, path: &object_store::path::Path) -> io::Result<()> {
        let Some(file) = self.file(path) else { return Ok(()) };
        staged(&file)?.iter().try_for_each(|staged| match fs::remove_file(staged) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        })
    }

    /// Returns the file of an object, if objects are files.
    fn file(&self, path: &object_store::path::Path) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.join(path.as_ref()))
    }
}

/// Returns what is being written of a file: it has its name, then `#` and a number, until it is whole.
fn staged(file: &Path) -> io::Result<Vec<PathBuf>> {
    let (Some(folder), Some(name)) = (file.parent(), file.file_name()) else { return Ok(Vec::new()) };
    let start = format!("{}#", name.to_string_lossy());
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(&start) {
            files.push(entry.path());
        }
    }
    Ok(files)
}
