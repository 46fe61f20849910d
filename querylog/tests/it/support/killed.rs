//! A process that is killed at any moment, and what it reports until then.

use std::env;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{ChildStderr, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use tagtrail::ParentId;

const PREFIX: &str = "acknowledged ";

/// Reports something, from the process that is killed.
pub(crate) fn report(what: &str) {
    // A pipe outlives its writer. Each line ends with a period, so that incomplete lines are recognized.
    std::io::stdout().write_all(format!("{PREFIX}{what}.\n").as_bytes()).unwrap();
}

/// Starts a test of this program with some variables, kills it within a time, and returns what it reported.
///
/// Three of four processes are killed within that time of their start, whatever they are doing. The others are killed
/// within that time of their first report, however slow the machine is.
pub(crate) fn reports_until_killed(test: &str, variables: &[(&str, &OsStr)], within_millis: u64) -> Vec<String> {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .envs(variables.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).split(b'\n');
    let (sender, first) = mpsc::channel();
    let reader = thread::spawn(move || {
        let lines = lines.map_while(Result::ok).filter_map(|line| String::from_utf8(line).ok());
        let reports = lines.filter_map(|line| Some(line.split_once(PREFIX)?.1.strip_suffix('.')?.to_owned()));
        let reports = reports.inspect(|_| sender.send(()).unwrap_or_default());
        reports.collect::<Vec<_>>()
    });
    let random = u64::from_be_bytes(ParentId::random().to_bytes());
    if random.is_multiple_of(4) {
        let first_report = first.recv_timeout(Duration::from_secs(60));
        assert_ne!(
            first_report,
            Err(RecvTimeoutError::Disconnected),
            "the process ended by itself: {}",
            text_of(child.stderr.take())
        );
        first_report.unwrap();
    }
    thread::sleep(Duration::from_micros((random >> 2) % (within_millis * 1_000)));
    // SIGKILL.
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}

fn text_of(stderr: Option<ChildStderr>) -> String {
    let mut text = Vec::new();
    stderr.unwrap().read_to_end(&mut text).unwrap();
    String::from_utf8_lossy(&text).into_owned()
}
