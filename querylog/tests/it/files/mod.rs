//! Logs in files.

#[cfg(target_os = "linux")]
mod disk_full;
mod folder;
mod foreign_forms;
#[cfg(unix)]
mod kill;
mod lines;
mod reader;
