//! A server of PostgreSQL of its own, in a folder.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::signals;

/// How long it may take to start, also after it was killed.
const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) struct Cluster {
    programs: PathBuf,
    folder: PathBuf,
    pub(crate) port: u16,
}

/// Returns the folder of PostgreSQL's programs: on the path, or Debian's.
pub(crate) fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<_> = std::env::split_paths(&path).collect();
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    folders.extend(versions.map(|version| version.path().join("bin")));
    folders.into_iter().find(|folder| folder.join("initdb").exists())
}

impl Cluster {
    /// Creates and starts a server.
    pub(crate) fn start(programs: PathBuf, folder: &Path, port: u16) -> Result<Self, Box<dyn Error>> {
        let cluster = Self { programs, folder: folder.to_owned(), port };
        if is_root() {
            // PostgreSQL does not run as root.
            run(Command::new("chown").arg("postgres").arg(folder))?;
            run(Command::new("chmod").arg("a+rx").arg(folder))?;
        }
        run(cluster.program("initdb").args(["-U", "postgres", "-A", "trust", "-D"]).arg(cluster.data()))?;
        cluster.start_again()?;
        Ok(cluster)
    }

    pub(crate) fn url(port: u16) -> String {
        format!("postgres://postgres@127.0.0.1:{port}/postgres?sslmode=disable")
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn program(&self, name: &str) -> Command {
        let program = self.programs.join(name);
        let mut command = Command::new(&program);
        if is_root() {
            command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
        }
        command.current_dir(&self.folder);
        command
    }

    /// Starts it, and waits until it serves. What is left of one that was killed ends first.
    pub(crate) fn start_again(&self) -> Result<(), Box<dyn Error>> {
        let options = format!("-p {} -k {} -c listen_addresses=127.0.0.1", self.port, self.folder.display());
        let end = Instant::now() + PATIENCE;
        loop {
            let mut command = self.program("pg_ctl");
            command.args(["-w", "-o", &options, "-l"]).arg(self.folder.join("log")).arg("-D").arg(self.data());
            match run(command.arg("start")) {
                Ok(()) => return Ok(()),
                Err(error) if Instant::now() > end => return Err(error),
                Err(_) => thread::sleep(Duration::from_millis(200)),
            }
        }
    }

    pub(crate) fn stop(&self) {
        let _ = run(self.program("pg_ctl").args(["-w", "-m", "fast", "-D"]).arg(self.data()).arg("stop"));
    }

    fn processes(&self) -> Vec<u32> {
        let text = fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
        text.lines().next().and_then(|line| line.parse().ok()).map(signals::with_children).unwrap_or_default()
    }

    pub(crate) fn kill(&self) {
        signals::send("KILL", &self.processes());
    }

    pub(crate) fn freeze(&self) {
        // Again, for what was started meanwhile.
        for _ in 0..2 {
            signals::send("STOP", &self.processes());
        }
    }

    pub(crate) fn thaw(&self) {
        signals::send("CONT", &self.processes());
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.thaw();
        let _ = run(self.program("pg_ctl").args(["-w", "-m", "immediate", "-D"]).arg(self.data()).arg("stop"));
    }
}

fn is_root() -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| status.contains("\nUid:\t0\t"))
}

fn run(command: &mut Command) -> Result<(), Box<dyn Error>> {
    // A server that is started keeps pipes open.
    let Output { status, .. } = command.stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null()).output()?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} failed: {status}").into()) }
}
