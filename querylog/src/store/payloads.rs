//! Long values of records in an object store: [`Payloads`].
//!
//! The object of a value exists before its row does, and never changes: each record that is put gets a new name. A
//! crash may leave objects without a row, which are swept.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::stream::{self, StreamExt, TryStreamExt};
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use uuid::Uuid;

use crate::model::audit_record::AuditRecord;
use crate::private_file;
use crate::store::{Members, Objects, Row, Store, StoreError};

/// How many objects one call writes or reads at a time.
const AT_A_TIME: usize = 8;
/// How long writing an object may take, with all retries.
const PUT: Duration = Duration::from_secs(60);
/// How long reading an object may take, with all retries.
const GET: Duration = Duration::from_secs(30);
/// How long a process has the sweep without renewing the claim.
const CLAIM: Duration = Duration::from_secs(300);
/// How many objects a store is asked about at a time.
const SWEPT: usize = 500;

/// An object store for long values: `stdout`, `stderr` and `udf_data` of 102,400 bytes or more.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let (path, payloads) = (folder.path().join("audit.db"), folder.path().join("payloads"));
/// use tagtrail_querylog::AuditLog;
/// use tagtrail_querylog::store::{Payloads, Sqlite};
///
/// let log = AuditLog::new(Sqlite::open(path)?).payloads(Payloads::folder(payloads)?);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Payloads {
    objects: Arc<dyn ObjectStore>,
    /// The folder that they are in, if they are files.
    folder: Option<PathBuf>,
    at_least: usize,
}

impl Payloads {
    /// Keeps long values in an object store.
    pub fn new(objects: impl Into<Objects>) -> Self {
        let Objects { store, prefix, folder, .. } = objects.into();
        let folder = folder.map(|folder| folder.join(prefix.as_ref()));
        Self { objects: Arc::new(PrefixStore::new(store, prefix)), folder, at_least: 102_400 }
    }

    /// Keeps long values in a folder, which is created if it does not exist. Files are on disk before their rows are.
    ///
    /// # Errors
    ///
    /// If the folder cannot be created.
    pub fn folder(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Objects::folder(path).map(Self::new)
    }

    /// Keeps long values where a URL or a path points to, as [`Objects::at`] does.
    ///
    /// # Errors
    ///
    /// As [`Objects::at`].
    pub fn at(location: &str) -> Result<Self, StoreError> {
        Objects::at(location).map(Self::new)
    }

    /// Sets the minimum size of a long value, in bytes of UTF-8; 102,400 by default.
    pub fn at_least(self, bytes: usize) -> Self {
        Self { at_least: bytes, ..self }
    }

    /// Whether a row has values that [`take_out`](Self::take_out) moves.
    pub(crate) fn moves(&self, row: &Row) -> bool {
        long_members(&row.record).any(|text| text.len() >= self.at_least)
    }

    /// Moves the long values of rows to the object store. If this fails, some are moved, and a second call moves the
    /// others.
    pub(crate) async fn take_out(&self, rows: &mut [Row]) -> Result<(), StoreError> {
        let taking: Vec<_> = rows.iter_mut().filter(|row| self.moves(row)).map(|row| self.take_out_of(row)).collect();
        let mut taken = stream::iter(taking).buffer_unordered(AT_A_TIME);
        let mut result = Ok(());
        while let Some(row) = taken.next().await {
            result = result.and(row);
        }
        result
    }

    async fn take_out_of(&self, row: &mut Row) -> Result<(), StoreError> {
        // The row has the name while this waits, since it may be cancelled then.
        let (name, members) = row.object.get_or_insert_with(|| (Uuid::now_v7().to_string(), Members::default()));
        let mut result = Ok(());
        for (member, value, is_out) in members_of(&mut row.record, members) {
            if value.as_ref().is_some_and(|text| text.len() >= self.at_least) {
                // A copy, so that the value is not lost if this fails.
                let copy = PutPayload::from(value.clone().unwrap_or_default().into_bytes());
                match self.put(&path(name, member), copy).await {
                    Ok(()) => (*value, *is_out) = (None, true),
                    Err(error) => result = Err(error),
                }
            }
        }
        row.object.take_if(|(_, members)| *members == Members::default());
        result
    }

    /// Writes an object, within [`PUT`]. A file has mode 0640, in a folder of mode 0750.
    async fn put(&self, path: &object_store::path::Path, value: PutPayload) -> Result<(), StoreError> {
        let file = self.folder.as_ref().map(|folder| folder.join(path.as_ref()));
        if let Some(folder) = file.as_deref().and_then(Path::parent) {
            private_file::create_folder(folder).map_err(StoreError::failed)?;
        }
        let put = tokio::time::timeout(PUT, self.objects.put(path, value)).await;
        put.map_err(|_| StoreError::Overloaded)?.map_err(StoreError::failed)?;
        file.map_or(Ok(()), |file| private_file::make_private(&file).map_err(StoreError::failed))
    }

    /// Reads the long values back into their records. A value that is missing stays null, which is logged.
    pub(crate) async fn put_back(&self, rows: Vec<Row>) -> Result<Vec<AuditRecord>, StoreError> {
        stream::iter(rows).map(|row| self.put_back_into(row)).buffered(AT_A_TIME).try_collect().await
    }

    async fn put_back_into(&self, row: Row) -> Result<AuditRecord, StoreError> {
        let mut record = row.record;
        let Some((name, mut members)) = row.object else { return Ok(record) };
        for (member, value, is_out) in members_of(&mut record, &mut members) {
            if *is_out {
                *value = self.read(&name, member).await?;
            }
        }
        Ok(record)
    }

    async fn read(&self, name: &str, member: &str) -> Result<Option<String>, StoreError> {
        let path = path(name, member);
        let found = async { self.objects.get(&path).await?.bytes().await };
        match tokio::time::timeout(GET, found).await.map_err(|_| StoreError::Overloaded)? {
            Ok(bytes) => {
                let text = String::from_utf8(bytes.into());
                if text.is_err() {
                    tracing::error!(
                        object = name,
                        member,
                        "audit log: a long value is not valid UTF-8; returning null"
                    );
                }
                Ok(text.ok())
            }
            Err(object_store::Error::NotFound { .. }) => {
                tracing::error!(object = name, member, "audit log: a long value is missing; returning null");
                Ok(None)
            }
            Err(error) => Err(StoreError::failed(error)),
        }
    }

    /// Deletes objects of at least this age that no row has, and what crashes left of writing some. Does nothing while
    /// another process sweeps.
    pub(crate) async fn sweep(&self, store: &dyn Store, age: Duration) -> Result<u64, StoreError> {
        let sweeper = Uuid::now_v7();
        if !store.claim_sweep(sweeper, CLAIM).await? {
            return Ok(0);
        }
        let swept = self.sweep_all(store, age, sweeper).await;
        // Otherwise, the claim expires.
        let released = store.claim_sweep(sweeper, Duration::ZERO).await;
        let deleted = swept?;
        released?;
        Ok(deleted)
    }

    async fn sweep_all(&self, store: &dyn Store, age: Duration, sweeper: Uuid) -> Result<u64, StoreError> {
        let before = SystemTime::now().checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH);
        let mut deleted = match self.folder.clone() {
            Some(folder) => {
                let task = tokio::task::spawn_blocking(move || clear_staged(&folder, before));
                task.await.map_err(StoreError::failed)?.map_err(StoreError::failed)?
            }
            None => 0,
        };
        let objects = self.objects.list(None).map_err(StoreError::failed);
        // Objects with other names are left alone.
        let old = objects.try_filter_map(|object| async move {
            let name = name_of(&object.location).filter(|_| SystemTime::from(object.last_modified) < before);
            Ok(name.map(|name| (name, object.location)))
        });
        let mut batches = pin!(old.try_chunks(SWEPT));
        while let Some(batch) = batches.next().await {
            let (names, locations): (Vec<_>, Vec<_>) = batch.map_err(|error| error.1)?.into_iter().unzip();
            if !store.claim_sweep(sweeper, CLAIM).await? {
                // It took too long, and another process continues.
                return Ok(deleted);
            }
            let known = store.have_objects(&names).await?;
            for (location, _) in locations.iter().zip(known).filter(|(_, is_known)| !is_known) {
                deleted += self.delete(location).await?;
            }
        }
        Ok(deleted)
    }

    /// Deletes an object, and returns how many there were.
    async fn delete(&self, location: &object_store::path::Path) -> Result<u64, StoreError> {
        match self.objects.delete(location).await {
            Ok(()) => Ok(1),
            Err(object_store::Error::NotFound { .. }) => Ok(0),
            Err(error) => Err(StoreError::failed(error)),
        }
    }
}

fn long_members(record: &AuditRecord) -> impl Iterator<Item = &String> {
    [&record.stdout, &record.stderr, &record.udf_data].into_iter().flatten()
}

type Long<'a> = (&'static str, &'a mut Option<String>, &'a mut bool);

fn members_of<'a>(record: &'a mut AuditRecord, members: &'a mut Members) -> [Long<'a>; 3] {
    [
        ("stdout", &mut record.stdout, &mut members.stdout),
        ("stderr", &mut record.stderr, &mut members.stderr),
        ("udf_data", &mut record.udf_data, &mut members.udf_data),
    ]
}

/// Returns the path of a value, in one of 256 folders: by the last two digits of the name, which are random.
fn path(name: &str, member: &str) -> object_store::path::Path {
    let folder = &name[name.len().saturating_sub(2)..];
    object_store::path::Path::from_iter([folder, &format!("{name}.{member}")])
}

/// Deletes what crashes left of writing objects: until a file is whole, its name has a suffix of `#` and a number.
/// Returns how many there were.
fn clear_staged(folder: &Path, before: SystemTime) -> io::Result<u64> {
    let mut deleted = 0;
    for folder in fs::read_dir(folder)? {
        let folder = folder?;
        if !folder.file_type()?.is_dir() {
            continue;
        }
        for file in fs::read_dir(folder.path())? {
            let file = file?;
            let name = file.file_name();
            let staged = name.to_str().and_then(|name| name.split_once('#')).map(|(name, _)| name_of(&name.into()));
            if staged.flatten().is_some() && file.metadata()?.modified()? < before {
                fs::remove_file(file.path())?;
                deleted += 1;
            }
        }
    }
    Ok(deleted)
}

fn name_of(path: &object_store::path::Path) -> Option<String> {
    let (name, member) = path.filename()?.split_once('.')?;
    let is_ours = Uuid::try_parse(name).is_ok() && ["stdout", "stderr", "udf_data"].contains(&member);
    is_ours.then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;
    use object_store::throttle::{ThrottleConfig, ThrottledStore};
    use tagtrail::{Sample, Trail};

    use super::*;
    use crate::model::record::Record;

    #[tokio::test]
    async fn no_value_is_lost_if_moving_it_is_cancelled() {
        let slow = ThrottleConfig { wait_put_per_call: Duration::from_millis(100), ..ThrottleConfig::default() };
        let objects: Arc<dyn ObjectStore> = Arc::new(ThrottledStore::new(InMemory::new(), slow));
        let payloads = Payloads::new(objects).at_least(1);
        let mut record = Record::new(&Trail::start(Sample::Always), "/");
        let values = ["out", "err", "data"].map(|text| Some(text.to_owned()));
        [record.notes.stdout, record.notes.stderr, record.notes.payload] = values.clone();
        let mut rows = [Row::of(record.audit(), true)];
        // While the second or third is put.
        for _ in 0..2 {
            let cancelled = tokio::time::timeout(Duration::from_millis(150), payloads.take_out(&mut rows)).await;
            assert!(cancelled.is_err());
        }
        payloads.take_out(&mut rows).await.unwrap();
        let [record] = &payloads.put_back(rows.to_vec()).await.unwrap()[..] else { panic!("one record") };
        assert_eq!([record.stdout.clone(), record.stderr.clone(), record.udf_data.clone()], values);
    }
}
