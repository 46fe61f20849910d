//! Runs the program in a folder.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use crate::support::audit::records;
use tagtrail_querylog::audit::AuditRecord;

pub(crate) fn program(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tagtrail-log"));
    command.args(arguments).current_dir(folder).env("TAGTRAIL_TOKEN", "ada").stdin(Stdio::null());
    command
}

pub(crate) fn run(folder: &Path, arguments: &[&str]) -> Output {
    program(folder, arguments).output().unwrap()
}

pub(crate) fn found(output: &Output) -> Vec<AuditRecord> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout.split_inclusive(|&byte| byte == b'\n').map(|line| serde_json::from_slice(line).unwrap()).collect()
}

pub(crate) fn lines(records: &[AuditRecord]) -> Vec<u8> {
    let mut lines = Vec::new();
    for record in records {
        serde_json::to_writer(&mut lines, record).unwrap();
        lines.push(b'\n');
    }
    lines
}

/// A server that is killed when the test ends.
pub(crate) struct Served(pub(crate) Child);

impl Drop for Served {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// The API over `audit.db`, and its URL.
pub(crate) fn serve(folder: &Path) -> (String, Served) {
    let arguments = ["serve", "--store", "sqlite:audit.db", "--tokens", "tokens.json", "--listen", "127.0.0.1:0"];
    let mut child = program(folder, &arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (format!("{}/server/v1", line.trim().strip_prefix("listening on ").unwrap()), Served(child))
}

pub(crate) fn says(output: &Output, code: i32, expected: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(code) && said.contains(expected), "{:?}: {said}", output.status);
}

/// Creates a store with one record, whose texts contain control characters.
pub(crate) fn store_of_one(folder: &Path) {
    let mut one = records(1);
    one[0].exec_env_id = Some("env1".into());
    one[0].udf_name = Some("\u{9b}31m\u{202e}".into());
    fs::write(folder.join("one.jsonl"), lines(&one)).unwrap();
    assert!(run(folder, &["import", "one.jsonl", "--store", "sqlite:audit.db"]).status.success());
}

pub(crate) const STORE: [&str; 4] = ["--store", "sqlite:audit.db", "--exec-env-id", "env1"];
