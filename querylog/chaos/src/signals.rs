//! Signals to other processes.

use std::fs;
use std::process::Command;

/// Sends a signal (`KILL`, `STOP`, …). A process that is gone is no error.
pub(crate) fn send(signal: &str, processes: &[u32]) {
    let ids = processes.iter().map(u32::to_string);
    let _ = Command::new("kill").arg(format!("-{signal}")).args(ids).stderr(std::process::Stdio::null()).status();
}

/// Returns a process and those that it started.
pub(crate) fn with_children(parent: u32) -> Vec<u32> {
    let ids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = ids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let children = ids.filter(|id| {
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        status.lines().any(|line| line.strip_prefix("PPid:").is_some_and(|id| id.trim() == parent.to_string()))
    });
    std::iter::once(parent).chain(children).collect()
}
