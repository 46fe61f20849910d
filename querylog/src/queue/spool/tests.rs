//! The folder of a spool against a model of it, and its damaged parts.

use std::collections::VecDeque;
use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;

use crate::model::time::Timestamp;
use crate::queue::durability::Durability;
use crate::queue::spool::Spool;
use crate::queue::spool::folder::{Found, SpoolFolder};
use crate::queue::spool::segment::Frame;

fn open(folder: &tempfile::TempDir) -> (SpoolFolder, Found) {
    SpoolFolder::open(&Spool::new(folder.path()).max_bytes(LIMIT).durability(Durability::Flushed)).unwrap()
}

const LIMIT: u64 = 4_000;

fn frame(number: u32, length: usize) -> Frame {
    Frame { time: Timestamp::from_micros(i64::from(number) + 1), requests: number, payload: vec![7; length] }
}

fn newest(folder: &tempfile::TempDir) -> Option<PathBuf> {
    let files = fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "spool")).max()
}

#[derive(Clone, Debug)]
enum Step {
    Append(usize),
    Read,
    Remove,
    /// The process ends, and the last file has this many bytes of a frame that was being written.
    Crash(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0_usize..900).prop_map(Step::Append),
        3 => Just(Step::Read),
        2 => Just(Step::Remove),
        1 => (0_u8..60).prop_map(Step::Crash),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    /// What is appended is read in order until it is removed; and again after a crash, if its file was not read to the end.
    #[test]
    fn folder_keeps_what_is_appended_until_it_is_removed(steps in steps()) {
        let folder = tempfile::tempdir().unwrap();
        let (mut spool, _) = open(&folder);
        let (mut kept, mut read, mut number) = (VecDeque::<Frame>::new(), 0, 0);
        for step in steps {
            match step {
                Step::Append(length) => {
                    number += 1;
                    // Or it is full.
                    if spool.append(&frame(number, length)).is_ok() {
                        kept.push_back(frame(number, length));
                    }
                }
                Step::Read => match spool.read().unwrap() {
                    None => prop_assert_eq!(read, kept.len()),
                    Some(Ok((_, frame))) => {
                        prop_assert_eq!(Some(&frame), kept.get(read));
                        read += 1;
                    }
                    Some(Err(damaged)) => prop_assert!(damaged.from <= damaged.to && damaged.requests == 0),
                },
                Step::Remove => {
                    spool.remove_read();
                    kept.drain(..read);
                    read = 0;
                }
                Step::Crash(torn) => {
                    drop(spool);
                    if let Some(path) = newest(&folder) {
                        let mut bytes = fs::read(&path).unwrap();
                        bytes.extend((0..torn).map(|byte| byte | 1));
                        fs::write(&path, bytes).unwrap();
                    }
                    let found;
                    (spool, found) = open(&folder);
                    // Frames before those that were removed may come again: they have lower numbers.
                    let mut all = Vec::new();
                    while let Some(read) = spool.read().unwrap() {
                        all.extend(read.ok().map(|(_, frame)| frame));
                    }
                    prop_assert_eq!(all.iter().map(|frame| u64::from(frame.requests)).sum::<u64>(), found.requests);
                    prop_assert_eq!(found.since, all.first().map(|frame| frame.time));
                    prop_assert!(all.is_sorted_by_key(|frame| frame.requests));
                    let first = all.len().checked_sub(kept.len());
                    prop_assert!(first.is_some_and(|first| kept.iter().eq(&all[first..])), "{:?} {:?}", all, kept);
                    (kept, read) = (all.into(), 0);
                    read += kept.len();
                }
            }
        }
    }
}

/// After frames that have only gaps, which have no time, and when the clock goes backwards.
#[test]
fn damage_is_between_the_last_frame_and_now() {
    for (time, is_known) in [(Timestamp::MIN, false), (Timestamp::MAX, false), (Timestamp::from_micros(7), true)] {
        let folder = tempfile::tempdir().unwrap();
        let before = Timestamp::now().saturating_sub(std::time::Duration::from_secs(1));
        let (mut spool, _) = open(&folder);
        spool.append(&Frame { time, ..frame(1, 10) }).unwrap();
        spool.append(&frame(2, 10)).unwrap();
        let path = newest(&folder).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, bytes).unwrap();
        spool.read().unwrap().unwrap().unwrap();
        let damaged = spool.read().unwrap().unwrap().unwrap_err();
        assert!(damaged.from <= damaged.to && damaged.to <= Timestamp::now(), "{damaged:?}");
        assert_eq!(damaged.from < before, is_known, "{damaged:?}");
        assert_eq!(damaged.requests, 2);
        assert!(spool.read().unwrap().is_none());
    }
}

#[test]
fn first_frame_that_is_damaged_was_written_after_its_file_was_created() {
    let folder = tempfile::tempdir().unwrap();
    let before = Timestamp::now().saturating_sub(std::time::Duration::from_secs(1));
    let (mut spool, _) = open(&folder);
    spool.append(&Frame { time: Timestamp::now(), ..frame(3, 10) }).unwrap();
    let path = newest(&folder).unwrap();
    fs::remove_file(&path).unwrap();
    let after = Timestamp::now();
    let damaged = spool.read().unwrap().unwrap().unwrap_err();
    assert!(before < damaged.from && damaged.from <= after && after <= damaged.to, "{damaged:?}");
    assert_eq!(damaged.requests, 3);
}

#[test]
fn frame_that_is_too_long_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _) = SpoolFolder::open(&Spool::new(folder.path())).unwrap();
    let long = Frame { payload: vec![0; crate::queue::spool::segment::MAX_PAYLOAD + 1], ..frame(1, 0) };
    assert!(spool.append(&long).is_err());
    assert!(spool.is_empty() && spool.read().unwrap().is_none() && newest(&folder).is_none());
}

/// Another process has made the file meanwhile, in a folder that was deleted and created again.
#[test]
fn number_of_a_segment_that_exists_is_not_tried_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(&folder);
    fs::write(folder.path().join("00000000000000000000.spool"), "").unwrap();
    assert!(spool.append(&frame(1, 10)).is_err());
    assert!(spool.append(&frame(1, 10)).is_ok());
    assert_eq!(spool.read().unwrap().unwrap().unwrap().1, frame(1, 10));
}
