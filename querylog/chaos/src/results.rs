//! The file of results: one line of JSON for each run.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// What happened in a run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RunResult {
    pub(crate) seed: u64,
    pub(crate) minutes: f64,
    pub(crate) store: String,
    /// How many services were killed.
    pub(crate) kills: u64,
    /// How often each fault was there.
    pub(crate) faults: BTreeMap<String, u64>,
    /// How many requests were sent,
    pub(crate) requests: u64,
    /// had a whole 200 response,
    pub(crate) responded: u64,
    /// and were acknowledged by it.
    pub(crate) acknowledged: u64,
    /// How many records are in the store.
    pub(crate) found: u64,
    /// How many requests had a whole 200 response, and are missing.
    pub(crate) missing: u64,
    /// Gaps of unknown count.
    pub(crate) unclean_gaps: u64,
    /// The sum of the counts of other gaps.
    pub(crate) counted: u64,
    pub(crate) verdict: Verdict,
    /// How many violations there are, by kind.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) violations: BTreeMap<String, u64>,
    /// The first violations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) facts: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Passed,
    Failed,
}

fn read(path: &Path) -> io::Result<Vec<RunResult>> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text?,
    };
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// Returns how many services were killed in the runs of a file.
pub(crate) fn kills(path: &Path) -> io::Result<u64> {
    Ok(read(path)?.iter().map(|result| result.kills).sum())
}

/// Returns the first seed after those of a file.
pub(crate) fn next_seed(path: &Path) -> io::Result<u64> {
    Ok(read(path)?.iter().map(|result| result.seed + 1).max().unwrap_or_default())
}

pub(crate) fn append(path: &Path, result: &RunResult) -> io::Result<()> {
    let line = serde_json::to_string(result)? + "\n";
    OpenOptions::new().create(true).append(true).open(path)?.write_all(line.as_bytes())
}
