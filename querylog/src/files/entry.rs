//! What a log is read as: [`Entry`].

use std::path::PathBuf;

use crate::model::gap::Gap;
use crate::model::record::Record;

/// What a line of a log is.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Entry {
    /// A record.
    Record(Box<Record>),
    /// Records that the log does not have.
    Gap(Gap),
    /// Not a line of a log: torn by a crash, damaged, or written by something else.
    Foreign(ForeignLine),
}

/// A line that is not a record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ForeignLine {
    /// The file it is in.
    pub file: PathBuf,
    /// Its number in the file, from 1.
    pub number: u64,
    /// Why it is not a record.
    pub why: String,
    /// Whether the rest of the file cannot be read: more records may be missing.
    pub rest_unread: bool,
}
