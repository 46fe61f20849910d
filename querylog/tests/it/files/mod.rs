//! Logs in files.

#[cfg(target_os = "linux")]
mod disk_full;
mod folder;
#[cfg(unix)]
mod kill;
mod lines;
mod reader;
