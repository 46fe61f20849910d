//! Reading a spool that cannot be read at the moment, or that is damaged.

use std::fs;

use crate::audit::log_store::replay::read;
use crate::audit::log_store::shared::{Place, Spooling};
use crate::model::gap::Gap;
use crate::model::time::Timestamp;
use crate::queue::spool::Spool;
use crate::queue::spool::folder::SpoolFolder;
use uuid::Uuid;

fn open(folder: &tempfile::TempDir) -> Spooling {
    Spooling::new(SpoolFolder::open(&Spool::new(folder.path())).unwrap().0, Place::Gone)
}

fn gap(count: u64) -> (Uuid, Gap) {
    let now = Timestamp::from_micros(i64::try_from(count).unwrap());
    let gap = Gap { from: now, to: now, count: Some(count), why: "of a test".into() };
    (Uuid::from_u128(count.into()), gap)
}

/// As if there were too many open files.
#[cfg(unix)]
#[test]
fn what_was_read_before_an_error_is_not_lost() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..2 {
        let (id, gap) = gap(number);
        // A segment for each process.
        open(&folder).spool_gap(id, &gap).unwrap();
    }
    let mut state = open(&folder);
    let [second, away] = ["00000000000000000001.spool", "away"].map(|name| folder.path().join(name));
    fs::rename(&second, &away).unwrap();
    std::os::unix::fs::symlink(&second, &second).unwrap();
    assert_eq!(read(&mut state).unwrap().unwrap().gaps, [gap(0)]);
    state.spool.remove_read();
    assert!(read(&mut state).is_err());
    fs::remove_file(&second).unwrap();
    fs::rename(&away, &second).unwrap();
    assert_eq!(read(&mut state).unwrap().unwrap().gaps, [gap(1)]);
    state.spool.remove_read();
    assert!(read(&mut state).unwrap().is_none() && state.spool.is_empty());
}
