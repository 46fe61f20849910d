//! What happens to files that are rolled: they are compressed, and deleted in time. A thread of its own does it, so that
//! the writer does not wait.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::SystemTime;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::files::file_name::LogFile;
use crate::files::options::Keep;
use crate::model::time::Timestamp;
use crate::private_file;

/// The thread that looks after a folder. Dropping this waits until it has stopped, so that a folder never has two.
pub(crate) struct Keeper(Option<Running>);

struct Running {
    looks: Sender<Look>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

struct Look {
    folder: PathBuf,
    /// Files that start earlier are whole.
    before: Timestamp,
}

impl Keeper {
    /// Starts the thread, unless there is nothing to do. `full` is the size at which files are rolled.
    pub(crate) fn start(gzip: bool, keep: Keep, full: u64) -> io::Result<Self> {
        if !gzip && keep == Keep::all() {
            return Ok(Self(None));
        }
        let (looks, receiver) = channel();
        let stop = Arc::<AtomicBool>::default();
        let work = Work { gzip, keep, full, stop: Arc::clone(&stop) };
        let thread = thread::Builder::new().name("querylog-keeper".into()).spawn(move || work.run(&receiver))?;
        Ok(Self(Some(Running { looks, stop, thread })))
    }

    /// Has the files looked after that start `before`, and returns at once.
    pub(crate) fn look(&self, folder: &Path, before: Timestamp) {
        if let Some(running) = &self.0 {
            // The thread ends with its sender, not before.
            let _ = running.looks.send(Look { folder: folder.to_owned(), before });
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Some(Running { looks, stop, thread }) = self.0.take() {
            stop.store(true, Relaxed);
            drop(looks);
            let _ = thread.join();
        }
    }
}

struct Work {
    gzip: bool,
    keep: Keep,
    full: u64,
    stop: Arc<AtomicBool>,
}

impl Work {
    fn run(&self, looks: &Receiver<Look>) {
        while let Ok(first) = looks.recv() {
            // The last one sees everything that those before it would.
            let look = looks.try_iter().last().unwrap_or(first);
            match self.look_after(&look) {
                Err(error) if !self.stop.load(Relaxed) => {
                    let folder = look.folder.display();
                    tracing::error!(%error, %folder, "query log: failed to compress or delete rolled files");
                }
                _ => {}
            }
        }
    }

    fn look_after(&self, look: &Look) -> io::Result<()> {
        if self.gzip {
            for file in LogFile::list(&look.folder)?.iter().filter(|file| file.start < look.before) {
                if file.gzip {
                    // Plain and compressed are both there if the process died before the last step.
                    remove_if_there(&file.path.with_extension(""))?;
                } else {
                    self.compress(&file.path, &look.folder)?;
                }
            }
        }
        delete(look, self.keep, self.full)
    }

    /// Replaces a file with its compressed form, in such an order that the lines are there at every moment.
    fn compress(&self, plain: &Path, folder: &Path) -> io::Result<()> {
        let mut source = File::open(plain)?;
        let unfinished = plain.with_extension("jsonl.gz.tmp");
        let mut encoder = GzEncoder::new(private_file::create(&unfinished)?, Compression::default());
        while io::copy(&mut Read::by_ref(&mut source).take(64 << 10), &mut encoder)? > 0 {
            if self.stop.load(Relaxed) {
                // The next process that opens the log does it.
                return fs::remove_file(&unfinished);
            }
        }
        let target = encoder.finish()?;
        // Its age is that of its last record.
        target.set_modified(source.metadata()?.modified()?)?;
        target.sync_all()?;
        fs::rename(&unfinished, plain.with_extension("jsonl.gz"))?;
        private_file::sync_folder(folder)?;
        fs::remove_file(plain)
    }
}

/// Deletes what is not kept. The file that is being written, or will be, counts as a full one.
fn delete(look: &Look, keep: Keep, full: u64) -> io::Result<()> {
    let now = SystemTime::now();
    let (mut files, mut bytes) = (1, full);
    for file in LogFile::list(&look.folder)?.iter().rev().filter(|file| file.start < look.before) {
        // Another process may have deleted it.
        let Ok(about) = fs::metadata(&file.path) else { continue };
        files += 1;
        bytes = bytes.saturating_add(about.len());
        let age = about.modified().ok().and_then(|modified| now.duration_since(modified).ok()).unwrap_or_default();
        let is_over = keep.files.is_some_and(|limit| files > limit)
            || keep.bytes.is_some_and(|limit| bytes > limit)
            || keep.age.is_some_and(|limit| age > limit);
        if is_over {
            remove_if_there(&file.path)?;
            let name = file.path.to_string_lossy();
            remove_if_there(Path::new(&format!("{}.torn", name.trim_end_matches(".gz"))))?;
        }
    }
    Ok(())
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
