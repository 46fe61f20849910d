//! A process that is killed at any moment, and what it told until then.

use std::env;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{ChildStderr, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use tagtrail::ParentId;

const TOLD: &str = "acknowledged ";

/// Tells something, in the process that is killed.
pub(crate) fn tell(what: &str) {
    // A pipe outlives its writer; what is not a whole line in it does not count, and each line ends in a dot.
    std::io::stdout().write_all(format!("{TOLD}{what}.\n").as_bytes()).unwrap();
}

/// Starts a test of this program with these variables, kills it within this time, and returns what it told.
/// Three of four are killed in that time from their start on, whatever they are at; the others in that time after they
/// told something for the first time, however slow the machine is.
pub(crate) fn told_until_killed(test: &str, variables: &[(&str, &OsStr)], within_millis: u64) -> Vec<String> {
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
        let told = lines.filter_map(|line| Some(line.split_once(TOLD)?.1.strip_suffix('.')?.to_owned()));
        let told = told.inspect(|_| sender.send(()).unwrap_or_default());
        told.collect::<Vec<_>>()
    });
    let random = u64::from_be_bytes(ParentId::random().to_bytes());
    if random.is_multiple_of(4) {
        let told = first.recv_timeout(Duration::from_secs(60));
        assert_ne!(told, Err(RecvTimeoutError::Disconnected), "it ended by itself: {}", text_of(child.stderr.take()));
        told.unwrap();
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
